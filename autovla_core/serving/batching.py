"""Several simulators, one forward: requests that arrive within a short window are planned together."""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from autovla_core.contracts import Observation, Plan, Planner
from autovla_core.errors import AutoVLAError
from autovla_core.serving.statistics import Statistics

logger = logging.getLogger(__name__)


class PlannerFailure(AutoVLAError):
    """The planner failed in a way that it does not know itself; the text names what it raised."""


@runtime_checkable
class BatchPlanner(Protocol):
    """A planner that can do many at once."""

    def plan_many(self, observations: Sequence[Observation]) -> list[Plan]:
        """One plan for each observation, in order; equal to ``plan`` of each."""
        ...


def plan_batch(planner: Planner, observations: Sequence[Observation]) -> list[Plan]:
    """One plan for each observation: together if the planner can, else one after the other.

    Raises:
        AutoVLAError: one of them cannot be planned.
    """
    if len(observations) > 1 and isinstance(planner, BatchPlanner):
        return planner.plan_many(observations)
    return [planner.plan(observation) for observation in observations]


@dataclasses.dataclass(frozen=True)
class _Request:
    client: int
    observation: Observation
    asked_s: float
    answer: Future[Plan]


class Batcher:
    """Owns the planner: one thread calls it, everybody else waits for a ``Future``.

    The window is only waited out while somebody else, who has asked before, may ask too; a single
    simulator never waits.
    """

    def __init__(
        self,
        planner: Planner,
        window_s: float,
        most: int,
        statistics: Statistics,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._planner, self._window_s, self._most = planner, window_s, most
        self._statistics, self._clock = statistics, clock
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._askers: set[int] = set()
        self._last_client: int | None = None
        self._thread = threading.Thread(target=self._run, name="planner", daemon=True)
        self._thread.start()

    def submit(self, client: int, observation: Observation) -> Future[Plan]:
        """Ask for a plan; the result is the plan, or raises what the planner raised."""
        request = _Request(client, observation, self._clock(), Future())
        self._askers.add(client)
        self._requests.put(request)
        return request.answer

    def forget(self, client: int) -> None:
        """This client asks no more, or begins a new episode."""
        self._askers.discard(client)
        if self._last_client == client:
            self._last_client = None

    def close(self) -> None:
        """Plan what was asked for and end."""
        self._requests.put(None)
        self._thread.join(timeout=60.0)

    def _run(self) -> None:
        while True:
            batch, last = self._gather()
            if batch:
                self._plan(batch)
            if last:
                return

    def _gather(self) -> tuple[list[_Request], bool]:
        """The next requests, at least one, and whether the end has come."""
        request = self._requests.get()
        if request is None:
            return [], True
        batch, until = [request], self._clock() + self._window_s
        while len(batch) < self._most:
            waiting = max(until - self._clock(), 0.0) if len(batch) < len(self._askers) else 0.0
            try:
                request = self._requests.get(timeout=waiting) if waiting else self._requests.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
        return batch, False

    def _plan(self, batch: list[_Request]) -> None:
        started = self._clock()
        outcomes = self._outcomes(batch)
        took_ms = (self._clock() - started) * 1e3
        self._statistics.took("forward", took_ms)
        self._statistics.count(f"batches of {len(batch)}")
        for request, outcome in zip(batch, outcomes):
            wait_ms = (started - request.asked_s) * 1e3
            self._statistics.took("wait", wait_ms)
            if isinstance(outcome, AutoVLAError):
                self._statistics.count(f"failed: {type(outcome).__name__}")
                request.answer.set_exception(outcome)
                continue
            self._statistics.count("plans")
            timings = {**outcome.timings_ms, "wait": wait_ms, "batch": float(len(batch))}
            request.answer.set_result(dataclasses.replace(outcome, timings_ms=timings))

    def _outcomes(self, batch: list[_Request]) -> list[Plan | AutoVLAError]:
        """Plans together; when one spoils the batch, each alone, so that only its own asker hears of it."""
        if len(batch) > 1:
            together = self._attempt(batch)
            if isinstance(together, list):
                return together
        return [one[0] if isinstance(one, list) else one for one in (self._attempt([request]) for request in batch)]

    def _attempt(self, batch: list[_Request]) -> list[Plan] | AutoVLAError:
        if len(batch) > 1 or batch[0].client != self._last_client:
            self._planner.reset()  # what it may remember was another simulator's
        self._last_client = batch[0].client if len(batch) == 1 else None
        try:
            return plan_batch(self._planner, [request.observation for request in batch])
        except AutoVLAError as error:
            return error
        except Exception as error:  # the one edge that keeps the other simulators driving
            logger.exception("the planner failed")
            return PlannerFailure(f"{type(error).__name__}: {error}")
