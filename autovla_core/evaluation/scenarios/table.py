"""Results by scenario type, as Bench2Drive counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.errors import RouteError
from autovla_core.evaluation.results import STATUS_RANK
from autovla_core.evaluation.route_file import Route, Scenario
from autovla_core.scoring.statistics import bootstrap_mean, bootstrap_share, bounded

SKIPPED = "scenario skipped: "  # begins a remark in a record's detail; the scenario's name and ": " follow
FREE = ("min_speed_infractions",)  # they cost nothing and spoil no success
NOTHING = Scenario("", "none", (0.0, 0.0, 0.0, 0.0))  # of a route without scenarios


@dataclass(frozen=True)
class Played:
    """One drive in which the scenario was played."""

    route: str
    score: float  # percent, driving score
    completion: float  # percent
    seconds: float  # simulated


@dataclass(frozen=True)
class Row:
    """One type."""

    type: str
    played: tuple[Played, ...]
    skipped: int  # drives in which it was not played: they are in no other figure of the row
    successes: int
    faults: Mapping[str, int]  # infractions and failures by name


def by_type(routes: Sequence[Route], records: Sequence[Mapping]) -> list[Row]:
    """One row for each type of the routes' first scenarios that has records, in the order of the routes.

    Raises:
        RouteError: a record of a route that is not among them.
    """
    groups: dict[str, list[Mapping]] = {_first(route).type: [] for route in routes}
    skipped: Counter[str] = Counter()
    for scenario, record in _with_scenarios(routes, records):
        if _was_skipped(scenario, record):
            skipped[scenario.type] += 1
        else:
            groups[scenario.type].append(record)
    return [_row(name, group, skipped[name]) for name, group in groups.items() if group or skipped[name]]


def as_sentence(routes: Sequence[Route], records: Sequence[Mapping]) -> str:
    """Success rate and driving score of the drives whose scenario was played, with 95 % intervals over routes."""
    played = [record for scenario, record in _with_scenarios(routes, records) if not _was_skipped(scenario, record)]
    if not played:
        return "no scenario was played"
    ids = [_route_id(record) for record in played]
    rate = bootstrap_share([succeeded(record) for record in played], np.random.default_rng(0), ids)
    score = bootstrap_mean([r["scores"]["score_composed"] for r in played], np.random.default_rng(0), ids)
    said = bounded(score, len(set(ids)))
    return f"{len(played)} drives of {len(set(ids))} routes: success rate {rate} %, driving score {said}"


def succeeded(record: Mapping) -> bool:
    """Completed without any infraction but a slow stretch."""
    spoilt = any(messages for kind, messages in record["infractions"].items() if kind not in FREE)
    return record["status"] in STATUS_RANK and not spoilt


def as_markdown(rows: Sequence[Row]) -> str:
    """A table with a line of sums; means with their 95 % intervals over routes."""
    lines = [
        "| type | drives | not played | success | driving score | completion | seconds | faults |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        faults = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in row.faults.items())
        lines.append(_line(row.type, row.played, row.skipped, row.successes, faults or "-"))
    played = [drive for row in rows for drive in row.played]
    if played:
        lines.append(_line("**all**", played, sum(r.skipped for r in rows), sum(r.successes for r in rows), ""))
    return "\n".join(lines)


def _line(name: str, played: Sequence[Played], skipped: int, successes: int, faults: str) -> str:
    cells = [name, len(played), skipped, successes, *_means(played), faults]
    return f"| {' | '.join(map(str, cells))} |"


def _means(played: Sequence[Played]) -> list[str]:
    """Driving score, completion, seconds."""
    if not played:
        return ["-"] * 3
    routes = [drive.route for drive in played]
    columns = ((1, [d.score for d in played]), (0, [d.completion for d in played]), (0, [d.seconds for d in played]))
    return [
        bounded(bootstrap_mean(values, np.random.default_rng(0), routes), len(set(routes)), digits)
        for digits, values in columns
    ]


def _first(route: Route) -> Scenario:
    return route.scenarios[0] if route.scenarios else NOTHING


def _with_scenarios(routes: Sequence[Route], records: Sequence[Mapping]) -> Iterator[tuple[Scenario, Mapping]]:
    """Each record with the first scenario of its route."""
    known = {route.id: _first(route) for route in routes}
    for record in records:
        if _route_id(record) not in known:
            raise RouteError(
                f"the results hold route {_route_id(record)!r}, the route file does not; give the file that was driven"
            )
        yield known[_route_id(record)], record


def _route_id(record: Mapping) -> str:
    return record["route_id"].removeprefix("RouteScenario_").rsplit("_rep", 1)[0]


def _was_skipped(scenario: Scenario, record: Mapping) -> bool:
    return f"{SKIPPED}{scenario.name}: " in record.get("detail", "")


def _row(name: str, group: Sequence[Mapping], skipped: int) -> Row:
    faults: Counter[str] = Counter()
    for record in group:
        kinds = {kind: len(messages) for kind, messages in record["infractions"].items() if kind not in FREE}
        faults.update({kind: count for kind, count in kinds.items() if count})
        if record["status"] not in STATUS_RANK:
            faults[record["status"].removeprefix("Failed - ")] += 1
    return Row(name, tuple(map(_played, group)), skipped, sum(map(succeeded, group)), dict(sorted(faults.items())))


def _played(record: Mapping) -> Played:
    scores = record["scores"]
    return Played(_route_id(record), scores["score_composed"], scores["score_route"], record["meta"]["duration_game"])
