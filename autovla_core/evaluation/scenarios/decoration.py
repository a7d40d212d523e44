"""Scenarios along a route that was drawn without any: which fit where it goes anyway; seeded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from autovla_core import frames, geometry
from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route
from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.route_file import Route, Scenario
from autovla_core.evaluation.scenarios.junctions import turn_name
from autovla_core.evaluation.scenarios.places import (
    BEFORE_JUNCTION_M,
    BEND_RAD,
    RUN_UP_M,
    STRAIGHT_RAD,
    Junctions,
)
from autovla_core.evaluation.scenarios.registry import SCENARIOS, Needs
from autovla_core.evaluation.scenarios.road import RouteRoad, has_beside, has_oncoming

FIRST_M, LAST_M = 20.0, 60.0  # no trigger nearer to the start, none nearer to the end
APART_M = 120.0  # from one trigger to the next
EVERY_M = 10.0  # places are tried so far apart


def with_scenarios(route: Route, graph: LaneGraph, carla_map: carla.Map, rng: np.random.Generator, most: int) -> Route:
    """The route with up to ``most`` scenarios, at least 120 m apart; fewer where they do not fit."""
    dense = plan_route(carla_map, [carla.Location(*point) for point in route.carla_points], graph)
    road = RouteRoad(carla_map, [transform for transform, _ in dense])
    fitting = list(_fitting(road, [name for name in sorted(SCENARIOS) if not SCENARIOS[name].needs.changes]))
    chosen: list[tuple[float, str]] = []
    while fitting and len(chosen) < most:
        s, name = _draw(fitting, rng)
        chosen.append((s, name))
        fitting = [(other, kind) for other, kind in fitting if abs(other - s) >= APART_M and kind != name]
    scenarios = [_scenario(road, s, name, number) for number, (s, name) in enumerate(sorted(chosen), start=1)]
    return replace(route, scenarios=tuple(scenarios))


def _draw(fitting: list[tuple[float, str]], rng: np.random.Generator) -> tuple[float, str]:
    """First a type, then one of its places, so that types with many places are not preferred."""
    names = sorted({name for _, name in fitting})
    name = names[int(rng.integers(len(names)))]
    places = [entry for entry in fitting if entry[1] == name]
    return places[int(rng.integers(len(places)))]


def _fitting(road: RouteRoad, types: list[str]) -> Iterator[tuple[float, str]]:
    junctions = Junctions()
    for s in np.arange(FIRST_M, road.length - LAST_M, EVERY_M):
        for name in types:
            needs = SCENARIOS[name].needs
            fits = _turn_fits if needs.turn else _stretch_fits
            if fits(road, needs, junctions, float(s)):
                yield float(s), name


def _stretch_fits(road: RouteRoad, needs: Needs, junctions: Junctions, s: float) -> bool:
    begin, end = s - RUN_UP_M, s + needs.stretch_m
    if end > road.length - LAST_M / 2 or any(j.end > begin and j.begin < end for j in road.junctions):
        return False
    yaws = [road.spot(at).yaw for at in (begin, 0.5 * (begin + end), end)]
    bends = max(abs(float(geometry.wrap_angle(yaw - yaws[0]))) for yaw in yaws)
    if needs.bend != (bends > BEND_RAD) or (not needs.bend and bends > STRAIGHT_RAD):
        return False
    middle = road.waypoint(0.5 * (begin + end))
    return has_beside(middle, needs.beside) and (has_oncoming(middle) or not needs.two_way)


def _turn_fits(road: RouteRoad, needs: Needs, junctions: Junctions, s: float) -> bool:
    span = road.junction_after(s)
    if span is None or not BEFORE_JUNCTION_M[0] <= span.begin - s <= BEFORE_JUNCTION_M[1]:
        return False
    if span.end > road.length - LAST_M or any(j.end > s and j.begin < span.begin for j in road.junctions):
        return False
    own, out = road.spot(span.begin - 1.0).yaw, road.spot(span.end + 1.0).yaw
    if needs.turn not in ("any", turn_name(out - own)):
        return False
    return junctions.offers(needs, road.waypoint(span.begin - 3.0), road.waypoint(0.5 * (span.begin + span.end)), own)


def _scenario(road: RouteRoad, s: float, name: str, number: int) -> Scenario:
    spot = road.spot(s)
    yaw = frames.yaw_to_carla_deg(math.remainder(spot.yaw, 2.0 * math.pi))
    trigger = tuple(round(v, 3) for v in (spot.x, -spot.y, spot.z, yaw))
    return Scenario(f"{name}_{number}", name, trigger)
