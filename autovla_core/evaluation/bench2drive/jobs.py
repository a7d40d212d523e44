"""Which routes are done, which are to be driven and how often they failed: files that survive kill -9 at any moment.

    results/route_<id>.json   the evaluator's own file of one finished route; its existence is what "done" means
    journal.jsonl             one line an event, appended and forced to the disk; a torn last line is dropped

One file a route, moved into its place when it is complete: no route can be counted twice, none half.
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autovla_core.errors import RouteError
from autovla_core.files import take_place

SPOILT = (
    "Failed",
    "Failed - Simulation crashed",
    "Failed - Agent crashed",
    "Failed - Agent couldn't be set up",
)  # what the official --resume drives again, and a failed set-up; kept only when no attempt is left
NEVER_AGAIN = "Failed - Agent's sensors were invalid"


@dataclass(frozen=True)
class Job:
    """One attempt at one route; attempts count from 1, on when the route was asked for again: a log is named by it."""

    route: str
    attempt: int
    last: bool


class Journal:
    """Events, one JSON object a line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.events, size = read_events(file)
        if file.exists() and file.stat().st_size > size:  # the power went while the last line was written
            os.truncate(file, size)

    def add(self, event: str, **facts: object) -> None:
        """Append one event; it is on the disk when this returns."""
        self.events.append({"event": event, **facts})
        with open(self.file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(self.events[-1]) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def read_events(file: Path) -> tuple[list[dict[str, object]], int]:
    """Events of a journal, none if there is no file, and the bytes that they take; what follows is a torn line.

    Raises:
        RouteError: it is damaged in its middle.
    """
    data = file.read_bytes() if file.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    try:
        return [json.loads(line) for line in whole.splitlines() if line.strip()], len(whole)
    except ValueError:
        raise RouteError(f"{file} is damaged in its middle; move the folder away or repair that line") from None


class Jobs:
    """The queue of one run.

    Args:
        folder: of the run.
        ids: the routes that this call is to drive, in order.
        retries: how often a route is driven again after a fault.
        again: drive routes again that are recorded as ``SPOILT`` or were given up.
    """

    def __init__(self, folder: Path, ids: Sequence[str], retries: int, again: bool = False) -> None:
        self.folder, self._retries = folder, retries
        (folder / "results").mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "journal.jsonl")
        self.done = {id: status for id in ids if (status := self._status(id))}
        if again:
            self._forget(ids)
        self._faults, self._ended = faults_of(self.journal.events), ended_of(self.journal.events)
        self.given_up = {id for id in ids if id not in self.done and self._faults[id] > retries}
        self._waiting = deque(id for id in ids if id not in self.done and id not in self.given_up)
        self._driving: set[str] = set()

    @property
    def is_finished(self) -> bool:
        """Nothing waits and nothing is being driven."""
        return not self._waiting and not self._driving

    def result_file(self, id: str) -> Path:
        """Where the result of a finished route lies."""
        return self.folder / "results" / f"route_{id}.json"

    def take(self) -> Job | None:
        """The next attempt, or None when nothing waits; fresh routes come before repeated ones."""
        if not self._waiting:
            return None
        id = self._waiting.popleft()
        self._driving.add(id)
        job = Job(id, self._ended[id] + 1, last=self._faults[id] >= self._retries)
        self.journal.add("start", route=id, attempt=job.attempt)
        return job

    def finish(self, job: Job, result: Path, **facts: object) -> None:
        """Move a complete result into its place."""
        record = read_record(result, job.route)
        take_place(result, self.result_file(job.route))
        self._driving.discard(job.route)
        self.done[job.route] = str(record["status"])
        self.journal.add("done", route=job.route, attempt=job.attempt, status=record["status"], **facts)

    def fail(self, job: Job, state: str, reason: str) -> None:
        """Count a fault; the route waits again, or is given up."""
        self._driving.discard(job.route)
        self._faults[job.route] += 1
        self._ended[job.route] = job.attempt
        self.journal.add("fault", route=job.route, attempt=job.attempt, state=state, reason=reason)
        if job.last:
            self.given_up.add(job.route)
            self.journal.add("given up", route=job.route, attempts=job.attempt)
        else:
            self._waiting.append(job.route)

    def put_back(self, job: Job) -> None:
        """We are being stopped: not the route's fault."""
        self._driving.discard(job.route)
        self._waiting.appendleft(job.route)

    def _status(self, id: str) -> str:
        """Status of a finished route, "" if there is no usable file."""
        try:
            return str(read_record(self.result_file(id), id)["status"])
        except RouteError:
            return ""

    def _forget(self, ids: Iterable[str]) -> None:
        counts = faults_of(self.journal.events)
        for id in ids:
            spoilt = self.done.get(id) in SPOILT
            if spoilt or (id not in self.done and counts[id]):
                self.done.pop(id, None)
                self.journal.add("again", route=id)
        for id in set(ids) - set(self.done):
            self.result_file(id).unlink(missing_ok=True)


def faults_of(events: Iterable[Mapping[str, object]]) -> Counter[str]:
    """Faults by route since it was last asked for again."""
    faults: Counter[str] = Counter()
    for event in events:
        if event["event"] == "fault":
            faults[str(event["route"])] += 1
        elif event["event"] == "again":
            faults[str(event["route"])] = 0
    return faults


def ended_of(events: Iterable[Mapping[str, object]]) -> Counter[str]:
    """Number of each route's last attempt that came to an end, a result or a fault."""
    ended: Counter[str] = Counter()
    for event in events:
        if event["event"] in ("fault", "done"):
            ended[str(event["route"])] = int(str(event["attempt"]))
    return ended


def read_record(file: Path, route: str) -> dict:
    """The only record of a one-route result file.

    Raises:
        RouteError: no file, half a file, another route, or a route that is still being driven.
    """
    records = read_records(file)
    if len(records) != 1:
        raise RouteError(f"{file} holds {len(records)} records, expected one")
    record = records[0]
    if record["route_id"] != f"RouteScenario_{route}_rep0":
        raise RouteError(f"{file} holds {record['route_id']}, expected route {route}")
    if record["status"] == "Started":
        raise RouteError(f"{file}: route {route} is still being driven")
    return record


def read_records(file: Path) -> list[dict]:
    """Records of a leaderboard results file.

    Raises:
        RouteError: it is not one.
    """
    try:
        records = json.loads(file.read_text(encoding="utf-8"))["_checkpoint"]["records"]
        for record in records:
            record["route_id"], record["status"], record["infractions"], record["scores"]["score_composed"]
    except FileNotFoundError:
        raise RouteError(f"no results file at {file}") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise RouteError(f"{file} is no results file of the leaderboard, or half of one") from None
    return records
