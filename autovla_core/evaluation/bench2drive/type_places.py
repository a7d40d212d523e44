"""Where each of Bench2Drive's 44 scenario types finds its place in a surveyed town, and the parameters it wants.

What a type asks of a road was found by driving the official scenarios: metres without a junction, lanes abreast,
what lies at the edge, arms of junctions. Each finder yields every place of a town.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.bench2drive.map_survey import JUST_BEFORE_M, Approach, Stretch, Survey
from autovla_core.evaluation.bench2drive.map_walks import (
    STEP_M,
    abreast,
    ahead,
    back,
    beside,
    first_behind_junction,
    right_edge,
    turn_of,
)

Parameters = Mapping[str, Mapping[str, str]]
Draw = Callable[[np.random.Generator], Parameters]

RUN_UP_M = 30.0  # of the route before its trigger
SHORTEST_APPROACH_M = 14.0
BEFORE_JUNCTION_M = 30.0  # of the trigger of what happens there
BEHIND_JUNCTION_M = 90.0  # of route: several types end only 40 m or more behind it
FLOW_FROM_M, FLOW_TO_M = 50.0, 44.0  # a stream begins and ends so far before and behind its junction


@dataclass(frozen=True)
class Place:
    """A trigger and the way past it, from behind the trigger to the end of the route."""

    trigger: carla.Waypoint
    way: tuple[carla.Waypoint, ...]
    parameters: Draw
    located: Parameters = field(default_factory=dict)  # parameters that are places, not drawn


Finder = Callable[[Survey], Iterator[Place]]


def numbers(**ranges: float | str | tuple[int, int]) -> Draw:
    """Parameters: a pair is drawn from, both ends included; anything else stands as it is."""
    return lambda rng: {name: {"value": _value(rng, wanted)} for name, wanted in ranges.items()}


NOTHING = numbers()


def spans(draw: Draw, wider: tuple[int, int] = (5, 20), **lowest: tuple[int, int]) -> Draw:
    """With intervals whose lower end is drawn, and whose upper end lies ``wider`` above it, drawn as well."""
    return lambda rng: {**draw(rng), **{name: _interval(rng, ends, wider) for name, ends in lowest.items()}}


def _value(rng: np.random.Generator, wanted: float | str | tuple[int, int]) -> str:
    return str(rng.integers(wanted[0], wanted[1] + 1)) if isinstance(wanted, tuple) else str(wanted)


def _interval(rng: np.random.Generator, ends: tuple[int, int], wider: tuple[int, int]) -> Mapping[str, str]:
    lower = int(rng.integers(ends[0], ends[1] + 1))
    return {"from": str(lower), "to": str(lower + int(rng.integers(wider[0], wider[1] + 1)))}


def _spot(waypoint: carla.Waypoint) -> Mapping[str, str]:
    at = waypoint.transform.location
    return {"x": f"{at.x:.1f}", "y": f"{at.y:.1f}", "z": f"{at.z:.1f}"}


# Stretches


def two_way(s: Stretch) -> bool:
    """One lane a side."""
    return s.beside.count == 1 and s.beside.oncoming


def outer_of_several(s: Stretch) -> bool:
    """The right one of several lanes of a direction."""
    return s.beside.count >= 2 and s.beside.to_right == 0


def inner_of_several(s: Stretch) -> bool:
    """With a lane of the same direction to the right."""
    return s.beside.to_right >= 1


def beside_parking(s: Stretch) -> bool:
    """With a parking lane to the right."""
    return s.beside.to_right == 0 and s.beside.edge == carla.LaneType.Parking


def beside_kerb(s: Stretch) -> bool:
    """The right lane of a street of at most two a side."""
    return s.beside.to_right == 0 and (s.beside.oncoming or s.beside.count <= 2)


def two_way_parking(s: Stretch) -> bool:
    """One lane a side, with a parking lane."""
    return two_way(s) and beside_parking(s)


def stretch(
    fits: Callable[[Stretch], bool],
    straight_m: float,
    behind_m: float = 8.0,
    draw: Draw = NOTHING,
    after_m: float = 60.0,
) -> Finder:
    """Straight road of ``straight_m`` behind the trigger; the route goes on for ``after_m``."""

    def find(town: Survey) -> Iterator[Place]:
        for s in town.stretches:
            if fits(s) and s.straight_m >= straight_m and s.behind_m >= behind_m:
                yield Place(s.at, _through(s.at, straight_m + after_m, max(behind_m, RUN_UP_M)), draw)

    return find


def bend(length_m: float, least_deg: float, draw: Draw) -> Finder:
    """A two-way road that bends."""

    def find(town: Survey) -> Iterator[Place]:
        for s in town.stretches:
            if two_way(s) and s.length_m >= length_m and s.bend_deg > least_deg and s.behind_m >= 8.0:
                yield Place(s.at, _through(s.at, length_m + 40.0), draw)

    return find


def lane_changes(town: Survey) -> Iterator[Place]:
    """Three changes of lane: leftwards over three lanes or more, or to and fro between two on a long road."""
    for s in town.stretches:
        wide = s.beside.count >= 3 and s.straight_m >= 130.0
        if s.beside.to_right == 0 and s.behind_m >= 20.0 and (wide or (s.beside.count == 2 and s.straight_m >= 200.0)):
            way = _weaving(s.at, s.beside.count)
            if way:
                yield Place(s.at, way, numbers())


def _weaving(at: carla.Waypoint, lanes: int) -> tuple[carla.Waypoint, ...]:
    """24 m ahead to each change and 22 m into the next lane; () when the road ends before."""
    way, here = [*back(at, RUN_UP_M), at], at
    for number in range(2 if lanes == 3 else 3):
        following = here.next(24.0)
        side = "left" if lanes >= 3 or number % 2 == 0 else "right"
        target = beside(following[0], side) if following and not following[0].is_junction else None
        onwards = target.next(22.0) if target is not None else []
        if not onwards or onwards[0].is_junction:
            return ()
        here = onwards[0]
        way += [following[0], here]
    return (*way, *ahead(here, 140.0)[1:])


def _through(at: carla.Waypoint, metres: float, run_up_m: float = RUN_UP_M) -> tuple[carla.Waypoint, ...]:
    return (*back(at, run_up_m), *ahead(at, metres))


# Junctions


def lit(a: Approach) -> bool:
    """With traffic lights."""
    return a.has_light


def unlit(a: Approach) -> bool:
    """A junction of three arms or more without a light on this one."""
    return not a.has_light and _arms(a) >= 3


def _arms(a: Approach) -> int:
    """Lanes that lead into the junction, this one included."""
    return 1 + len(a.arms)


def arm(*sides: str) -> Callable[[Approach], bool]:
    """Somebody can come from one of these sides."""
    return lambda a: any(side in a.arms for side in sides)


def joined_from_opposite(a: Approach) -> bool:
    """Who comes towards turns right, whatever lane the scenario chooses: into the road that a left turn leads to."""
    entries = a.arms.get("opposite", ())
    return bool(entries) and all(_turns_right(entry) for entry in entries)


def _turns_right(entry: carla.Waypoint) -> bool:
    return any(turn_of(inside, entry) == "right" for inside in entry.next(JUST_BEFORE_M))


def every(*conditions: Callable[[Approach], bool]) -> Callable[[Approach], bool]:
    """All of them."""
    return lambda a: all(condition(a) for condition in conditions)


def stem(a: Approach) -> bool:
    """The stem of a T."""
    return len(a.arms) == 2 and "straight" not in a.ways and "left" in a.ways


def junction(
    fits: Callable[[Approach], bool], *turns: str, draw: Draw = NOTHING, after_m: float = BEHIND_JUNCTION_M
) -> Finder:
    """A junction ahead of the trigger, where the route takes one of ``turns``: of the first that has places."""

    def find(town: Survey) -> Iterator[Place]:
        for turn in turns:
            for a in town.approaches:
                if fits(a) and turn in a.ways and a.length_m >= SHORTEST_APPROACH_M:
                    yield _at_junction(a, turn, draw, after_m)

    return find


def _at_junction(a: Approach, turn: str, draw: Draw, after_m: float, located: Parameters | None = None) -> Place:
    run_up = back(a.at, min(a.length_m, BEFORE_JUNCTION_M))
    trigger = run_up[0] if run_up else a.at
    inside_m = 20.0
    way = [*back(trigger, 24.0), *ahead(trigger, len(run_up) * STEP_M + inside_m + after_m, turn)]
    return Place(trigger, tuple(way), draw, located or {})


def priority_from(*sides: str) -> Finder:
    """Straight on, while somebody comes from one of ``sides``, whose name the scenario wants."""

    def find(town: Survey) -> Iterator[Place]:
        for a in town.approaches:
            side = next((side for side in sides if side in a.arms), None)
            if unlit(a) and side and "straight" in a.ways and a.length_m >= SHORTEST_APPROACH_M:
                yield _at_junction(a, "straight", numbers(direction=side), BEHIND_JUNCTION_M)

    return find


def red_light_runner(town: Survey) -> Iterator[Place]:
    """Straight on at a light, while somebody comes from the side."""
    for a in town.approaches:
        side = next((side for side in ("left", "right") if side in a.arms), None)
        if a.has_light and side and "straight" in a.ways and a.length_m >= SHORTEST_APPROACH_M:
            yield _at_junction(a, "straight", numbers(direction=side), BEHIND_JUNCTION_M)


def stream(fits: Callable[[Approach], bool], turn: str, side: str, draw: Draw) -> Finder:
    """A turn across or into a stream that comes from ``side`` and drives straight on; its ends are places."""

    def find(town: Survey) -> Iterator[Place]:
        for a in town.approaches:
            ends = _stream_ends(a, side)
            if fits(a) and turn in a.ways and ends and a.length_m >= SHORTEST_APPROACH_M:
                located = {"start_actor_flow": _spot(ends[0]), "end_actor_flow": _spot(ends[1])}
                yield _at_junction(a, turn, draw, BEHIND_JUNCTION_M, located)

    return find


def _stream_ends(a: Approach, side: str) -> tuple[carla.Waypoint, carla.Waypoint] | None:
    for entry in a.arms.get(side, ()):
        before, way = back(entry, FLOW_FROM_M), ahead(entry, 100.0)
        out = first_behind_junction(way)
        if before and out is not None:
            return before[0], way[min(len(way) - 1, out + int(FLOW_TO_M / STEP_M))]
    return None


def bicycles(town: Survey) -> Iterator[Place]:
    """A right turn at a light across a bicycle lane that goes on through the junction."""
    draw = spans(numbers(flow_speed=10), source_dist_interval=(12, 16))
    for a in town.approaches:
        lane = right_edge(a.at) if a.has_light and "right" in a.ways else None
        if lane is None or lane.lane_type != carla.LaneType.Biking:
            continue
        before, through = back(lane, 40.0), ahead(lane, 60.0)
        if before and any(w.is_junction for w in through):
            located = {"start_actor_flow": _spot(before[0]), "end_actor_flow": _spot(through[-1])}
            yield _at_junction(a, "right", draw, BEHIND_JUNCTION_M, located)


# Ramps


def _ramp_and_road(town: Survey) -> Iterator[tuple[Approach, Approach]]:
    """A ramp and the outer lane of the road that it joins."""
    for ramp in town.joins:
        for road in town.joins:
            same = ramp.junction.id == road.junction.id
            if same and ramp.beside.count == 1 and road.beside.count >= 2 and road.beside.to_right == 0:
                yield ramp, road


def merging(town: Survey) -> Iterator[Place]:
    """Off a ramp into a slow stream on the lane beside."""
    draw = spans(numbers(flow_speed=(9, 12)), source_dist_interval=(20, 30))
    for ramp, road in _ramp_and_road(town):
        trigger = (back(ramp.at, 40.0) or [ramp.at])[0]
        way = [*back(trigger, RUN_UP_M), *ahead(trigger, 130.0)]
        left = beside(way[-1], "left")  # the ramp's lane ends later
        onwards = left.next(25.0) if left is not None else []
        way += ahead(onwards[0], 80.0) if onwards else []
        located = {
            "start_actor_flow": _spot((back(road.at, 60.0) or [road.at])[0]),
            "end_actor_flow": _spot(ahead(road.at, 150.0)[-1]),
        }
        yield Place(trigger, tuple(way), draw, located)


def cut_in_from_ramp(town: Survey) -> Iterator[Place]:
    """Along the road while a car comes off the ramp."""
    for ramp, road in _ramp_and_road(town):
        trigger, other = (back(road.at, 50.0) or [road.at])[0], (back(ramp.at, 50.0) or [ramp.at])[0]
        located = {"other_actor_location": _spot(other), "end_location": _spot(ahead(ramp.at, 120.0)[-1])}
        yield Place(trigger, (*back(trigger, 40.0), *ahead(trigger, 220.0)), numbers(), located)


def leaving(town: Survey) -> Iterator[Place]:
    """From the second lane through a stream on the outer lane to the exit."""
    draw = spans(numbers(flow_speed=(10, 14)), source_dist_interval=(25, 40))
    for a in town.leaves:
        left = beside(a.at, "left")
        ways = [ahead(inside, 160.0) for inside in a.at.next(2.5)]
        if a.beside.to_right or left is None or len(ways) < 2:
            continue
        ways.sort(key=_lanes_at_end)  # the exit first
        trigger = (back(left, 100.0) or [left])[0]
        road = ways[-1]
        end = road[first_behind_junction(road) or -1]
        way = [*back(trigger, 40.0), *ahead(trigger, 20.0), *back(a.at, 40.0), a.at, *ways[0][1:]]
        onwards = end.next(20.0) or [end]
        start = (back(a.at, 80.0) or [a.at])[0]
        yield Place(trigger, tuple(way), draw, {"start_actor_flow": _spot(start), "end_actor_flow": _spot(onwards[0])})


def _lanes_at_end(way: list[carla.Waypoint]) -> int:
    return abreast(way[first_behind_junction(way) or -1]).count


BLOCKED = numbers(distance=(40, 46), direction="right", speed=(40, 60))
# Metres between oncoming cars: without long gaps among the short ones nobody ever gets past what blocks the lane.
BLOCKED_TWO_WAYS = spans(numbers(distance=(40, 46)), (90, 130), frequency=(40, 70))
# A car that starts from a standstill takes 3 s to cross a lane; a stream whose cars wait for nobody must leave that.
ACROSS = spans(numbers(flow_speed=(8, 10)), (28, 34), source_dist_interval=(18, 24))
INTO = spans(numbers(flow_speed=(8, 10)), (16, 24), source_dist_interval=(16, 24))
FAST = spans(numbers(flow_speed=(10, 14)), (30, 40), source_dist_interval=(30, 50))
ONCOMING, FROM_LEFT = arm("opposite"), arm("left")

TYPES: Mapping[str, Finder] = {
    "Accident": stretch(outer_of_several, 110.0, 16.0, BLOCKED),
    "AccidentTwoWays": stretch(two_way, 104.0, draw=BLOCKED_TWO_WAYS),
    "BlockedIntersection": junction(lambda a: _arms(a) >= 3, "right", "left"),
    "ConstructionObstacle": stretch(outer_of_several, 110.0, 16.0, BLOCKED),
    "ConstructionObstacleTwoWays": stretch(two_way, 104.0, draw=BLOCKED_TWO_WAYS),
    "ControlLoss": stretch(lambda s: True, 116.0),  # it ends 110 m behind the trigger
    "CrossingBicycleFlow": bicycles,
    "DynamicObjectCrossing": stretch(
        beside_kerb,
        60.0,
        draw=numbers(
            distance=(35, 43), direction="right", blocker_model="static.prop.vendingmachine", crossing_angle=(-5, 5)
        ),
    ),
    "EnterActorFlow": stream(
        unlit, "right", "left", spans(numbers(flow_speed=(9, 12)), (22, 28), source_dist_interval=(20, 28))
    ),
    "HardBreakRoute": stretch(lambda s: s.beside.count <= 2, 80.0),
    "HazardAtSideLane": stretch(
        outer_of_several,
        126.0,  # the second bicycle stops 99 m behind the trigger at most, with room to come back before a junction
        16.0,
        numbers(distance=44, speed=32, bicycle_drive_distance=(40, 46), bicycle_speed=(8, 11)),
    ),
    "HazardAtSideLaneTwoWays": stretch(
        two_way,
        126.0,
        draw=numbers(distance=44, frequency=(60, 90), bicycle_drive_distance=(40, 46), bicycle_speed=(8, 11)),
    ),
    "HighwayCutIn": cut_in_from_ramp,
    "HighwayExit": leaving,
    "InterurbanActorFlow": stream(unlit, "left", "opposite", FAST),
    "InterurbanAdvancedActorFlow": stream(
        every(unlit, arm("right")),
        "left",
        "left",
        spans(numbers(flow_speed=(10, 14), direction="right"), (30, 40), source_dist_interval=(36, 60)),
    ),
    "InvadingTurn": bend(100.0, 25.0, numbers(distance=(45, 60), offset=0.2)),
    "MergerIntoSlowTraffic": merging,
    "MergerIntoSlowTrafficV2": merging,
    "NonSignalizedJunctionLeftTurn": junction(every(unlit, ONCOMING), "left", draw=ACROSS),
    "NonSignalizedJunctionLeftTurnEnterFlow": junction(every(unlit, joined_from_opposite), "left", draw=INTO),
    "NonSignalizedJunctionRightTurn": junction(every(unlit, FROM_LEFT), "right", draw=ACROSS),
    "OppositeVehicleRunningRedLight": red_light_runner,
    "OppositeVehicleTakingPriority": priority_from("left", "right"),
    "ParkedObstacle": stretch(outer_of_several, 110.0, 16.0, BLOCKED),
    "ParkedObstacleTwoWays": stretch(two_way, 104.0, draw=BLOCKED_TWO_WAYS),
    "ParkingCrossingPedestrian": stretch(
        beside_parking, 60.0, draw=numbers(distance=(36, 42), direction="right", crossing_angle=(-5, 10))
    ),
    "ParkingCutIn": stretch(beside_parking, 80.0, draw=numbers(direction="right")),
    "ParkingExit": stretch(
        beside_parking,
        80.0,
        16.0,
        numbers(direction="right", front_vehicle_distance=9, behind_vehicle_distance=9),
    ),
    "PedestrianCrossing": junction(every(lit, lambda a: a.beside.to_right == 0), "straight"),
    "SequentialLaneChange": lane_changes,
    "SignalizedJunctionLeftTurn": junction(every(lit, ONCOMING), "left", draw=ACROSS),
    "SignalizedJunctionLeftTurnEnterFlow": junction(every(lit, joined_from_opposite), "left", draw=INTO),
    "SignalizedJunctionRightTurn": junction(every(lit, FROM_LEFT), "right", draw=ACROSS),
    "StaticCutIn": stretch(inner_of_several, 110.0, draw=numbers(distance=(40, 46), direction="right")),
    "T_Junction": junction(stem, "left", after_m=180.0),
    "VanillaNonSignalizedTurn": junction(every(unlit, lambda a: a.is_plain), "right", "left"),
    "VanillaNonSignalizedTurnEncounterStopsign": junction(lambda a: a.has_stop, "right", "left"),
    "VanillaSignalizedTurnEncounterGreenLight": junction(lit, "right", "left"),
    "VanillaSignalizedTurnEncounterRedLight": junction(lit, "left", "right"),
    "VehicleOpensDoorTwoWays": stretch(
        two_way_parking, 104.0, draw=spans(numbers(distance=(44, 50)), (45, 65), frequency=(30, 45))
    ),
    "VehicleTurningRoute": junction(lambda a: _arms(a) >= 3 and a.beside.oncoming, "right", "left"),
    # Left turns last: background cars that turn before the ego and others that come towards them may wait for ever.
    "VehicleTurningRoutePedestrian": junction(lambda a: _arms(a) >= 3 and a.beside.oncoming, "right", "left"),
    "YieldToEmergencyVehicle": stretch(lambda s: s.beside.count >= 2, 150.0, 40.0, numbers(distance=30), after_m=120.0),
}
