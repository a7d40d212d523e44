"""Steering: from a path to a curvature, from a curvature to CARLA's steering value."""

from __future__ import annotations

import math
from dataclasses import dataclass

REAR_AXLE_M = 1.41783  # box centre to rear axle
FRONT_SHARE = 0.93598  # (lf + lr) / lr of the fit
WHEEL_RAD = 0.36848  # wheel angle at full steer
MAX_CURVATURE = 0.2  # 1/m, what a plan may ask for


@dataclass(frozen=True)
class LateralConfig:
    """Look-ahead of the pursuit: ``seconds`` of driving plus ``base``, within ``limits`` (m)."""

    seconds: float = 0.25
    base: float = 1.2
    limits: tuple[float, float] = (2.4, 10.5)

    def look_ahead(self, speed: float) -> float:
        """Metres ahead of the box centre to aim at, for a speed in m/s."""
        low, high = self.limits
        return min(max(self.base + self.seconds * speed, low), high)


def pursuit_curvature(x: float, y: float) -> float:
    """Curvature (1/m, left positive) of the box centre's circle to the point (x, y) in the ego frame.

    On a circle the body points outward of the course by asin(rear axle * curvature), so the bearing of
    the target is that angle plus half the arc; solved for small angles.
    """
    distance = math.hypot(x, y)
    if distance < 1e-3:
        return 0.0
    return math.sin(math.atan2(y, x)) / (REAR_AXLE_M + 0.5 * distance)


def steer_for(curvature: float) -> float:
    """CARLA's steering value for a curvature; left positive here, in [-1, 1].

    Source: inverse of the kinematic bicycle fitted to CARLA's Lincoln MKZ 2020 at 20 Hz (carla_garage).
    """
    slip = math.asin(min(max(REAR_AXLE_M * curvature, -0.9), 0.9))
    steer = math.atan(math.tan(slip) * FRONT_SHARE) / WHEEL_RAD
    return min(max(steer, -1.0), 1.0)


def curvature_of(steer: float) -> float:
    """Curvature (1/m, left positive) that the fitted bicycle drives at a steering value."""
    slip = math.atan(math.tan(WHEEL_RAD * steer) / FRONT_SHARE)
    return math.sin(slip) / REAR_AXLE_M
