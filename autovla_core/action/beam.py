"""Tokens by beam search: look a step further than the greedy choice, at next to no extra cost.

A few token sequences are kept side by side; the one with the least sum of corner distances over the whole plan wins.
What each may continue with is looked up, not searched: the best beam finds its nearest entry among all, as greedy
encoding does, and every beam tries the neighbours of that entry. Beams lie centimetres apart, so theirs are the same.

Beam tokens follow a plan more closely, but depend on its later poses; greedy ones depend on the state and the next
pose only, which is easier to learn. Training therefore uses the greedy ones unless told otherwise.
"""

from __future__ import annotations

import numpy as np

from autovla_core.action import search
from autovla_core.action.codebook import NEIGHBOURS, Codebook
from autovla_core.action.tokenizer import CHUNK, expect_poses

BEAMS, CHILDREN = 8, 16


def encode(codebook: Codebook, poses: np.ndarray, beams: int = BEAMS, children: int = CHILDREN) -> np.ndarray:
    """Return tokens (..., T) int64 whose decoding follows ``poses`` (..., T, 3), given in the ego frame.

    Raises:
        ValueError: poses of another shape or not finite; no beam, or more children than a codebook lists.
    """
    if not 1 <= beams <= 256 or not 1 <= children <= NEIGHBOURS:
        raise ValueError(f"{beams} beams of {children} children; expected 1 to 256 and 1 to {NEIGHBOURS}")
    poses = expect_poses(poses)
    flat = poses.reshape(-1, *poses.shape[-2:])
    parts = [_encode(codebook, flat[i : i + CHUNK], beams, children) for i in range(0, len(flat), CHUNK)]
    return np.concatenate(parts).reshape(poses.shape[:-1]) if parts else np.zeros(poses.shape[:-1], np.int64)


def _encode(codebook: Codebook, poses: np.ndarray, beams: int, children: int) -> np.ndarray:
    """Tokens (N, T) of a chunk. The cost of a beam that does not exist yet is infinite."""
    table, neighbours = codebook.tables, codebook.neighbours[:, :children]
    goal = search.targets(poses)
    count, steps = poses.shape[:2]
    state = (*np.zeros((2, count, beams)), np.ones((count, beams)), np.zeros((count, beams)))
    costs = np.full((count, beams), np.inf, np.float32)
    costs[:, 0] = 0.0
    paths = np.zeros((count, beams, steps), np.int64)
    rows = np.arange(count)[:, None]
    for step in range(steps):
        wanted = search.corners_of(search.seen_from(state, tuple(goal[:, step, :, None])), table.box)  # (8, N, B)
        nearest = search.corner_sums(wanted[:, :, :1], table.corners[:, None, :]).argmin(axis=1)
        tried = neighbours[nearest]  # (N, C)
        sums = search.corner_sums(wanted[..., None], table.corners[:, tried][:, :, None, :])
        keys = search.ranked((costs[..., None] + sums).reshape(count, -1))
        kept = np.sort(np.partition(keys, beams - 1, axis=1)[:, :beams], axis=1)
        costs = (kept >> 20).astype(np.int32).view(np.float32)
        parent, child = np.divmod(kept & ((1 << 20) - 1), tried.shape[1])
        chosen = tried[rows, child]
        paths = paths[rows, parent]
        paths[:, :, step] = chosen
        state = search.moved(tuple(part[rows, parent] for part in state), table.moves[:, chosen])
    return paths[:, 0]
