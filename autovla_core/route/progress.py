"""Where on the route the ego is."""

from __future__ import annotations

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import Command
from autovla_core.route import command as commands
from autovla_core.route.plan import RoutePlan

_BACK_M, _AHEAD_M = 4.0, 15.0


class RouteProgress:
    """Follows the ego along a route; looks only near the last place, so a route may cross itself."""

    def __init__(self, plan: RoutePlan) -> None:
        self.plan = plan
        self._told = commands.announced(plan)
        self.reset()

    def reset(self) -> None:
        """Go back to the start."""
        self.s = 0.0
        self.offset = 0.0

    @property
    def remaining(self) -> float:
        """Metres to the end of the route; 0 beyond it."""
        return max(self.plan.length - self.s, 0.0)

    @property
    def fraction(self) -> float:
        """Share of the route behind the ego, 0 to 1."""
        return min(max(self.s / self.plan.length, 0.0), 1.0)

    def update(self, pose: np.ndarray) -> float:
        """Take a world pose (3,); return metres along the route (more than its length once past the end)."""
        lost = abs(self.offset) > 8.0
        low, high = self.s - _BACK_M, self.s + (_AHEAD_M * 4 if lost else _AHEAD_M)
        first = min(max(int(np.searchsorted(self.plan.s, low)) - 1, 0), len(self.plan.s) - 2)
        last = min(int(np.searchsorted(self.plan.s, high)) + 1, len(self.plan.s))
        self.s, self.offset = project(self.plan.points[first:last], self.plan.s[first:last], pose)
        if self.s >= self.plan.length - 1e-6:
            x, y = geometry.transform_points(geometry.invert(self.plan.pose_at(self.plan.length)), pose[:2])
            self.s, self.offset = self.plan.length + max(float(x), 0.0), float(y)
        return self.s

    def command(self) -> Command:
        """The command told here."""
        index = min(max(int(np.searchsorted(self.plan.s, self.s, side="right")) - 1, 0), len(self._told) - 1)
        return Command(int(self._told[index]))

    def ahead(self, pose: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Route points (N, 2) in the frame of ``pose``, ``distances`` (N,) metres ahead; straight on past the end."""
        s = self.s + np.asarray(distances, float)
        points = np.stack([np.interp(s, self.plan.s, self.plan.points[:, k]) for k in (0, 1)], axis=1)
        over = np.maximum(s - self.plan.length, 0.0)[:, None]
        end = self.plan.yaw[-1]
        points = points + over * np.array([np.cos(end), np.sin(end)])
        return geometry.transform_points(geometry.invert(pose), points)


def project(points: np.ndarray, s: np.ndarray, pose: np.ndarray) -> tuple[float, float]:
    """Nearest place on a polyline (N, 2), N >= 2: its s and the signed distance, left positive."""
    a, step = points[:-1], np.diff(points, axis=0)
    squared = np.maximum(np.sum(step * step, axis=1), 1e-9)
    to_pose = pose[:2] - a
    share = np.clip(np.sum(to_pose * step, axis=1) / squared, 0.0, 1.0)
    miss = to_pose - share[:, None] * step
    best = int(np.argmin(np.sum(miss * miss, axis=1)))
    cross = step[best, 0] * to_pose[best, 1] - step[best, 1] * to_pose[best, 0]
    side = 1.0 if cross >= 0 else -1.0
    return float(s[best] + share[best] * (s[best + 1] - s[best])), side * float(np.hypot(*miss[best]))
