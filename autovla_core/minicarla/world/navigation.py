"""Where walkers may walk: convex polygons of sidewalks, crosswalks and roads that share their corners exactly.

Right-handed plane of ``areas``; the polygons are the floor on which the client's own crowd plans its ways.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import carla
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from autovla_core.minicarla.world import crosswalks, survey
from autovla_core.minicarla.world.areas import Areas, survey_areas
from autovla_core.minicarla.world.layout import Solid

WALKER_RADIUS_M = 0.3  # the border keeps this far from walls and kerbs of the world's end
CROSSWALK_MARGIN_M = 0.6  # crosswalks reach this far beyond their paint, onto the sidewalks
CELL_M = 20.0  # no polygon is longer: ways lead through the middles of edges, and heights follow the hill
TOLERANCE_M = 0.2
GRID_M = 0.01
SPECK_M2 = 0.05
SLIVER_M = 0.02  # gaps between road and sidewalk up to twice this are closed
OBSTACLE_TALLER_M = 0.3
MOST_CORNERS = 6


class Floor(IntEnum):
    """CARLA's area numbers of a navigation mesh."""

    SIDEWALK = 1
    CROSSWALK = 2
    ROAD = 3


@dataclass(frozen=True, eq=False)
class Navigation:
    """Convex polygons, counter-clockwise, over shared corners."""

    xy: np.ndarray  # (n, 2) corners, right-handed
    polygons: tuple[tuple[int, ...], ...]  # 3 to MOST_CORNERS corners each
    floors: tuple[Floor, ...]


def survey_navigation(xodr: str, solids: Sequence[Solid]) -> Navigation:
    """Return the floor of a map; what stands on it, ``solids``, is left out.

    The text must be one that a town was loaded from.
    """
    carla_map = carla.Map("navigation", crosswalks.closed(xodr))
    areas = survey_areas(survey.survey(carla_map, ET.fromstring(xodr)))
    corners = np.array([(p.x, -p.y, p.z) for p in carla_map.get_crosswalks()], float).reshape(-1, 3)
    return build_navigation(areas, [ring[:, :2] for ring in crosswalks.rings(corners)], solids)


def build_navigation(areas: Areas, zebras: Sequence[np.ndarray], solids: Sequence[Solid]) -> Navigation:
    """Cut the walkable ground into convex polygons; crosswalks, ``zebras``, are rings (n, 2), right-handed."""
    walks = shapely.union_all([areas.walks, *areas.corners]).difference(areas.road)
    crossings = shapely.union_all(
        [shapely.Polygon(corners).buffer(CROSSWALK_MARGIN_M, join_style="mitre") for corners in zebras]
    )
    ground = shapely.union_all([walks, areas.road]).buffer(SLIVER_M).buffer(-SLIVER_M - WALKER_RADIUS_M)
    whole = ground.difference(_in_the_way(solids))
    walks = walks.difference(crossings)
    lines = shapely.union_all([whole.boundary, walks.boundary, crossings.boundary, *_cuts(whole.bounds)])
    faces = shapely.get_parts(shapely.polygonize([shapely.set_precision(lines, GRID_M)]))
    faces = faces[shapely.contains(whole, shapely.point_on_surface(faces)) & (shapely.area(faces) > SPECK_M2)]
    inner = shapely.point_on_surface(faces)
    floors = np.where(shapely.contains(walks, inner), Floor.SIDEWALK, Floor.ROAD)
    floors[shapely.contains(crossings, inner)] = Floor.CROSSWALK
    return _corners_shared(shapely.coverage_simplify(faces, TOLERANCE_M), floors)


def _in_the_way(solids: Sequence[Solid]) -> BaseGeometry:
    """What walkers walk around, right-handed."""
    return shapely.union_all([_footprint(solid) for solid in solids if solid.half_extent[2] > OBSTACLE_TALLER_M / 2])


def _footprint(solid: Solid) -> BaseGeometry:
    """The square around a solid, as far as a walker's middle must stay away."""
    yaw = -np.radians(solid.yaw_deg)
    forward, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    hx, hy = (solid.half_extent[:2] + WALKER_RADIUS_M).tolist()
    middle = solid.center[:2] * (1.0, -1.0)
    return shapely.Polygon([middle + a * hx * forward + b * hy * left for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))])


def _cuts(bounds: tuple[float, float, float, float]) -> list[BaseGeometry]:
    """Lines of a square grid over everything."""
    x0, y0, x1, y1 = bounds
    upright = [[(x, y0 - 1.0), (x, y1 + 1.0)] for x in np.arange(np.ceil(x0 / CELL_M) * CELL_M, x1, CELL_M)]
    level = [[(x0 - 1.0, y), (x1 + 1.0, y)] for y in np.arange(np.ceil(y0 / CELL_M) * CELL_M, y1, CELL_M)]
    return [shapely.LineString(line) for line in (*upright, *level)]


def _corners_shared(faces: np.ndarray, floors: np.ndarray) -> Navigation:
    """Triangulate faces that share their borders' points, and join the triangles again while they stay convex."""
    numbers: dict[tuple[int, int], int] = {}
    points: list[tuple[float, float]] = []
    polygons: list[tuple[int, ...]] = []
    kinds: list[Floor] = []
    for triangles, floor in zip(shapely.constrained_delaunay_triangles(faces), floors.tolist()):
        corners = shapely.get_coordinates(shapely.get_parts(triangles)).reshape(-1, 4, 2)[:, :3]
        wanted = []
        for triangle in corners.tolist():
            wanted.append([numbers.setdefault((round(x * 1e3), round(y * 1e3)), len(numbers)) for x, y in triangle])
        points += [(x / 1e3, y / 1e3) for x, y in list(numbers)[len(points) :]]
        joined = _joined(points, [_turned(points, triangle) for triangle in wanted if len(set(triangle)) == 3])
        polygons += joined
        kinds += [Floor(floor)] * len(joined)
    return Navigation(np.array(points).reshape(-1, 2), tuple(polygons), tuple(kinds))


def _turn(points: Sequence[tuple[float, float]], a: int, b: int, c: int) -> float:
    """Twice the signed area of a triangle: positive when it turns left."""
    (ax, ay), (bx, by), (cx, cy) = points[a], points[b], points[c]
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def _turned(points: Sequence[tuple[float, float]], triangle: Sequence[int]) -> tuple[int, ...]:
    """The triangle counter-clockwise."""
    a, b, c = triangle
    return (a, b, c) if _turn(points, a, b, c) > 0.0 else (a, c, b)


def _joined(points: Sequence[tuple[float, float]], triangles: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Join neighbours over their longest common edges first, while they stay convex and small."""
    parts = dict(enumerate(triangles))
    sides: dict[frozenset[int], list[int]] = {}
    for number, part in parts.items():
        for edge in _edges(part):
            sides.setdefault(frozenset(edge), []).append(number)
    home = {number: number for number in parts}

    def length(edge: frozenset[int]) -> float:
        (ax, ay), (bx, by) = (points[corner] for corner in edge)
        return (bx - ax) ** 2 + (by - ay) ** 2

    for edge in sorted((e for e, owners in sides.items() if len(owners) == 2), key=length, reverse=True):
        first, second = (_home(home, number) for number in sides[edge])
        whole = _spliced(parts[first], parts[second], edge) if first != second else ()
        if 0 < len(whole) <= MOST_CORNERS and _is_convex(points, whole):
            parts[first] = whole
            home[second] = first
            del parts[second]
    return list(parts.values())


def _home(home: dict[int, int], number: int) -> int:
    while home[number] != number:
        number = home[number]
    return number


def _edges(part: Sequence[int]) -> list[tuple[int, int]]:
    return [(part[i - 1], part[i]) for i in range(len(part))]


def _spliced(first: tuple[int, ...], second: tuple[int, ...], edge: frozenset[int]) -> tuple[int, ...]:
    """Two counter-clockwise polygons without the edge between them; empty if they share more than that edge."""
    if len(set(first) & set(second)) != 2:
        return ()
    end, start = next((a, b) for a, b in _edges(first) if {a, b} == edge)
    return _from(first, start) + _from(second, end)[1:-1]


def _from(part: tuple[int, ...], corner: int) -> tuple[int, ...]:
    at = part.index(corner)
    return part[at:] + part[:at]


def _is_convex(points: Sequence[tuple[float, float]], part: Sequence[int]) -> bool:
    count = len(part)
    return all(_turn(points, part[i - 2], part[i - 1], part[i]) > 1e-3 for i in range(count))
