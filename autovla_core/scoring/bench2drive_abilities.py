"""The five abilities of Bench2Drive: which scenario type tests which, and how they are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

ABILITIES: Mapping[str, str] = {
    "Overtaking": "O",
    "Merging": "M",
    "Emergency_Brake": "E",
    "Give_Way": "G",
    "Traffic_Signs": "T",
}
LETTERS: Mapping[str, str] = {
    "Accident": "O",
    "AccidentTwoWays": "O",
    "BlockedIntersection": "ET",
    "ConstructionObstacle": "O",
    "ConstructionObstacleTwoWays": "O",
    "ControlLoss": "E",
    "CrossingBicycleFlow": "MT",
    "DynamicObjectCrossing": "E",
    "EnterActorFlow": "MT",
    "HardBreakRoute": "E",
    "HazardAtSideLane": "O",
    "HazardAtSideLaneTwoWays": "O",
    "HighwayCutIn": "M",
    "HighwayExit": "M",
    "InterurbanActorFlow": "M",
    "InterurbanAdvancedActorFlow": "M",
    "InvadingTurn": "G",
    "MergerIntoSlowTraffic": "M",
    "MergerIntoSlowTrafficV2": "M",
    "NonSignalizedJunctionLeftTurn": "MT",
    "NonSignalizedJunctionLeftTurnEnterFlow": "MT",
    "NonSignalizedJunctionRightTurn": "MT",
    "OppositeVehicleRunningRedLight": "ET",
    "OppositeVehicleTakingPriority": "ET",
    "ParkedObstacle": "O",
    "ParkedObstacleTwoWays": "O",
    "ParkingCrossingPedestrian": "E",
    "ParkingCutIn": "E",
    "ParkingExit": "M",
    "PedestrianCrossing": "ET",
    "SequentialLaneChange": "M",
    "SignalizedJunctionLeftTurn": "MT",
    "SignalizedJunctionLeftTurnEnterFlow": "MT",
    "SignalizedJunctionRightTurn": "MT",
    "StaticCutIn": "E",
    "T_Junction": "T",
    "VanillaNonSignalizedTurn": "T",
    "VanillaNonSignalizedTurnEncounterStopsign": "T",
    "VanillaSignalizedTurnEncounterGreenLight": "T",
    "VanillaSignalizedTurnEncounterRedLight": "T",
    "VehicleOpensDoorTwoWays": "O",
    "VehicleTurningRoute": "ET",
    "VehicleTurningRoutePedestrian": "ET",
    "YieldToEmergencyVehicle": "G",
}
AFTER_JUNCTION_M = 8  # metres into the first junction from which obeying its light or sign is credited


def junction_mark(first_in_junction: int, count: int) -> float:
    """Share of a route of ``count`` points 1 m apart that must be driven for the credit.

    Args:
        first_in_junction: index, from 0, of the first point that lies in a junction.
    """
    return (first_in_junction + 1 + AFTER_JUNCTION_M) / count


def abilities_of(
    drives: Sequence[tuple[str, str, Mapping | None]],
    junctions: Mapping[str, float],
    is_success: Callable[[Mapping], bool],
) -> tuple[dict[str, float | None], list[str]]:
    """Share of successes by ability, None where no route tests it, and ids of routes whose mark was needed and unknown.

    A failed route of a traffic-sign type counts for that ability all the same if it came past its first junction
    without running a light or a stop sign.

    Args:
        drives: (route id, scenario type, record or None for a route that was not driven).
        junctions: marks of ``junction_mark`` by route id.
    """
    good, all_ = dict.fromkeys(ABILITIES, 0), dict.fromkeys(ABILITIES, 0)
    lacking = []
    for id, type, record in drives:
        letters = LETTERS.get(type, "")
        success = record is not None and is_success(record)
        credit = success
        if "T" in letters and record is not None and not success and _obeyed(record):
            credit = id in junctions and record["scores"]["score_route"] / 100.0 > junctions[id]
            lacking += [] if id in junctions else [id]
        for name, letter in ABILITIES.items():
            if letter in letters:
                all_[name] += 1
                good[name] += credit if name == "Traffic_Signs" else success
    return {name: good[name] / all_[name] if all_[name] else None for name in ABILITIES}, lacking


def _obeyed(record: Mapping) -> bool:
    return not record["infractions"]["stop_infraction"] and not record["infractions"]["red_light"]
