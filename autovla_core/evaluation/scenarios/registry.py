"""The scenario types that we play, by Bench2Drive's names: script, what the road must offer, what is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autovla_core.evaluation.scenarios import crossers, cut_ins, flows, obstacles
from autovla_core.evaluation.scenarios.setting import Script, Setting


@dataclass(frozen=True)
class Needs:
    """What the road must offer behind a trigger."""

    stretch_m: float = 0.0  # without a junction
    bend: bool = False  # the stretch turns by 40 degrees or more; else it is straight
    beside: str = ""  # "left" or "right": a lane of the same direction there
    changes: int = 0  # of lane, that the route itself makes on the stretch
    two_way: bool = False  # one lane each way, side by side
    turn: str = ""  # at the next junction: left, straight, right or any; "" no junction needed
    arms: int = 0  # of that junction from which one can come; 0 = as many as it likes
    lights: bool | None = None  # that junction has them, or has none
    stop_sign: bool = False  # the ego's approach has one
    ways: tuple[tuple[str, str], ...] = ()  # (arm, turn) that others must have there


@dataclass(frozen=True)
class ScenarioType:
    """One type."""

    script: Callable[[Setting], Script]
    needs: Needs
    oncoming: bool = False  # the ego may use the oncoming lane while it runs
    patient: bool = False  # the ego may stand as long as it runs; it has a time limit of its own


def _row(script: Callable[[Setting], Script], oncoming: bool = False, patient: bool = True, **needs) -> ScenarioType:
    return ScenarioType(script, Needs(**needs), oncoming, patient)


_CROSSING = {"ways": (("opposite", "straight"),)}
_OPPOSITE_RIGHT = {"ways": (("opposite", "right"),)}
_FROM_LEFT = {"ways": (("left", "straight"),)}
_FROM_RIGHT = {"ways": (("right", "straight"),)}
_BOTH_SIDES = {"ways": (("left", "straight"), ("right", "straight"))}

SCENARIOS: Mapping[str, ScenarioType] = {
    # in the lane
    "Accident": _row(obstacles.accident, stretch_m=72.0, beside="left"),
    "AccidentTwoWays": _row(obstacles.accident_two_ways, True, stretch_m=72.0, two_way=True),
    "ParkedObstacle": _row(obstacles.parked_obstacle, stretch_m=65.0, beside="left"),
    "ParkedObstacleTwoWays": _row(obstacles.parked_obstacle_two_ways, True, stretch_m=65.0, two_way=True),
    "ConstructionObstacle": _row(obstacles.construction_obstacle, stretch_m=65.0, beside="left"),
    "ConstructionObstacleTwoWays": _row(obstacles.construction_obstacle_two_ways, True, stretch_m=65.0, two_way=True),
    "VehicleOpensDoorTwoWays": _row(obstacles.vehicle_opens_door_two_ways, True, stretch_m=65.0, two_way=True),
    "HazardAtSideLane": _row(obstacles.hazard_at_side_lane, patient=False, stretch_m=110.0, beside="left"),
    "HazardAtSideLaneTwoWays": _row(obstacles.hazard_at_side_lane_two_ways, True, False, stretch_m=110.0, two_way=True),
    "InvadingTurn": _row(obstacles.invading_turn, stretch_m=80.0, bend=True, two_way=True),
    "BlockedIntersection": _row(obstacles.blocked_intersection, turn="any"),
    # across the lane
    "DynamicObjectCrossing": _row(crossers.dynamic_object_crossing, patient=False, stretch_m=55.0),
    "ParkingCrossingPedestrian": _row(crossers.parking_crossing_pedestrian, patient=False, stretch_m=50.0),
    "PedestrianCrossing": _row(crossers.pedestrian_crossing, patient=False, turn="any", lights=True),
    "VehicleTurningRoute": _row(crossers.vehicle_turning_route, patient=False, turn="right"),
    "VehicleTurningRoutePedestrian": _row(crossers.vehicle_turning_route_pedestrian, patient=False, turn="left"),
    # into the lane
    "ParkingCutIn": _row(cut_ins.parking_cut_in, patient=False, stretch_m=70.0),
    "StaticCutIn": _row(cut_ins.static_cut_in, patient=False, stretch_m=70.0, beside="right"),
    "HardBreakRoute": _row(cut_ins.hard_brake_route, patient=False, stretch_m=60.0),
    "ControlLoss": _row(cut_ins.control_loss, patient=False, stretch_m=60.0),
    "SequentialLaneChange": _row(cut_ins.sequential_lane_change, stretch_m=120.0, changes=2),
    "YieldToEmergencyVehicle": _row(cut_ins.yield_to_emergency_vehicle, patient=False, stretch_m=70.0, beside="right"),
    # junctions and merges
    "SignalizedJunctionLeftTurn": _row(flows.signalized_junction_left_turn, turn="left", lights=True, **_CROSSING),
    "NonSignalizedJunctionLeftTurn": _row(
        flows.non_signalized_junction_left_turn, turn="left", lights=False, **_CROSSING
    ),
    "SignalizedJunctionRightTurn": _row(flows.signalized_junction_right_turn, turn="right", lights=True, **_FROM_LEFT),
    "NonSignalizedJunctionRightTurn": _row(
        flows.non_signalized_junction_right_turn, turn="right", lights=False, **_FROM_LEFT
    ),
    "SignalizedJunctionLeftTurnEnterFlow": _row(
        flows.signalized_junction_left_turn_enter_flow, turn="left", lights=True, **_OPPOSITE_RIGHT
    ),
    "NonSignalizedJunctionLeftTurnEnterFlow": _row(
        flows.non_signalized_junction_left_turn_enter_flow, turn="left", lights=False, **_OPPOSITE_RIGHT
    ),
    "EnterActorFlow": _row(flows.enter_actor_flow, turn="right", lights=False, **_FROM_LEFT),
    "MergerIntoSlowTraffic": _row(flows.merger_into_slow_traffic, turn="right", lights=False, **_FROM_LEFT),
    "InterurbanActorFlow": _row(flows.interurban_actor_flow, turn="left", lights=False, **_CROSSING),
    "InterurbanAdvancedActorFlow": _row(flows.interurban_advanced_actor_flow, turn="left", lights=False, **_BOTH_SIDES),
    "OppositeVehicleRunningRedLight": _row(
        flows.opposite_vehicle_running_red_light, turn="straight", lights=True, **_FROM_RIGHT
    ),
    "OppositeVehicleTakingPriority": _row(
        flows.opposite_vehicle_taking_priority, turn="straight", lights=False, **_FROM_RIGHT
    ),
    "T_Junction": _row(flows.plain_turn, turn="any", arms=3),
    "VanillaNonSignalizedTurn": _row(flows.plain_turn, patient=False, turn="left", lights=False),
    "VanillaNonSignalizedTurnEncounterStopsign": _row(flows.plain_turn, patient=False, turn="any", stop_sign=True),
    "VanillaSignalizedTurnEncounterGreenLight": _row(flows.turn_on_green, patient=False, turn="left", lights=True),
    "VanillaSignalizedTurnEncounterRedLight": _row(flows.turn_on_red, patient=False, turn="right", lights=True),
}
ALIASES: Mapping[str, str] = {
    "LaneChange": "SequentialLaneChange",  # as the published clips are named
    "TJunction": "T_Junction",
    "EnterActorFlowV2": "EnterActorFlow",
    "MergerIntoSlowTrafficV2": "MergerIntoSlowTraffic",
}


def scenario_type(name: str) -> ScenarioType | None:
    """The type of this name or alias; None when we do not play it."""
    return SCENARIOS.get(ALIASES.get(name, name))
