"""Which map areas the ego touches: a flat index of the polygons and one kernel over all states.

A point counts as inside only strictly inside; one on an edge is outside. Holes are further rings
of the same area under the even-odd rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from autovla_core.scoring.pdm_types import AreaKind, MapArea

LANES = (AreaKind.LANE, AreaKind.LANE_CONNECTOR)
DRIVABLE = (AreaKind.ROADBLOCK, AreaKind.INTERSECTION, AreaKind.DRIVABLE_AREA, AreaKind.CARPARK_AREA)
CENTER, REAR_AXLE = 4, 5  # of the six points of a state; 0..3 are the corners
_LANE, _ROUTE, _DRIVABLE, _INTERSECTION = 1, 2, 4, 8  # bits of a role
# bits of what is found about a state
MULTIPLE_LANES, NON_DRIVABLE, ONCOMING, CENTER_IN_INTERSECTION, AXLE_IN_INTERSECTION = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class AreaIndex:
    """Polygons as flat arrays."""

    xy: np.ndarray  # (V, 2) vertices of all rings, each ring closed
    rings: np.ndarray  # (R + 1,) first vertex of each ring
    first_ring: np.ndarray  # (A + 1,) first ring of each area
    bounds: np.ndarray  # (A, 4) x min, y min, x max, y max
    roles: np.ndarray  # (A,) bits of what the area counts as


def build_index(areas: Sequence[MapArea], route_lane_ids: Iterable[str]) -> AreaIndex:
    """Flatten ``areas``.

    Raises:
        ValueError: a ring with fewer than three points or with NaN; the message names the area.
    """
    route = set(route_lane_ids)
    rings = [[_closed(ring, area.id) for ring in (area.polygon, *area.holes)] for area in areas]
    flat = [ring for group in rings for ring in group]
    lengths = [len(ring) for ring in flat]
    outer = [group[0] for group in rings]
    return AreaIndex(
        np.concatenate(flat) if flat else np.zeros((0, 2)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(group) for group in rings])]).astype(np.int64),
        np.array([[*ring.min(0), *ring.max(0)] for ring in outer]).reshape(-1, 4),
        np.array([_role(area, route) for area in areas], np.int64),
    )


def _closed(ring: np.ndarray, name: str) -> np.ndarray:
    points = np.asarray(ring, float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError(f"area {name!r}: found a ring {points.shape}, expected at least three finite points (N, 2)")
    return points if np.array_equal(points[0], points[-1]) else np.vstack([points, points[:1]])


def _role(area: MapArea, route: set[str]) -> int:
    role = _DRIVABLE if area.kind in DRIVABLE else 0
    if area.kind in LANES:
        role |= _LANE | (_ROUTE if area.id in route else 0)
    if area.kind is AreaKind.INTERSECTION:
        role |= _INTERSECTION
    return role


def classify(index: AreaIndex, points: np.ndarray) -> np.ndarray:
    """Bits (N,) for N states given by points (N, 6, 2): corners FL, RL, RR, FR, centre, rear axle."""
    points = np.ascontiguousarray(points, float)
    return _classify(points, index.xy, index.rings, index.first_ring, index.bounds, index.roles)


@njit(cache=True)
def _inside(x: float, y: float, xy: np.ndarray, rings: np.ndarray, first: int, last: int) -> bool:
    """Whether a point lies strictly inside rings ``first`` .. ``last`` - 1 together."""
    inside = False
    for ring in range(first, last):
        for v in range(rings[ring], rings[ring + 1] - 1):
            x0, y0, x1, y1 = xy[v, 0], xy[v, 1], xy[v + 1, 0], xy[v + 1, 1]
            if (y0 > y and y1 > y) or (y0 < y and y1 < y):
                continue
            cross = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
            if cross == 0.0 and min(x0, x1) <= x <= max(x0, x1):
                return False
            if (y0 > y) != (y1 > y) and (cross > 0.0) == (y1 > y0):
                inside = not inside
    return inside


@njit(cache=True)
def _classify(
    points: np.ndarray,
    xy: np.ndarray,
    rings: np.ndarray,
    first_ring: np.ndarray,
    bounds: np.ndarray,
    roles: np.ndarray,
) -> np.ndarray:
    result = np.zeros(len(points), np.int64)
    for n in range(len(points)):
        x_low, y_low = points[n, :, 0].min(), points[n, :, 1].min()
        x_high, y_high = points[n, :, 0].max(), points[n, :, 1].max()
        touched, whole, on_route, drivable, at_intersection = 0, False, False, 0, 0
        for area in range(len(roles)):
            low_x, low_y, high_x, high_y = bounds[area]
            if x_low > high_x or x_high < low_x or y_low > high_y or y_high < low_y:
                continue
            hits = 0
            for corner in range(points.shape[1]):
                x, y = points[n, corner]
                if (
                    low_x < x < high_x
                    and low_y < y < high_y
                    and _inside(x, y, xy, rings, first_ring[area], first_ring[area + 1])
                ):
                    hits |= 1 << corner
            corners = hits & 15
            if roles[area] & _LANE:
                touched += corners > 0
                whole |= corners == 15
            on_route |= roles[area] & _ROUTE > 0 and hits & (1 << CENTER) > 0
            if roles[area] & _DRIVABLE:
                drivable |= corners
            if roles[area] & _INTERSECTION:
                at_intersection |= hits
        bits = MULTIPLE_LANES if touched > 1 and not whole else 0
        bits |= NON_DRIVABLE if drivable != 15 else 0
        bits |= 0 if on_route else ONCOMING
        bits |= CENTER_IN_INTERSECTION if at_intersection & (1 << CENTER) else 0
        bits |= AXLE_IN_INTERSECTION if at_intersection & (1 << REAR_AXLE) else 0
        result[n] = bits
    return result
