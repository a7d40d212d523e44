"""The curve that the expert drives: the route, smoothed, with curvature and a speed cap at each place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autovla_core import geometry
from autovla_core.route.plan import RoutePlan

SPACING_M = 0.5
BEYOND_M = 30.0
_SMOOTHING_M = 1.0


@dataclass(frozen=True)
class DrivePath:
    """Evenly spaced points ``SPACING_M`` apart; lists, because the rollout reads single values."""

    points: np.ndarray  # (N, 2) world
    x: list[float]
    y: list[float]
    yaw: list[float]  # unwrapped
    curvature: list[float]  # 1/m, left positive
    cap: list[float]  # m/s: what curves allow here and further on
    length: float  # m of the route; the path goes straight on beyond it

    def at(self, s: float) -> tuple[int, float]:
        """Index and share of the segment that holds ``s``."""
        place = min(max(s / SPACING_M, 0.0), len(self.x) - 1.001)
        index = int(place)
        return index, place - index


def build_path(plan: RoutePlan, lateral_acceleration: float, deceleration: float, top_speed: float) -> DrivePath:
    """Smooth a route and cap its speed so that curves stay within ``lateral_acceleration`` (m/s2).

    ``deceleration`` (m/s2) is how hard the expert brakes for a curve, ``top_speed`` (m/s) the highest cap.
    """
    return capped_path(*_smoothed(plan), lateral_acceleration, deceleration, top_speed)


def capped_path(
    points: np.ndarray, length: float, lateral_acceleration: float, deceleration: float, top_speed: float
) -> DrivePath:
    """The path through points (N, 2) ``SPACING_M`` apart; arguments as for ``build_path``."""
    tangent = np.gradient(points, axis=0)
    yaw = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    curvature = np.gradient(_blurred(yaw, 1.0)) / SPACING_M
    cap = np.minimum(top_speed, np.sqrt(lateral_acceleration / np.maximum(np.abs(curvature), 1e-4)))
    for index in range(len(cap) - 2, -1, -1):
        cap[index] = min(cap[index], math.sqrt(cap[index + 1] ** 2 + 2.0 * deceleration * SPACING_M))
    return DrivePath(
        points, points[:, 0].tolist(), points[:, 1].tolist(), yaw.tolist(), curvature.tolist(), cap.tolist(), length
    )


def _smoothed(plan: RoutePlan) -> tuple[np.ndarray, float]:
    end = np.array([np.cos(plan.yaw[-1]), np.sin(plan.yaw[-1])])
    start = np.array([np.cos(plan.yaw[0]), np.sin(plan.yaw[0])])
    after = plan.points[-1] + np.arange(1.0, BEYOND_M + 1.0)[:, None] * end
    before = plan.points[0] - np.arange(4.0, 0.0, -1.0)[:, None] * start
    points = np.vstack([before, plan.points, after])
    s = geometry.arc_length(points)
    even = np.arange(0.0, s[-1], SPACING_M)
    points = np.stack([_blurred(np.interp(even, s, points[:, k]), _SMOOTHING_M) for k in (0, 1)], axis=1)
    first = int(round(4.0 / SPACING_M))
    return points[first:], plan.length


def _blurred(values: np.ndarray, sigma_m: float) -> np.ndarray:
    """Gaussian blur of evenly spaced values; straight ends stay straight."""
    reach = int(3 * sigma_m / SPACING_M)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * SPACING_M / sigma_m) ** 2)
    kernel /= kernel.sum()
    head = values[0] - (values[1 : reach + 1] - values[0])[::-1]
    tail = values[-1] + (values[-1] - values[-reach - 1 : -1])[::-1]
    return np.convolve(np.concatenate([head, values, tail]), kernel, mode="valid")
