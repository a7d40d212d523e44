"""What an agent of ours thinks, for recorders and pictures; a stranger's agent shows nothing."""

from __future__ import annotations

from collections import deque

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import Outlook, Plan
from autovla_core.driving.driver import Driver
from autovla_core.evaluation.agent_file import LeaderboardAgent
from autovla_core.expert.expert import ExpertDecision

KEPT_TICKS = 400  # 20 s: longer than any plan takes


def driver_of(agent: LeaderboardAgent) -> Driver | None:
    """The driver inside an agent, if it has one of ours."""
    driver = getattr(agent, "driver", None)
    return driver if isinstance(driver, Driver) else None


def plan_of(agent: LeaderboardAgent) -> Plan | None:
    """The plan that an agent follows now, if it has one and shows it."""
    driver = driver_of(agent)
    if driver is not None:
        return driver.plan
    decision = getattr(agent, "decision", None)
    return decision.plan if isinstance(decision, ExpertDecision) else None


def asked_of(agent: LeaderboardAgent) -> Plan | None:
    """The plan that an agent asked for last, which may not count yet; None when there is none or it failed."""
    driver = driver_of(agent)
    if driver is not None:
        return driver.attempt.plan if driver.attempt else None
    return plan_of(agent)


def outlook_of(agent: LeaderboardAgent) -> Outlook:
    """What an expert knew when it made the plan that it follows now; nothing for any other agent."""
    decision = getattr(agent, "decision", None)
    return decision.outlook if isinstance(decision, ExpertDecision) else Outlook()


class PlanTrace:
    """Keeps a plan where it was made while the ego drives on."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._driven: deque[tuple[float, np.ndarray]] = deque(maxlen=KEPT_TICKS)
        self.world: np.ndarray | None = None  # (11, 3) poses, the first where the ego was

    def update(self, plan: Plan | None, pose: np.ndarray, time_s: float) -> None:
        """Take the plan of this tick and the ego's pose (3,) at it; the plan may have been observed earlier."""
        self._driven.append((time_s, pose))
        if plan is None:
            self.world = None
        elif plan is not self._plan:
            self.world = self.placed(plan)
        self._plan = plan

    def placed(self, plan: Plan) -> np.ndarray:
        """A plan's world poses (11, 3) from where the ego was when it was observed."""
        there = min(self._driven, key=lambda entry: abs(entry[0] - plan.observed_at_s))[1]
        return geometry.compose(there, np.vstack([np.zeros(3), plan.poses]))
