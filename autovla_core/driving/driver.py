"""Observation in, control out: plan every half second, track at every tick, brake when the planner fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from autovla_core.contracts import PLAN_STEPS, STEP_S, Control, Observation, Plan, Planner
from autovla_core.control.tracker import Tracker
from autovla_core.driving.schedule import ReplanSchedule
from autovla_core.driving.thinking import ThinkingTally
from autovla_core.errors import ActionDecodeError

logger = logging.getLogger(__name__)

Subscriber = Callable[[Observation | None, Plan | None, Control], None]
FASTEST_M_PER_STEP = 60.0 * STEP_S  # a plan faster than 60 m/s is malformed


class Driver:
    """Holds the newest plan and the tracker that executes it.

    Subscribers are called at every tick with the observation of the newest plan (None before the first),
    the plan (None when it failed) and the control. ``thinking`` counts how the plans of the episode were thought.
    """

    def __init__(
        self,
        planner: Planner,
        tracker: Tracker | None = None,
        replan_s: float = 0.5,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        self.planner = planner
        self.tracker = tracker or Tracker()
        self.subscribers = list(subscribers)
        self._schedule = ReplanSchedule(replan_s)
        self.thinking = ThinkingTally()
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self.planner.reset()
        self.tracker.reset()
        self._schedule.reset()
        self.thinking.reset()
        self.observation: Observation | None = None
        self.plan: Plan | None = None
        self.plans = 0
        self.failures = 0
        self.last_failure = ""

    def step(
        self, observe: Callable[[], Observation] | Observation, time_s: float, speed: float, yaw_rate: float
    ) -> Control:
        """One tick.

        Args:
            observe: the observation, or a function that builds it; called only when a plan is due.
            time_s: simulation time.
            speed: m/s along the heading, signed.
            yaw_rate: rad/s, counter-clockwise.
        """
        if self._schedule.due(time_s):
            self._replan(observe, time_s)
        control = self.tracker.step(self.plan, time_s, speed, yaw_rate)
        for subscriber in self.subscribers:
            subscriber(self.observation, self.plan, control)
        return control

    def _replan(self, observe: Callable[[], Observation] | Observation, time_s: float) -> None:
        try:
            self.observation = observe() if callable(observe) else observe
            self.plan = checked(self.planner.plan(self.observation))
            self.plans += 1
            self.thinking.add(self.plan)
        except Exception as error:  # the one edge that must keep the car safe, whatever the planner does
            self.plan = None
            self.failures += 1
            self.last_failure = f"{type(error).__name__}: {error}"
            logger.warning("no plan at %.2f s, braking (failure %d): %s", time_s, self.failures, self.last_failure)
            logger.debug("planner failure", exc_info=True)


def checked(plan: Plan) -> Plan:
    """Return the plan if it can be driven.

    Raises:
        ActionDecodeError: poses of another shape, not finite, or faster than any car.
    """
    poses = np.asarray(plan.poses, float)
    if poses.shape != (PLAN_STEPS, 3):
        raise ActionDecodeError(f"plan has poses {poses.shape}, expected ({PLAN_STEPS}, 3)")
    if not np.isfinite(poses).all():
        raise ActionDecodeError("plan holds poses that are not finite")
    steps = np.diff(np.vstack([np.zeros(3), poses])[:, :2], axis=0)
    fastest = float(np.hypot(steps[:, 0], steps[:, 1]).max())
    if fastest > FASTEST_M_PER_STEP:
        raise ActionDecodeError(
            f"plan moves {fastest:.1f} m in {STEP_S} s, expected at most {FASTEST_M_PER_STEP:.0f} m"
        )
    return plan
