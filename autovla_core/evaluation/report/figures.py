"""The figures of a report: each with an interval, each with the routes behind it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autovla_core.evaluation.report.collect import UNCOUNTED, Drive, RunResults
from autovla_core.scoring.statistics import (
    Interval,
    Paired,
    bootstrap_mean,
    bootstrap_rate,
    bootstrap_share,
    bounded,
    holm,
    paired_difference,
)

RESAMPLES = 2000
LEVEL = 0.05


@dataclass(frozen=True)
class Figure:
    """A mean over drives of one agent."""

    interval: Interval
    drives: int
    units: int  # independent ones
    unit: str = "route"  # what these are: routes, seeds within one route, drives of one log

    def text(self, digits: int = 1) -> str:
        """Mean and bounds, or that there are none."""
        return bounded(self.interval, self.units, digits, self.unit)


def counted(count: int, word: str) -> str:
    """``1 route``, ``2 routes``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def p_text(value: float) -> str:
    """A p-value for a table: a test by chance never finds 0."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


@dataclass(frozen=True)
class Measure:
    """One column of a table."""

    name: str
    value: Callable[[Drive], float]
    kind: str  # mean, share or rate
    top: float | None  # of the scale; None: as far as the values go


def _faults(drive: Drive) -> float:
    return float(sum(fault.kind != UNCOUNTED for fault in drive.faults))


MEASURES = (
    Measure("driving score", lambda d: d.score, "mean", 100.0),
    Measure("success %", lambda d: float(d.succeeded), "share", 100.0),
    Measure("route completion %", lambda d: d.completion, "mean", 100.0),
    Measure("faults a drive", _faults, "rate", None),
)
SCORE, SUCCESS = MEASURES[0], MEASURES[1]
GROUPINGS: Mapping[str, Callable[[Drive], Sequence[str]]] = {
    "town": lambda d: [d.town] if d.town else [],
    "weather": lambda d: [d.weather] if d.weather else [],
    "scenario": lambda d: d.scenarios,
    "ability": lambda d: d.abilities,
    "seed": lambda d: [str(d.seed)],
    "route": lambda d: [d.route],
}


PLANNER = (  # of each drive's ``planner``: column, how it reads it, digits
    ("slow plans %", lambda p: 100.0 * p["slow_share"], 1),
    ("of them cut short %", lambda p: 100.0 * p["forced_share"] if p["slow_plans"] else None, 1),
    ("tokens a thought", lambda p: p["thinking_tokens_mean"] if p["slow_plans"] else None, 1),
    ("failed plans %", lambda p: 100.0 * p["failures"] / max(p["plans"] + p["failures"], 1.0), 1),
    ("latency, simulated s", lambda p: p["latency_s_mean"], 2),
    ("brakings by the shield", lambda p: p.get("shield_brakings"), 2),
)


def planner_figures(drives: Sequence[Drive]) -> dict[str, tuple[Figure, int]]:
    """Means over drives of what their planners say of themselves, and digits to print; drives that say nothing are
    left out, and so is a column that no drive fills."""
    found = {}
    for name, value, digits in PLANNER:
        told = [(value(drive.planner), drive.route) for drive in drives if drive.planner]
        told = [(number, route) for number, route in told if number is not None]
        if told:
            values, routes = zip(*told)
            interval = bootstrap_mean(values, np.random.default_rng(0), routes, resamples=RESAMPLES)
            found[name] = (Figure(interval, len(values), len(set(routes))), digits)
    return found


def figure(measure: Measure, drives: Sequence[Drive], unit: str = "route") -> Figure:
    """One measure over drives; ``unit`` is what is independent, ``route`` or ``seed``.

    Raises:
        ValueError: no drives.
    """
    groups = [getattr(drive, unit) for drive in drives]
    values, rng = [measure.value(drive) for drive in drives], np.random.default_rng(0)
    if measure.kind == "share":
        interval = bootstrap_share([value > 0 for value in values], rng, groups)
    elif measure.kind == "rate":
        interval = bootstrap_rate(values, rng, groups)
    else:
        interval = bootstrap_mean(values, rng, groups, resamples=RESAMPLES)
    return Figure(interval, len(drives), len(set(groups)), unit)


def with_missing(run: RunResults) -> Figure | None:
    """The driving score when drives that are missing count 0, as the leaderboard has it; None if none is missing."""
    missing = run.total - len(run.drives)
    if missing <= 0:
        return None
    nothing = [replace(run.drives[0], route=f"missing {i}", score=0.0) for i in range(missing)]
    return figure(SCORE, [*run.drives, *nothing])


def grouped(drives: Sequence[Drive], grouping: str) -> dict[str, list[Drive]]:
    """Drives by a key of ``GROUPINGS``, sorted; numbers as numbers."""
    found: dict[str, list[Drive]] = {}
    for drive in drives:
        for key in GROUPINGS[grouping](drive):
            found.setdefault(key, []).append(drive)
    return dict(sorted(found.items(), key=lambda item: (not item[0].isdigit(), item[0].zfill(12), item[0])))


@dataclass(frozen=True)
class Comparison:
    """Two runs on one benchmark, drive by drive."""

    a: str
    b: str
    measure: str
    paired: Paired | None  # None: no drive in common
    p_holm: float  # corrected for all comparisons of this measure in the report
    left_out: int  # drives that only one of them made

    @property
    def shown(self) -> bool:
        """Whether these drives show a difference."""
        return self.paired is not None and self.paired.shown and self.p_holm <= LEVEL

    def verdict(self) -> str:
        """In words."""
        if self.paired is None:
            return "no drive in common"
        if not self.shown:
            return "no difference shown"
        return f"{self.b if self.paired.difference.mean > 0 else self.a} is higher"


def compare(runs: Sequence[RunResults], measure: Measure = SCORE) -> list[Comparison]:
    """Every pair of runs of one benchmark, on the routes and seeds that both drove.

    Raises:
        ValueError: runs of different route files, rules or traffic.
    """
    if len({run.benchmark for run in runs}) > 1:
        raise ValueError(f"runs of different benchmarks cannot be compared: {sorted({r.benchmark for r in runs})}")
    scale = 100.0 if measure.kind == "share" else 1.0
    tables = {r.name: {(d.route, d.seed): scale * measure.value(d) for d in r.drives} for r in runs}
    found = []
    for a, b in itertools.combinations(tables, 2):
        common = tables[a].keys() & tables[b].keys()
        paired = paired_difference(tables[a], tables[b], np.random.default_rng(0)) if common else None
        found.append(Comparison(a, b, measure.name, paired, 1.0, len(tables[a].keys() ^ tables[b].keys())))
    corrected = iter(holm([c.paired.p_value for c in found if c.paired]))
    return [replace(c, p_holm=next(corrected)) if c.paired else c for c in found]
