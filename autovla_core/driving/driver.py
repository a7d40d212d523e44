"""Observation in, control out: plan every half second, track at every tick, brake when the planner fails."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.contracts import PLAN_STEPS, STEP_S, Control, Observation, Plan, Planner
from autovla_core.control.shield import Shield
from autovla_core.control.tracker import Tracker
from autovla_core.driving.latency import Latency
from autovla_core.driving.schedule import ReplanSchedule
from autovla_core.driving.thinking import ThinkingTally
from autovla_core.errors import ActionDecodeError

logger = logging.getLogger(__name__)

Subscriber = Callable[[Observation | None, Plan | None, Control], None]
FASTEST_M_PER_STEP = 60.0 * STEP_S  # a plan faster than 60 m/s is malformed


@dataclass(frozen=True)
class Attempt:
    """One plan that was asked for; it counts from ``ready_at_s`` on."""

    number: int  # in this episode, from 0
    asked_at_s: float
    ready_at_s: float
    observation: Observation | None  # None: there was nothing to see
    plan: Plan | None  # None: it failed
    failure: str = ""


class Driver:
    """Holds the plan that counts and the tracker that executes it.

    A plan counts once its latency has passed in simulated time; until then the one before it is tracked, and no
    further one is begun. Subscribers are called at every tick with the plan that counts (None before the first and
    when it failed), its observation and the control.

    Attributes:
        thinking: counts how the plans of the episode were thought.
        shield: has the last word on every control; None: nobody has.
        attempt: the newest plan that was asked for; it may be under way.
    """

    def __init__(
        self,
        planner: Planner,
        tracker: Tracker | None = None,
        replan_s: float = 0.5,
        subscribers: Sequence[Subscriber] = (),
        latency: Latency | None = None,
        clock: Callable[[], float] = time.perf_counter,
        shield: Shield | None = None,
    ) -> None:
        self.planner = planner
        self.tracker = tracker or Tracker()
        self.subscribers = list(subscribers)
        self.latency = latency or Latency()
        self.shield = shield
        self._clock = clock
        self._schedule = ReplanSchedule(replan_s)
        self.thinking = ThinkingTally()
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self.planner.reset()
        self.tracker.reset()
        self._schedule.reset()
        self.thinking.reset()
        if self.shield is not None:
            self.shield.reset()
        self.observation: Observation | None = None
        self.plan: Plan | None = None
        self.attempt: Attempt | None = None
        self._under_way: Attempt | None = None
        self._latencies: list[float] = []  # s
        self.plans = 0
        self.failures = 0
        self.last_failure = ""

    def step(
        self,
        observe: Callable[[], Observation] | Observation,
        time_s: float,
        speed: float,
        yaw_rate: float,
        returns: np.ndarray | None = None,
    ) -> Control:
        """One tick.

        Args:
            observe: the observation, or a function that builds it; called only when a plan is due.
            time_s: simulation time.
            speed: m/s along the heading, signed.
            yaw_rate: rad/s, counter-clockwise.
            returns: (N, 4) of the radar, for the shield, as ``sensing.radar.returns_of`` gives them.
        """
        self._take_over(time_s)
        if self._under_way is None and self._schedule.due(time_s):
            self.attempt = self._under_way = self._ask(observe, time_s)
            self._take_over(time_s)
        control = self.tracker.step(self.plan, time_s, speed, yaw_rate)
        if self.shield is not None:
            way = self.tracker.way(time_s, speed, self.shield.reach_m(speed))
            control = self.shield.step(control, way, returns, self.tracker.pose, time_s, speed)
        for subscriber in self.subscribers:
            subscriber(self.observation, self.plan, control)
        return control

    def summary(self) -> dict[str, float]:
        """Plans, failures and latencies of the episode, and what ``thinking`` and the shield say."""
        latencies = self._latencies or [0.0]
        return {
            "plans": float(self.plans),
            "failures": float(self.failures),
            "latency_s_mean": round(float(np.mean(latencies)), 6),
            "latency_s_most": round(max(latencies), 6),
            **self.thinking.summary(),
            **(self.shield.summary() if self.shield is not None else {}),
        }

    def _take_over(self, time_s: float) -> None:
        """Let the plan under way count if its time has come."""
        ready = self._under_way
        if ready is None or time_s < ready.ready_at_s - ReplanSchedule.EARLY_S:
            return
        self._under_way = None
        self.plan = ready.plan
        self.observation = ready.observation or self.observation
        if self.shield is not None and ready.plan is not None:
            self.shield.judge(ready.plan, ready.observation.route)

    def _ask(self, observe: Callable[[], Observation] | Observation, time_s: float) -> Attempt:
        number, began = self.plans + self.failures, self._clock()
        observation: Observation | None = None
        try:
            observation = observe() if callable(observe) else observe
            began = self._clock()
            plan = checked(self.planner.plan(observation))
        except Exception as error:  # the one edge that must keep the car safe, whatever the planner does
            return self._failed(number, time_s, self._clock() - began, observation, error)
        latency_s = self.latency.seconds(time_s, self._clock() - began, plan.thinking_tokens)
        self.plans += 1
        self.thinking.add(plan)
        self._latencies.append(latency_s)
        if latency_s > 0.0:
            plan = dataclasses.replace(plan, ready_at_s=time_s + latency_s)
        return Attempt(number, time_s, time_s + latency_s, observation, plan)

    def _failed(
        self, number: int, time_s: float, wall_s: float, observation: Observation | None, error: Exception
    ) -> Attempt:
        """A failure is known no sooner than a plan without a thought would have been."""
        self.failures += 1
        self.last_failure = f"{type(error).__name__}: {error}"
        logger.warning("no plan at %.2f s, braking (failure %d): %s", time_s, self.failures, self.last_failure)
        logger.debug("planner failure", exc_info=error)
        ready_at_s = time_s + self.latency.seconds(time_s, wall_s, 0)
        return Attempt(number, time_s, ready_at_s, observation, None, self.last_failure)


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
