"""The driving score of one route, by the two rules of CARLA's leaderboard.

``product``: leaderboard 2.0 and Bench2Drive multiply one factor for each infraction.
``hyperbolic``: leaderboard 2.1 divides by one plus the sum of the coefficients.

Source: carla-simulator/leaderboard, branches leaderboard-2.0 and leaderboard-2.1,
``utils/statistics_manager.py`` (facts only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

INFRACTIONS = (
    "collisions_layout",
    "collisions_pedestrian",
    "collisions_vehicle",
    "red_light",
    "stop_infraction",
    "outside_route_lanes",
    "min_speed_infractions",
    "yield_emergency_vehicle_infractions",
    "scenario_timeouts",
    "route_dev",
    "vehicle_blocked",
    "route_timeout",
)  # the keys of a leaderboard record, in its order; those absent from a table below cost nothing

PRODUCT_FACTORS: Mapping[str, float] = {
    "collisions_pedestrian": 0.50,
    "collisions_vehicle": 0.60,
    "collisions_layout": 0.65,
    "red_light": 0.70,
    "stop_infraction": 0.80,
    "scenario_timeouts": 0.70,
    "yield_emergency_vehicle_infractions": 0.70,
}

HYPERBOLIC_COEFFICIENTS: Mapping[str, float] = {
    "collisions_pedestrian": 1.0,
    "collisions_vehicle": 0.7,
    "collisions_layout": 0.6,
    "red_light": 0.4,
    "stop_infraction": 0.25,
    "scenario_timeouts": 0.4,
    "yield_emergency_vehicle_infractions": 0.4,
}


@dataclass(frozen=True)
class Infraction:
    """One entry of a record."""

    kind: str  # of INFRACTIONS
    message: str = ""
    percentage: float = 0.0  # of outside_route_lanes: share of the completed distance, 0..100
    time_s: float | None = None  # of the drive, when it was first held against the driver

    def __post_init__(self) -> None:
        if self.kind not in INFRACTIONS:
            raise ValueError(f"infraction {self.kind!r} is not one of {', '.join(INFRACTIONS)}")


def product_penalty(infractions: Iterable[Infraction]) -> float:
    """Penalty in [0, 1] of leaderboard 2.0 and Bench2Drive; 1 for a clean drive."""
    penalty = 1.0
    for infraction in infractions:
        penalty *= _lane_factor(infraction) * PRODUCT_FACTORS.get(infraction.kind, 1.0)
    return penalty


def hyperbolic_penalty(infractions: Iterable[Infraction]) -> float:
    """Penalty in [0, 1] of leaderboard 2.1; 1 for a clean drive."""
    lanes, total = 1.0, 0.0
    for infraction in infractions:
        lanes *= _lane_factor(infraction)
        total += HYPERBOLIC_COEFFICIENTS.get(infraction.kind, 0.0)
    return lanes / (1.0 + total)


RULES: Mapping[str, Callable[[Iterable[Infraction]], float]] = {
    "product": product_penalty,
    "hyperbolic": hyperbolic_penalty,
}


@dataclass(frozen=True)
class Scores:
    """What a record holds under ``scores``."""

    route: float  # 0..100, completion
    penalty: float  # 0..1
    composed: float  # 0..100, the driving score


def score(completion: float, infractions: Iterable[Infraction], rule: str = "product") -> Scores:
    """Score a route that was completed to ``completion`` percent.

    Raises:
        ValueError: a rule that is not in ``RULES``.
    """
    if rule not in RULES:
        raise ValueError(f"scoring rule {rule!r} is not one of {sorted(RULES)}")
    penalty = RULES[rule](infractions)
    return Scores(round(completion, 6), round(penalty, 6), round(max(completion * penalty, 0.0), 6))


def _lane_factor(infraction: Infraction) -> float:
    return 1.0 - infraction.percentage / 100.0 if infraction.kind == "outside_route_lanes" else 1.0
