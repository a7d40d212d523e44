"""Boxes of the ego and polygons of the map."""

from __future__ import annotations

import numpy as np
import shapely

from autovla_core.footprints import corners
from autovla_core.geometry import YAW
from autovla_core.scoring.pdm_types import MapArea, PdmScene, VehicleShape


def ego_length(vehicle: VehicleShape) -> float:
    """Bumper to bumper."""
    return vehicle.rear_axle_to_front + vehicle.rear_axle_to_rear


def ego_centers(axle_poses: np.ndarray, vehicle: VehicleShape) -> np.ndarray:
    """Box centres (..., 3) of rear-axle poses (..., 3 or more: x, y, yaw first)."""
    yaw = axle_poses[..., YAW]
    offset = vehicle.rear_axle_to_center * np.stack([np.cos(yaw), np.sin(yaw)], -1)
    return np.concatenate([axle_poses[..., :2] + offset, yaw[..., None]], axis=-1)


def ego_boxes(axle_poses: np.ndarray, vehicle: VehicleShape) -> np.ndarray:
    """Corners (..., 4, 2) FL, RL, RR, FR of rear-axle poses (..., 3 or more)."""
    return corners(ego_centers(axle_poses, vehicle), ego_length(vehicle), 2.0 * vehicle.half_width)


def ego_box(scene: PdmScene) -> np.ndarray:
    """Corners (4, 2) of the ego now."""
    return ego_boxes(np.asarray(scene.ego.pose, float), scene.vehicle)


def polygon_of(area: MapArea) -> shapely.Polygon:
    """A map area for shapely."""
    return shapely.Polygon(area.polygon, area.holes)
