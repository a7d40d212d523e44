"""Drives the routes of a run over several simulators of one machine: an evaluator process a route, with its own server.

One thread looks at all attempts in turn; time and waiting come in from outside.
"""

from __future__ import annotations

import fcntl
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autovla_core.errors import RouteError, SetupError
from autovla_core.evaluation.bench2drive import guardian
from autovla_core.evaluation.bench2drive.attempt import Attempt, Order, end_marked
from autovla_core.evaluation.bench2drive.jobs import NEVER_AGAIN, SPOILT, Job, Jobs, read_record
from autovla_core.evaluation.bench2drive.orders import Run, Slot, command, environment
from autovla_core.evaluation.bench2drive.watch import judge
from autovla_core.files import write_whole

LOOK_EVERY_S = 0.2
LOCK_WAIT_S = 3.0  # for the guardian of a call that was just killed
HOPELESS = 8  # faults in a row, of any routes, after which something is wrong with the machine


class Supervisor:
    """Holds the folder of a run while it exists.

    Args:
        environment: what evaluators inherit.
        tell: called with one sentence for each route that ended and each fault.

    Raises:
        RouteError: the folder holds another run.
        SetupError: another process drives this run.
    """

    def __init__(self, run: Run, environment: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.run, self._environment, self._tell = run, dict(environment), tell
        run.out.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(run.out / "lock")
        self.mark = _claim(run)
        self._in_a_row = 0
        orphans = end_marked(self.mark)  # if the guardian was killed too
        self._guardian = guardian.start(self.mark, self._lock.fileno())
        if orphans:
            tell(f"ended {orphans} processes that an interrupted call had left")

    def drive(
        self, jobs: Jobs, slots: Sequence[Slot], clock: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        """Drive until nothing waits.

        Raises:
            SetupError: the agent's sensors are not allowed, or nothing but faults.
        """
        running: dict[Slot, Attempt] = {}
        try:
            while not jobs.is_finished:
                for slot in slots:
                    if slot not in running and (job := jobs.take()):
                        running[slot] = self._start(job, slot, clock())
                pause(LOOK_EVERY_S)
                for slot, attempt in list(running.items()):
                    if self._step(attempt, jobs, clock()):
                        del running[slot]
        finally:
            for attempt in running.values():
                attempt.end()
                jobs.put_back(attempt.order.job)

    def close(self) -> None:
        """Let another process have the folder."""
        self._guardian.communicate()
        self._lock.close()

    def _start(self, job: Job, slot: Slot, now_s: float) -> Attempt:
        port, manager = slot.free_ports()
        name = f"route_{job.route}_attempt{job.attempt}"
        log, work = self.run.out / "logs" / f"{name}.log", self.run.out / "work"
        result, metrics = work / f"{name}.json", work / f"{name}.metrics.jsonl"
        scenario = log.with_suffix(".scenario.jsonl")
        order = Order(
            job,
            command(self.run, job, slot, (port, manager), result, metrics, scenario),
            environment(self.run, slot, self._environment),
            f"{self.mark}/{slot.index}/",
            log,
            result,
            metrics,
        )
        return Attempt(order, now_s)

    def _step(self, attempt: Attempt, jobs: Jobs, now_s: float) -> bool:
        """Look once; whether the attempt is over."""
        verdict = judge(attempt.look(now_s), self.run.limits)
        if verdict.state == "working":
            return False
        attempt.end()
        job = attempt.order.job
        if verdict.state == "finished":
            self._take(attempt, jobs, verdict.reason)
        else:
            self._fault(jobs, attempt, verdict.state, verdict.reason)
            self._tell(f"route {job.route}, attempt {job.attempt}: {verdict.state}: {verdict.reason}")
        return True

    def _take(self, attempt: Attempt, jobs: Jobs, reason: str) -> None:
        """Count a result, or drive again what the simulator spoilt."""
        order, job = attempt.order, attempt.order.job
        record = read_record(order.result, job.route)
        status = record["status"]
        if status == NEVER_AGAIN:
            raise SetupError(f"route {job.route}: {status}; the reason stands in {order.log}")
        if status in SPOILT and not job.last:
            self._fault(jobs, attempt, "bad result", status)
            self._tell(f"route {job.route}, attempt {job.attempt}: {status}, will be driven again")
            return
        remarks = sorted(attempt.log.remarks)
        keep_metrics(order.metrics, self.run.out / "metrics", record)
        jobs.finish(job, order.result, remarks=remarks, note=reason)
        self._in_a_row = self._in_a_row + 1 if status in SPOILT else 0
        said = [f"{record['scores']['score_composed']:.1f}", *remarks, *([reason] if reason else [])]
        self._tell(f"route {job.route}: {status}, {', '.join(said)}")

    def _fault(self, jobs: Jobs, attempt: Attempt, state: str, reason: str) -> None:
        jobs.fail(attempt.order.job, state, reason)
        attempt.order.metrics.unlink(missing_ok=True)
        attempt.order.result.unlink(missing_ok=True)
        self._in_a_row += 1
        if self._in_a_row >= HOPELESS:
            raise SetupError(
                f"{self._in_a_row} attempts in a row failed, the last by {state!r} ({reason}); "
                f"see {attempt.order.log}, then tools/check_setup.py; the same command continues"
            )


def keep_metrics(lines: Path, folder: Path, record: Mapping) -> None:
    """Turn the recorded ticks into ``metric_info.json``, unless the agent wrote that itself or nothing was recorded."""
    target = folder / str(record["save_name"]) / "metric_info.json"
    text = lines.read_text(encoding="utf-8") if lines.exists() else ""
    whole = [line for line in text.split("\n")[:-1] if line]
    if whole and not target.exists():
        write_whole(target, "{" + ",\n".join(f'"{i}": {line}' for i, line in enumerate(whole)) + "}\n")
    lines.unlink(missing_ok=True)


def _lock(file: Path):
    stream = open(file, "a")  # noqa: SIM115  held until close()
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return stream
        except BlockingIOError:
            if time.monotonic() > end:
                stream.close()
                raise SetupError(f"another process drives {file.parent}; choose another folder or wait") from None
        time.sleep(LOOK_EVERY_S)


def _claim(run: Run) -> str:
    """The mark of this folder's processes, made once."""
    file, identity = run.out / "run.json", run.identity()
    if file.exists():
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            mark, known = str(stored["mark"]), stored["run"]
        except (ValueError, KeyError, TypeError):
            raise RouteError(f"{file} cannot be read; move the folder away") from None
        changed = sorted(name for name in {*known, *identity} if known.get(name) != identity.get(name))
        if changed:
            raise RouteError(
                f"{run.out} holds another run (differs in {', '.join(changed)}: "
                f"{[known.get(n) for n in changed]} against {[identity.get(n) for n in changed]}); choose another --out"
            )
        return mark
    mark = uuid.uuid4().hex
    write_whole(file, json.dumps({"mark": mark, "run": identity}, indent=4) + "\n")
    return mark
