"""The front radar: the leaderboard's payload as returns in the ego frame, with how fast each goes away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.errors import ObservationError

RADAR = "RADAR"


@dataclass(frozen=True)
class RadarSpec:
    """Where the radar sits and how far it looks to the sides; CARLA's convention: degrees, whole angles.

    It sits just ahead of the bumper, because its rays meet the car that carries it, and within the 3 m that the
    leaderboard allows. The leaderboard fixes its range (100 m) and its 1500 rays a second.
    """

    x: float = 2.5  # m forward of the vehicle's origin
    z: float = 0.7  # m up
    horizontal_fov: float = 60.0
    vertical_fov: float = 12.0

    def sensor(self) -> dict[str, object]:
        """The leaderboard's sensor specification."""
        pose = {"x": self.x, "y": 0.0, "z": self.z, "roll": 0.0, "pitch": 0.0, "yaw": 0.0}
        fov = {"horizontal_fov": self.horizontal_fov, "vertical_fov": self.vertical_fov}
        return {"type": "sensor.other.radar", "id": RADAR, **pose, **fov}


@dataclass(frozen=True)
class RadarView:
    """What counts as an obstacle: neither the road nor what the car drives under."""

    lowest: float = 0.3  # m over the ground that the ego stands on
    highest: float = 2.5


def payload_of(input_data: Mapping[str, tuple[int, object]]) -> np.ndarray:
    """The radar's payload of one tick.

    Raises:
        ObservationError: it is not there, or not (N, 4).
    """
    if RADAR not in input_data:
        raise ObservationError(f"sensor {RADAR!r} is missing; this tick has {sorted(input_data)}")
    payload = np.asarray(input_data[RADAR][1], float)
    if payload.ndim != 2 or payload.shape[1] != 4:
        raise ObservationError(f"radar payload has shape {payload.shape}, expected (N, 4): depth, altitude, azimuth, v")
    return payload


def returns_of(
    payload: np.ndarray,
    speed: float,
    yaw_rate: float,
    rear_axle: float,
    spec: RadarSpec = RadarSpec(),
    view: RadarView = RadarView(),
) -> np.ndarray:
    """Returns (M, 4) of what is neither road nor bridge: x, y, z in the ego frame, and m/s away over the ground.

    The last is the speed along the ray that is left when the radar's own is taken off: about 0 for a post and for
    what crosses, positive for a leader that drives away, negative for an oncoming car.

    Args:
        payload: (N, 4) depth m, altitude rad, azimuth rad (right positive), speed m/s (negative when approaching).
        speed: of the ego, m/s along its heading.
        yaw_rate: rad/s, counter-clockwise.
        rear_axle: m behind the box centre: about it the car turns, so the radar moves sideways.
    """
    depth, altitude, azimuth, closing = np.asarray(payload, float).T
    ray = np.column_stack([np.cos(altitude) * np.cos(azimuth), -np.cos(altitude) * np.sin(azimuth), np.sin(altitude)])
    away = closing + ray[:, 0] * speed + ray[:, 1] * yaw_rate * (spec.x + rear_axle)
    points = depth[:, None] * ray + np.array([spec.x, 0.0, spec.z])
    good = (points[:, 2] >= view.lowest) & (points[:, 2] <= view.highest) & np.isfinite(away)
    return np.column_stack([points, away])[good]
