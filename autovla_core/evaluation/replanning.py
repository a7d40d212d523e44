"""Let another model plan what a log saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.contracts import Command, Observation, Plan, Planner
from autovla_core.errors import AutoVLAError, LogError
from autovla_core.logs.plans import LoggedPlan
from autovla_core.logs.reader import RouteLog


@dataclass(frozen=True)
class Replanned:
    """What another planner makes of what was seen then."""

    then: LoggedPlan
    now: Plan | None
    failure: str = ""

    @property
    def shift_m(self) -> float:
        """Mean distance between the poses of then and now; NaN when one of them failed."""
        if self.now is None or not self.then.poses:
            return float("nan")
        gaps = np.array(self.then.poses)[:, :2] - self.now.poses[:, :2]
        return float(np.hypot(*gaps.T).mean())

    @property
    def same_tokens(self) -> bool:
        """Whether both chose the same ten action tokens."""
        now = None if self.now is None else self.now.tokens
        return now is not None and list(self.then.tokens) == [int(token) for token in now]


def replan(log: RouteLog, plans: Iterable[LoggedPlan], planner: Planner, cameras: Sequence[str]) -> Iterable[Replanned]:
    """Plan again what was observed at each of ``plans``, in order."""
    planner.reset()
    for then in plans:
        try:
            yield Replanned(then, planner.plan(observation_of(log, then, cameras)))
        except AutoVLAError as error:
            yield Replanned(then, None, f"{type(error).__name__}: {error}")


def observation_of(log: RouteLog, plan: LoggedPlan, cameras: Sequence[str]) -> Observation:
    """What the planner saw, as far as the log holds it: images as they were stored, no points of the route.

    Raises:
        LogError: the log has no image of a camera at that tick, or no such tick.
    """
    if not 0 <= plan.tick < len(log):
        raise LogError(f"{log.folder} has no tick {plan.tick}; it holds 0 to {len(log) - 1}")
    return Observation(
        time_s=plan.observed_at_s,
        clips={camera: log.clip(camera, plan.tick) for camera in cameras},
        speed=plan.speed,
        acceleration=plan.acceleration,
        pose=np.array(plan.pose or log.poses[plan.tick]),
        command=Command(plan.command),
        route=np.zeros((0, 2)),
        instruction=plan.instruction,
    )


def moment_of(log: RouteLog, plans: Sequence[LoggedPlan], tick: int) -> LoggedPlan:
    """What to plan again at any tick: the plan that was asked for there, else the log's own state."""
    if not 0 <= tick < len(log):
        raise LogError(f"{log.folder} has no tick {tick}; it holds 0 to {len(log) - 1}")
    asked = next((plan for plan in plans if plan.tick == tick), None)
    row = {name: log.ticks[name][tick].item() for name in ("speed", "acceleration", "command")}
    return asked or LoggedPlan(float(log.ticks["time_s"][tick]), tick, **row)
