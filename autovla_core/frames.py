"""The one place where CARLA's left hand and degrees meet our right hand and radians.

CARLA: x forward, y right, z up, yaw clockwise seen from above, degrees.
Ours: x forward, y left, z up, yaw counter-clockwise, radians.
A value in CARLA's convention wears the prefix ``carla_``.
"""

from __future__ import annotations

import math

import numpy as np

from autovla_core import geometry

EARTH_RADIUS_EQUA_M = 6378137.0


def point_from_carla(carla_xyz: np.ndarray) -> np.ndarray:
    """Mirror points (..., 2 or 3): y changes its sign. Its own inverse."""
    out = np.array(carla_xyz, float)
    out[..., 1] *= -1.0
    return out


point_to_carla = point_from_carla


def yaw_from_carla(carla_yaw_deg: float) -> float:
    """Return the counter-clockwise yaw in radians, in [-pi, pi)."""
    return float(geometry.wrap_angle(-math.radians(carla_yaw_deg)))


def yaw_to_carla_deg(yaw: float) -> float:
    """Return the clockwise yaw in degrees, in [-180, 180)."""
    return (-math.degrees(yaw) + 180.0) % 360.0 - 180.0


def pose_from_carla(carla_x: float, carla_y: float, carla_yaw_deg: float) -> np.ndarray:
    """Return (x, y, yaw) in our world frame."""
    return np.array([carla_x, -carla_y, yaw_from_carla(carla_yaw_deg)])


def yaw_from_compass(compass: float) -> float:
    """Yaw from CARLA's IMU compass (radians clockwise from north, north = CARLA -y = our +y)."""
    return float(geometry.wrap_angle(math.pi / 2 - compass))


def xy_from_gnss(latitude_deg: float, longitude_deg: float) -> np.ndarray:
    """World (x, y) of a GNSS reading, for a map whose geoReference is lat_0 = lon_0 = 0.

    CARLA projects with a Mercator of the equatorial radius; latitude falls as CARLA's y grows,
    so it grows with our y.
    """
    x = math.radians(longitude_deg) * EARTH_RADIUS_EQUA_M
    y = math.log(math.tan(math.pi / 4 + math.radians(latitude_deg) / 2)) * EARTH_RADIUS_EQUA_M
    return np.array([x, y])
