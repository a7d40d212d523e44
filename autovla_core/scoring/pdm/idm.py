"""The intelligent driver model of the reference planner: how fast to go along a path behind a leader."""

from __future__ import annotations

import math

import numpy as np

from autovla_core.scoring.pdm_types import GRID_S

SPEED_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the speed limit: five policies
FALLBACK_SPEED = 15.0  # m/s, where the lane has no limit
MIN_GAP_M = 1.0
HEADWAY_S = 1.5
MAX_ACCELERATION = 1.5
MAX_DECELERATION = 3.0
EXPONENT = 10


def step(
    progress: np.ndarray, speed: np.ndarray, target: np.ndarray, lead: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Progress and speed 0.1 s later; all (P,) except lead (P, 3): its progress, speed and rear overhang."""
    gap = np.maximum(lead[:, 0] - progress - lead[:, 2], MIN_GAP_M)
    closing = speed * (speed - lead[:, 1]) / (2.0 * math.sqrt(MAX_ACCELERATION * MAX_DECELERATION))
    wanted = MIN_GAP_M + speed * HEADWAY_S + closing
    change = MAX_ACCELERATION * (1.0 - (speed / target) ** EXPONENT - (wanted / gap) ** 2)
    change = np.clip(change, -MAX_DECELERATION, MAX_ACCELERATION)
    return progress + GRID_S * speed, speed + GRID_S * change
