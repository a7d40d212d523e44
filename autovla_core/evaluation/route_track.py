"""The dense route as the judge uses it: points, directions, length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autovla_core.errors import RouteError


@dataclass(frozen=True)
class RouteTrack:
    """N points about 1 m apart."""

    points: np.ndarray  # (N, 3) world
    yaws: np.ndarray  # (N,) rad

    def __post_init__(self) -> None:
        if len(self.points) < 2 or self.length <= 0.0:
            raise RouteError(f"a route needs two points apart from each other, found {len(self.points)} points")

    @cached_property
    def s(self) -> np.ndarray:
        """Length (N,) from the start to each point."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length(self) -> float:
        """m."""
        return float(self.s[-1])

    def last_passed(self, position: np.ndarray, index: int, window: int) -> int:
        """The last of the points ``index ... index + window`` that ``position`` (3,) lies ahead of, else ``index``."""
        stop = min(index + window + 1, len(self.points))
        ahead = position[:2] - self.points[index:stop, :2]
        forward = np.stack([np.cos(self.yaws[index:stop]), np.sin(self.yaws[index:stop])], 1)
        passed = np.flatnonzero((ahead * forward).sum(1) > 0.0)
        return index + int(passed[-1]) if len(passed) else index
