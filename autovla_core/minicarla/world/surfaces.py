"""Small makers of triangles for the land. Right-handed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from autovla_core.frames import point_from_carla
from autovla_core.minicarla.world.areas import polygons
from autovla_core.minicarla.world.ground import Ground
from autovla_core.minicarla.world.mesh import Mesh, from_quads

UP = np.array([0.0, 0.0, 1.0])


def drape(shape: BaseGeometry, ground: Ground, above: float, color: Sequence[float], material: int, tag: int) -> Mesh:
    """Triangulate a polygon and lay it ``above`` the ground."""
    corners = [
        np.asarray(triangle.exterior.coords)[:3, :2]
        for part in polygons(shape)
        for triangle in shapely.constrained_delaunay_triangles(part).geoms
    ]
    flat = np.array(corners, float).reshape(-1, 3, 2)
    first, second = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    clockwise = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0
    flat[clockwise] = flat[clockwise][:, ::-1]
    return colored(lay(flat, ground, above), color, material, tag)


def lay(xy: np.ndarray, ground: Ground, above: float) -> np.ndarray:
    """Return points (..., 3) of right-handed (..., 2), ``above`` the ground."""
    heights = ground.heights_at(point_from_carla(xy)) + above
    return np.concatenate([xy, heights[..., None]], axis=-1)


def colored(triangles: np.ndarray, color: Sequence[float], material: int, tag: int) -> Mesh:
    """Triangles (n, 3, 3) of one colour."""
    n = len(triangles)
    colors = np.broadcast_to(np.asarray(color, np.float32), (n, 3)).copy()
    return Mesh(triangles.astype(np.float32), colors, np.full(n, material, np.uint8), np.full(n, tag, np.uint8))


def ribbon(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Quads (n-1, 4, 3) between two polylines (n, 3), seen from above counter-clockwise."""
    return np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)


def quads_mesh(parts: Sequence[np.ndarray], color: Sequence[float], material: int, tag: int) -> Mesh:
    """One mesh of parts, each of quads (n, 4, 3); none is allowed."""
    return from_quads(np.concatenate([np.zeros((0, 4, 3)), *parts]), color, material, tag)
