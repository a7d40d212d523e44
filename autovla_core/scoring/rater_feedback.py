"""Waymo's end-to-end metrics: the rater feedback score and the mean distance at 3 and 5 s.

Places are (x, y) of the rear axle at 4 Hz, first at 0.25 s, in its own frame now: x forward, y left, metres.
Source: the public definition of the WOD-E2E challenge (arXiv 2510.26125 and rater_feedback_utils of
waymo-open-dataset; facts only).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RATE_HZ = 4
POINTS = 20  # 5 s
JUDGED = np.array([3, 5]) * RATE_HZ - 1  # the points at 3 and 5 s
LATERAL_M = np.array([1.0, 1.8])  # half width of the trust region at 3 and 5 s, at full speed
LONGITUDINAL_M = 4.0 * LATERAL_M
SLOW, FAST = 1.4, 11.0  # m/s: half the region at or below, all of it at or above
DECAY = 0.1  # what one more region's width outside leaves of a score
FLOOR = 4.0  # of a plan outside all regions
MAX_RATED = 3


@dataclass(frozen=True)
class Rated:
    """A trajectory that people gave a score."""

    points: np.ndarray  # (N, 2), N >= 1; the challenge cuts it to 20 or repeats its last point
    score: float  # 0..10

    def __post_init__(self) -> None:
        if np.ndim(self.points) != 2 or np.shape(self.points)[1] != 2 or not len(self.points):
            raise ValueError(f"a rated trajectory has the shape {np.shape(self.points)}, expected (N, 2)")
        if not 0.0 <= self.score <= 10.0:
            raise ValueError(f"score {self.score}, expected 0..10; unrated trajectories (-1) are not passed here")


def rater_feedback_score(plan: np.ndarray, rated: Sequence[Rated], speed: float) -> float:
    """The score 0..10 of a plan (20, 2), driven from ``speed`` m/s.

    At 3 and at 5 s every rated trajectory has a trust region; a plan inside gets its score, one outside a tenth of it
    for every further width. The best counts, at each time for itself; their mean is the result, but not less than 4
    when no single region pair holds the plan at both times.

    Raises:
        ValueError: not (20, 2), nothing rated.
    """
    plan = _checked(plan)
    if not rated:
        raise ValueError("no rated trajectory; frames without one have no rater feedback score")
    outside = np.array([_widths(plan, trajectory, speed) for trajectory in rated[:MAX_RATED]])  # (R, 2)
    scores = np.array([trajectory.score for trajectory in rated[:MAX_RATED]])
    reached = scores[:, None] * DECAY ** np.maximum(outside - 1.0, 0.0)
    result = float(reached.max(axis=0).mean())
    inside = bool((outside <= 1.0).all(axis=1).any())
    return result if inside else max(FLOOR, result)


def _widths(plan: np.ndarray, rated: Rated, speed: float) -> np.ndarray:
    """Distance (2,) at 3 and 5 s from a rated trajectory, in half widths of its trust region."""
    points = padded(rated.points)
    forward = _directions(points)[JUDGED]
    apart = (plan - points)[JUDGED]
    along = np.abs((apart * forward).sum(axis=1))
    across = np.abs(apart[:, 1] * forward[:, 0] - apart[:, 0] * forward[:, 1])
    scale = np.clip(0.5 + 0.5 * (speed - SLOW) / (FAST - SLOW), 0.5, 1.0)
    return np.maximum(along / (scale * LONGITUDINAL_M), across / (scale * LATERAL_M))


def _directions(points: np.ndarray) -> np.ndarray:
    """Unit vectors (N, 2) of the step that ends at each point; a step of length 0 keeps the last one, at first +x."""
    steps = np.diff(points, axis=0, prepend=0.0)
    lengths = np.linalg.norm(steps, axis=1)
    found = np.empty_like(steps)
    last = np.array([1.0, 0.0])
    for i, length in enumerate(lengths):
        last = steps[i] / length if length > 0.0 else last
        found[i] = last
    return found


def padded(points: np.ndarray) -> np.ndarray:
    """The first 20 of (N, 2) points, or all with the last one repeated."""
    points = np.asarray(points, float)[:POINTS]
    return np.concatenate([points, np.repeat(points[-1:], POINTS - len(points), axis=0)])


def ade(plan: np.ndarray, truth: np.ndarray, seconds: float) -> float:
    """Mean distance in metres from a plan (20, 2) to the truth (N, 2) over the known points of the first ``seconds``.

    Raises:
        ValueError: not (20, 2), or no known point.
    """
    count = min(round(seconds * RATE_HZ), len(truth))
    if not count:
        raise ValueError(f"no known point within {seconds} s")
    return float(np.linalg.norm(_checked(plan)[:count] - np.asarray(truth, float)[:count], axis=1).mean())


def best_rated(rated: Sequence[Rated]) -> Rated:
    """The trajectory that the challenge measures the ADE against: the highest score, the first of equals."""
    return max(rated, key=lambda trajectory: trajectory.score)


def mean_over_clusters(scores: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, dict[str, float]]:
    """The challenge's mean of the cluster means, and these, from scores {id: score} and {id: cluster}.

    Raises:
        ValueError: no scores, or one whose cluster is not known.
    """
    unknown = sorted(set(scores) - set(clusters))
    if unknown or not scores:
        raise ValueError(f"{len(scores)} scores; without a cluster: {unknown[:5]}")
    members: dict[str, list[float]] = defaultdict(list)
    for name, score in scores.items():
        members[clusters[name]].append(score)
    means = {cluster: float(np.mean(values)) for cluster, values in sorted(members.items())}
    return float(np.mean(list(means.values()))), means


def _checked(plan: np.ndarray) -> np.ndarray:
    if np.shape(plan) != (POINTS, 2):
        raise ValueError(f"a plan has the shape {np.shape(plan)}, expected ({POINTS}, 2): 5 s at {RATE_HZ} Hz")
    return np.asarray(plan, float)
