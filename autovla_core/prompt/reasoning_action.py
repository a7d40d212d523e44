"""What a plan does, in words that a thought may use: a way across and a way along."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autovla_core.contracts import STEP_S

LATERAL = ("forward", "turn_left", "turn_right", "change_left", "change_right")
LONGITUDINAL = ("stop", "halt", "slow", "slow_hard", "keep", "faster", "faster_hard")
STANDING = 0.3  # m/s
SAME = 0.8  # m/s: a smaller change of speed keeps it
TURN_RAD = math.radians(30.0)
CHANGE_M = 1.5
REACH_M = 2.0  # who moves less goes nowhere


@dataclass(frozen=True)
class Action:
    """The best driving action; the words are those of ``LATERAL`` and ``LONGITUDINAL``."""

    lateral: str
    longitudinal: str


def action_of(poses: np.ndarray) -> Action:
    """The action that a plan (10, 3) in the ego frame carries out; speeds are those of its first and last half second.

    Speeds as in AutoVLA's meta-actions (arXiv 2506.13757); a turn changes the heading by 30 degrees, a lane
    change moves aside and comes back to a heading smaller than its bearing, which no arc does.
    """
    poses = np.asarray(poses, float)
    if poses.ndim != 2 or len(poses) < 2 or poses.shape[1] != 3:
        raise ValueError(f"a plan is {poses.shape}; expected (N, 3) with two poses or more")
    return Action(_lateral(poses), _longitudinal(poses))


def _lateral(poses: np.ndarray) -> str:
    x, y, yaw = (float(v) for v in poses[-1])
    if math.hypot(x, y) < REACH_M:
        return "forward"
    if abs(yaw) > TURN_RAD:
        return "turn_left" if yaw > 0.0 else "turn_right"
    if abs(y) > CHANGE_M and abs(yaw) < abs(math.atan2(y, x)):
        return "change_left" if y > 0.0 else "change_right"
    return "forward"


def _longitudinal(poses: np.ndarray) -> str:
    first = float(np.hypot(*poses[0, :2])) / STEP_S
    last = float(np.hypot(*(poses[-1, :2] - poses[-2, :2]))) / STEP_S
    if last < STANDING:
        return "stop" if first < STANDING else "halt"
    if abs(last - first) < SAME:
        return "keep"
    if last > first:
        return "faster_hard" if last > 2.0 * first else "faster"
    return "slow_hard" if first > 2.0 * last else "slow"
