"""The map around one route, built from sampled lanes: polygons, surfaces, which of them the route uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from autovla_core.errors import LogError
from autovla_core.geometry import arc_length, wrap_angle
from autovla_core.logs.truth import PolygonKind, RouteMap

AREA_M = 110.0  # how far from the route an area is kept: a scene looks 100 m around the ego
EXTEND_M = 0.6  # lanes are sampled every metre, so their last sample may lie before their end
SIMPLIFY_M = 0.02
JOIN_M = 0.15  # slivers between lanes of one surface
SLACK_M = 0.05  # by which surfaces overlap their neighbours: chords of a bend leave millimetres between them
JUNCTION_JOIN_M = 1.5  # holes between the connectors of a junction
SAME_WAY = 0.6  # rad
NEAR_M, BESIDE_M = 0.75, 4.5  # a connector of the route, and one of a lane beside it
BASELINE_M = 2.0


@dataclass(frozen=True)
class LaneRecord:
    """One lane as a map tells it, sampled about every metre in its driving direction; world frame."""

    key: tuple[int, int, int]  # road, section, lane of OpenDRIVE
    center: np.ndarray  # (N, 3) x, y, yaw; N >= 2
    width: np.ndarray  # (N,) m
    junction: int = -1  # the junction that it lies in, -1: none
    parking: bool = False
    light_id: int = -1  # the light that lets cars into this connector, -1: none

    @property
    def kind(self) -> PolygonKind:
        """Lane, connector or parking."""
        if self.parking:
            return PolygonKind.PARKING
        return PolygonKind.LANE if self.junction < 0 else PolygonKind.CONNECTOR


@dataclass(frozen=True)
class _Area:
    polygon: shapely.Polygon
    kind: PolygonKind
    lane: LaneRecord | None = None
    on_route: bool = False


def build(lanes: Sequence[LaneRecord], route: np.ndarray, limits: np.ndarray) -> RouteMap:
    """The map within ``AREA_M`` of the route.

    Args:
        lanes: every lane of the town.
        route: (R, 3) x, y, yaw about 1 m apart.
        limits: (L, 3) x, y and the speed limit in m/s met there; other lanes have none.

    Raises:
        LogError: a route of fewer than two points, or none of the lanes lies on it.
    """
    route = np.asarray(route, float)
    if route.ndim != 2 or route.shape[1:] != (3,) or len(route) < 2:
        raise LogError(f"the route is {route.shape}, expected two or more poses (N, 3)")
    line = shapely.LineString(route[:, :2])
    near = [(lane, outline(lane)) for lane in lanes]
    near = [(lane, polygon) for lane, polygon in near if polygon.distance(line) <= AREA_M]
    chosen = lanes_of_route([lane for lane, _ in near], [polygon for _, polygon in near], route)
    if not chosen:
        raise LogError(f"none of {len(lanes)} lanes lies on the route that starts at {route[0, :2].round(1).tolist()}")
    areas = [_Area(polygon, lane.kind, lane, i in chosen) for i, (lane, polygon) in enumerate(near)]
    return _arrays([*areas, *_surfaces(areas)], route, np.asarray(limits, float).reshape(-1, 3))


def outline(lane: LaneRecord) -> shapely.Polygon:
    """The surface of a lane, a little longer than its samples."""
    center = _extended(np.asarray(lane.center, float))
    half = np.pad(np.asarray(lane.width, float), 1, "edge")[:, None] / 2.0
    normal = np.stack([-np.sin(center[:, 2]), np.cos(center[:, 2])], 1)
    ring = np.concatenate([center[:, :2] + half * normal, (center[:, :2] - half * normal)[::-1]])
    return _largest(shapely.make_valid(shapely.Polygon(ring)))  # the inner border of a tight curve crosses itself


def lanes_of_route(lanes: Sequence[LaneRecord], polygons: Sequence[shapely.Polygon], route: np.ndarray) -> set[int]:
    """Numbers of the lanes that the route uses, with all lanes of the same direction beside them."""
    groups = {
        _direction(lane)
        for lane, polygon in zip(lanes, polygons)
        if lane.kind is PolygonKind.LANE and _passes(lane, polygon, route)
    }
    found = {i for i, lane in enumerate(lanes) if lane.kind is PolygonKind.LANE and _direction(lane) in groups}
    tree = shapely.union_all([polygons[i] for i in found]) if found else shapely.Polygon()
    shapely.prepare(tree)
    for i, lane in enumerate(lanes):
        if lane.kind is PolygonKind.CONNECTOR and _connects(lane, tree, route):
            found.add(i)
    return found


def _direction(lane: LaneRecord) -> tuple[int, int, bool]:
    road, section, number = lane.key
    return road, section, number > 0


def _passes(lane: LaneRecord, polygon: shapely.Polygon, route: np.ndarray) -> bool:
    """Whether at least two metres of the route lie on the lane and lead its way."""
    inside = route[shapely.contains_xy(polygon, route[:, 0], route[:, 1])]
    if len(inside) < 2:
        return False
    nearest = np.argmin(np.hypot(*(inside[:, None, :2] - lane.center[None, :, :2]).transpose(2, 0, 1)), axis=1)
    return int((np.abs(wrap_angle(inside[:, 2] - lane.center[nearest, 2])) < SAME_WAY).sum()) >= 2


def _connects(lane: LaneRecord, tree: shapely.Geometry, route: np.ndarray) -> bool:
    """Whether a connector is the route's own, or leads beside it from one of its lanes to another."""
    gap = np.hypot(*(lane.center[:, None, :2] - route[None, :, :2]).transpose(2, 0, 1))
    nearest = gap.argmin(axis=1)
    along = np.abs(wrap_angle(lane.center[:, 2] - route[nearest, 2])) < SAME_WAY
    distance = gap[np.arange(len(gap)), nearest]
    if ((distance < NEAR_M) & along).mean() >= 0.9:
        return True
    ends = _extended(lane.center)[[0, -1], :2]
    return bool(along.all() and distance.mean() < BESIDE_M and shapely.intersects_xy(tree, *ends.T).all())


def _extended(center: np.ndarray) -> np.ndarray:
    """The samples (N, 3) with one more at either end."""
    step = EXTEND_M * np.array([[np.cos(yaw), np.sin(yaw), 0.0] for yaw in center[[0, -1], 2]])
    return np.concatenate([center[:1] - step[:1], center, center[-1:] + step[1:]])


def _surfaces(areas: Sequence[_Area]) -> list[_Area]:
    """Roads, one for each direction of a section, and junctions."""
    roads: dict[tuple[int, int, bool], list[_Area]] = {}
    junctions: dict[int, list[_Area]] = {}
    for area in areas:
        if area.kind is PolygonKind.LANE:
            roads.setdefault(_direction(area.lane), []).append(area)
        elif area.kind is PolygonKind.CONNECTOR:
            junctions.setdefault(area.lane.junction, []).append(area)
    found = [(group, PolygonKind.ROAD, JOIN_M) for group in roads.values()]
    found += [(group, PolygonKind.JUNCTION, JUNCTION_JOIN_M) for group in junctions.values()]
    return [
        _Area(part, kind, None, any(area.on_route for area in group))
        for group, kind, join in found
        for part in _joined([area.polygon for area in group], join)
    ]


def _joined(polygons: Sequence[shapely.Polygon], join: float) -> list[shapely.Polygon]:
    """Their union without gaps narrower than twice ``join`` and without holes."""
    grown = shapely.union_all([polygon.buffer(join, join_style="mitre") for polygon in polygons])
    closed = grown.buffer(SLACK_M - join, join_style="mitre")
    parts = closed.geoms if isinstance(closed, shapely.MultiPolygon) else [closed]
    return [shapely.Polygon(part.exterior) for part in parts if part.area > 1.0]


def _largest(shape: shapely.Geometry) -> shapely.Polygon:
    if isinstance(shape, shapely.Polygon):
        return shape
    parts = [part for part in shapely.get_parts(shape) if isinstance(part, shapely.Polygon)]
    return max(parts, key=lambda part: part.area)


def _arrays(areas: Sequence[_Area], route: np.ndarray, limits: np.ndarray) -> RouteMap:
    rings = [np.asarray(area.polygon.simplify(SIMPLIFY_M).exterior.coords)[:-1] for area in areas]
    baselines = [_thinned(area.lane.center) if _driven(area) else np.zeros((0, 3)) for area in areas]
    lanes = [area.lane for area in areas]
    return RouteMap(
        xy=np.concatenate(rings).astype(np.float32),
        offsets=_offsets(rings),
        kind=np.array([area.kind for area in areas], np.uint8),
        lane=np.array([lane.key if lane else (0, 0, 0) for lane in lanes], np.int32),
        on_route=np.array([area.on_route for area in areas], bool),
        speed_limit=np.array([_limit(area, limits) for area in areas], np.float32),
        light_id=np.array([lane.light_id if lane else -1 for lane in lanes], np.int32),
        baseline=np.concatenate(baselines).astype(np.float32),
        baseline_offsets=_offsets(baselines),
        route=route,
    )


def _driven(area: _Area) -> bool:
    return area.kind in (PolygonKind.LANE, PolygonKind.CONNECTOR)


def _thinned(center: np.ndarray) -> np.ndarray:
    """Samples about ``BASELINE_M`` apart, the last one among them."""
    place = arc_length(center)
    kept = np.unique(np.searchsorted(place, np.arange(0.0, place[-1], BASELINE_M)))
    return center[np.unique([*kept, len(center) - 1])]


def _limit(area: _Area, limits: np.ndarray) -> float:
    if not (area.on_route and _driven(area) and len(limits)):
        return float("nan")
    met = limits[shapely.contains_xy(area.polygon, limits[:, 0], limits[:, 1]), 2]
    return float(np.median(met)) if len(met) else float("nan")


def _offsets(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *(len(part) for part in parts)]).astype(np.int32)
