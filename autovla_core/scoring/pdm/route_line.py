"""The route centreline as a polyline: progress along it and distance from it.

GEOS decides, as in the benchmark: where a point is equally near to two segments, only the same
arithmetic finds the same one.
"""

from __future__ import annotations

import numpy as np
import shapely


def line_of(poses: np.ndarray) -> shapely.LineString:
    """A polyline (M, 2 or more: x, y first), prepared."""
    line = shapely.linestrings(np.asarray(poses, float)[:, :2])
    shapely.prepare(line)
    return line


def progress_along(line: shapely.LineString, points: np.ndarray) -> np.ndarray:
    """Arc length (...) of the nearest place on ``line`` for points (..., 2); the first of several."""
    return shapely.line_locate_point(line, shapely.points(points))


def distance_from(line: shapely.LineString, points: np.ndarray) -> np.ndarray:
    """Metres (...) from ``line`` to points (..., 2)."""
    return shapely.distance(line, shapely.points(points))
