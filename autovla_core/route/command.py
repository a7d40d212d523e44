"""What the planner is told about the road ahead; the same words in training and driving."""

from __future__ import annotations

import numpy as np

from autovla_core.contracts import Command
from autovla_core.route.plan import RoutePlan

ANNOUNCE_M = 40.0  # as far as a plan of 5 s reaches at 8 m/s: no plan may show a turn that was not announced


def announced(plan: RoutePlan, ahead_m: float = ANNOUNCE_M) -> np.ndarray:
    """Commands (N,) as told at each point: a turn or lane change from ``ahead_m`` before until its end."""
    out = np.full(len(plan.commands), int(Command.FOLLOW))
    active = ~np.isin(plan.commands, (Command.FOLLOW, Command.VOID))
    next_active = len(active)
    for index in range(len(active) - 1, -1, -1):
        if active[index]:
            next_active = index
        if next_active < len(active) and plan.s[next_active] - plan.s[index] <= ahead_m:
            out[index] = plan.commands[next_active]
    return out


def command_at(plan: RoutePlan, s: float, ahead_m: float = ANNOUNCE_M) -> Command:
    """The command told at ``s`` metres along the route."""
    index = min(max(int(np.searchsorted(plan.s, s, side="right")) - 1, 0), len(plan.s) - 1)
    within = (plan.s >= plan.s[index]) & (plan.s <= s + ahead_m)
    for command in plan.commands[within]:
        if command not in (Command.FOLLOW, Command.VOID):
            return Command(int(command))
    return Command.FOLLOW
