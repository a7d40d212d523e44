"""What is left of a plan, seen from where the ego is now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core import geometry

AFTER_S = np.arange(0.0, 5.01, 0.25)
SPACING_M = 0.5
_JOIN_POINTS = np.linspace(0.0, 1.0, 9)[:, None]


@dataclass(frozen=True)
class Way:
    """Where the ego's box will go, and when the plan wants it there."""

    poses: np.ndarray  # (K, 3) of the box centre, every ``SPACING_M``, ego frame now; the first is the ego's own
    progress: np.ndarray  # (21,) m from now on that the plan has covered ``AFTER_S`` from now

    @property
    def s(self) -> np.ndarray:
        """(K,) metres along ``poses``."""
        return SPACING_M * np.arange(len(self.poses))


def way_along(points: np.ndarray, pose: np.ndarray, join_m: float, reach_m: float, progress: np.ndarray) -> Way:
    """The way back onto a path and along it.

    Args:
        points: (N, 2) the path, in any frame.
        pose: (3,) of the ego, in the same frame.
        join_m: m along the path from the nearest point to where the ego will be on it again.
        reach_m: m to look ahead; less where the path ends before.
        progress: (21,) as in ``Way``.
    """
    ahead = geometry.transform_points(geometry.invert(pose), points)
    s = geometry.arc_length(ahead)
    join = s[int(np.argmin(np.sum(ahead**2, axis=1)))] + join_m
    rest = ahead[s >= join]
    if len(rest) < 2:  # driven past its end: nothing is known but the heading
        rest = np.array([[join_m, 0.0], [join_m + reach_m, 0.0]])
    curve = np.vstack([_joining(rest[0], rest[1] - rest[0]), rest[1:]])
    along = geometry.arc_length(curve)
    at = np.arange(0.0, min(reach_m, along[-1]) + 1e-9, SPACING_M)
    xy = np.stack([np.interp(at, along, curve[:, k]) for k in (0, 1)], axis=1)
    step = np.diff(np.vstack([xy, xy[-1:]]), axis=0)
    yaw = np.arctan2(step[:, 1], step[:, 0])
    yaw[0] = 0.0
    yaw[-1] = yaw[-2] if len(yaw) > 1 else 0.0
    return Way(np.column_stack([xy, yaw]), progress)


def _joining(end: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Cubic (9, 2) from the ego's place and heading to ``end`` in ``direction``."""
    reach = float(np.hypot(*end))
    out, into = np.array([reach, 0.0]), reach * direction / max(float(np.hypot(*direction)), 1e-9)
    u = _JOIN_POINTS
    return (u**3 - 2 * u**2 + u) * out + (3 * u**2 - 2 * u**3) * end + (u**3 - u**2) * into
