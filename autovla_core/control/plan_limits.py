"""What a plan may not ask for, whatever the planner saw: another way than the route's, curves that no tyre holds."""

from __future__ import annotations

import math

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import STEP_S, Plan

_FURTHER_M = 0.5  # than the ego is already
_SHORTEST_STEP_M = 0.5  # a motion shorter than this has no curvature worth the name


def leaves_route(plan: Plan, route: np.ndarray, most_m: float, horizon_s: float) -> bool:
    """Whether a plan goes further than ``most_m`` from the route (N, 2), and further than the ego is already.

    Only its first ``horizon_s`` count: later poses are planned anew before they are driven.
    """
    if len(route) < 2:
        return False
    behind = route[0] - 2.0 * (route[1] - route[0])  # the points begin a little ahead of the ego
    line = np.vstack([behind, route])
    count = max(1, round(horizon_s / STEP_S))
    distances = _distances(line, np.vstack([np.zeros(2), np.asarray(plan.poses, float)[:count, :2]]))
    return bool(distances[1:].max() > max(most_m, distances[0] + _FURTHER_M))


def tyre_speed(plan: Plan, lateral: float) -> float:
    """m/s above which the plan's curves are too tight for ``lateral`` m/s2; inf when it keeps within that itself."""
    knots = np.vstack([np.zeros(3), np.asarray(plan.poses, float)])
    run = np.hypot(*np.diff(knots[:, :2], axis=0).T)
    turn = np.abs(geometry.wrap_angle(np.diff(knots[:, 2])))
    asked = run * turn / STEP_S**2
    tight = (asked > lateral) & (run >= _SHORTEST_STEP_M)
    return float(np.sqrt(lateral * run[tight] / turn[tight]).min()) if tight.any() else math.inf


def _distances(line: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(M,) of points (M, 2) to a polyline (N, 2)."""
    step = np.diff(line, axis=0)
    gap = points[:, None, :] - line[None, :-1, :]
    share = np.clip((gap * step).sum(-1) / np.maximum((step * step).sum(-1), 1e-9), 0.0, 1.0)
    return np.linalg.norm(gap - share[..., None] * step, axis=-1).min(axis=1)
