"""Houses, trees, street lamps, hedges and fences along the streets, placed by chance from a seed.

Right-handed inside; solids are given in CARLA's frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from shapely.geometry import Polygon

from autovla_core.frames import point_from_carla
from autovla_core.minicarla.world import plants_and_houses as shapes
from autovla_core.minicarla.world.areas import Areas
from autovla_core.minicarla.world.ground import Ground
from autovla_core.minicarla.world.layout import Solid
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, join
from autovla_core.minicarla.world.site import Front, Site, front_of, rectangle
from autovla_core.minicarla.world.survey import Strip, outermost

HOUSE_SETBACK_M = (4.0, 8.0)
TREE_SPACING_M = (8.0, 19.0)
TREE_SETBACK_M = (1.4, 2.4)
LAMP_SPACING_M = 32.0
LAMP_HEIGHT_M = 6.5
HEDGE_SHARE, FENCE_SHARE = 0.3, 0.25
RAIL_SHOULDER_M = 0.8  # a motorway's shoulder this wide has a rail; those of ramps are narrower on one side
RAIL_M, RAIL_BEHIND_M, RAIL_TOP_M = 8.0, 0.5, 0.78
FARM_EVERY_M, FARM_SETBACK_M = 60.0, (9.0, 22.0)
FIELD_TREE_SPACING_M, FIELD_TREE_SETBACK_M = (7.0, 26.0), (3.5, 14.0)
FENCE_COLORS = ((0.4, 0.38, 0.34), (0.16, 0.1, 0.06), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class SceneryStyle:
    """What is drawn by chance, and how densely."""

    seed: int
    storeys: tuple[int, ...] = (1, 2, 2, 3, 4, 5, 7)  # drawn from
    house_gap_m: tuple[float, float] = (2.0, 9.0)
    empty_share: float = 0.15  # of the places for houses along sidewalks
    grove_trees: int = 170
    farm_share: float = 0.25  # of the places for houses along roads without sidewalks


@dataclass(frozen=True, eq=False)
class Scenery:
    """Everything that the map itself does not know."""

    mesh: Mesh
    solids: tuple[Solid, ...]
    lamps: np.ndarray  # (n, 3) where street lamps shine from, CARLA's frame


def build_scenery(strips: Sequence[Strip], areas: Areas, ground: Ground, style: SceneryStyle | None) -> Scenery:
    """Return the scenery of one style; the same style gives the same bytes. None gives nothing."""
    if style is None:
        empty = np.zeros((0, 3), np.float32)
        nothing = Mesh(empty.reshape(0, 3, 3), empty, np.zeros(0, np.uint8), np.zeros(0, np.uint8))
        return Scenery(nothing, (), np.zeros((0, 3)))
    rng = np.random.default_rng(style.seed)
    site = Site(areas, ground)
    fronts = [front_of(s) for s in strips if s.record.type == "sidewalk" and s.record.junction_id < 0]
    for front in fronts:
        _add_lamps(site, front)
    for front in fronts:
        _add_houses(site, front, rng, style)
    for front in fronts:
        _add_street_trees(site, front, rng)
    sides = outermost(list(strips))
    open_strips = [s for s in strips if s.record.key in sides and s.record.type != "sidewalk"]
    open_strips = [s for s in open_strips if s.record.mark[0] != "curb"]
    for strip in open_strips:
        if strip.record.road_kind == "motorway" and strip.width.mean() > RAIL_SHOULDER_M:
            _add_rails(site, front_of(strip))
    for strip in open_strips:
        _add_roadside(site, front_of(strip), rng, style)
    _add_groves(site, [*fronts, *map(front_of, open_strips)], rng, style.grove_trees)
    return Scenery(join(site.parts), tuple(site.solids), np.array(site.lamps).reshape(-1, 3))


def _add_houses(site: Site, front: Front, rng: np.random.Generator, style: SceneryStyle) -> None:
    s = float(rng.uniform(0.0, 6.0))
    while s < front.s[-1]:
        width, depth = rng.uniform(9.0, 19.0), rng.uniform(9.0, 14.0)
        setback = rng.uniform(*HOUSE_SETBACK_M)
        look = shapes.draw_house_style(rng, style.storeys)
        empty = rng.random() < style.empty_share
        border = rng.random()
        center, yaw = front.at(s + width / 2, setback + depth / 2)
        footprint = rectangle(center, depth, width, yaw)
        if not empty and site.is_free(footprint):
            site.take(footprint.buffer(0.8))
            _add_house(site, footprint, center, (depth, width), yaw, look)
            _add_border(site, front, s, width, border, rng)
            s += width + rng.uniform(*style.house_gap_m)
        else:
            s += 5.0


def _add_house(
    site: Site, footprint: Polygon, center: np.ndarray, size: tuple[float, float], yaw: float, style: shapes.HouseStyle
) -> None:
    base = site.lowest(footprint) - 0.3
    site.parts.append(shapes.house((*center, base), size, yaw, style))
    half = (size[0] / 2, size[1] / 2, style.wall_height / 2)
    site.add_solid((*center, base + style.wall_height / 2), half, yaw, Tag.BUILDING, "static.building")


def _add_border(site: Site, front: Front, s: float, width: float, kind: float, rng: np.random.Generator) -> None:
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


def _add_street_trees(site: Site, front: Front, rng: np.random.Generator) -> None:
    s = float(rng.uniform(2.0, 10.0))
    while s < front.s[-1]:
        place, _ = front.at(s, rng.uniform(*TREE_SETBACK_M))
        tree = shapes.draw_tree(rng, scale=(0.7, 1.05))
        if site.is_free(rectangle(place, 0.8, 0.8, 0.0), may_touch_paving=True):
            _add_tree(site, place, tree)
        s += float(rng.uniform(*TREE_SPACING_M))


def _add_groves(site: Site, fronts: Sequence[Front], rng: np.random.Generator, trees: int) -> None:
    """Trees in the blocks and around the town."""
    points = np.concatenate([front.points for front in fronts])
    low, high = points.min(0) - 45.0, points.max(0) + 45.0
    for place in rng.uniform(low, high, (trees, 2)):
        tree = shapes.draw_tree(rng, scale=(0.9, 1.5))
        if site.is_free(rectangle(place, 4.0, 4.0, 0.0)):
            _add_tree(site, place, tree)


def _add_tree(site: Site, place: np.ndarray, tree: shapes.Tree) -> None:
    radius = tree.trunk_radius
    site.take(rectangle(place, 3.0, 3.0, 0.0))
    foot = (*place, site.height(place) - 0.15)
    site.parts.append(shapes.tree_mesh(foot, tree))
    half = (radius, radius, tree.height / 2)
    site.add_solid((*place, foot[2] + tree.height / 2), half, 0.0, Tag.VEGETATION, "static.tree")


def _lamp_stations(length: float) -> Iterator[float]:
    count = max(1, int(length / LAMP_SPACING_M))
    return ((k + 0.5) * length / count for k in range(count))


def _add_lamps(site: Site, front: Front) -> None:
    for s in _lamp_stations(float(front.s[-1])):
        place, yaw = front.at(s, 0.35)
        if site.is_free(rectangle(place, 0.3, 0.3, yaw), may_touch_paving=True):
            site.take(rectangle(place, 1.0, 1.0, yaw))
            base = site.height(place)
            site.parts.append(shapes.street_lamp((*place, base), yaw, LAMP_HEIGHT_M))
            site.lamps.append(point_from_carla(shapes.lamp_head((*place, base), yaw, LAMP_HEIGHT_M)))
            half = (0.07, 0.07, LAMP_HEIGHT_M / 2)
            site.add_solid((*place, base + LAMP_HEIGHT_M / 2), half, yaw, Tag.POLE, "static.pole")


def _add_roadside(site: Site, front: Front, rng: np.random.Generator, style: SceneryStyle) -> None:
    """Beside a road without a sidewalk: now and then a farm, trees in the fields."""
    for s in np.arange(FARM_EVERY_M / 2, front.s[-1], FARM_EVERY_M):
        width, depth, setback = rng.uniform(10.0, 18.0), rng.uniform(8.0, 12.0), rng.uniform(*FARM_SETBACK_M)
        look = shapes.draw_house_style(rng, (1, 2))
        center, yaw = front.at(float(s), setback + depth / 2)
        footprint = rectangle(center, depth, width, yaw)
        if rng.random() < style.farm_share and site.is_free(footprint):
            site.take(footprint.buffer(0.8))
            _add_house(site, footprint, center, (depth, width), yaw, look)
    s = float(rng.uniform(2.0, 10.0))
    while s < front.s[-1]:
        place, _ = front.at(s, rng.uniform(*FIELD_TREE_SETBACK_M))
        tree = shapes.draw_tree(rng, scale=(0.6, 1.4))
        if site.is_free(rectangle(place, 1.5, 1.5, 0.0)):
            _add_tree(site, place, tree)
        s += float(rng.uniform(*FIELD_TREE_SPACING_M))


def _add_rails(site: Site, front: Front) -> None:
    """A beam on posts along the edge, in straight pieces; it leaves junctions and other paving free."""
    count = max(1, round(float(front.s[-1]) / RAIL_M))
    stations = np.linspace(0.0, float(front.s[-1]), count + 1)
    ends = np.array([front.at(float(s), RAIL_BEHIND_M)[0] for s in stations])
    for start, end in zip(ends[:-1], ends[1:], strict=True):
        center, run = (start + end) / 2, end - start
        length, yaw = float(np.hypot(*run)), float(np.arctan2(run[1], run[0]))
        footprint = rectangle(center, length - 0.2, 0.2, yaw)  # shorter than the piece: neighbours do not touch
        if site.is_free(footprint, may_touch_paving=True):
            site.take(footprint)
            site.parts += shapes.guard_rail((*center, site.height(center)), length, yaw, RAIL_TOP_M)
            half, middle = (length / 2, 0.08, RAIL_TOP_M / 2), (*center, site.height(center) + RAIL_TOP_M / 2)
            site.add_solid(middle, half, yaw, Tag.GUARD_RAIL, "static.wall")
