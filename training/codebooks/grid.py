"""A codebook without data: arcs of a bicycle, evenly spaced in how far and how much they turn.

The yardstick for the learned ones, and a start for a vehicle of which nothing was recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autovla_core.action.vehicle import Vehicle
from autovla_core.contracts import STEP_S
from autovla_core.errors import CodebookError

TURNS_PER_LOOK = 40  # bisections of the spacing


@dataclass(frozen=True)
class GridConfig:
    """What the arcs span."""

    speed: float = 14.0  # m/s
    reverse_speed: float = 1.5  # m/s
    lateral_acceleration: float = 4.5  # m/s2
    wheel_angle: float = 0.6  # rad, at full lock


def kinematic_grid(size: int, vehicle: Vehicle, config: GridConfig | None = None) -> np.ndarray:
    """At most ``size`` motions (K, 3): standing still first, symmetric left and right.

    Neighbours are equally far apart in metres along the drive and, at the corners of the box, in the turn; the
    spacing is the smallest that ``size`` entries allow.

    Raises:
        CodebookError: ``size`` is too small for any grid.
    """
    config = config or GridConfig()
    low, high = 1e-4, 10.0
    for _ in range(TURNS_PER_LOOK):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if len(_arcs(middle, vehicle, config)) > size else (low, middle)
    motions = _arcs(high, vehicle, config)
    if len(motions) > size or len(motions) < 2:
        raise CodebookError(f"a grid of {size} entries is too small for {config}; ask for more")
    return motions


def _arcs(spacing: float, vehicle: Vehicle, config: GridConfig) -> np.ndarray:
    """Standstill and every arc at this spacing in metres."""
    back, ahead = (int(v * STEP_S / spacing) for v in (config.reverse_speed, config.speed))
    distances = spacing * np.concatenate([np.arange(-back, 0), np.arange(1, ahead + 1)])
    tightest = vehicle.tightest_curvature(config.wheel_angle)
    widest = np.minimum(tightest * np.abs(distances), config.lateral_acceleration * STEP_S**2 / np.abs(distances))
    turns = (widest / (spacing / vehicle.radius)).astype(int)
    rows = [np.zeros((1, 3))]
    for distance, turn in zip(distances, turns, strict=True):
        yaw = np.arange(-turn, turn + 1) * spacing / vehicle.radius
        rows.append(_centre_motions(distance, yaw, vehicle.rear_axle))
    return np.concatenate(rows)


def _centre_motions(distance: float, yaw: np.ndarray, rear_axle: float) -> np.ndarray:
    """Motions (M, 3) of the box centre while the rear axle drives arcs of length ``distance`` that turn by ``yaw``."""
    chord = distance * np.sinc(yaw / 2.0 / np.pi)
    x = chord * np.cos(yaw / 2.0) + rear_axle * (np.cos(yaw) - 1.0)
    y = chord * np.sin(yaw / 2.0) + rear_axle * np.sin(yaw)
    return np.stack([x, y, yaw], axis=1)
