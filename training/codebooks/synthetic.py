"""Drives made up by a seeded bicycle model: for tests, and for motions that logs hold too few of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import PLAN_STEPS, STEP_S


@dataclass(frozen=True)
class MotionConfig:
    """The drives that the generator makes up."""

    speed: float = 14.0  # m/s, the fastest
    usual_speed: float = 9.0  # m/s, most motions start below it
    acceleration: tuple[float, float] = (-8.0, 4.0)  # m/s2
    lateral_acceleration: float = 4.0  # m/s2
    curvature: float = 0.2  # 1/m, at full lock
    rear_axle: float = 1.418  # m behind the box centre


def synthetic_plans(count: int, config: MotionConfig, rng: np.random.Generator, steps: int = PLAN_STEPS) -> np.ndarray:
    """Poses (count, steps, 3) of drives whose acceleration and curvature wander within ``config``.

    The box centre of a turning car moves sideways by its slip angle, between none (a path that is
    followed ideally) and that of a kinematic bicycle turning about its rear axle.
    """
    fast = np.where(rng.random(count) < 0.3, config.speed, config.usual_speed)
    speed = rng.uniform(-0.15, 1.0, count) * fast
    speed = np.where(speed < 0, speed * 0.5, speed)
    goal = np.where(rng.random(count) < 0.2, 0.0, rng.uniform(0.0, 1.0, count) * fast)
    pace = np.where(goal < speed, rng.exponential(2.5, count), rng.exponential(1.5, count))
    limit = np.minimum(config.curvature, config.lateral_acceleration / np.maximum(np.abs(speed), 1.0) ** 2)
    straight = rng.random(count) < 0.35
    target = np.where(straight, 0.0, rng.uniform(-1.0, 1.0, count) * limit * rng.choice([0.15, 0.5, 1.0], count))
    curvature = target * rng.uniform(0.0, 1.0, count)
    slip = np.where(rng.random(count) < 0.6, 1.0, rng.uniform(-0.2, 1.0, count))
    pose = np.zeros((count, 3))
    poses, inner = [], 10
    for _ in range(steps):
        for _ in range(inner):
            dt = STEP_S / inner
            acceleration = np.clip((goal - speed) / 0.5, -pace, pace).clip(*config.acceleration)
            speed = speed + acceleration * dt
            now = np.minimum(config.curvature, config.lateral_acceleration / np.maximum(np.abs(speed), 1.0) ** 2)
            curvature = np.clip(curvature + (target - curvature) * dt, -now, now)
            heading = pose[:, 2] + slip * np.arcsin(config.rear_axle * curvature)
            pose = pose + np.stack([speed * np.cos(heading), speed * np.sin(heading), speed * curvature], -1) * dt
        poses.append(pose)
    return np.stack(poses, 1)


def motions_of(plans: np.ndarray) -> np.ndarray:
    """The 0.5 s motions (N * T, 3) inside plans (N, T, 3)."""
    starts = np.concatenate([np.zeros_like(plans[:, :1]), plans[:, :-1]], axis=1)
    return geometry.relative(starts, plans).reshape(-1, 3)
