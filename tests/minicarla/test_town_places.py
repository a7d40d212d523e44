"""Together the towns hold a place for each of the 44 scenario types, and traffic of their own flows in each.

What a type needs was found by driving all of them: metres of straight road, lanes beside each other, lanes to park
in, ramps, arms of junctions.
"""

from __future__ import annotations

from collections.abc import Callable

import carla
import numpy as np
import pytest

from autovla_core.minicarla.world.layout import Lane
from autovla_core.minicarla.world.town import TOWNS, Town, load_town
from autovla_core.minicarla.world.world import World

DT = 0.05
NAMES = """
Accident AccidentTwoWays BlockedIntersection ConstructionObstacle ConstructionObstacleTwoWays ControlLoss
CrossingBicycleFlow DynamicObjectCrossing EnterActorFlow HardBreakRoute HazardAtSideLane HazardAtSideLaneTwoWays
HighwayCutIn HighwayExit InterurbanActorFlow InterurbanAdvancedActorFlow InvadingTurn MergerIntoSlowTraffic
MergerIntoSlowTrafficV2 NonSignalizedJunctionLeftTurn NonSignalizedJunctionLeftTurnEnterFlow
NonSignalizedJunctionRightTurn OppositeVehicleRunningRedLight OppositeVehicleTakingPriority ParkedObstacle
ParkedObstacleTwoWays ParkingCrossingPedestrian ParkingCutIn ParkingExit PedestrianCrossing SequentialLaneChange
SignalizedJunctionLeftTurn SignalizedJunctionLeftTurnEnterFlow SignalizedJunctionRightTurn StaticCutIn T_Junction
VanillaNonSignalizedTurn VanillaNonSignalizedTurnEncounterStopsign VanillaSignalizedTurnEncounterGreenLight
VanillaSignalizedTurnEncounterRedLight VehicleOpensDoorTwoWays VehicleTurningRoute VehicleTurningRoutePedestrian
YieldToEmergencyVehicle
"""
TYPES_44 = frozenset(NAMES.split())


class Surveyed:
    """A town and the questions that the places ask of it."""

    def __init__(self, town: Town) -> None:
        self.town, self.map = town, carla.Map(town.name, town.xodr)
        self.streets = [lane for lane in town.lanes if lane.junction_id < 0]
        keys = {(lane.road_id, lane.section_id, lane.lane_id) for lane in self.streets}
        self.two_way = {lane.index for lane in self.streets if (lane.road_id, lane.section_id, -lane.lane_id) in keys}
        signals = {signal.id: signal.kind for signal in town.signals}
        self.sign = {lane.index: signals.get(lane.light_id or lane.stop_id, "") for lane in town.lanes}

    def straight_m(self, lane: Lane) -> float:
        """Longest run that turns less than 6 degrees, metres."""
        yaw, best, first = np.unwrap(np.radians(lane.yaw_deg)), 0.0, 0
        for last in range(len(yaw)):
            while np.ptp(yaw[first : last + 1]) > np.radians(6.0):
                first += 1
            best = max(best, float(lane.s[last] - lane.s[first]))
        return best

    def abreast(self, lane: Lane) -> int:
        """Lanes of this direction, this one included."""
        count, beside = 1, lane
        while beside.left >= 0:
            beside = self.town.lanes[beside.left]
            count += 1
        beside = lane
        while beside.right >= 0:
            beside = self.town.lanes[beside.right]
            count += 1
        return count

    def beside(self, lane: Lane, kind: carla.LaneType) -> carla.Waypoint | None:
        """The first lane of a kind to the right of a lane's end, reached as scripts reach it."""
        waypoint = self.map.get_waypoint(carla.Location(*lane.points[-4].tolist()))
        while waypoint is not None and waypoint.lane_type != kind:
            waypoint = waypoint.get_right_lane()
        return waypoint

    def turns(self, lane: Lane) -> set[str]:
        return {self.town.lanes[i].turn for i in lane.successors}

    def arms(self, lane: Lane) -> int:
        """How many roads lead into the junction at a lane's end; 0 if there is none."""
        junction = self.town.lanes[lane.successors[0]].junction_id
        return len({x.road_id for x in self.streets if self.town.lanes[x.successors[0]].junction_id == junction})

    def meets_oncoming(self, lane: Lane) -> bool:
        """Whether a left turn from here crosses somebody who comes straight towards it."""
        for left in (self.town.lanes[i] for i in lane.successors if self.town.lanes[i].turn == "left"):
            for other in (self.town.lanes[i] for i in left.conflicts):
                facing = np.cos(np.radians(other.yaw_deg[0] - left.yaw_deg[0]))
                if other.turn == "straight" and facing < -0.9:
                    return True
        return False


def one_lane(s: Surveyed, lane: Lane, metres: float) -> bool:
    return lane.index in s.two_way and s.abreast(lane) == 1 and s.straight_m(lane) >= metres


def several(s: Surveyed, lane: Lane, metres: float, count: int = 2) -> bool:
    return s.abreast(lane) >= count and s.straight_m(lane) >= metres


def joins(s: Surveyed, lane: Lane) -> bool:
    """A ramp whose lane runs on beside the lanes that it joins."""
    following = s.town.lanes[s.town.lanes[lane.successors[0]].successors[0]]
    return s.abreast(lane) == 1 and s.abreast(following) >= 3 and s.straight_m(following) >= 100.0


def leaves(s: Surveyed, lane: Lane) -> bool:
    """The outer of several lanes, from which one goes on or off."""
    ends = {s.abreast(s.town.lanes[s.town.lanes[i].successors[0]]) for i in lane.successors}
    return s.abreast(lane) >= 2 and lane.right < 0 and ends == {1, 2} and s.straight_m(lane) >= 100.0


def bicycles_cross(s: Surveyed, lane: Lane) -> bool:
    """A signalised approach with a right turn, whose bicycle lane goes on inside the junction."""
    if s.sign[lane.index] != "traffic_light" or "right" not in s.turns(lane):
        return False
    bicycle = s.beside(lane, carla.LaneType.Biking)
    return bicycle is not None and any(
        w.is_junction and w.lane_type == carla.LaneType.Biking for w in bicycle.next(12.0)
    )


def walkable(s: Surveyed, lane: Lane) -> bool:
    return lane.s[-1] > 60.0 and s.beside(lane, carla.LaneType.Sidewalk) is not None


def parking(s: Surveyed, lane: Lane, metres: float) -> bool:
    return s.straight_m(lane) >= metres and s.beside(lane, carla.LaneType.Parking) is not None


def bends(s: Surveyed, lane: Lane) -> bool:
    turned = np.ptp(np.unwrap(np.radians(lane.yaw_deg)))
    return lane.index in s.two_way and lane.s[-1] >= 110.0 and turned > np.radians(25.0)


def at(*kinds: str, turn: str = "", arms: int = 3) -> Callable[[Surveyed, Lane], bool]:
    """Approaches with one of these signals ("" for none), a turn and enough arms."""
    return lambda s, lane: s.sign[lane.index] in kinds and s.arms(lane) >= arms and (not turn or turn in s.turns(lane))


def oncoming(*kinds: str) -> Callable[[Surveyed, Lane], bool]:
    return lambda s, lane: s.sign[lane.index] in kinds and s.meets_oncoming(lane)


LIGHT, SIGNS = "traffic_light", ("", "stop", "yield")
PLACES: dict[str, tuple[str, Callable[[Surveyed, Lane], bool]]] = {
    "126 m of several lanes": (
        "Accident ConstructionObstacle ParkedObstacle StaticCutIn",
        lambda s, lane: several(s, lane, 126.0),
    ),
    "132 m of several lanes": ("HazardAtSideLane", lambda s, lane: several(s, lane, 132.0)),
    "190 m of several lanes": ("YieldToEmergencyVehicle", lambda s, lane: several(s, lane, 190.0)),
    "three lanes": ("SequentialLaneChange", lambda s, lane: several(s, lane, 150.0, 3)),
    "124 m of one lane a side": (
        "AccidentTwoWays ConstructionObstacleTwoWays ParkedObstacleTwoWays HazardAtSideLaneTwoWays "
        "VehicleOpensDoorTwoWays",
        lambda s, lane: one_lane(s, lane, 124.0),
    ),
    "88 m of any lane": ("ControlLoss HardBreakRoute", lambda s, lane: s.straight_m(lane) >= 88.0),
    "96 m with parking": ("ParkingCrossingPedestrian ParkingCutIn ParkingExit", lambda s, x: parking(s, x, 96.0)),
    "a sidewalk to the right": ("DynamicObjectCrossing", walkable),
    "a bend": ("InvadingTurn", bends),
    "a ramp that joins": ("HighwayCutIn MergerIntoSlowTraffic MergerIntoSlowTrafficV2", joins),
    "a ramp that leaves": ("HighwayExit", leaves),
    "bicycles through lights": ("CrossingBicycleFlow", bicycles_cross),
    "lights, left": (
        "SignalizedJunctionLeftTurn SignalizedJunctionLeftTurnEnterFlow VanillaSignalizedTurnEncounterGreenLight",
        oncoming(LIGHT),
    ),
    "lights, right": (
        "SignalizedJunctionRightTurn VanillaSignalizedTurnEncounterRedLight",
        at(LIGHT, turn="right", arms=4),
    ),
    "lights, straight": ("OppositeVehicleRunningRedLight", at(LIGHT, turn="straight")),
    "lights and a sidewalk": ("PedestrianCrossing", lambda s, x: at(LIGHT, turn="straight")(s, x) and walkable(s, x)),
    "no lights, left across": (
        "NonSignalizedJunctionLeftTurn NonSignalizedJunctionLeftTurnEnterFlow InterurbanActorFlow",
        oncoming(*SIGNS),
    ),
    "no lights, right": (
        "NonSignalizedJunctionRightTurn EnterActorFlow BlockedIntersection",
        at(*SIGNS, turn="right", arms=3),
    ),
    "no lights, straight": ("OppositeVehicleTakingPriority", at(*SIGNS, turn="straight")),
    "no sign at all": ("VanillaNonSignalizedTurn", at("", turn="right")),
    "a stop sign": ("VanillaNonSignalizedTurnEncounterStopsign", at("stop", turn="right")),
    "the stem of a T": (
        "T_Junction InterurbanAdvancedActorFlow",
        lambda s, x: at(*SIGNS, turn="left")(s, x) and s.turns(x) == {"left", "right"},
    ),
    "a turn to a sidewalk": (
        "VehicleTurningRoute VehicleTurningRoutePedestrian",
        lambda s, x: at(LIGHT, *SIGNS, turn="right")(s, x) and walkable(s, x),
    ),
}
TRAFFIC = {"Pennyfield": 6, "Ironmere": 25, "Rowanfold": 20, "Kestrelway": 25, "Fellside": 18}


@pytest.fixture(scope="module")
def surveyed() -> list[Surveyed]:
    return [Surveyed(load_town(name)) for name in TOWNS]


def test_the_table_of_places_serves_each_type_once():
    types = [name for served, _ in PLACES.values() for name in served.split()]
    assert sorted(types) == sorted(TYPES_44)
    assert len(types) == 44


@pytest.mark.parametrize("place", PLACES)
def test_there_is_such_a_place_for_these_types(surveyed, place):
    _, fits = PLACES[place]
    found = {s.town.name: sum(fits(s, lane) for lane in s.streets) for s in surveyed}
    assert sum(found.values()) >= 2, found


@pytest.mark.parametrize("name", TRAFFIC)
def test_a_minute_of_traffic_flows_without_a_crash_or_a_jam(name):
    world = World(load_town(name))
    ids = world.spawn_traffic(TRAFFIC[name], seed=4)
    assert len(ids) == TRAFFIC[name]
    driven, standing = dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 0.0)
    for _ in range(round(60.0 / DT)):
        world.step(DT)
        assert not world.contacts
        for i in ids:
            speed = abs(world.actors[i].forward_speed)
            driven[i] += speed * DT
            standing[i] = standing[i] + DT if speed < 0.1 else 0.0
        assert max(standing.values()) < 45.0
    assert np.mean(list(driven.values())) > 60.0 * 4.0
    assert min(driven.values()) > 30.0
