"""Jobs for several processes, each with a simulator of its own; answers come back as they are made."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import queue
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from autovla_core.errors import AutoVLAError, SimulatorError

Work = Callable[[object, Iterable, Callable[[object], None]], None]
PATIENCE_S = 10.0  # for a worker to stop its simulator
_PR_SET_PDEATHSIG = 1


def run_jobs(
    work: Work, shared: object, jobs: Sequence[object], workers: int, on_answer: Callable[[object], None]
) -> None:
    """Call ``work(shared, jobs, answer)`` in ``workers`` processes that draw from one list of jobs.

    With one worker everything runs in this process. ``work`` must be a function of a module.

    Raises:
        SimulatorError: what went wrong in a worker; the others are ended.
    """
    if workers <= 1 or len(jobs) <= 1:
        work(shared, iter(jobs), on_answer)
        return
    context = multiprocessing.get_context("spawn")
    tasks, answers = context.Queue(), context.Queue()
    count = min(workers, len(jobs))
    for job in (*jobs, *[None] * count):
        tasks.put(job)
    processes = [context.Process(target=_main, args=(work, shared, tasks, answers)) for _ in range(count)]
    try:
        for process in processes:
            process.start()
        _gather(processes, answers, on_answer)
        for process in processes:
            process.join(PATIENCE_S)
    finally:
        tasks.cancel_join_thread()
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join(PATIENCE_S)


def _gather(processes: list, answers: multiprocessing.Queue, on_answer: Callable[[object], None]) -> None:
    left = len(processes)
    while left:
        try:
            kind, value = answers.get(timeout=1.0)
        except queue.Empty:
            dead = [p.exitcode for p in processes if p.exitcode not in (None, 0)]
            if dead:
                raise SimulatorError(f"a worker process ended with exit code {dead[0]}") from None
            continue
        if kind == "answer":
            on_answer(value)
        elif kind == "error":
            raise SimulatorError(value)
        else:
            left -= 1


def _main(work: Work, shared: object, tasks: multiprocessing.Queue, answers: multiprocessing.Queue) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the simulator is stopped in order
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            work(shared, iter(tasks.get, None), lambda value: answers.put(("answer", value)))
            answers.put(("done", None))
        except (AutoVLAError, OSError) as error:
            answers.put(("error", str(error)))
