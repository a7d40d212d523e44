"""The leaderboard's results JSON: one file, replaced as a whole after each route, continued by a second run."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autovla_core.errors import RouteError
from autovla_core.evaluation.identity import changed, told_by_all
from autovla_core.evaluation.parts import Parts
from autovla_core.files import write_whole
from autovla_core.scoring.closed_loop import INFRACTIONS, Infraction, Scores

logger = logging.getLogger(__name__)

STATUS_RANK = {"Perfect": 0, "Completed": 1}  # everything else is a failure
CRASHED = "Failed - Simulation crashed"
BAD_SENSORS = "Failed - Agent's sensors were invalid"
SETUP_FAILED = "Failed - Agent couldn't be set up"
LABELS = {
    "Avg. driving score": "score_composed",
    "Avg. route completion": "score_route",
    "Avg. infraction penalty": "score_penalty",
    "Collisions with pedestrians": "collisions_pedestrian",
    "Collisions with vehicles": "collisions_vehicle",
    "Collisions with layout": "collisions_layout",
    "Red lights infractions": "red_light",
    "Stop sign infractions": "stop_infraction",
    "Off-road infractions": "outside_route_lanes",
    "Route deviations": "route_dev",
    "Route timeouts": "route_timeout",
    "Agent blocked": "vehicle_blocked",
    "Yield emergency vehicles infractions": "yield_emergency_vehicle_infractions",
    "Scenario timeouts": "scenario_timeouts",
    "Min speed infractions": "min_speed_infractions",
}


@dataclass(frozen=True)
class Record:
    """How one drive of one route ended."""

    route: str  # id in the route file
    repetition: int
    seed: int
    town: str
    status: str
    scores: Scores
    infractions: tuple[Infraction, ...]
    route_length: float  # m
    duration_game: float  # s
    duration_system: float  # s of the wall clock
    detail: str = ""  # the error behind a crash; scenarios that could not be played
    planner: Mapping[str, float] = field(default_factory=dict)  # ``Driver.summary``; empty for a stranger's agent
    made_with: Mapping[str, str] = field(default_factory=dict)  # simulator, versions, hash of the code

    @property
    def route_id(self) -> str:
        """The leaderboard's name of this drive."""
        return route_id(self.route, self.repetition)

    @property
    def failed(self) -> bool:
        """Neither Perfect nor Completed."""
        return self.status not in STATUS_RANK

    def to_json(self, index: int) -> dict[str, object]:
        """The leaderboard's record; ours are ``seed``, ``detail``, ``infraction_times_s``, ``planner`` and more."""
        messages = {kind: [i.message for i in self.infractions if i.kind == kind] for kind in INFRACTIONS}
        scores = {
            "score_route": self.scores.route,
            "score_penalty": self.scores.penalty,
            "score_composed": self.scores.composed,
        }
        durations = {
            "route_length": round(self.route_length, 3),
            "duration_game": round(self.duration_game, 3),
            "duration_system": round(self.duration_system, 3),
        }
        return {
            "index": index,
            "route_id": self.route_id,
            "status": self.status,
            "num_infractions": len(self.infractions),
            "infractions": messages,
            "scores": scores,
            "meta": durations,
            "town_name": self.town,
            "seed": self.seed,
            "detail": self.detail,
            "infraction_times_s": self._times(),
            "planner": dict(self.planner),
            "made_with": dict(self.made_with),
        }

    def _times(self) -> dict[str, list[float | None]]:
        """When each message of ``infractions`` appeared; kinds that did not are left out."""
        found: dict[str, list[float | None]] = {}
        for infraction in self.infractions:
            time_s = None if infraction.time_s is None else round(infraction.time_s, 3)
            found.setdefault(infraction.kind, []).append(time_s)
        return found


def route_id(route: str, repetition: int) -> str:
    """``RouteScenario_<xml id>_rep<k>``."""
    return f"RouteScenario_{route}_rep{repetition}"


class ResultsFile:
    """Records of one run, kept on disk.

    Args:
        file: where the JSON lies or will lie.
        expected: every ``route_id`` of the run, in order.
        run: what makes a run (agent, configuration, hash of the routes, traffic ...); a file that was
            made with another run is not continued.
        sensors: the agent's sensors as the leaderboard names them.
        parts: where each record is also kept by itself; what the file lacks is taken from there.
        whole: False for one of several programs that drive at once; such a one writes parts alone.

    Raises:
        RouteError: the file is unreadable or belongs to another run.
    """

    def __init__(
        self,
        file: str | Path,
        expected: Sequence[str],
        run: Mapping[str, object],
        sensors: Sequence[str] = (),
        parts: Parts | None = None,
        whole: bool = True,
    ) -> None:
        self.file = Path(file)
        self._order = {name: i for i, name in enumerate(expected)}
        self._run = json.loads(json.dumps(dict(run)))
        self.sensors = list(sensors)
        self._parts, self._whole = parts, whole
        apart, runs = (parts.read(), parts.runs) if parts else ({}, [])
        self._records: dict[str, dict[str, object]] = {**self._load(runs), **apart}
        self._run = told_by_all(runs, self._run)
        foreign = sorted(set(self._records) - set(self._order))
        if foreign:
            raise RouteError(f"{self.file} holds routes that this run does not: {foreign}; choose another file")

    @property
    def records(self) -> list[dict[str, object]]:
        """Records so far, in the order of the run."""
        return [self._records[name] for name in sorted(self._records, key=self._order.__getitem__)]

    def has(self, name: str) -> bool:
        """Whether this drive is done; one that the simulator spoilt counts as not done."""
        return name in self._records and self._records[name]["status"] != CRASHED

    def add(self, record: Record) -> None:
        """Store one record, by itself and in the file."""
        self._records[record.route_id] = record.to_json(self._order[record.route_id])
        if self._parts:
            self._parts.write(self._records[record.route_id])
        if self._whole:
            self.write()

    def write(self) -> None:
        """Replace the file as a whole, so that a reader never sees half of it."""
        write_whole(self.file, json.dumps(self.document(), indent=4) + "\n")

    def document(self) -> dict[str, object]:
        """What the file holds."""
        records, total = self.records, len(self._order)
        complete = len(records) == total
        status = _entry_status(records, complete)
        overall = global_record(records, total) if complete else {}
        return {
            "_checkpoint": {"global_record": overall, "progress": [len(records), total], "records": records},
            "entry_status": status,
            "eligible": status == "Finished",
            "sensors": self.sensors,
            "values": _values(overall),
            "labels": list(LABELS) if overall else [],
            "run": self._run,
        }

    def _load(self, runs: list[Mapping[str, object]]) -> dict[str, dict[str, object]]:
        """Records of the file, and its run added to those of its parts; none if it is damaged but there are parts."""
        if not self.file.exists():
            return {}
        try:
            document = json.loads(self.file.read_text(encoding="utf-8"))
            records = {r["route_id"]: r for r in document["_checkpoint"]["records"]}
            run = document["run"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            if runs:
                logger.warning("%s is damaged; it is made anew from its drives", self.file)
                return {}
            raise RouteError(
                f"{self.file} is not a results file of this program; move it away or choose another"
            ) from None
        if differs := changed(run, self._run):
            raise RouteError(
                f"{self.file} holds another run (differs in {', '.join(differs)}: "
                f"{[run.get(k) for k in differs]} against {[self._run.get(k) for k in differs]}); choose another file"
            )
        runs.append(run)
        return records


def global_record(records: Sequence[Mapping[str, object]], total: int) -> dict[str, object]:
    """Means over ``total`` drives (a missing one counts 0), deviations, infractions per kilometre."""
    names = ("score_composed", "score_route", "score_penalty")
    table = np.array([[r["scores"][n] for n in names] for r in records], float).reshape(-1, 3)
    means = table.sum(0) / total
    spread = np.sqrt(((table - means) ** 2).sum(0) / (total - 1)) if total > 1 else np.zeros(3)
    driven = [r["meta"]["route_length"] / 1000.0 * r["scores"]["score_route"] / 100.0 for r in records]
    km = max(sum(driven), 0.001)
    counts: Counter[str] = Counter()
    for record in records:
        counts.update({kind: len(messages) for kind, messages in record["infractions"].items()})
    per_km = {kind: round(counts[kind] / km, 3) for kind in INFRACTIONS}
    per_km["outside_route_lanes"] = round(sum(map(_outside_km, records)), 3)  # as the leaderboard does: km, not per km
    failed = [[r["route_id"], r["index"], r["status"]] for r in records if r["status"] not in STATUS_RANK]
    status = max((r["status"] for r in records), key=lambda s: STATUS_RANK.get(s, 2), default="Failed")
    return {
        "index": -1,
        "route_id": -1,
        "status": status if status in STATUS_RANK else "Failed",
        "infractions": per_km,
        "scores_mean": {n: round(float(v), 6) for n, v in zip(names, means)},
        "scores_std_dev": {n: round(float(v), 3) for n, v in zip(names, spread)},
        "meta": {
            "total_length": round(sum(r["meta"]["route_length"] for r in records), 3),
            "duration_game": round(sum(r["meta"]["duration_game"] for r in records), 3),
            "duration_system": round(sum(r["meta"]["duration_system"] for r in records), 3),
            "exceptions": failed,
        },
    }


def _outside_km(record: Mapping[str, object]) -> float:
    return sum(float(message.split()[8]) for message in record["infractions"]["outside_route_lanes"][:1]) / 1000.0


def _values(overall: Mapping[str, object]) -> list[str]:
    if not overall:
        return []
    pool = {**overall["infractions"], **overall["scores_mean"]}
    return [str(pool[key]) for key in LABELS.values()]


def _entry_status(records: Sequence[Mapping[str, object]], complete: bool) -> str:
    statuses = {record["status"] for record in records}
    if CRASHED in statuses:
        return "Crashed"
    if BAD_SENSORS in statuses:
        return "Rejected"
    return "Finished" if complete else "Started"
