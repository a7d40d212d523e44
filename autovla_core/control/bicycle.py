"""A light stand-in for CARLA's ego: the published bicycle and speed fit of the Lincoln MKZ 2020.

For tests and for rehearsing plans where no simulator runs. Source: carla_garage's
kinematic_bicycle_model at 20 Hz (numbers only); brakes are scaled linearly below full.
"""

from __future__ import annotations

import math

import numpy as np

from autovla_core.contracts import Control
from autovla_core.control.lateral import REAR_AXLE_M, curvature_of

DT_S = 0.05
_THROTTLE = (
    9.63873001e-01,
    4.37535692e-04,
    -3.80192912e-01,
    1.74950069e00,
    9.16787414e-02,
    -7.05461530e-02,
    -1.05996152e-03,
    6.71079346e-04,
)
_BRAKE = (9.31711370e-3, 8.20967431e-2, -2.83832427e-3, 5.06587474e-5, -4.90357228e-7, 2.44419284e-9, -4.91381935e-12)


class Bicycle:
    """One car; ``pose`` (x, y, yaw) of the box centre, right-handed, ``speed`` m/s."""

    def __init__(self, pose: np.ndarray | None = None, speed: float = 0.0) -> None:
        self.pose = np.zeros(3) if pose is None else np.array(pose, float)
        self.speed = speed
        self.yaw_rate = 0.0
        self.acceleration = 0.0

    def step(self, control: Control) -> None:
        """Advance by one tick of ``DT_S``."""
        x, y, yaw = self.pose
        curvature = curvature_of(control.steer)
        course = yaw + math.asin(REAR_AXLE_M * curvature)
        self.yaw_rate = self.speed * curvature
        self.pose = np.array(
            [
                x + self.speed * math.cos(course) * DT_S,
                y + self.speed * math.sin(course) * DT_S,
                yaw + self.yaw_rate * DT_S,
            ]
        )
        before, self.speed = self.speed, next_speed(self.speed, control.throttle, control.brake)
        self.acceleration = (self.speed - before) / DT_S


def next_speed(speed: float, throttle: float, brake: float) -> float:
    """Speed (m/s) one tick later."""
    v = speed * 3.6
    if brake > 0.0:
        full = sum(c * v**power for power, c in enumerate(_BRAKE, start=1))
        slower = max(0.0, v + min(brake, 1.0) * (full - v)) / 3.6
        return slower if slower > 0.01 else 0.0
    if throttle < 0.3:
        return speed
    u = throttle
    terms = (v, v * v, u, u * u, v * u, v * u * u, v * v * u, v * v * u * u)
    return max(0.0, sum(c * t for c, t in zip(_THROTTLE, terms))) / 3.6
