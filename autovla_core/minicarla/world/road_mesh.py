"""The land's triangles: carriageway, junctions, sidewalks, kerbs and grass. Right-handed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from autovla_core.frames import point_from_carla
from autovla_core.minicarla.world.areas import OVERLAP_M, Areas, edges, polygons
from autovla_core.minicarla.world.ground import CELL_M, Ground
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, from_quads, join
from autovla_core.minicarla.world.surfaces import UP, drape, lay, quads_mesh, ribbon
from autovla_core.minicarla.world.survey import Strip, outermost, simplify

KERB_M = 0.15  # height of a sidewalk above the road
KERB_WIDTH_M = 0.18
VERGE_M = 2.0
TERRAIN_CELL_M = 8.0
TERRAIN_BELOW_M = 0.12
FAR_CELL_M = 80.0
FAR_CELLS = 5
BESIDE_M = 0.06

ASPHALT = (0.105, 0.105, 0.11)
PAVING = (0.36, 0.345, 0.32)
KERB = (0.52, 0.51, 0.49)
GRASS = (0.105, 0.2, 0.06)


def build_roads(strips: Sequence[Strip], areas: Areas, ground: Ground) -> Mesh:
    """Return the land without paint."""
    parts = [_street_surfaces([strip for strip in strips if strip.record.junction_id < 0])]
    parts += [
        drape(area.buffer(OVERLAP_M), ground, 0.0, ASPHALT, Material.ASPHALT, Tag.ROAD) for area in areas.junctions
    ]
    for corner in areas.corners:
        parts.append(_raised(corner, areas, ground, PAVING, Material.PAVING, Tag.SIDEWALK))
    for island in areas.islands:
        parts.append(_raised(island, areas, ground, GRASS, Material.GRASS, Tag.TERRAIN))
    parts.append(_terrain(areas.paved, ground))
    return join(parts)


def _street_surfaces(streets: Sequence[Strip]) -> Mesh:
    asphalt, paving, kerbs, verges = [], [], [], []
    open_sides = outermost(streets)
    for strip in streets:
        keep = simplify(strip.points * (1.0, 1.0, 6.0))  # a hill's crest is seen more than a bend's edge
        left, right = (edge[keep] for edge in edges(strip))
        if strip.record.type != "sidewalk":
            beyond = (right - left) * (OVERLAP_M / np.linalg.norm(right - left, axis=1))[:, None]
            asphalt.append(ribbon(left - beyond, right + beyond))
            if strip.record.key in open_sides and strip.record.mark[0] != "curb":
                verge = (right - left) * (VERGE_M / np.linalg.norm(right - left, axis=1))[:, None]
                verges.append(ribbon(right, right + verge - TERRAIN_BELOW_M * UP))
            continue
        across = right - left
        inner = left + across * (KERB_WIDTH_M / np.linalg.norm(across, axis=1))[:, None]
        outer = right + across * (VERGE_M / np.linalg.norm(across, axis=1))[:, None]
        paving.append(ribbon(inner + KERB_M * UP, right + KERB_M * UP))
        kerbs.append(ribbon(left + KERB_M * UP, inner + KERB_M * UP))
        kerbs.append(ribbon(left, left + KERB_M * UP))
        verges.append(ribbon(right + KERB_M * UP, outer - TERRAIN_BELOW_M * UP))
    return join(
        [
            quads_mesh(asphalt, ASPHALT, Material.ASPHALT, Tag.ROAD),
            quads_mesh(paving, PAVING, Material.PAVING, Tag.SIDEWALK),
            quads_mesh(kerbs, KERB, Material.PAVING, Tag.SIDEWALK),
            quads_mesh(verges, GRASS, Material.GRASS, Tag.TERRAIN),
        ]
    )


def _raised(shape: BaseGeometry, areas: Areas, ground: Ground, color: Sequence[float], material: int, tag: int) -> Mesh:
    """A raised area with a kerb where it borders the road and a grass verge on its open sides."""
    starts, ends = _outline(shape)
    middles = shapely.points((starts + ends) / 2)
    bounds = shape.buffer(1.0).bounds
    beside_road = shapely.distance(shapely.clip_by_rect(areas.road, *bounds), middles) < BESIDE_M
    walks = shapely.clip_by_rect(areas.walks, *bounds)
    beside_walk = shapely.distance(walks, middles) < BESIDE_M  # nan, so False, if there is none
    direction = (ends - starts) / np.linalg.norm(ends - starts, axis=1)[:, None]
    outward = np.stack([direction[:, 1], -direction[:, 0], np.zeros(len(direction))], axis=1)[:, None]
    low = np.stack([lay(starts, ground, 0.0), lay(ends, ground, 0.0)], axis=1)
    top = low + KERB_M * UP
    on_paving = top + 0.004 * UP
    faces = _between(top, low)[beside_road]
    stones = _between(on_paving - KERB_WIDTH_M * outward, on_paving)[beside_road]
    verges = _between(top, low + VERGE_M * outward - TERRAIN_BELOW_M * UP)[~beside_road & ~beside_walk]
    return join(
        [
            drape(shape, ground, KERB_M, color, material, tag),
            quads_mesh([faces, stones], KERB, Material.PAVING, Tag.SIDEWALK),
            quads_mesh([verges], GRASS, Material.GRASS, Tag.TERRAIN),
        ]
    )


def _outline(shape: BaseGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends (n, 2) of all border edges, the area on their left."""
    starts, ends = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for part in polygons(shape):
        for number, ring in enumerate([part.exterior, *part.interiors]):
            points = np.asarray(ring.coords)[:, :2]
            if ring.is_ccw == (number > 0):
                points = points[::-1]
            long_enough = np.linalg.norm(np.diff(points, axis=0), axis=1) > 0.02
            starts.append(points[:-1][long_enough])
            ends.append(points[1:][long_enough])
    return np.concatenate(starts), np.concatenate(ends)


def _between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Quads (n, 4, 3) from edges (n, 2, 3) walked from [0] to [1]."""
    return np.stack([left[:, 0], right[:, 0], right[:, 1], left[:, 1]], axis=1)


def _terrain(paved: BaseGeometry, ground: Ground) -> Mesh:
    """Grass in squares, left out where roads and sidewalks cover it, and coarse fields to the horizon."""
    low = point_from_carla(ground.origin)
    size = (np.array(ground.heights.shape) - 1) * CELL_M
    x0, x1, y0, y1 = low[0], low[0] + size[0], low[1] - size[1], low[1]
    xs = np.linspace(x0, x1, int(np.ceil(size[0] / TERRAIN_CELL_M)) + 1)
    ys = np.linspace(y0, y1, int(np.ceil(size[1] / TERRAIN_CELL_M)) + 1)
    cells = _squares(xs, ys)
    boxes = shapely.box(cells[:, 0, 0], cells[:, 0, 1], cells[:, 2, 0], cells[:, 2, 1])
    shapely.prepare(paved)
    near = lay(cells[~shapely.contains(paved, boxes)], ground, -TERRAIN_BELOW_M)
    wide_x, wide_y = _widened(x0, x1), _widened(y0, y1)
    far = _squares(wide_x, wide_y)
    middle = far.mean(1)
    inside = (middle[:, 0] > x0) & (middle[:, 0] < x1) & (middle[:, 1] > y0) & (middle[:, 1] < y1)
    far = lay(far[~inside], ground, -TERRAIN_BELOW_M)
    return from_quads(np.concatenate([near, far]), GRASS, Material.GRASS, Tag.TERRAIN)


def _widened(low: float, high: float) -> np.ndarray:
    """Grid lines at both ends of an interval and FAR_CELLS beyond each."""
    steps = FAR_CELL_M * np.arange(1, FAR_CELLS + 1)
    return np.concatenate([low - steps[::-1], [low, high], high + steps])


def _squares(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Cells (n, 4, 2) of a grid, counter-clockwise from the lower left."""
    x, y = np.meshgrid(xs, ys, indexing="ij")
    grid = np.stack([x, y], axis=-1)
    return np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=2).reshape(-1, 4, 2)
