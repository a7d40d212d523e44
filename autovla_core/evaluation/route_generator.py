"""Random routes over a town's lanes; the same seed gives the same routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.carla_bridge.route_planner import LaneGraph, LaneKey, plan_route
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Command
from autovla_core.errors import RouteError
from autovla_core.evaluation.route_file import Route

Pair = tuple[LaneKey, LaneKey]  # lanes of the first and the last point
TURNS = (Command.LEFT, Command.RIGHT)
PINNED_LANE_M = 12.0  # shorter lanes get no point of their own
END_MARGIN_M = 6.0  # routes start and end this far inside their lanes


@dataclass(frozen=True)
class RouteStyle:
    """What kind of routes are wanted."""

    shortest_m: float = 200.0
    longest_m: float = 500.0
    turns: int = 1  # left and right turns at least
    change_share: float = 0.15  # of lanes with a neighbour: how often it is changed to


def random_route(
    graph: LaneGraph,
    carla_map: carla.Map,
    rng: np.random.Generator,
    id: str,
    weather: Mapping[str, float],
    style: RouteStyle = RouteStyle(),
    exclude: Collection[Pair] = (),
) -> tuple[Route, Pair]:
    """Draw one route and its pair of lanes; never a pair of ``exclude``.

    Raises:
        RouteError: nothing fitting in 500 tries.
    """
    town = carla_map.name.split("/")[-1]
    for _ in range(500):
        points = _walk(graph, rng, style)
        if not points:
            continue
        places = (graph.place(points[0]).key, graph.place(points[-1]).key)
        if places not in exclude and _fits(graph, carla_map, points, style):
            rounded = tuple((round(p.x, 3), round(p.y, 3), round(p.z, 3)) for p in points)
            return Route(id, town, rounded, ((0.0, dict(weather)), (100.0, dict(weather)))), places
    raise RouteError(f"found no route of {style.shortest_m:.0f} to {style.longest_m:.0f} m in 500 tries")


def lane_pair(graph: LaneGraph, route: Route) -> Pair:
    """Lanes of a route's first and last point."""
    first, last = (carla.Location(*route.carla_points[i]) for i in (0, -1))
    return graph.place(first).key, graph.place(last).key


def _walk(graph: LaneGraph, rng: np.random.Generator, style: RouteStyle) -> list[carla.Location]:
    """Points on a random way; empty when it ran into a lane that it had visited."""
    keys = [key for key, lane in graph.lanes.items() if not lane.in_junction and lane.length > 2 * END_MARGIN_M + 10]
    key = keys[int(rng.integers(len(keys)))]
    target = rng.uniform(style.shortest_m, style.longest_m)
    index = int(rng.integers(int(END_MARGIN_M), len(graph.lanes[key].waypoints) // 2 + 1))
    points = [_location(graph, key, index)]
    length, visited = -float(index), {key}
    while True:
        lane = graph.lanes[key]
        if not lane.in_junction and length + lane.length > target:
            end = int(min(max(target - length, END_MARGIN_M), len(lane.waypoints) - 1 - END_MARGIN_M))
            return [*points, _location(graph, key, end)] if end > 0 else []
        sides = [] if len(points) == 1 else graph.sides(key)
        if sides and rng.random() < style.change_share:
            key = sides[int(rng.integers(len(sides)))][0]
            points.append(_location(graph, key, int(0.9 * len(graph.lanes[key].waypoints))))
        elif not lane.in_junction and lane.length > PINNED_LANE_M:
            points.append(_location(graph, key, int(0.9 * (len(lane.waypoints) - 1))))
        length += lane.length
        following = [k for k in graph.successors[key] if k in graph.lanes]
        if not following:
            return []
        key = following[int(rng.integers(len(following)))]
        if key in visited:
            return []
        visited.add(key)


def _fits(graph: LaneGraph, carla_map: carla.Map, points: list[carla.Location], style: RouteStyle) -> bool:
    try:
        dense = plan_route(carla_map, points, graph)
    except RouteError:
        return False
    xy = np.array([(t.location.x, t.location.y) for t, _ in dense])
    steps = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    if not style.shortest_m <= steps.sum() <= 1.25 * style.longest_m or steps.max() > 6.0:
        return False
    commands = [command for _, command in dense]
    turns = sum(b in TURNS and b != a for a, b in zip(commands[:-1], commands[1:]))
    return turns >= style.turns


def _location(graph: LaneGraph, key: LaneKey, index: int) -> carla.Location:
    return graph.lanes[key].waypoints[index].transform.location
