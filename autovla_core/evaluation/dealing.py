"""Who holds which job: jobs are drawn one by one, what a lost worker held is given out again, nothing counts twice.

No processes and no network here; ``workers`` and ``queue`` bring the crews.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autovla_core.errors import SimulatorError

logger = logging.getLogger(__name__)

Work = Callable[[object, Iterable, Callable[[object], None]], None]  # work(shared, jobs, answer): one answer a job

DRAW, ANSWER, ERROR, LOST = "draw", "answer", "error", "lost"
TRIES = 3  # workers that one job may take with it before it is given up
HOPELESS = 6  # workers lost in a row, without an answer between; then something is wrong with the machines


@dataclass(frozen=True)
class Word:
    """What one worker says: that it wants a job, an answer, an error that ends the run, or that it is gone, and why."""

    worker: int
    kind: str
    value: object = None


class Crew(Protocol):
    """Workers, wherever they are."""

    def hire(self) -> None:
        """Start one more; it draws a job when it is ready."""
        ...

    def give(self, worker: int, job: object) -> None:
        """Answer a draw; to one that is gone meanwhile it does nothing."""
        ...

    def hear(self) -> Word:
        """Wait for the next word of anybody; after ``LOST`` that worker says no more."""
        ...

    def close(self, orderly: bool) -> None:
        """End all; orderly: they have nothing to do and may stop their simulators."""
        ...


class Table:
    """Which jobs wait, which are held by whom, which are given up. Jobs are numbers from 0 on."""

    def __init__(self, count: int) -> None:
        self._waiting = deque(range(count))
        self._held: dict[int, int] = {}
        self._losses: Counter[int] = Counter()
        self._in_a_row = 0
        self.given_up: dict[int, str] = {}

    @property
    def over(self) -> bool:
        """Nothing waits and nobody holds anything."""
        return not self._waiting and not self._held

    def draw(self, worker: int) -> int | None:
        """The next job, now held by ``worker``; None: nothing waits now."""
        if not self._waiting:
            return None
        self._held[worker] = self._waiting.popleft()
        return self._held[worker]

    def settle(self, worker: int) -> None:
        """The job that ``worker`` holds is done."""
        self._held.pop(worker, None)
        self._in_a_row = 0

    def lose(self, worker: int, why: str) -> None:
        """``worker`` is gone; its job is the next to be drawn, or given up if it took ``TRIES`` workers.

        Raises:
            SimulatorError: ``HOPELESS`` workers in a row were lost.
        """
        self._in_a_row += 1
        job = self._held.pop(worker, None)
        if job is not None:
            self._losses[job] += 1
            if self._losses[job] < TRIES:
                self._waiting.appendleft(job)
            else:
                self.given_up[job] = why
        if self._in_a_row == HOPELESS:
            raise SimulatorError(f"{HOPELESS} workers in a row were lost, the last one: {why}")


def deal(crew: Crew, jobs: Sequence[object], count: int, on_answer: Callable[[object], None]) -> None:
    """Let ``count`` workers do the jobs; replace those that are lost, and let others do again what they held.

    Raises:
        SimulatorError: an error of a worker; workers are lost again and again; a job was given up (after all others).
    """
    table, idle, orderly = Table(len(jobs)), [], False
    try:
        for _ in range(count):
            crew.hire()
        while not table.over:
            word = crew.hear()
            if word.kind == DRAW:
                idle.append(word.worker)
            elif word.kind == ANSWER:
                table.settle(word.worker)
                on_answer(word.value)
            elif word.kind == ERROR:
                raise SimulatorError(str(word.value))
            else:
                _replace(crew, table, idle, word)
            while idle and (job := table.draw(idle[-1])) is not None:
                crew.give(idle.pop(), jobs[job])
        orderly = True
    finally:
        crew.close(orderly)
    if table.given_up:
        number, why = next(iter(table.given_up.items()))
        raise SimulatorError(
            f"{len(table.given_up)} of {len(jobs)} jobs were given up after {TRIES} lost workers each; "
            f"the first: number {number + 1}, {why}"
        )


def _replace(crew: Crew, table: Table, idle: list[int], word: Word) -> None:
    logger.warning("%s; what it did is done again by another", word.value)
    if word.worker in idle:
        idle.remove(word.worker)
    table.lose(word.worker, str(word.value))
    if not table.over:
        crew.hire()
