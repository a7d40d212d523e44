"""The road ahead of a server-driven car: a window of points along its lanes, with a speed for each."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autovla_core.minicarla.world.layout import Lane

POINTS = 128  # one per metre
BEHIND_M = 3.0  # of the window, behind the car
RENEW_BEFORE_END_M = 60.0
SIDE_ACCELERATION = 2.0  # m/s2 in curves
BRAKING = 1.8  # m/s2 ahead of a curve or a lower limit


@dataclass(frozen=True)
class Span:
    """One lane within a window; offsets in metres from the window's start."""

    lane: int
    start: float  # of the lane, may be negative
    end: float


@dataclass(frozen=True, eq=False)
class Path:
    """A window of the lanes ahead."""

    spans: tuple[Span, ...]
    xy: np.ndarray  # (POINTS, 2), one metre apart; past the length the last point again
    speed: np.ndarray  # (POINTS,) m/s
    length: float  # m, at most POINTS - 1
    ends: bool  # the road itself ends there

    def span_at(self, offset: float) -> int:
        """Index of the span that an offset lies in."""
        return min(bisect_right(self._span_ends, offset), len(self.spans) - 1)

    @property
    def last_span_at(self) -> float:
        """Offset from which ``span_at`` says the last."""
        return self.spans[-2].end if len(self.spans) > 1 else -math.inf

    @cached_property
    def _span_ends(self) -> tuple[float, ...]:
        return tuple(span.end for span in self.spans)


def build_path(
    lanes: Sequence[Lane], first: int, s: float, planned: Sequence[int], factor: float, rng: np.random.Generator
) -> Path:
    """Lay a window from ``s`` metres along lane ``first``.

    Args:
        planned: lanes already chosen behind the first; more are chosen by ``rng``
        factor: of the speed limit
    """
    start = max(s - BEHIND_M, 0.0)
    spans = [Span(first, -start, float(lanes[first].s[-1]) - start)]
    chosen = list(planned)
    while spans[-1].end < POINTS - 1:
        following = chosen.pop(0) if chosen else _choose(lanes, spans[-1].lane, rng)
        if following < 0:
            break
        spans.append(Span(following, spans[-1].end, spans[-1].end + float(lanes[following].s[-1])))
    length = min(spans[-1].end, POINTS - 1.0)
    xy, limit = _sample(lanes, spans, length)
    return Path(tuple(spans), xy, _profile(xy, limit * factor), length, spans[-1].end < POINTS - 1)


def _choose(lanes: Sequence[Lane], lane: int, rng: np.random.Generator) -> int:
    """A successor at random; straight on is as likely as both turns together."""
    options = lanes[lane].successors
    if not options:
        return -1
    weights = np.array([2.0 if lanes[option].turn in ("straight", "") else 1.0 for option in options])
    return int(options[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), side="right"))])


def _sample(lanes: Sequence[Lane], spans: Sequence[Span], length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points (POINTS, 2) and speed limits (POINTS,) in m/s."""
    offsets = np.concatenate([lanes[span.lane].s + span.start for span in spans])
    points = np.concatenate([lanes[span.lane].points[:, :2] for span in spans])
    limits = np.concatenate(
        [np.full(len(lanes[span.lane].s), lanes[span.lane].speed_limit_kmh / 3.6) for span in spans]
    )
    at = np.minimum(np.arange(POINTS, dtype=float), length)
    xy = np.stack([np.interp(at, offsets, points[:, axis]) for axis in (0, 1)], axis=1)
    return xy, np.interp(at, offsets, limits)


def _profile(xy: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Lower the limit in curves, and early enough before them."""
    curvature = np.zeros(len(xy))
    before, after = xy[3:-3] - xy[:-6], xy[6:] - xy[3:-3]
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    dot = (before * after).sum(1)
    curvature[3:-3] = np.abs(np.arctan2(cross, dot)) / 3.0 * (lengths > 0.5)
    squared = np.minimum(limit**2, SIDE_ACCELERATION / np.maximum(curvature, 1e-4))
    # the lowest of every later point's speed and the braking distance to it
    run = 2.0 * BRAKING * np.arange(len(xy))
    squared = np.minimum.accumulate((squared + run)[::-1])[::-1] - run
    return np.sqrt(np.maximum(squared, 1.0))
