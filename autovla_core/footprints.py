"""Oriented boxes on the ground."""

from __future__ import annotations

import numpy as np


def corners(poses: np.ndarray, length: float | np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Corners (..., 4, 2) of boxes centred at poses (..., 3): front-left, rear-left, rear-right, front-right."""
    poses = np.asarray(poses, float)
    half_l, half_w = np.asarray(length) / 2.0, np.asarray(width) / 2.0
    along = np.stack(np.broadcast_arrays(half_l, -half_l, -half_l, half_l), -1)
    left = np.stack(np.broadcast_arrays(half_w, half_w, -half_w, -half_w), -1)
    cos, sin = np.cos(poses[..., 2])[..., None], np.sin(poses[..., 2])[..., None]
    x = poses[..., 0, None] + cos * along - sin * left
    y = poses[..., 1, None] + sin * along + cos * left
    return np.stack([x, y], axis=-1)


def overlap(corners_a: np.ndarray, corners_b: np.ndarray) -> np.ndarray:
    """Whether boxes overlap: (..., 4, 2) against (..., 4, 2), broadcast; separating axes, touching is no overlap."""
    separated = False
    for box in (corners_a, corners_b):
        for edge in (0, 1):
            axis = box[..., edge + 1, :] - box[..., edge, :]
            a = np.einsum("...kd,...d->...k", corners_a, axis)
            b = np.einsum("...kd,...d->...k", corners_b, axis)
            separated = separated | (a.max(-1) <= b.min(-1)) | (b.max(-1) <= a.min(-1))
    return ~np.asarray(separated)
