"""The ground beside the roads: how far along and away, and what of it is taken. Right-handed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon

from autovla_core.frames import point_from_carla, yaw_to_carla_deg
from autovla_core.minicarla.world.areas import Areas, edges
from autovla_core.minicarla.world.ground import Ground
from autovla_core.minicarla.world.layout import Solid
from autovla_core.minicarla.world.mesh import Mesh
from autovla_core.minicarla.world.survey import Strip

JUNCTION_CLEAR_M = 12.0  # nothing taller than a kerb this near to a junction
PAVED_CLEAR_M = 1.2
CELL_M = 20.0


@dataclass(frozen=True, eq=False)
class Front:
    """The outer edge of a road: points (N, 2) in driving direction, unit vectors away from the road."""

    points: np.ndarray
    s: np.ndarray
    outward: np.ndarray

    def at(self, s: float, away: float) -> tuple[np.ndarray, float]:
        """Return the point ``away`` metres behind the edge and the yaw that looks at the road."""
        i = int(np.clip(np.searchsorted(self.s, s), 1, len(self.s) - 1))
        share = (s - self.s[i - 1]) / max(self.s[i] - self.s[i - 1], 1e-9)
        point = self.points[i - 1] + share * (self.points[i] - self.points[i - 1])
        x, y = self.outward[i - 1]
        return point + away * self.outward[i - 1], math.atan2(-y, -x)


class Site:
    """Collects meshes and solids, and knows which ground is still free."""

    def __init__(self, areas: Areas, ground: Ground) -> None:
        clear = [area.buffer(JUNCTION_CLEAR_M) for area in areas.junctions]
        self._barred = shapely.union_all([areas.paved.buffer(PAVED_CLEAR_M), *clear])
        self._paved = areas.paved
        self._junctions = shapely.union_all(clear)
        for shape in (self._barred, self._paved, self._junctions):
            shapely.prepare(shape)
        self._ground = ground
        self._taken: defaultdict[tuple[int, int], list[Polygon]] = defaultdict(list)
        self.parts: list[Mesh] = []
        self.solids: list[Solid] = []
        self.lamps: list[np.ndarray] = []

    def is_free(self, footprint: Polygon, may_touch_paving: bool = False) -> bool:
        barred = self._junctions if may_touch_paving else self._barred
        if barred.intersects(footprint) or (may_touch_paving and self._paved.intersects(footprint)):
            return False
        return not any(other.intersects(footprint) for cell in _cells(footprint) for other in self._taken[cell])

    def take(self, footprint: Polygon) -> None:
        for cell in _cells(footprint):
            self._taken[cell].append(footprint)

    def height(self, xy: np.ndarray) -> float:
        return self._ground.height(float(xy[0]), float(-xy[1]))

    def lowest(self, footprint: Polygon) -> float:
        return min(self.height(np.array(corner)) for corner in footprint.exterior.coords)

    def add_solid(self, center: Sequence[float], half: Sequence[float], yaw: float, tag: int, type_id: str) -> None:
        carla_center = point_from_carla(np.asarray(center, float))
        self.solids.append(Solid(carla_center, np.asarray(half, float), yaw_to_carla_deg(yaw), tag, type_id))


def _cells(footprint: Polygon) -> list[tuple[int, int]]:
    """The squares of a coarse grid that a footprint's bounds touch."""
    x0, y0, x1, y1 = (int(bound // CELL_M) for bound in footprint.bounds)
    return [(i, j) for i in range(x0, x1 + 1) for j in range(y0, y1 + 1)]


def front_of(strip: Strip) -> Front:
    """The right border of a strip, in its driving direction."""
    left, right = edges(strip)
    across = (right - left)[:, :2]
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(right[:, :2], axis=0), axis=1))])
    return Front(right[:, :2], s, across / np.linalg.norm(across, axis=1)[:, None])


def rectangle(center: np.ndarray, length: float, width: float, yaw: float) -> Polygon:
    """A rectangle of (length along yaw, width across), right-handed."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * (length / 2, width / 2)
    return Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + center)
