"""Results by scenario type, as Bench2Drive counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autovla_core.errors import RouteError
from autovla_core.evaluation.results import STATUS_RANK
from autovla_core.evaluation.route_file import Route

FREE = ("min_speed_infractions",)  # they cost nothing and spoil no success


@dataclass(frozen=True)
class Row:
    """One type; scores in percent."""

    type: str
    drives: int
    successes: int
    driving_score: float  # mean
    completion: float  # mean
    seconds: float  # mean, simulated
    faults: Mapping[str, int]  # infractions and failures by name


def by_type(routes: Sequence[Route], records: Sequence[Mapping]) -> list[Row]:
    """One row for each type of the routes' first scenarios that has records, in the order of the routes.

    Raises:
        RouteError: a record of a route that is not among them.
    """
    type_of = {route.id: route.scenarios[0].type if route.scenarios else "none" for route in routes}
    groups: dict[str, list[Mapping]] = {name: [] for name in type_of.values()}
    for record in records:
        id = record["route_id"].removeprefix("RouteScenario_").rsplit("_rep", 1)[0]
        if id not in type_of:
            raise RouteError(f"the results hold route {id!r}, the route file does not; give the file that was driven")
        groups[type_of[id]].append(record)
    return [_row(name, group) for name, group in groups.items() if group]


def succeeded(record: Mapping) -> bool:
    """Completed without any infraction but a slow stretch."""
    spoilt = any(messages for kind, messages in record["infractions"].items() if kind not in FREE)
    return record["status"] in STATUS_RANK and not spoilt


def as_markdown(rows: Sequence[Row]) -> str:
    """A table with a line of sums."""
    lines = [
        "| type | drives | success | driving score | completion | seconds | faults |",
        "|---|---|---|---|---|---|---|",
    ]
    drives = sum(row.drives for row in rows)
    for row in rows:
        faults = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in row.faults.items())
        lines.append(
            f"| {row.type} | {row.drives} | {row.successes} | {row.driving_score:.1f} | {row.completion:.0f} | "
            f"{row.seconds:.0f} | {faults or '-'} |"
        )
    if drives:
        score = sum(row.driving_score * row.drives for row in rows) / drives
        completion = sum(row.completion * row.drives for row in rows) / drives
        successes = sum(row.successes for row in rows)
        lines.append(f"| **all** | {drives} | {successes} | {score:.1f} | {completion:.0f} | | |")
    return "\n".join(lines)


def _row(name: str, group: Sequence[Mapping]) -> Row:
    faults: Counter[str] = Counter()
    for record in group:
        kinds = {kind: len(messages) for kind, messages in record["infractions"].items() if kind not in FREE}
        faults.update({kind: count for kind, count in kinds.items() if count})
        if record["status"] not in STATUS_RANK:
            faults[record["status"].removeprefix("Failed - ")] += 1
    count = len(group)
    return Row(
        name,
        count,
        sum(map(succeeded, group)),
        sum(r["scores"]["score_composed"] for r in group) / count,
        sum(r["scores"]["score_route"] for r in group) / count,
        sum(r["meta"]["duration_game"] for r in group) / count,
        dict(sorted(faults.items())),
    )
