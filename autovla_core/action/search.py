"""Arithmetic of the search for tokens, chosen so that numpy and torch give the same bits.

Only sums, products and square roots, in a fixed order: these are rounded alike everywhere. Sines and cosines are
not, so they are taken once, by numpy, of the entries and of the poses; along the plan, headings are turned by products.
Shapes: N plans, K entries, B beams. A state or a target is a tuple (x, y, cos, sin) of equal arrays, float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Pose = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Tables:
    """A codebook as the search needs it."""

    moves: np.ndarray  # (4, K) float64: dx, dy, cos dyaw, sin dyaw
    corners: np.ndarray  # (8, K) float32: x, y of the four box corners of every entry
    box: tuple[tuple[float, float], ...]  # the corners of the box itself: metres ahead, metres left


def tables(motions: np.ndarray, length: float, width: float) -> Tables:
    """Tables of motions (K, 3) for a box."""
    half_l, half_w = length / 2.0, width / 2.0
    box = ((half_l, half_w), (-half_l, half_w), (-half_l, -half_w), (half_l, -half_w))
    moves = np.stack([motions[:, 0], motions[:, 1], np.cos(motions[:, 2]), np.sin(motions[:, 2])])
    return Tables(moves, corners_of(tuple(moves), box), box)


def corners_of(pose: Pose, box: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Corners (8, ...) float32 of boxes at poses, x and y in turn."""
    x, y, cos, sin = pose
    rows = []
    for ahead, left in box:
        rows += [x + cos * ahead - sin * left, y + sin * ahead + cos * left]
    return np.stack(rows).astype(np.float32)


def seen_from(state: Pose, target: Pose) -> Pose:
    """The target in the frame of the state."""
    x, y, cos, sin = state
    dx, dy = target[0] - x, target[1] - y
    return (
        cos * dx + sin * dy,
        cos * dy - sin * dx,
        cos * target[2] + sin * target[3],
        cos * target[3] - sin * target[2],
    )


def moved(state: Pose, move: np.ndarray) -> Pose:
    """The state after a move (4, ...) in its own frame."""
    x, y, cos, sin = state
    return (
        x + cos * move[0] - sin * move[1],
        y + sin * move[0] + cos * move[1],
        cos * move[2] - sin * move[3],
        sin * move[2] + cos * move[3],
    )


def corner_sums(wanted: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Sum of the four corner distances, float32; ``wanted`` (8, ...) and ``own`` (8, ...) broadcast."""
    total = None
    for i in range(0, 8, 2):
        dx, dy = wanted[i] - own[i], wanted[i + 1] - own[i + 1]
        dx *= dx
        dy *= dy
        dx += dy
        np.sqrt(dx, out=dx)
        total = dx if total is None else np.add(total, dx, out=total)
    return total


def targets(poses: np.ndarray) -> np.ndarray:
    """Poses (N, T, 3) as (4, T, N) float64: x, y, cos, sin of each step."""
    poses = np.asarray(poses, float)
    parts = [poses[..., 0], poses[..., 1], np.cos(poses[..., 2]), np.sin(poses[..., 2])]
    return np.ascontiguousarray(np.stack(parts).swapaxes(1, 2))


def ranked(costs: np.ndarray) -> np.ndarray:
    """Non-negative float32 costs (..., M) as distinct int64 keys in their order; equal costs by position.

    The low bits hold the position, so the M keys of a row can be sorted by any method with one result.
    """
    bits = np.ascontiguousarray(costs, np.float32).view(np.int32).astype(np.int64)
    return (bits << 20) | np.arange(costs.shape[-1])


def nearest_entries(table: Tables, count: int, rows: int = 64) -> np.ndarray:
    """The ``count`` entries nearest to each entry (K, count), itself first, ties by index."""
    size = table.corners.shape[1]
    found = np.empty((size, min(count, size)), np.int64)
    for start in range(0, size, rows):
        wanted = table.corners[:, start : start + rows, None]
        keys = ranked(corner_sums(wanted, table.corners[:, None, :]))
        near = np.sort(np.partition(keys, found.shape[1] - 1, axis=1)[:, : found.shape[1]], axis=1)
        found[start : start + rows] = near & ((1 << 20) - 1)
    return found
