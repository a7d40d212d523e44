"""Collisions and time to collision of many simulated plans against the same boxes.

Boxes that touch collide. Each plan keeps its own list of boxes that no longer count: those that
ran into it without its fault.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from autovla_core.scoring.pdm.areas import AXLE_IN_INTERSECTION, MULTIPLE_LANES, NON_DRIVABLE
from autovla_core.scoring.pdm.obstacles import STOPPED_SPEED, Obstacles
from autovla_core.scoring.pdm.tracker import VX, VY, YAW, X, Y

COS_AHEAD = math.cos(math.radians(30.0))
COS_BEHIND = math.cos(math.radians(150.0))
TTC_MIN_SPEED = 0.005  # m/s
TTC_OFFSETS = np.array([0, 3, 6, 9])  # steps of 0.1 s
NEVER = -1


def collisions(
    states: np.ndarray, corners: np.ndarray, bits: np.ndarray, obstacles: Obstacles
) -> tuple[np.ndarray, np.ndarray]:
    """No-at-fault-collision scores (P,) and the step (P,) of the first fault, ``NEVER`` if none.

    Args:
        states: (P, T, 11) of the tracker.
        corners: (P, T, 4, 2) FL, RL, RR, FR of the ego.
        bits: (P, T) of ``areas.classify``.
        obstacles: at least T steps.
    """
    return _collisions(states, corners, bits, *_arrays(obstacles))


def time_to_collision(
    states: np.ndarray, corners: np.ndarray, bits: np.ndarray, obstacles: Obstacles, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (P,) and first faulty step (P,) over the first ``steps`` states; arguments as ``collisions``."""
    return _time_to_collision(states, corners, bits, *_arrays(obstacles), steps)


def overlapping(box: np.ndarray, obstacles: Obstacles) -> np.ndarray:
    """Which obstacles (K,) touch ``box`` (4, 2) at step 0."""
    hits = [
        bool(p) and bool(_touch(np.ascontiguousarray(box), b)) for b, p in zip(obstacles.boxes[0], obstacles.present[0])
    ]
    return np.array(hits, bool)


def _arrays(obstacles: Obstacles) -> tuple[np.ndarray, ...]:
    radii = np.linalg.norm(obstacles.boxes[:, :, 0] - obstacles.boxes[:, :, 2], axis=-1).max(0, initial=0.0) / 2.0
    return obstacles.boxes, obstacles.present, radii, obstacles.stopped, obstacles.agent, obstacles.ignored


@njit(cache=True)
def _separated(a: np.ndarray, b: np.ndarray, nx: float, ny: float) -> bool:
    """Whether the axis (nx, ny) has a gap between point sets (N, 2) and (M, 2); touching is no gap."""
    low_a, high_a, low_b, high_b = math.inf, -math.inf, math.inf, -math.inf
    for i in range(len(a)):
        s = (a[i, 0] - b[0, 0]) * nx + (a[i, 1] - b[0, 1]) * ny
        low_a, high_a = min(low_a, s), max(high_a, s)
    for i in range(len(b)):
        s = (b[i, 0] - b[0, 0]) * nx + (b[i, 1] - b[0, 1]) * ny
        low_b, high_b = min(low_b, s), max(high_b, s)
    return high_a < low_b or high_b < low_a


@njit(cache=True)
def _touch(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two rectangles (4, 2) have a point in common."""
    for i in range(2):
        if _separated(a, b, a[i + 1, 0] - a[i, 0], a[i + 1, 1] - a[i, 1]):
            return False
        if _separated(a, b, b[i + 1, 0] - b[i, 0], b[i + 1, 1] - b[i, 1]):
            return False
    return True


@njit(cache=True)
def _bumper_touches(box: np.ndarray, other: np.ndarray) -> bool:
    """Whether the segment FL-FR of ``box`` touches the rectangle ``other``."""
    bumper = box[::3]
    dx, dy = bumper[1, 0] - bumper[0, 0], bumper[1, 1] - bumper[0, 1]
    if _separated(bumper, other, -dy, dx):
        return False
    for i in range(2):
        if _separated(bumper, other, other[i + 1, 0] - other[i, 0], other[i + 1, 1] - other[i, 1]):
            return False
    return True


@njit(cache=True)
def _cos_bearing(state: np.ndarray, box: np.ndarray) -> float:
    """Cosine of the angle from the ego's heading to the box centre, seen from the rear axle; NaN on the axle."""
    dx = (box[0, 0] + box[2, 0]) / 2.0 - state[X]
    dy = (box[0, 1] + box[2, 1]) / 2.0 - state[Y]
    distance = math.hypot(dx, dy)
    if distance == 0.0:
        return math.nan
    return (math.cos(state[YAW]) * dx + math.sin(state[YAW]) * dy) / distance


@njit(cache=True)
def _near(box: np.ndarray, other: np.ndarray, radius: float) -> bool:
    """Whether the circles around two rectangles meet; a cheap first test."""
    dx = box[0, 0] + box[2, 0] - other[0, 0] - other[2, 0]
    dy = box[0, 1] + box[2, 1] - other[0, 1] - other[2, 1]
    own = math.hypot(box[0, 0] - box[2, 0], box[0, 1] - box[2, 1])
    reach = own + 2.0 * radius + 1e-6
    return dx * dx + dy * dy <= reach * reach


@njit(cache=True)
def _at_fault(state: np.ndarray, box: np.ndarray, other: np.ndarray, stopped: bool, astray: bool) -> bool:
    """Whether the ego is to blame for touching ``other``; ``astray``: between lanes or off the road."""
    if math.hypot(state[VX], state[VY]) <= STOPPED_SPEED:
        return False
    if stopped:
        return True
    if _cos_bearing(state, other) < COS_BEHIND:
        return False
    return _bumper_touches(box, other) or astray


@njit(cache=True)
def _collisions(
    states: np.ndarray,
    corners: np.ndarray,
    bits: np.ndarray,
    boxes: np.ndarray,
    present: np.ndarray,
    radii: np.ndarray,
    stopped: np.ndarray,
    agent: np.ndarray,
    ignored: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    plans, steps = bits.shape
    scores, first = np.ones(plans), np.full(plans, NEVER)
    for p in range(plans):
        out = ignored.copy()
        for t in range(steps):
            for k in range(len(out)):
                if out[k] or not present[t, k] or not _near(corners[p, t], boxes[t, k], radii[k]):
                    continue
                if not _touch(corners[p, t], boxes[t, k]):
                    continue
                astray = bits[p, t] & (MULTIPLE_LANES | NON_DRIVABLE) > 0
                if not _at_fault(states[p, t], corners[p, t], boxes[t, k], stopped[k], astray):
                    out[k] = True
                    continue
                scores[p] = min(scores[p], 0.0 if agent[k] else 0.5)
                if first[p] == NEVER:
                    first[p] = t
    return scores, first


@njit(cache=True)
def _threatened(state: np.ndarray, other: np.ndarray, bits: int) -> bool:
    """Whether a predicted contact with ``other`` counts against the ego."""
    cos = _cos_bearing(state, other)
    if cos > COS_AHEAD:
        return True
    wide = bits & (MULTIPLE_LANES | NON_DRIVABLE | AXLE_IN_INTERSECTION) > 0
    return wide and not cos < COS_BEHIND


@njit(cache=True)
def _time_to_collision(
    states: np.ndarray,
    corners: np.ndarray,
    bits: np.ndarray,
    boxes: np.ndarray,
    present: np.ndarray,
    radii: np.ndarray,
    stopped: np.ndarray,
    agent: np.ndarray,
    ignored: np.ndarray,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    plans = len(states)
    scores, first = np.ones(plans), np.full(plans, NEVER)
    moved = np.empty((4, 2))
    for p in range(plans):
        out = ignored.copy()
        for t in range(steps):
            speed = math.hypot(states[p, t, VX], states[p, t, VY])
            if speed < TTC_MIN_SPEED:
                continue
            for offset in TTC_OFFSETS:
                reach = speed * offset * 0.1
                moved[:, 0] = corners[p, t, :, 0] + reach * math.cos(states[p, t, YAW])
                moved[:, 1] = corners[p, t, :, 1] + reach * math.sin(states[p, t, YAW])
                for k in range(len(out)):
                    if out[k] or not present[t + offset, k] or not _near(moved, boxes[t + offset, k], radii[k]):
                        continue
                    if not _touch(moved, boxes[t + offset, k]):
                        continue
                    if _threatened(states[p, t], boxes[t + offset, k], bits[p, t]):
                        scores[p] = 0.0
                        if first[p] == NEVER:
                            first[p] = t
                    else:
                        out[k] = True
    return scores, first
