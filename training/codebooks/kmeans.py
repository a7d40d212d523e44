"""k-means on the kinematics of the ego: centres where it really drives, mirrored left and right.

Entry 0 stands still; an odd number of entries goes straight; the rest are pairs, one the mirror image
of the other, so that the car is as good at left as at right.
"""

from __future__ import annotations

import numpy as np

from autovla_core.action.vehicle import Vehicle
from autovla_core.errors import CodebookError
from training.codebooks.symmetry import fold

STRAIGHT_SHARE = 191 / 2048  # of the entries


def features(motions: np.ndarray, radius: float) -> np.ndarray:
    """Points (N, 4) whose Euclidean distance is the root mean square distance of the box corners."""
    x, y, yaw = motions.T
    return np.stack([x, y, radius * np.cos(yaw), radius * np.sin(yaw)], axis=1)


def kmeans(points: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 25) -> np.ndarray:
    """Centres (count, D) of points (N, D) by Lloyd's rounds; an empty cluster takes a random point."""
    points = points.astype(np.float32)
    centres = points[rng.choice(len(points), count, replace=False)]
    for _ in range(rounds):
        labels = np.concatenate([_closest(part, centres) for part in np.array_split(points, len(points) // 4096 + 1)])
        sizes = np.bincount(labels, minlength=count)
        sums = np.stack([np.bincount(labels, column, count) for column in points.T.astype(np.float64)], axis=1)
        refill = points[rng.choice(len(points), count)]
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], refill).astype(np.float32)
    return centres.astype(np.float64)


def _closest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((centres**2).sum(1) - 2.0 * (points @ centres.T)).argmin(axis=1)


def straight_entries(size: int) -> int:
    """How many of ``size`` entries go straight: about a tenth, and such that the rest pair up."""
    count = max(1, round(size * STRAIGHT_SHARE))
    return count if (size - 1 - count) % 2 == 0 else count + 1


def build(
    motions: np.ndarray, size: int, rng: np.random.Generator, straight: int = 191, vehicle: Vehicle | None = None
) -> np.ndarray:
    """Entries (size, 3): standstill, ``straight`` motions along x, then mirrored pairs; sorted by reach.

    Raises:
        CodebookError: fewer motions, straight or turning, than entries they are to make.
        ValueError: the rest does not pair up.
    """
    if (size - 1 - straight) % 2:
        raise ValueError(f"{size} entries less standstill and {straight} straight ones do not pair up")
    straight_on = (np.abs(motions[:, 1]) < 0.03) & (np.abs(motions[:, 2]) < 0.012)
    forward = motions[straight_on & (np.abs(motions[:, 0]) > 0.02), :1]
    _expect_enough(len(forward), straight, "straight")
    along = kmeans(forward, straight, rng)
    motions = motions[~straight_on]  # a nearly straight motion and its mirror image would be two names for one
    pairs = (size - 1 - straight) // 2
    _expect_enough(len(motions), pairs, "turning")
    centres = kmeans(features(fold(motions), (vehicle or Vehicle()).radius), pairs, rng)
    turning = np.stack([centres[:, 0], centres[:, 1], np.arctan2(centres[:, 3], centres[:, 2])], axis=1)
    moving = np.concatenate([np.pad(along, ((0, 0), (0, 2))), turning, turning * [1.0, -1.0, -1.0]])
    moving = np.round(moving, 5) + 0.0
    return np.concatenate([np.zeros((1, 3)), moving[np.lexsort((moving[:, 2], moving[:, 0]))]])


def _expect_enough(found: int, wanted: int, kind: str) -> None:
    if found < wanted:
        raise CodebookError(f"{found} {kind} motions cannot make {wanted} entries; give more data or a smaller size")
