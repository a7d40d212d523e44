"""Where in a town a scenario type finds its place, and a route through it; any town, seeded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core import frames, geometry
from autovla_core.carla_bridge.route_planner import LaneGraph, LaneKey, plan_route
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Command
from autovla_core.errors import RouteError
from autovla_core.evaluation.route_file import Route, Scenario
from autovla_core.evaluation.scenarios.junctions import arm_of, turn_name
from autovla_core.evaluation.scenarios.registry import ALIASES, SCENARIOS, Needs, scenario_type
from autovla_core.evaluation.scenarios.road import has_beside, has_oncoming
from autovla_core.evaluation.scenarios.setting import NoPlace

START_M = 6.0  # into the first lane
RUN_UP_M = 8.0  # from the start to the trigger of what stands on a stretch
BEFORE_JUNCTION_M = (42.0, 60.0)  # of the trigger of what happens there
BEHIND_M = 60.0  # the route goes on behind the scenario's lane
BEND_RAD, STRAIGHT_RAD = math.radians(40.0), math.radians(12.0)
TRAFFIC_LIGHT, STOP_SIGN = "1000001", "206"  # OpenDRIVE's types
SIGNAL_AHEAD_M = 20.0  # how far ahead of a waypoint near a lane's end they may stand
EVERY_M = 20.0  # a long lane has several places
CHANGE_EVERY_M = 40.0  # along the stretch on which the route changes lanes


@dataclass(frozen=True)
class Place:
    """A trigger on a lane, and the lanes that the route takes from there."""

    lanes: tuple[LaneKey, ...]  # beside each other where it changes between them, then one behind the other
    trigger: int  # index of a waypoint on the first lane
    changes: int = 0  # so many of the lanes lie beside the first


def scenario_route(
    graph: LaneGraph, carla_map: carla.Map, rng: np.random.Generator, id: str, weather: Mapping[str, float], type: str
) -> Route:
    """A route with one scenario of a type, somewhere in the town.

    Raises:
        RouteError: the type is unknown.
        NoPlace: the town has no place for it.
    """
    kind = scenario_type(type)
    if kind is None:
        raise RouteError(f"unknown scenario type {type!r}; known: {', '.join((*SCENARIOS, *ALIASES))}")
    found = list(places(graph, kind.needs, Junctions()))
    town = carla_map.name.split("/")[-1]
    for index in rng.permutation(len(found)):
        route = _route(graph, carla_map, found[index], id, town, weather, type)
        if route is not None:
            return route
    raise NoPlace(f"{town} has no place for a {type}")


def places(graph: LaneGraph, needs: Needs, junctions: Junctions) -> Iterator[Place]:
    """Every place that offers what is needed, in the order of the lanes."""
    for key in sorted(graph.lanes):
        lane = graph.lanes[key]
        if lane.in_junction or lane.length < START_M + RUN_UP_M + 30.0:
            continue
        if needs.turn:
            yield from _turns(graph, needs, junctions, key)
        else:
            room = lane.length - START_M - RUN_UP_M - needs.stretch_m
            chain = _changing(graph, key, needs.changes)
            for more in np.arange(0.0, room, EVERY_M):
                if chain and _offers(needs, lane.waypoints, int(START_M + RUN_UP_M + more)):
                    yield from _onwards(graph, chain, int(START_M + RUN_UP_M + more))


class Junctions:
    """Which junctions have lights, and who can go where in them; looked up once."""

    def __init__(self) -> None:
        self._ways: dict[int, list[tuple[float, float]]] = {}

    def has_lights(self, approach: carla.Waypoint) -> bool:
        """Whether the lane of a waypoint near its end comes to a light."""
        return bool(approach.get_landmarks_of_type(SIGNAL_AHEAD_M, TRAFFIC_LIGHT, False))

    def has_stop_sign(self, approach: carla.Waypoint) -> bool:
        """Whether the lane of a waypoint near its end comes to a stop sign."""
        return bool(approach.get_landmarks_of_type(SIGNAL_AHEAD_M, STOP_SIGN, False))

    def offers(self, needs: Needs, approach: carla.Waypoint, inside: carla.Waypoint, own_yaw: float) -> bool:
        """Whether a junction has the signals and ways that are needed, for an ego that enters heading ``own_yaw``."""
        if needs.lights is not None and self.has_lights(approach) != needs.lights:
            return False
        if needs.stop_sign and not self.has_stop_sign(approach):
            return False
        offered = {(arm_of(came - own_yaw), turn_name(goes - came)) for came, goes in self.ways(inside)}
        return set(needs.ways) <= offered and needs.arms in (0, len({arm for arm, _ in offered}))

    def ways(self, inside: carla.Waypoint) -> list[tuple[float, float]]:
        """(entry yaw, exit yaw), rad, of all ways through the junction of a waypoint."""
        junction = inside.get_junction()
        if junction is None:
            return []
        if junction.id not in self._ways:
            pairs = junction.get_waypoints(carla.LaneType.Driving)
            self._ways[junction.id] = [(_yaw(a), _yaw(b)) for a, b in pairs]
        return self._ways[junction.id]


def _offers(needs: Needs, waypoints: Sequence[carla.Waypoint], trigger: int) -> bool:
    stretch = waypoints[trigger - int(RUN_UP_M) : trigger + int(needs.stretch_m)]
    middle = stretch[len(stretch) // 2]
    bends = max(abs(float(geometry.wrap_angle(_yaw(w) - _yaw(stretch[0])))) for w in (middle, stretch[-1]))
    if needs.bend != bool(bends > BEND_RAD) or (not needs.bend and bends > STRAIGHT_RAD):
        return False
    return has_beside(middle, needs.beside) and (has_oncoming(middle) or not needs.two_way)


def _changing(graph: LaneGraph, key: LaneKey, changes: int) -> tuple[LaneKey, ...]:
    """A lane and those that so many changes lead to: leftwards as long as there is a lane, else back; () for none."""
    chain = [key]
    for _ in range(changes):
        sides = {command: side for side, command in graph.sides(chain[-1])}
        options = [sides[side] for side in (Command.CHANGE_LEFT, Command.CHANGE_RIGHT) if side in sides]
        if not options:
            return ()
        chain.append(options[0])
    return tuple(chain)


def _onwards(graph: LaneGraph, chain: tuple[LaneKey, ...], trigger: int) -> Iterator[Place]:
    """Lanes beside each other and the straightest way out of the last."""
    for inside in sorted(graph.successors[chain[-1]], key=lambda k: _turned(graph, k)):
        for behind in graph.successors.get(inside, []):
            if behind in graph.lanes and graph.lanes[behind].length > 30.0:
                yield Place((*chain, inside, behind), trigger, len(chain) - 1)
                return


def _turns(graph: LaneGraph, needs: Needs, junctions: Junctions, key: LaneKey) -> Iterator[Place]:
    lane = graph.lanes[key]
    before = min(BEFORE_JUNCTION_M[1], lane.length - START_M - RUN_UP_M)
    if before < BEFORE_JUNCTION_M[0]:
        return
    for inside in graph.successors[key]:
        if inside not in graph.lanes or not graph.lanes[inside].in_junction:
            continue
        way = graph.lanes[inside].waypoints
        if needs.turn not in ("any", turn_name(_yaw(way[-1]) - _yaw(way[0]))):
            continue
        if not junctions.offers(needs, lane.waypoints[-3], way[1], _yaw(lane.waypoints[-1])):
            continue
        for behind in graph.successors.get(inside, []):
            if behind in graph.lanes and not graph.lanes[behind].in_junction and graph.lanes[behind].length > 45.0:
                yield Place((key, inside, behind), len(lane.waypoints) - 1 - int(before))


def _route(
    graph: LaneGraph,
    carla_map: carla.Map,
    place: Place,
    id: str,
    town: str,
    weather: Mapping[str, float],
    type: str,
) -> Route | None:
    first, behind = graph.lanes[place.lanes[0]], graph.lanes[place.lanes[-1]]
    start = max(int(START_M), place.trigger - 40)
    end = min(int(BEHIND_M), len(behind.waypoints) - 1 - int(START_M))
    middle = place.trigger if place.changes else (start + len(first.waypoints)) // 2
    stops = [first.waypoints[i] for i in (start, middle)] + _beside_stops(graph, place)
    stops += [graph.lanes[place.lanes[place.changes]].waypoints[-3]] + [behind.waypoints[i] for i in (3, end)]
    points = [w.transform.location for w in stops]
    try:
        dense = plan_route(carla_map, points, graph)
    except RouteError:
        return None
    trigger = first.waypoints[place.trigger].transform
    steps = np.diff([(t.location.x, t.location.y) for t, _ in dense], axis=0)
    if np.hypot(*steps.T).sum() > 400.0:
        return None
    scenario = Scenario(f"{type}_1", type, _trigger(trigger))
    rounded = tuple((round(p.x, 3), round(p.y, 3), round(p.z, 3)) for p in points)
    return Route(id, town, rounded, ((0.0, dict(weather)), (100.0, dict(weather))), (scenario,))


def _beside_stops(graph: LaneGraph, place: Place) -> list[carla.Waypoint]:
    """Where the route must have changed to each of the lanes beside the first."""
    along, stops = len(graph.lanes[place.lanes[0]].waypoints) - 1, []
    for number, key in enumerate(place.lanes[1 : place.changes + 1], start=1):
        share = (place.trigger + CHANGE_EVERY_M * number) / along
        stops.append(graph.lanes[key].waypoints[int(round(share * (len(graph.lanes[key].waypoints) - 1)))])
    return stops


def _trigger(transform: carla.Transform) -> tuple[float, float, float, float]:
    at = transform.location
    return round(at.x, 3), round(at.y, 3), round(at.z, 3), round(transform.rotation.yaw, 3)


def _turned(graph: LaneGraph, key: LaneKey) -> float:
    waypoints = graph.lanes[key].waypoints
    return abs(float(geometry.wrap_angle(_yaw(waypoints[-1]) - _yaw(waypoints[0]))))


def _yaw(waypoint: carla.Waypoint) -> float:
    return frames.yaw_from_carla(waypoint.transform.rotation.yaw)
