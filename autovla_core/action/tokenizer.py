"""Trajectories to action tokens and back.

Encoding is greedy and in closed loop: each token is chosen from the pose that the tokens before
it decode to, so that rounding errors do not add up over the plan.
"""

from __future__ import annotations

import numpy as np

from autovla_core import footprints, geometry
from autovla_core.action import search
from autovla_core.action.codebook import Codebook
from autovla_core.errors import ActionDecodeError

CHUNK = 64  # poses at a time: keeps the (chunk, K, 4, 2) distances in the processor's cache


def decode(codebook: Codebook, tokens: np.ndarray) -> np.ndarray:
    """Chain the motions of ``tokens`` (..., T) into poses (..., T, 3) in the ego frame at the start.

    Raises:
        ActionDecodeError: a token outside the codebook.
    """
    tokens = np.asarray(tokens)
    if tokens.size and not (0 <= tokens.min() <= tokens.max() < len(codebook)):
        raise ActionDecodeError(f"tokens {tokens.min()} to {tokens.max()}, the codebook holds 0 to {len(codebook) - 1}")
    pose = np.zeros((*tokens.shape[:-1], 3))
    poses = []
    for step in range(tokens.shape[-1]):
        pose = geometry.compose(pose, codebook.motions[tokens[..., step]])
        poses.append(pose)
    return np.stack(poses, axis=-2)


def encode(codebook: Codebook, poses: np.ndarray) -> np.ndarray:
    """Return tokens (..., T) int64 whose decoding follows ``poses`` (..., T, 3), given in the ego frame.

    Raises:
        ValueError: poses of another shape, or not finite.
    """
    poses = expect_poses(poses)
    flat = poses.reshape(-1, *poses.shape[-2:])
    parts = [_encode(codebook, flat[i : i + CHUNK]) for i in range(0, len(flat), CHUNK)]
    return np.concatenate(parts).reshape(poses.shape[:-1]) if parts else np.zeros(poses.shape[:-1], np.int64)


def expect_poses(poses: np.ndarray) -> np.ndarray:
    """Poses (..., T, 3) as float64.

    Raises:
        ValueError: another shape, or not finite.
    """
    poses = np.asarray(poses, float)
    if poses.ndim < 2 or poses.shape[-1] != 3 or not np.isfinite(poses).all():
        raise ValueError(f"poses are {poses.shape}, expected finite (..., T, 3)")
    return poses


def _encode(codebook: Codebook, poses: np.ndarray) -> np.ndarray:
    """Tokens (N, T) of a chunk; where two entries are equally near, the lower index."""
    table, goal = codebook.tables, search.targets(poses)
    count, steps = poses.shape[:2]
    state = (*np.zeros((2, count)), np.ones(count), np.zeros(count))
    tokens = np.zeros((count, steps), np.int64)
    for step in range(steps):
        wanted = search.corners_of(search.seen_from(state, tuple(goal[:, step])), table.box)
        tokens[:, step] = search.corner_sums(wanted[:, :, None], table.corners[:, None, :]).argmin(axis=1)
        state = search.moved(state, table.moves[:, tokens[:, step]])
    return tokens


def nearest(codebook: Codebook, motions: np.ndarray) -> np.ndarray:
    """The token (N,) nearest to each motion (N, 3)."""
    chunks = [motions[i : i + CHUNK] for i in range(0, len(motions), CHUNK)]
    found = [corner_distances(codebook, chunk).argmin(axis=1) for chunk in chunks]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def corner_distances(codebook: Codebook, motions: np.ndarray) -> np.ndarray:
    """Mean distance (N, K) in metres between the box corners at motions (N, 3) and at every entry."""
    own = codebook.corners
    wanted = footprints.corners(motions, codebook.length, codebook.width).astype(np.float32)
    total = np.zeros((len(motions), len(codebook)), np.float32)
    for corner in range(4):
        dx = wanted[:, corner, 0, None] - own[None, :, corner, 0]
        dy = wanted[:, corner, 1, None] - own[None, :, corner, 1]
        dx *= dx
        dy *= dy
        dx += dy
        total += np.sqrt(dx, out=dx)
    return total / 4.0
