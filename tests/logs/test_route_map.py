"""The map around a route from sampled lanes: a straight road of two lanes a side, a crossing, a road behind it."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from autovla_core.contracts import Actor
from autovla_core.errors import LogError
from autovla_core.logs import route_map, truth
from autovla_core.logs.route_map import LaneRecord, build, outline
from autovla_core.logs.truth import PolygonKind, TrackRecorder

WIDTH = 3.5


def lane(key, start, end, junction=-1, **more) -> LaneRecord:
    """A straight lane with a sample a metre."""
    start, end = np.array(start, float), np.array(end, float)
    count = round(float(np.hypot(*(end - start)))) + 1
    points = start + np.linspace(0.0, 1.0, count)[:, None] * (end - start)
    yaw = np.arctan2(*(end - start)[::-1])
    return LaneRecord(key, np.column_stack([points, np.full(count, yaw)]), np.full(count, WIDTH), junction, **more)


def crossing() -> list[LaneRecord]:
    """Road 1 to x = 0, junction 9 to x = 20, road 2 on; road 3 comes from the south and ends in the junction."""
    lanes = [
        lane((1, 0, -1), (-60, 0), (0, 0)),
        lane((1, 0, -2), (-60, -WIDTH), (0, -WIDTH)),
        lane((1, 0, 1), (0, WIDTH), (-60, WIDTH)),
        lane((2, 0, -1), (20, 0), (80, 0)),
        lane((2, 0, -2), (20, -WIDTH), (80, -WIDTH)),
        lane((3, 0, -1), (10, -60), (10, -10)),
        lane((7, 0, -1), (0, 0), (20, 0), 9, light_id=5),
        lane((7, 0, -2), (0, -WIDTH), (20, -WIDTH), 9, light_id=5),
        lane((8, 0, -1), (10, -10), (10, 10), 9, light_id=6),
        lane((1, 0, -3), (-60, -2 * WIDTH), (0, -2 * WIDTH), parking=True),
        lane((4, 0, -1), (-60, 500), (0, 500)),
    ]
    return lanes


def route(first: float = -50.0, last: float = 70.0) -> np.ndarray:
    x = np.arange(first, last + 0.5)
    return np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])


def polygons(found: truth.RouteMap) -> list[shapely.Polygon]:
    return [shapely.Polygon(found.xy[a:b]) for a, b in zip(found.offsets[:-1], found.offsets[1:])]


def test_a_lane_is_its_samples_a_little_longer_and_as_wide_as_it_says():
    box = outline(lane((1, 0, -1), (0, 0), (30, 0)))
    assert box.bounds == pytest.approx((-0.6, -1.75, 30.6, 1.75))
    assert box.area == pytest.approx(31.2 * 3.5)


def test_a_bend_tighter_than_its_half_width_still_has_a_surface():
    angle = np.linspace(0.0, np.pi / 2, 12)
    center = np.column_stack([np.sin(angle), 1 - np.cos(angle), angle])  # radius 1 m
    surface = outline(LaneRecord((1, 0, -1), center, np.full(12, WIDTH)))
    assert surface.is_valid and shapely.contains_xy(surface, *center[6, :2])


def test_lanes_of_the_route_and_those_beside_them_are_marked_and_others_not():
    found = build(crossing(), route(), np.zeros((0, 3)))
    marked = {tuple(key) for key, on in zip(found.lane.tolist(), found.on_route) if on and any(key)}
    assert marked == {(1, 0, -1), (1, 0, -2), (2, 0, -1), (2, 0, -2), (7, 0, -1), (7, 0, -2)}
    kinds = dict(zip(map(tuple, found.lane.tolist()), found.kind.tolist()))
    assert kinds[1, 0, -3] == PolygonKind.PARKING and kinds[8, 0, -1] == PolygonKind.CONNECTOR
    assert (4, 0, -1) not in kinds  # 500 m away


def test_the_surface_has_no_gap_where_a_car_drives_on():
    found = build(crossing(), route(), np.zeros((0, 3)))
    surfaces = np.isin(found.kind, (PolygonKind.ROAD, PolygonKind.JUNCTION))
    ground = shapely.union_all([p for p, yes in zip(polygons(found), surfaces) if yes])
    x, y = np.meshgrid(np.arange(-60, 80, 0.25), np.arange(-WIDTH - 1.7, 1.71, 0.1))
    assert shapely.contains_xy(ground, x.ravel(), y.ravel()).all()
    roads = [p for p, kind in zip(polygons(found), found.kind) if kind == PolygonKind.ROAD]
    # two lanes of 3.5 m are one road of 7 m; the ends reach 0.6 m further, all sides 5 cm
    assert max(road.area for road in roads) == pytest.approx(61.3 * 7.1, rel=0.001)


def test_connectors_know_their_light_and_lanes_the_limit_met_on_them():
    limits = np.array([[-30, 0, 8.0], [-20, 0, 8.0], [-10, 0, 14.0], [40, 0, 11.0]])
    found = build(crossing(), route(), limits)
    by_lane = {tuple(key): i for i, key in enumerate(found.lane.tolist())}
    assert found.light_id[by_lane[7, 0, -1]] == 5 and found.light_id[by_lane[1, 0, -1]] == -1
    assert found.speed_limit[by_lane[1, 0, -1]] == 8.0 and found.speed_limit[by_lane[2, 0, -1]] == 11.0
    assert np.isnan(found.speed_limit[by_lane[1, 0, -2]]) and np.isnan(found.speed_limit[by_lane[3, 0, -1]])


def test_baselines_lead_from_end_to_end_two_metres_apart(tmp_path):
    found = build(crossing(), route(), np.zeros((0, 3)))
    first = found.baseline[: found.baseline_offsets[1]]
    assert first[0].tolist() == [-60, 0, 0] and first[-1].tolist() == [0, 0, 0] and len(first) == 31
    truth.write_map(tmp_path, found)
    assert np.array_equal(truth.read_map(tmp_path).xy, found.xy)


def test_a_route_beside_every_lane_is_refused():
    with pytest.raises(LogError, match="none of 11 lanes lies on the route"):
        build(crossing(), route() + [0, 20, 0], np.zeros((0, 3)))
    with pytest.raises(LogError, match="two or more poses"):
        build(crossing(), route()[:1], np.zeros((0, 3)))


def test_a_lane_that_only_crosses_the_route_is_not_its_lane():
    crossing_lane = lane((5, 0, -1), (-30, -40), (-30, 40))
    found = build([*crossing(), crossing_lane], route(), np.zeros((0, 3)))
    assert not found.on_route[found.lane.tolist().index([5, 0, -1])]


def recorded(speeds: np.ndarray, yaw_rate: float = 0.0) -> truth.RouteTracks:
    recorder = TrackRecorder((1.0, 3.9, 1.0, 2.85))
    for f, speed in enumerate(speeds):
        recorder.add(0.1 * f, [0, 0, 0, speed, 0, 9, 9, yaw_rate, 0], [Actor(1, "static", np.zeros(3), 0, 1, 1)], {})
    return recorder.finish()


def test_accelerations_come_from_the_past_of_the_speeds():
    speeds = np.array([4.0, 4.0, 4.2, 4.4, 4.6, 4.6])
    ego = truth.with_accelerations(recorded(speeds)).ego
    assert ego[:, 5] == pytest.approx([0.0, 0.0, 1.0, 2.0, 2.0, 1.0])  # over 0.2 s, backwards
    assert np.allclose(ego[:, 6], 0.0)
    changed = truth.with_accelerations(recorded(np.array([4.0, 4.0, 4.2, 9.0, 9.0, 9.0]))).ego
    assert np.array_equal(changed[:3], ego[:3])


def test_a_car_on_a_circle_is_pulled_inwards():
    ego = truth.with_accelerations(recorded(np.full(4, 5.0), yaw_rate=0.2)).ego
    assert ego[:, 6] == pytest.approx([1.0] * 4)  # v w = 5 * 0.2, to the left


def test_frames_are_found_by_time_and_times_between_them_have_none():
    tracks = recorded(np.zeros(5))
    assert truth.frames_of(tracks, np.array([0.0, 0.05, 0.1, 0.4001, 0.6])).tolist() == [0, -1, 1, 4, -1]
    assert route_map.AREA_M > 100.0  # a scene looks 100 m around the ego
