"""Processes that need each other, over a ray cluster: what ``torchrun`` is on one machine. No torch here.

Where one is lost, all are ended and begun again; the program must go on from its last checkpoint by itself, as training
does. A process that ends with an exit code of its own ends the gang: it would say the same again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Mapping, Sequence
from types import ModuleType

from autovla_core.errors import SimulatorError
from autovla_core.evaluation.queue import Cluster, connected, own_address, room
from autovla_core.evaluation.server_process import die_with_parent, free_port

logger = logging.getLogger(__name__)

GOES = 5  # how often all are begun, before the machines are given up
LOOK_EVERY_S = 0.5


def run_gang(command: Sequence[str], ranks: int, cluster: Cluster, stop: threading.Event) -> int:
    """Run ``command`` in ``ranks`` processes with the variables that ``torchrun`` sets; the worst exit code.

    Args:
        stop: once it is set all get SIGTERM, and have to end by themselves.

    Raises:
        SetupError: no ray, no cluster, or one without room for a worker.
        SimulatorError: processes or machines were lost ``GOES`` times.
    """
    with connected(cluster) as ray:
        room(ray, cluster, ranks)
        for go in range(GOES):
            code, lost = _go(ray, command, ranks, cluster, stop)
            if not lost or stop.is_set():
                return code
            logger.warning("%s; all begin again (%d of %d)", lost, go + 1, GOES)
    raise SimulatorError(f"processes were lost {GOES} times, the last time: {lost}")


def _go(
    ray: ModuleType, command: Sequence[str], ranks: int, cluster: Cluster, stop: threading.Event
) -> tuple[int, str]:
    """The worst exit code, and what was lost, if anything was."""
    needs = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus, "scheduling_strategy": "SPREAD"}
    members = [ray.remote(Rank).options(max_concurrency=2, **needs).remote() for _ in range(ranks)]
    told, codes = False, []
    try:
        common = ray.get(members[0].meeting_point.remote()) | {"WORLD_SIZE": str(ranks), "LOCAL_RANK": "0"}
        waited = [
            member.run.remote(command, os.getcwd(), {**common, "RANK": str(rank)})
            for rank, member in enumerate(members)
        ]
        while waited:
            ended, waited = ray.wait(waited, timeout=LOOK_EVERY_S)
            codes += ray.get(ended)
            killed = [code for code in codes if code < 0]
            if killed:
                return 1, f"a process was killed by signal {-killed[0]}"
            if any(codes):
                return max(codes), ""
            if stop.is_set() and not told:
                told = bool(ray.get([member.stop.remote() for member in members]))
        return 0, ""
    except ray.exceptions.RayError as error:
        return 1, f"a machine or an actor was lost ({str(error).splitlines()[0]})"
    finally:
        for member in members:
            ray.kill(member)


class Rank:
    """What runs in an actor: one of the processes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def meeting_point(self) -> dict[str, str]:
        """Where all meet, if this is the first."""
        where = own_address()
        return {
            "MASTER_ADDR": where,
            "MASTER_PORT": str(free_port(1, where)),
            "TORCHELASTIC_RUN_ID": uuid.uuid4().hex,
        }

    def run(self, command: Sequence[str], folder: str, variables: Mapping[str, str]) -> int:
        """The exit code; negative: the signal that killed it."""
        logger.info("%s: rank %s", socket.gethostname(), variables["RANK"])
        self._process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, preexec_fn=self._die_at_once
        )
        return self._process.wait()

    @staticmethod
    def _die_at_once() -> None:
        """With the actor, and by no handler of its own: what is saved must not be touched once all begin again."""
        die_with_parent(signal.SIGKILL)

    def stop(self) -> bool:
        """Ask it to end."""
        if self._process is not None:
            self._process.terminate()
        return True
