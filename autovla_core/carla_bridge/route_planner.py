"""The shortest way over a map's lanes, with commands as CARLA's own route planner gives them.

The carla wheel has no planner; this one works on ``carla.Map`` alone, with or without a server.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core import frames, geometry
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Command
from autovla_core.errors import RouteError
from autovla_core.route.plan import RoutePlan, from_poses

SPACING_M = 1.0
TURN_RAD = math.radians(35.0)
CHANGE_COST_M = 15.0
CHANGE_LENGTH_M = 22.0
CHANGE_ROOM_M = 30.0  # a lane shorter than this is not used to change lanes

LaneKey = tuple[int, int, int]  # road, section, lane
RoutePoint = tuple["carla.Transform", Command]


@dataclass(frozen=True)
class _Lane:
    waypoints: tuple[carla.Waypoint, ...]  # about SPACING_M apart, in driving direction
    xy: np.ndarray  # (N, 2) CARLA metres
    in_junction: bool
    command: Command

    @property
    def length(self) -> float:
        return (len(self.waypoints) - 1) * SPACING_M


@dataclass(frozen=True)
class _Place:
    key: LaneKey
    index: int


class LaneGraph:
    """Every driving lane of a map, who follows whom, and where lanes may be changed."""

    def __init__(self, carla_map: carla.Map) -> None:
        self._map = carla_map
        self.lanes: dict[LaneKey, _Lane] = {}
        self.successors: dict[LaneKey, list[LaneKey]] = {}
        self._sides: dict[LaneKey, list[tuple[LaneKey, Command]]] = {}
        for begin, end in carla_map.get_topology():
            key = lane_key(begin)
            if key not in self.lanes:
                self.lanes[key] = _sampled(begin)
            following = self.successors.setdefault(key, [])
            if lane_key(end) != key and lane_key(end) not in following:
                following.append(lane_key(end))

    def place(self, location: carla.Location) -> _Place:
        """The lane point nearest to a location.

        Raises:
            RouteError: no driving lane there.
        """
        waypoint = self._map.get_waypoint(location)
        if waypoint is None or lane_key(waypoint) not in self.lanes:
            raise RouteError(f"no driving lane at x={location.x:.1f}, y={location.y:.1f}")
        key = lane_key(waypoint)
        at = waypoint.transform.location
        return _Place(key, int(np.argmin(np.hypot(*(self.lanes[key].xy - (at.x, at.y)).T))))

    def sides(self, key: LaneKey) -> list[tuple[LaneKey, Command]]:
        """Lanes beside this one that may be changed to."""
        if key not in self._sides:
            self._sides[key] = self._find_sides(key)
        return self._sides[key]

    def _find_sides(self, key: LaneKey) -> list[tuple[LaneKey, Command]]:
        lane = self.lanes[key]
        if lane.in_junction or lane.length < CHANGE_ROOM_M:
            return []
        middle = lane.waypoints[len(lane.waypoints) // 2]
        found = []
        for permitted, side, command in (
            (carla.LaneChange.Left, middle.get_left_lane(), Command.CHANGE_LEFT),
            (carla.LaneChange.Right, middle.get_right_lane(), Command.CHANGE_RIGHT),
        ):
            allowed = middle.lane_change in (permitted, carla.LaneChange.Both)
            same_way = side is not None and side.lane_id * middle.lane_id > 0
            if allowed and same_way and side.lane_type == carla.LaneType.Driving and lane_key(side) in self.lanes:
                found.append((lane_key(side), command))
        return found

    def find(self, start: _Place, goal: _Place) -> list[tuple[LaneKey, Command | None]]:
        """Cheapest chain of lanes from start to goal; each entry with how it was entered (a change, or None).

        Raises:
            RouteError: the goal cannot be reached.
        """
        if start.key == goal.key and goal.index > start.index:
            return [(start.key, None)]
        first = self.lanes[start.key].length - start.index * SPACING_M
        heap: list[tuple[float, int, LaneKey]] = []
        best: dict[LaneKey, float] = {}
        came: dict[LaneKey, tuple[LaneKey | None, Command | None]] = {}
        entries = [(first, key, None) for key in self.successors[start.key]]
        if first > CHANGE_ROOM_M:
            entries += [(first + CHANGE_COST_M, key, side) for key, side in self.sides(start.key)]
        for cost, key, how in entries:
            if cost < best.get(key, math.inf):
                best[key], came[key] = cost, (None, how)
                heapq.heappush(heap, (cost, len(came), key))
        while heap:
            cost, _, key = heapq.heappop(heap)
            if cost > best[key]:
                continue
            if key == goal.key:
                return [(start.key, None), *self._chain(key, came)]
            self._relax(key, cost, best, came, heap)
        raise RouteError(f"no way from lane {start.key} to lane {goal.key}")

    def _relax(self, key: LaneKey, cost: float, best: dict, came: dict, heap: list) -> None:
        steps = [(cost + self.lanes[key].length, following, None) for following in self.successors[key]]
        changed = came[key][1] is not None
        if not changed:  # one change per lane: a second would need room of its own
            # The lane beside is as long: the change itself costs, its length is paid when it is left.
            steps += [(cost + CHANGE_COST_M, side, command) for side, command in self.sides(key)]
        for total, following, how in steps:
            if following in self.lanes and total < best.get(following, math.inf):
                best[following], came[following] = total, (key, how)
                heapq.heappush(heap, (total, len(heap), following))

    @staticmethod
    def _chain(key: LaneKey, came: dict) -> list[tuple[LaneKey, Command | None]]:
        chain = []
        while key is not None:
            before, how = came[key]
            chain.append((key, how))
            key = before
        return chain[::-1]


def lane_key(waypoint: carla.Waypoint) -> LaneKey:
    """Road, section and lane of a waypoint."""
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def plan_route(
    carla_map: carla.Map, locations: Sequence[carla.Location], graph: LaneGraph | None = None
) -> list[RoutePoint]:
    """Route through ``locations`` (two or more, CARLA metres): (transform, command) about every metre.

    Commands are LEFT, RIGHT or STRAIGHT inside junctions (by a change of heading of 35 degrees),
    CHANGE_LEFT or CHANGE_RIGHT while a lane is changed, else FOLLOW. Pass a ``graph`` to plan many routes.

    Raises:
        RouteError: fewer than two locations, one off the road, or no way between them.
    """
    if len(locations) < 2:
        raise RouteError(f"route has {len(locations)} locations, expected at least 2")
    graph = graph or LaneGraph(carla_map)
    places = [graph.place(location) for location in locations]
    out: list[RoutePoint] = []
    for start, goal in zip(places[:-1], places[1:]):
        out += _leg(graph, start, goal)[1 if out else 0 :]
    return out


def route_plan(points: Sequence[tuple[carla.Transform, object]]) -> RoutePlan:
    """Turn a dense or thinned CARLA route into a ``RoutePlan``; options may be RoadOption, Command or int."""
    poses = [frames.pose_from_carla(t.location.x, t.location.y, t.rotation.yaw) for t, _ in points]
    commands = [int(getattr(option, "value", option)) for _, option in points]
    return from_poses(np.array(poses).reshape(-1, 3), commands)


def _leg(graph: LaneGraph, start: _Place, goal: _Place) -> list[RoutePoint]:
    chain = graph.find(start, goal)
    out: list[RoutePoint] = []
    index = start.index
    for position, (key, _) in enumerate(chain):
        lane = graph.lanes[key]
        last = position == len(chain) - 1
        change = None if last else chain[position + 1][1]
        if change is not None:
            index = _change(out, lane, graph.lanes[chain[position + 1][0]], index, change)
            continue
        stop = goal.index + 1 if last else len(lane.waypoints)
        out += [(w.transform, lane.command) for w in lane.waypoints[index : max(stop, index + 1)]]
        index = 0
    return out


def _change(out: list[RoutePoint], lane: _Lane, beside: _Lane, index: int, command: Command) -> int:
    """Append the lane up to the change and the change itself; return where it ends on the lane beside."""
    count = min(int(CHANGE_LENGTH_M / SPACING_M), max(len(lane.waypoints) - index - 2, 2))
    begin = min(index + 4, max(len(lane.waypoints) - count - 1, index))
    out += [(w.transform, lane.command) for w in lane.waypoints[index:begin]]
    ratio = (len(beside.waypoints) - 1) / max(len(lane.waypoints) - 1, 1)
    for step in range(count):
        here = lane.waypoints[min(begin + step, len(lane.waypoints) - 1)].transform
        there = beside.waypoints[min(int(round((begin + step) * ratio)), len(beside.waypoints) - 1)].transform
        share = 0.5 - 0.5 * math.cos(math.pi * (step + 1) / count)
        out.append((_between(here, there, share), command))
    return min(int(round((begin + count) * ratio)), len(beside.waypoints) - 1)


def _between(a: carla.Transform, b: carla.Transform, share: float) -> carla.Transform:
    location = a.location + (b.location - a.location) * share
    return carla.Transform(location, a.rotation)


def _sampled(begin: carla.Waypoint) -> _Lane:
    """Walk one lane from its start to its end."""
    waypoints = [begin, *begin.next_until_lane_end(SPACING_M)]
    waypoints = [w for w in waypoints if lane_key(w) == lane_key(begin)]
    xy = np.array([(w.transform.location.x, w.transform.location.y) for w in waypoints])
    return _Lane(tuple(waypoints), xy, begin.is_junction, _command(waypoints) if begin.is_junction else Command.FOLLOW)


def _command(waypoints: Sequence[carla.Waypoint]) -> Command:
    turned = sum(
        float(geometry.wrap_angle(-math.radians(b.transform.rotation.yaw - a.transform.rotation.yaw)))
        for a, b in zip(waypoints[:-1], waypoints[1:])
    )
    if abs(turned) < TURN_RAD:
        return Command.STRAIGHT
    return Command.LEFT if turned > 0.0 else Command.RIGHT
