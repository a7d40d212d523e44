"""Routes over the shipped town's map, read offline."""

from __future__ import annotations

import itertools
from pathlib import Path

import carla
import numpy as np
import pytest

import autovla_core.minicarla
from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route, route_plan
from autovla_core.contracts import Command
from autovla_core.errors import RouteError

TOWN = Path(autovla_core.minicarla.__file__).parent / "towns" / "Havenbrook.xodr"
TURNS = (Command.LEFT, Command.RIGHT, Command.STRAIGHT)


@pytest.fixture(scope="module")
def town() -> carla.Map:
    return carla.Map("Havenbrook", TOWN.read_text())


@pytest.fixture(scope="module")
def graph(town) -> LaneGraph:
    return LaneGraph(town)


@pytest.fixture(scope="module")
def routes(town, graph) -> list:
    rng = np.random.default_rng(5)
    places = [begin.transform.location for begin, _ in town.get_topology() if not begin.is_junction]
    pairs = [rng.choice(len(places), 2, replace=False) for _ in range(40)]
    return [plan_route(town, [places[a], places[b]], graph) for a, b in pairs]


def heading_changes(points: list) -> np.ndarray:
    yaws = np.unwrap(np.radians([-t.rotation.yaw for t, _ in points]))
    return np.diff(yaws)


def test_every_lane_has_a_successor(graph):
    assert all(graph.successors[key] for key in graph.lanes)


def test_routes_are_dense_and_never_jump(routes):
    for route in routes:
        xy = np.array([(t.location.x, t.location.y) for t, _ in route])
        assert np.hypot(*np.diff(xy, axis=0).T).max() < 1.6


def test_commands_stand_exactly_in_the_junctions(town, routes):
    for route in routes[:10]:
        for transform, command in route[1:-1:3]:
            waypoint = town.get_waypoint(transform.location)
            around = {w.is_junction for w in [waypoint, *waypoint.next(1.5), *waypoint.previous(1.5)]}
            if len(around) == 1:  # not at an edge
                assert (command in TURNS) == waypoint.is_junction


def test_left_turns_turn_left_and_right_turns_right(routes):
    seen = set()
    for route in routes:
        for command, group in itertools.groupby(route, key=lambda point: point[1]):
            points = list(group)
            turned = float(heading_changes(points).sum()) if len(points) > 1 else 0.0
            if command in (Command.LEFT, Command.RIGHT) and len(points) > 4:
                seen.add(command)
                assert (turned > 0.5) == (command is Command.LEFT)
    assert seen == {Command.LEFT, Command.RIGHT}


def test_some_routes_change_lanes_and_do_it_gradually(routes):
    changing = [r for r in routes if any(c in (Command.CHANGE_LEFT, Command.CHANGE_RIGHT) for _, c in r)]
    assert changing
    for route in changing:
        assert np.abs(np.diff(route_plan(route).yaw)).max() < 0.45


def test_a_goal_behind_the_start_is_reached_by_driving_on(town, graph):
    start = next(w for w, _ in town.get_topology() if not w.is_junction and len(w.next_until_lane_end(1.0)) > 30)
    ahead = start.next(20.0)[0].transform.location
    route = plan_route(town, [ahead, start.next(5.0)[0].transform.location], graph)
    assert len(route) > 60
    assert all(route[k][0].location.distance(route[k + 1][0].location) < 1.6 for k in range(len(route) - 1))


def test_legs_are_joined(town, graph):
    start = next(w for w, _ in town.get_topology() if not w.is_junction and len(w.next_until_lane_end(1.0)) > 40)
    places = [start.next(d)[0].transform.location for d in (2.0, 15.0, 30.0)]
    route = plan_route(town, places, graph)
    assert route_plan(route).length == pytest.approx(28.0, abs=1.5)


def test_one_location_is_no_route(town):
    with pytest.raises(RouteError, match="at least 2"):
        plan_route(town, [carla.Location()])


def test_route_plan_takes_road_options_numbers_and_commands(routes):
    class Option:
        def __init__(self, value: int) -> None:
            self.value = value

    points = routes[0]
    numbers = route_plan([(t, int(c)) for t, c in points])
    options = route_plan([(t, Option(int(c))) for t, c in points])
    assert (numbers.commands == options.commands).all()
    assert numbers.points[0] == pytest.approx([points[0][0].location.x, -points[0][0].location.y])
