"""What many records say together: means with intervals over routes, and counts of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autovla_core.evaluation.shielding import counts_of, said
from autovla_core.scoring.statistics import Interval, bootstrap_mean, bounded

FAULTS = {
    "collisions": ("collisions_layout", "collisions_pedestrian", "collisions_vehicle"),
    "red lights": ("red_light",),
    "stop signs": ("stop_infraction",),
    "off lanes": ("outside_route_lanes",),
    "blocked": ("vehicle_blocked",),
    "deviated": ("route_dev",),
}
PLANNER = {  # name: key of ``Driver.summary``, factor
    "slow plans %": ("slow_share", 100.0),
    "cut short %": ("forced_share", 100.0),
    "tokens a thought": ("thinking_tokens_mean", 1.0),
    "latency, s": ("latency_s_mean", 1.0),
}
OF_THOUGHTS = ("forced_share", "thinking_tokens_mean")


@dataclass(frozen=True)
class Summary:
    """Of all drives in one results file; scores in percent."""

    drives: int
    routes: int
    driving_score: Interval
    route_completion: Interval
    faults: Mapping[str, int]  # by the names of ``FAULTS``
    statuses: Mapping[str, int]
    planner: Mapping[str, Interval] = field(default_factory=dict)  # what planners of ours say of themselves
    planner_routes: Mapping[str, int] = field(default_factory=dict)  # behind each of these
    plans: int = 0
    shield: Mapping[str, float] = field(default_factory=dict)  # its counts, summed; empty without it
    shielded: int = 0  # drives that had it


def summarise(records: Sequence[Mapping]) -> Summary:
    """Sum up records of the leaderboard's JSON. Intervals are 95 % and draw whole routes: seeds of one are no routes.

    Raises:
        ValueError: no records.
    """
    routes = [record["route_id"].rsplit("_rep", 1)[0] for record in records]

    def mean(key: str) -> Interval:
        return bootstrap_mean([record["scores"][key] for record in records], np.random.default_rng(0), routes)

    faults = {
        name: sum(len(record["infractions"][kind]) for record in records for kind in kinds)
        for name, kinds in FAULTS.items()
    }
    statuses = Counter(record["status"] for record in records)
    return Summary(
        len(records),
        len(set(routes)),
        mean("score_composed"),
        mean("score_route"),
        faults,
        dict(sorted(statuses.items())),
        *_planner(records, routes),
        *_shield(records),
    )


def _planner(records: Sequence[Mapping], routes: Sequence[str]) -> tuple[dict[str, Interval], dict[str, int], int]:
    """Means over drives with their intervals, the routes behind each, and the number of plans."""
    told = [(record["planner"], route) for record, route in zip(records, routes) if record.get("planner")]
    found, counts = {}, {}
    for name, (key, factor) in PLANNER.items():
        # how long thoughts are, a drive without any does not say
        said = [(factor * p[key], r) for p, r in told if key not in OF_THOUGHTS or p["slow_plans"]]
        if said:
            values, groups = zip(*said)
            found[name], counts[name] = bootstrap_mean(values, np.random.default_rng(0), groups), len(set(groups))
    return found, counts, round(sum(planner["plans"] for planner, _ in told))


def _shield(records: Sequence[Mapping]) -> tuple[dict[str, float], int]:
    """Counts over all drives, and how many drives had the shield."""
    found = [counts for record in records if (counts := counts_of(record.get("planner") or {}))]
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    return dict(total), len(found)


def as_text(summary: Summary) -> str:
    """One line a figure."""
    lines = [f"{summary.drives} drives of {summary.routes} routes"]
    lines.append(f"{'driving score':18s} {bounded(summary.driving_score, summary.routes)}")
    lines.append(f"{'route completion':18s} {bounded(summary.route_completion, summary.routes)}")
    lines += [f"{name:18s} {count}" for name, count in (*summary.faults.items(), *summary.statuses.items())]
    if summary.planner:
        lines.append(f"{'plans':18s} {summary.plans}")
        lines += [f"{n:18s} {bounded(i, summary.planner_routes[n], 2)}" for n, i in summary.planner.items()]
    if summary.shielded:
        lines.append(f"{'shield on':18s} {said(summary.shield, summary.shielded)}")
        lines.append(f"{'':18s} the same agent without it: drive that too, then tools/compare_results.py pairs them")
    return "\n".join(lines)
