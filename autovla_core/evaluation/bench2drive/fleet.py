"""A run over many machines: each worker drives one route after the other on one simulator of its machine.

out/machines/<host>_<k>/    of the k-th worker of a machine: a run folder like any other, also for merge
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autovla_core.errors import RouteError, SetupError
from autovla_core.evaluation.bench2drive.jobs import Jobs, faults_of, read_events, read_record
from autovla_core.evaluation.bench2drive.orders import Run, Slot, slots_of
from autovla_core.evaluation.bench2drive.supervisor import Supervisor

MOST_SEATS = 64  # workers of one machine


@dataclass(frozen=True)
class Fleet:
    """What all workers share; ports and GPUs are those of each machine."""

    run: Run  # its ``out`` is the folder above all of theirs
    retries: int
    gpus: tuple[str, ...]
    adapters: tuple[str, ...]
    port: int
    traffic_manager_port: int
    environment: Mapping[str, str]  # what evaluators inherit


@dataclass(frozen=True)
class Driven:
    """What became of one route."""

    route: str
    given_up: bool
    said: tuple[str, ...]


def machine_folders(out: Path) -> list[Path]:
    """The run folders of all workers so far."""
    return sorted(folder for folder in (out / "machines").glob("*_*") if folder.is_dir())


def done_of(out: Path, ids: Iterable[str]) -> set[str]:
    """Routes that some worker has finished."""
    folders = machine_folders(out)
    return {id for id in ids if any(_is_done(folder, id) for folder in folders)}


def waiting_of(out: Path, ids: Sequence[str], retries: int, again: bool) -> tuple[list[str], set[str]]:
    """Routes that are to be driven, and those that were given up before.

    Args:
        again: forget what was spoilt or given up; nobody may drive meanwhile.
    """
    if again:
        for folder in machine_folders(out):
            Jobs(folder, ids, retries, again=True)
    done, faults = done_of(out, ids), Counter[str]()
    for folder in machine_folders(out):
        faults.update(faults_of(read_events(folder / "journal.jsonl")[0]))
    given_up = {id for id in ids if id not in done and faults[id] > retries}
    return [id for id in ids if id not in done | given_up], given_up


def drive_routes(fleet: Fleet, ids: Iterable[str], answer: Callable[[Driven], None]) -> None:
    """One worker, for ``evaluation.queue``.

    Raises:
        SetupError: the agent's sensors are not allowed, nothing but faults, or too many workers on this machine.
        RouteError: the folder holds another run.
    """
    said: list[str] = []
    supervisor, slot = _sit_down(fleet, said.append)
    try:
        for id in ids:
            jobs = Jobs(supervisor.run.out, [id] if id not in done_of(fleet.run.out, [id]) else [], fleet.retries)
            supervisor.drive(jobs, [slot], time.monotonic, time.sleep)
            answer(Driven(id, id in jobs.given_up, tuple(said)))
            said.clear()
    finally:
        supervisor.close()


def _sit_down(fleet: Fleet, tell: Callable[[str], None]) -> tuple[Supervisor, Slot]:
    """The first place of this machine that no other worker holds."""
    for seat in range(MOST_SEATS):
        out = fleet.run.out / "machines" / f"{socket.gethostname()}_{seat}"
        try:
            supervisor = Supervisor(replace(fleet.run, out=out), fleet.environment, tell)
        except SetupError:  # another worker drives there
            continue
        slots = slots_of(seat + 1, fleet.gpus, fleet.adapters, fleet.port, fleet.traffic_manager_port)
        return supervisor, slots[seat]
    raise SetupError(f"{MOST_SEATS} workers drive on {socket.gethostname()} already; ask for fewer")


def _is_done(folder: Path, id: str) -> bool:
    try:
        read_record(folder / "results" / f"route_{id}.json", id)
    except RouteError:
        return False
    return True
