"""What Bench2Drive's tables hold, from its result records: the official figure and, beside it, the corrected one.

The official scripts add up whatever records they find and divide by 220, leave routes without a record out of the
abilities, and count a route twice that was recorded twice. ``official`` does the same; ``corrected`` matches records to
the route file by id, counts an absent route 0, and the worst of several records of one route once.

Source: how Bench2Drive's merge_route_json.py, ability_benchmark.py and efficiency_smoothness_benchmark.py behave.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autovla_core.scoring.bench2drive_abilities import ABILITIES, abilities_of
from autovla_core.scoring.bench2drive_comfort import Motion, comfort

OFFICIAL_ROUTES = 220  # what the official merge divides by, whatever the route file
GOOD_STATUS = ("Completed", "Perfect")
UNCOUNTED = "min_speed_infractions"  # of all infractions the only one that a success may have
PERCENT = {"success rate", "driving smoothness", "mean ability", *ABILITIES}  # from 0 to 1; tables print percent
HIGHEST_SPEED_PERCENT = 1000.0  # above it the traffic stood still: left out of the efficiency
_PERCENT = re.compile(r"\b(\d+\.?\d*)%")


@dataclass(frozen=True)
class Entry:
    """One route of a route file."""

    id: str
    town: str
    type: str  # of its only scenario


@dataclass(frozen=True)
class Figure:
    """One number of a table twice; None where it is not defined, and then the note says why."""

    name: str
    official: float | None
    corrected: float | None
    note: str = ""


@dataclass(frozen=True)
class Coverage:
    """How the records fit the route file; ids are the file's."""

    routes: int
    records: int
    missing: tuple[str, ...]
    duplicated: tuple[str, ...]
    foreign: tuple[str, ...]  # ids of records that the route file lacks


@dataclass(frozen=True)
class Report:
    """All figures of one set of records on one route file."""

    coverage: Coverage
    figures: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        return {figure.name: figure for figure in self.figures}[name]


def report(
    entries: Sequence[Entry],
    records: Sequence[Mapping],
    motions: Mapping[str, Motion],
    junctions: Mapping[str, float],
) -> Report:
    """Work out every figure.

    Args:
        entries: the route file, in its order.
        records: of the leaderboard's JSON, in the order in which the official merge would meet them.
        motions: by ``save_name``; a record without one has no comfort.
        junctions: by route id: the completed share of the route from which a failed traffic-sign route is credited.
    """
    best = once(entries, records)
    # Their later scripts read what the merge has sorted; in another order a sum may end in another digit.
    merged = sorted(records, key=lambda record: str(record["route_id"]), reverse=True)
    figures = [
        Figure("driving score", _mean_score(records, OFFICIAL_ROUTES), _mean_score(best.values(), len(entries))),
        Figure("success rate", _success(records, OFFICIAL_ROUTES), _success(best.values(), len(entries))),
        efficiency(merged, list(best.values())),
        smoothness(merged, list(best.values()), motions),
        *_abilities(entries, records, best, junctions),
    ]
    return Report(coverage(entries, records), tuple(figures))


def route_of(record: Mapping) -> str:
    """The id in the route file of ``RouteScenario_<id>_rep<k>``.

    Raises:
        ValueError: a name of another form.
    """
    parts = str(record["route_id"]).split("_")
    if len(parts) < 3 or parts[0] != "RouteScenario":
        raise ValueError(f"route_id {record['route_id']!r} is not of the form RouteScenario_<id>_rep<k>")
    return parts[1]


def is_success(record: Mapping) -> bool:
    """Whether the target was reached without any infraction; driving slowly is none."""
    faults = any(messages for kind, messages in record["infractions"].items() if kind != UNCOUNTED)
    return record["status"] in GOOD_STATUS and not faults


def coverage(entries: Sequence[Entry], records: Sequence[Mapping]) -> Coverage:
    """Which routes have no record, which have several, and which records belong to no route."""
    counts = Counter(map(route_of, records))
    known = [entry.id for entry in entries]
    return Coverage(
        len(entries),
        len(records),
        tuple(id for id in known if not counts[id]),
        tuple(id for id in known if counts[id] > 1),
        tuple(sorted(set(counts) - set(known))),
    )


def once(entries: Sequence[Entry], records: Sequence[Mapping]) -> dict[str, Mapping]:
    """One record a route, by id: of several the worst, so that driving again can never raise a score."""
    chosen: dict[str, Mapping] = {}
    known = {entry.id for entry in entries}
    for record in records:
        id = route_of(record)
        if id in known and (id not in chosen or _rank(record) < _rank(chosen[id])):
            chosen[id] = record
    return chosen


def efficiency(records: Sequence[Mapping], best: Sequence[Mapping]) -> Figure:
    """Ego speed in percent of the traffic's, mean over checkpoints, then over routes that have any.

    The evaluator writes the last checkpoint of a finished route twice; corrected counts it once.
    """
    official = [_speeds(record) for record in records]
    corrected = _mean([speed for record in best if (speed := mean_speed(record)) is not None])
    if any(speeds == [] for speeds in official):
        note = "a record holds only values over 1000 %: the official script stops there"
        return Figure("driving efficiency", None, corrected, note)
    return Figure("driving efficiency", _mean([sum(speeds) / len(speeds) for speeds in official if speeds]), corrected)


def mean_speed(record: Mapping) -> float | None:
    """The ego's speed in percent of the traffic's, mean over the checkpoints of a drive; None without any."""
    speeds = _speeds_once(record)
    return sum(speeds) / len(speeds) if speeds else None


def smoothness(records: Sequence[Mapping], best: Sequence[Mapping], motions: Mapping[str, Motion]) -> Figure:
    """Comfort of ``bench2drive_comfort``, mean over records, in [0, 1]; tables print it in percent."""
    absent = [r["save_name"] for r in records if len(motions.get(r["save_name"], ())) < 3]
    official = None if absent else _mean([comfort(motions[r["save_name"]], official=True) for r in records])
    known = [motions[r["save_name"]] for r in best if len(motions.get(r["save_name"], ())) >= 3]
    corrected = _mean([comfort(motion, official=False) for motion in known])
    note = f"{len(absent)} of {len(records)} records have no metric_info.json: the official script stops there"
    return Figure("driving smoothness", official, corrected, note if absent else "")


def _abilities(
    entries: Sequence[Entry], records: Sequence[Mapping], best: Mapping[str, Mapping], junctions: Mapping[str, float]
) -> list[Figure]:
    first: dict[str, Mapping] = {}
    for record in records:
        first.setdefault(route_of(record), record)
    present = [entry for entry in entries if entry.id in first]
    official, lacking = abilities_of([(e.id, e.type, first[e.id]) for e in present], junctions, is_success)
    corrected, _ = abilities_of([(e.id, e.type, best.get(e.id)) for e in entries], junctions, is_success)
    notes = {name: "" if official[name] is not None else "no route: the official script stops" for name in ABILITIES}
    if lacking:
        notes["Traffic_Signs"] = f"lower bound: the junction mark of {len(lacking)} failed routes is not known"
    figures = [Figure(name, official[name], corrected[name], notes[name]) for name in ABILITIES]
    means = [_mean(list(values.values())) if None not in values.values() else None for values in (official, corrected)]
    return [*figures, Figure("mean ability", *means)]


def _rank(record: Mapping) -> tuple[float, bool]:
    return record["scores"]["score_composed"], is_success(record)


def _mean_score(records, divisor: int) -> float | None:
    return sum(record["scores"]["score_composed"] for record in records) / divisor if divisor else None


def _success(records, divisor: int) -> float | None:
    return sum(map(is_success, records)) / divisor if divisor else None


def _speeds(record: Mapping) -> list[float] | None:
    """Percentages of the checkpoints; None for a record without any, [] if all are too high."""
    messages = record["infractions"].get(UNCOUNTED, ())
    found = [float(match[1]) for match in map(_PERCENT.search, messages) if match]
    return [value for value in found if value <= HIGHEST_SPEED_PERCENT] if messages else None


def _speeds_once(record: Mapping) -> list[float] | None:
    messages = record["infractions"].get(UNCOUNTED, [])
    if record["status"] in GOOD_STATUS and len(messages) > 1 and messages[-1] == messages[-2]:
        messages = messages[:-1]
    return _speeds({"infractions": {UNCOUNTED: messages}})


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
