"""Route files in Bench2Drive's form for any town: one scenario of the official types on each route, seeded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.errors import RouteError
from autovla_core.evaluation.bench2drive.map_survey import Survey
from autovla_core.evaluation.bench2drive.map_walks import lane_of
from autovla_core.evaluation.bench2drive.type_places import TYPES, Place
from autovla_core.evaluation.route_file import Route, Scenario

POSITION_EVERY_M = 10.0
SAME_M = 0.5
EDGE_M = 1.0


@dataclass(frozen=True)
class Drawn:
    """Routes, and the types for which none of the towns has a place."""

    routes: Sequence[Route]
    missing: Sequence[str]


def draw_routes(
    surveys: Sequence[Survey],
    types: Iterable[str],
    each: int,
    weather: Mapping[str, float],
    seed: int,
) -> Drawn:
    """Draw up to ``each`` places of every type, in the first of the towns that has any.

    A type's places depend on the seed, the towns and the type only, not on which other types are asked for.

    Raises:
        RouteError: an unknown type.
    """
    routes: list[Route] = []
    missing: list[str] = []
    for type in types:
        if type not in TYPES:
            raise RouteError(f"unknown scenario type {type!r}; Bench2Drive has {', '.join(TYPES)}")
        rng = np.random.default_rng([seed, *type.encode()])
        found = next(((s, places) for s in surveys if (places := _usable(s, type))), None)
        if found is None:
            missing.append(type)
            continue
        town, places = found
        for number, index in enumerate(rng.permutation(len(places))[:each], start=1):
            id = str(len(routes) + 1)
            routes.append(_route(places[index], id, town.town, f"{type}_{number}", type, weather, rng))
    return Drawn(routes, missing)


def counts(survey: Survey) -> dict[str, int]:
    """How many places a town has for each type."""
    return {type: len(_usable(survey, type)) for type in TYPES}


def _usable(survey: Survey, type: str) -> list[Place]:
    return [place for place in TYPES[type](survey) if len(positions(place.way)) >= 2 and not place.way[-1].is_junction]


def positions(way: Sequence[carla.Waypoint]) -> list[carla.Waypoint]:
    """What a route file names of a way: the evaluator's planner fills in the rest.

    Nothing inside a junction nor at its edge, where a position would be snapped to whichever connecting road lies
    nearest, and the planner would forget to say that the route turns; always the last before and the first behind
    one, both ends of a change of lane, and one each ``POSITION_EVERY_M``.
    """
    kept: list[carla.Waypoint] = []
    for i, here in enumerate(way):
        is_end = i in (0, len(way) - 1)
        if _has_junction(way, i, 1) or (is_end and _is_at_edge(here)):
            continue
        gap = _distance(here, kept[-1]) if kept else np.inf
        turns = is_end or _has_junction(way, i, 2)
        changes = bool(kept) and _beside(here, kept[-1])
        if gap > SAME_M and (turns or changes or gap >= POSITION_EVERY_M):
            kept.append(here)
    return kept


def _has_junction(way: Sequence[carla.Waypoint], index: int, steps: int) -> bool:
    return any(w.is_junction for w in way[max(index - steps, 0) : index + steps + 1])


def _is_at_edge(end: carla.Waypoint) -> bool:
    """Whether a junction begins right beyond an end of a way."""
    return any(w.is_junction for w in (*end.next(EDGE_M), *end.previous(EDGE_M)))


def _beside(here: carla.Waypoint, before: carla.Waypoint) -> bool:
    return here.road_id == before.road_id and lane_of(here) != lane_of(before)


def _distance(one: carla.Waypoint, other: carla.Waypoint) -> float:
    return one.transform.location.distance(other.transform.location)


def _route(
    place: Place, id: str, town: str, name: str, type: str, weather: Mapping[str, float], rng: np.random.Generator
) -> Route:
    points = tuple(_rounded(w) for w in positions(place.way))
    trigger = (*_rounded(place.trigger), round(place.trigger.transform.rotation.yaw % 360.0, 1))
    scenario = Scenario(name, type, trigger, {**place.parameters(rng), **place.located})
    return Route(id, town, points, ((0.0, dict(weather)), (100.0, dict(weather))), (scenario,))


def _rounded(waypoint: carla.Waypoint) -> tuple[float, float, float]:
    at = waypoint.transform.location
    return round(at.x, 1), round(at.y, 1), round(at.z, 1)
