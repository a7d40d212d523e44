"""Workers that are processes of this machine, each with a simulator of its own."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.process import BaseProcess

from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.dealing import ANSWER, DRAW, ERROR, LOST, Word, Work

PATIENCE_S = 10.0  # for a worker to stop its simulator
_PR_SET_PDEATHSIG = 1
_SPAWN = multiprocessing.get_context("spawn")


class Processes:
    """A crew of processes; each has a pipe of its own, so that the death of one harms no other.

    Args:
        work: a function of a module.
        shared: what it gets beside the jobs.
    """

    def __init__(self, work: Work, shared: object) -> None:
        self._work, self._shared = work, shared
        self._pipes: dict[connection.Connection, int] = {}  # of those that still may speak
        self._hired: list[tuple[BaseProcess, connection.Connection]] = []

    def hire(self) -> None:
        """Start one more."""
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_main, args=(self._work, self._shared, theirs, os.getpid()))
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        self._pipes[ours] = len(self._hired)
        self._hired.append((process, ours))

    def give(self, worker: int, job: object) -> None:
        """Answer a draw."""
        with contextlib.suppress(BrokenPipeError):  # it died while it waited: ``hear`` will say so
            self._hired[worker][1].send((job,))

    def hear(self) -> Word:
        """Wait for the next word of anybody."""
        pipe = connection.wait(list(self._pipes))[0]
        worker = self._pipes[pipe]
        try:
            return Word(worker, *pipe.recv())
        except (EOFError, OSError):  # also in the middle of a word
            del self._pipes[pipe]
            return Word(worker, LOST, _obituary(self._hired[worker][0]))

    def close(self, orderly: bool) -> None:
        """End all."""
        for process, pipe in self._hired:
            if orderly:
                with contextlib.suppress(OSError):
                    pipe.send(())
            elif process.is_alive():
                process.terminate()
        for process, pipe in self._hired:
            process.join(PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()


def _obituary(process: BaseProcess) -> str:
    process.join(PATIENCE_S)
    code = process.exitcode
    how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    return f"worker process {process.pid} ended by itself ({how})"


def _main(work: Work, shared: object, pipe: connection.Connection, parent: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the simulator is stopped in order
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked to die with it
            return
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError, EOFError):  # nobody listens any more
        try:
            work(shared, _drawn(pipe), lambda value: pipe.send((ANSWER, value)))
        except (AutoVLAError, OSError) as error:
            pipe.send((ERROR, str(error)))


def _drawn(pipe: connection.Connection) -> Iterator[object]:
    """Jobs one by one; it ends with an empty tuple."""
    pipe.send((DRAW, None))
    while given := pipe.recv():
        yield given[0]
        pipe.send((DRAW, None))
