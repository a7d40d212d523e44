"""Houses, trees, street lamps, hedges and fences along the streets, placed by chance from a seed.

Right-handed inside; solids are given in CARLA's frame.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon

from autovla_core.frames import point_from_carla, yaw_to_carla_deg
from autovla_core.minicarla.world import plants_and_houses as shapes
from autovla_core.minicarla.world.areas import Areas, edges
from autovla_core.minicarla.world.ground import Ground
from autovla_core.minicarla.world.layout import Solid
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, join
from autovla_core.minicarla.world.survey import Strip

JUNCTION_CLEAR_M = 12.0  # nothing taller than a kerb this near to a junction
PAVED_CLEAR_M = 1.2
HOUSE_SETBACK_M = (4.0, 8.0)
HOUSE_GAP_M = (2.0, 9.0)
TREE_SPACING_M = (8.0, 19.0)
TREE_SETBACK_M = (1.4, 2.4)
LAMP_SPACING_M = 32.0
LAMP_HEIGHT_M = 6.5
HEDGE_SHARE, FENCE_SHARE, EMPTY_SHARE = 0.3, 0.25, 0.15
GROVE_TREES = 170
CELL_M = 20.0
FENCE_COLORS = ((0.4, 0.38, 0.34), (0.16, 0.1, 0.06), (0.5, 0.5, 0.5))


@dataclass(frozen=True, eq=False)
class Scenery:
    """Everything that the map itself does not know."""

    mesh: Mesh
    solids: tuple[Solid, ...]


@dataclass(frozen=True, eq=False)
class _Front:
    """The outer edge of a sidewalk: points (N, 2) in driving direction, unit vectors away from the road."""

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


class _Site:
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


def build_scenery(strips: Sequence[Strip], areas: Areas, ground: Ground, seed: int | None) -> Scenery:
    """Return the scenery of one seed; the same seed gives the same bytes. None gives nothing."""
    if seed is None:
        empty = np.zeros((0, 3), np.float32)
        return Scenery(Mesh(empty.reshape(0, 3, 3), empty, np.zeros(0, np.uint8), np.zeros(0, np.uint8)), ())
    rng = np.random.default_rng(seed)
    site = _Site(areas, ground)
    fronts = [_front(s) for s in strips if s.record.type == "sidewalk" and s.record.junction_id < 0]
    for front in fronts:
        _add_lamps(site, front)
    for front in fronts:
        _add_houses(site, front, rng)
    for front in fronts:
        _add_street_trees(site, front, rng)
    _add_groves(site, fronts, rng)
    return Scenery(join(site.parts), tuple(site.solids))


def _front(strip: Strip) -> _Front:
    left, right = edges(strip)
    across = (right - left)[:, :2]
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(right[:, :2], axis=0), axis=1))])
    return _Front(right[:, :2], s, across / np.linalg.norm(across, axis=1)[:, None])


def rectangle(center: np.ndarray, length: float, width: float, yaw: float) -> Polygon:
    """A rectangle of (length along yaw, width across), right-handed."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * (length / 2, width / 2)
    return Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + center)


def _add_houses(site: _Site, front: _Front, rng: np.random.Generator) -> None:
    s = float(rng.uniform(0.0, 6.0))
    while s < front.s[-1]:
        width, depth = rng.uniform(9.0, 19.0), rng.uniform(9.0, 14.0)
        setback = rng.uniform(*HOUSE_SETBACK_M)
        style = shapes.draw_house_style(rng)
        empty = rng.random() < EMPTY_SHARE
        border = rng.random()
        center, yaw = front.at(s + width / 2, setback + depth / 2)
        footprint = rectangle(center, depth, width, yaw)
        if not empty and site.is_free(footprint):
            site.take(footprint.buffer(0.8))
            _add_house(site, footprint, center, (depth, width), yaw, style)
            _add_border(site, front, s, width, border, rng)
            s += width + rng.uniform(*HOUSE_GAP_M)
        else:
            s += 5.0


def _add_house(
    site: _Site, footprint: Polygon, center: np.ndarray, size: tuple[float, float], yaw: float, style: shapes.HouseStyle
) -> None:
    base = site.lowest(footprint) - 0.3
    site.parts.append(shapes.house((*center, base), size, yaw, style))
    half = (size[0] / 2, size[1] / 2, style.wall_height / 2)
    site.add_solid((*center, base + style.wall_height / 2), half, yaw, Tag.BUILDING, "static.building")


def _add_border(site: _Site, front: _Front, s: float, width: float, kind: float, rng: np.random.Generator) -> None:
    """A hedge or a fence between the house's garden and the sidewalk, with an opening for the door."""
    color = FENCE_COLORS[int(rng.integers(len(FENCE_COLORS)))]
    height = float(rng.uniform(0.8, 1.3))
    if kind > HEDGE_SHARE + FENCE_SHARE:
        return
    hedge = kind < HEDGE_SHARE
    length = width / 2 - 1.5
    for start in (s, s + width / 2 + 1.5):
        center, yaw = front.at(start + length / 2, 1.7)
        thick = 0.4 if hedge else 0.06
        footprint = rectangle(center, 2 * thick, length, yaw)
        if site.is_free(footprint):
            site.take(footprint)
            half = (thick, length / 2, height / 2)
            place = (*center, site.height(center) + height / 2 - 0.15)
            look = (shapes.HEDGE_COLOR, Material.LEAF, Tag.VEGETATION) if hedge else (color, Material.FLAT, Tag.FENCE)
            site.parts.append(box(place, half, yaw, *look))
            site.add_solid(place, half, yaw, look[2], "static.wall")


def _add_street_trees(site: _Site, front: _Front, rng: np.random.Generator) -> None:
    s = float(rng.uniform(2.0, 10.0))
    while s < front.s[-1]:
        place, _ = front.at(s, rng.uniform(*TREE_SETBACK_M))
        tree = shapes.draw_tree(rng, scale=(0.7, 1.05))
        if site.is_free(rectangle(place, 0.8, 0.8, 0.0), may_touch_paving=True):
            _add_tree(site, place, tree)
        s += float(rng.uniform(*TREE_SPACING_M))


def _add_groves(site: _Site, fronts: Sequence[_Front], rng: np.random.Generator) -> None:
    """Trees in the blocks and around the town."""
    points = np.concatenate([front.points for front in fronts])
    low, high = points.min(0) - 45.0, points.max(0) + 45.0
    for place in rng.uniform(low, high, (GROVE_TREES, 2)):
        tree = shapes.draw_tree(rng, scale=(0.9, 1.5))
        if site.is_free(rectangle(place, 4.0, 4.0, 0.0)):
            _add_tree(site, place, tree)


def _add_tree(site: _Site, place: np.ndarray, tree: shapes.Tree) -> None:
    radius = tree.trunk_radius
    site.take(rectangle(place, 3.0, 3.0, 0.0))
    foot = (*place, site.height(place) - 0.15)
    site.parts.append(shapes.tree_mesh(foot, tree))
    half = (radius, radius, tree.height / 2)
    site.add_solid((*place, foot[2] + tree.height / 2), half, 0.0, Tag.VEGETATION, "static.tree")


def _lamp_stations(length: float) -> Iterator[float]:
    count = max(1, int(length / LAMP_SPACING_M))
    return ((k + 0.5) * length / count for k in range(count))


def _add_lamps(site: _Site, front: _Front) -> None:
    for s in _lamp_stations(float(front.s[-1])):
        place, yaw = front.at(s, 0.35)
        if site.is_free(rectangle(place, 0.3, 0.3, yaw), may_touch_paving=True):
            site.take(rectangle(place, 1.0, 1.0, yaw))
            base = site.height(place)
            site.parts.append(shapes.street_lamp((*place, base), yaw, LAMP_HEIGHT_M))
            half = (0.07, 0.07, LAMP_HEIGHT_M / 2)
            site.add_solid((*place, base + LAMP_HEIGHT_M / 2), half, yaw, Tag.POLE, "static.pole")
