"""The one queue of jobs, and who works it off: this process, several of this machine, or a ray cluster.

Over ray every worker is an actor somewhere in the cluster that looks after one worker process of its machine: the very
process that works here without ray. Answers come back to this process, which alone writes results; an actor that is
lost, or its machine, is replaced, and what it held is done again (``dealing``). Whoever can reach the ports of a ray
cluster can run code on it: docs/distribution.md says how to keep strangers out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from autovla_core.errors import SetupError
from autovla_core.evaluation.dealing import DRAW, ERROR, LOST, Word, Work, deal
from autovla_core.evaluation.workers import Processes

SIMULATOR = "carla"  # the resource that a machine declares for each CARLA of its own: ray start --resources
PATIENCE_S = 15.0  # for the actors to stop their simulators


@dataclass(frozen=True)
class Cluster:
    """Which ray cluster, and what one worker takes of it."""

    address: str = "auto"  # host:port of its head; auto: the cluster that this machine belongs to
    cpus: float = 1.0
    gpus: float = 0.0  # a share of one; with 0 a worker sees no GPU
    simulators: int = 0  # 1: only machines that declare a running CARLA, one worker for each

    @property
    def needs(self) -> dict[str, float]:
        """By ray's names of resources."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, SIMULATOR: float(self.simulators)}
        return {name: amount for name, amount in wanted.items() if amount > 0.0}


def run_jobs(
    work: Work,
    shared: object,
    jobs: Sequence[object],
    workers: int,
    on_answer: Callable[[object], None],
    cluster: Cluster | None = None,
) -> None:
    """Call ``work(shared, jobs, answer)`` in ``workers`` processes that draw from one list of jobs.

    With one worker and no cluster everything runs in this process. ``work`` must be a function of a module, and answer
    once for each job. A worker that dies is replaced, and its job done again.

    Args:
        workers: with a cluster 0 is as many as it has room for.

    Raises:
        SimulatorError: what went wrong in a worker; the others are ended.
        SetupError: no ray, no cluster, or one without room for a worker.
    """
    if cluster is None and (workers <= 1 or len(jobs) <= 1):
        work(shared, iter(jobs), on_answer)
    elif cluster is None:
        deal(Processes(work, shared), jobs, min(workers, len(jobs)), on_answer)
    elif jobs:
        crew = Actors(cluster, work, shared)
        deal(crew, jobs, min(workers or crew.room, len(jobs)), on_answer)


class Actors:
    """A crew of ray actors.

    Raises:
        SetupError: no ray, no cluster, or one without room for a worker.
    """

    def __init__(self, cluster: Cluster, work: Work, shared: object) -> None:
        with contextlib.ExitStack() as opened:
            self._ray = opened.enter_context(connected(cluster))
            self.room = room(self._ray, cluster)
            self._connection = opened.pop_all()
        self._cluster, self._task = cluster, (work, shared, os.getcwd())
        self._hands: list = []
        self._heard: dict = {}  # workers by the reference of their next word
        self._there: set[int] = set()  # workers that have spoken and are not lost

    def hire(self) -> None:
        """Start one more, where there is room, now or later."""
        needs = self._cluster.needs
        others = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU")}
        actor = self._ray.remote(num_cpus=needs.get("CPU", 0), num_gpus=needs.get("GPU", 0), resources=others)(Hand)
        self._hands.append(actor.options(scheduling_strategy="SPREAD").remote(*self._task))
        self._listen(len(self._hands) - 1)

    def give(self, worker: int, job: object) -> None:
        """Answer a draw."""
        self._hands[worker].give.remote(job)
        self._listen(worker)

    def hear(self) -> Word:
        """Wait for the next word of anybody."""
        (ready, *_), _ = self._ray.wait(list(self._heard), num_returns=1)
        worker = self._heard.pop(ready)
        try:
            said = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            why = " ... ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))
            said = Word(worker, LOST, f"a worker of the cluster is gone: {why}")
        self._there.add(worker)
        if said.kind == LOST:
            self._there.discard(worker)
            self._ray.kill(self._hands[worker])
        elif said.kind not in (DRAW, ERROR):
            self._listen(worker)
        return Word(worker, said.kind, said.value)

    def close(self, orderly: bool) -> None:
        """End all, and leave the cluster as it was."""
        closing = [self._hands[worker].close.remote() for worker in self._there] if orderly else []
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=PATIENCE_S)
        for hand in self._hands:
            self._ray.kill(hand)
        self._connection.close()

    def _listen(self, worker: int) -> None:
        self._heard[self._hands[worker].hear.remote()] = worker


class Hand:
    """What runs in an actor: it hands jobs to a worker process of its machine, and on what that says."""

    def __init__(self, work: Work, shared: object, folder: str) -> None:
        self._wrong = "" if Path(folder).is_dir() else f"{socket.gethostname()} has no folder {folder}"
        if not self._wrong:
            os.chdir(folder)
            self._crew = Processes(work, shared)
            self._crew.hire()

    def hear(self) -> Word:
        """The process's next word."""
        if self._wrong:
            return Word(0, ERROR, f"{self._wrong}; every machine must see the checkout where this one does")
        word = self._crew.hear()
        return Word(0, word.kind, f"{socket.gethostname()}: {word.value}") if word.kind in (ERROR, LOST) else word

    def give(self, job: object) -> None:
        """Answer a draw."""
        self._crew.give(0, job)

    def close(self) -> None:
        """Let the process stop its simulator and end."""
        if not self._wrong:
            self._crew.close(True)


def _ray() -> ModuleType:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SetupError(f"found no ray ({error}); install it: pip install -c constraints.txt -e .[cluster]") from None
    return ray


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[ModuleType]:
    """ray, connected to a cluster, left as it was found.

    Raises:
        SetupError: no ray, or no cluster.
    """
    ray = _ray()
    already = ray.is_initialized()
    _connect(ray, cluster)
    try:
        yield ray
    finally:
        if not already:
            ray.shutdown()


def room(ray: ModuleType, cluster: Cluster, least: int = 1) -> int:
    """How many workers fit into all machines of now.

    Raises:
        SetupError: fewer than ``least``.
    """
    total = ray.cluster_resources()
    fitting = int(min(total.get(name, 0.0) // amount for name, amount in cluster.needs.items()))
    if fitting < least:
        wanted = _said({name: least * amount for name, amount in cluster.needs.items()})
        raise SetupError(f"the ray cluster has {_said(total)}, but {least} of our processes take {wanted}")
    return fitting


def own_address() -> str:
    """Of this machine, as the others of the cluster reach it; inside an actor."""
    return str(_ray().util.get_node_ip_address())


def _connect(ray: ModuleType, cluster: Cluster) -> None:
    try:
        ray.init(address=cluster.address, ignore_reinit_error=True, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:  # the last: a wrong token
        raise SetupError(
            f"no ray cluster at {cluster.address!r} ({str(error).splitlines()[0]}); docs/distribution.md shows how to "
            "start one; give --ray the head's host:port, or start this program on a machine of the cluster"
        ) from None


def _said(resources: dict[str, float]) -> str:
    named = {name: resources.get(name, 0.0) for name in ("CPU", "GPU", SIMULATOR)}
    return ", ".join(f"{amount:g} {name}" for name, amount in named.items() if amount) or "nothing free"
