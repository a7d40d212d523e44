"""What many records say together: means with intervals over routes, and counts of faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.scoring.statistics import Interval, bootstrap_mean

FAULTS = {
    "collisions": ("collisions_layout", "collisions_pedestrian", "collisions_vehicle"),
    "red lights": ("red_light",),
    "stop signs": ("stop_infraction",),
    "off lanes": ("outside_route_lanes",),
    "blocked": ("vehicle_blocked",),
    "deviated": ("route_dev",),
}


@dataclass(frozen=True)
class Summary:
    """Of all drives in one results file; scores in percent."""

    drives: int
    routes: int
    driving_score: Interval
    route_completion: Interval
    faults: Mapping[str, int]  # by the names of ``FAULTS``
    statuses: Mapping[str, int]


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
    )


def as_text(summary: Summary) -> str:
    """One line a figure."""
    lines = [f"{summary.drives} drives of {summary.routes} routes"]
    lines.append(f"{'driving score':18s} {summary.driving_score}")
    lines.append(f"{'route completion':18s} {summary.route_completion}")
    lines += [f"{name:18s} {count}" for name, count in (*summary.faults.items(), *summary.statuses.items())]
    return "\n".join(lines)
