"""Small lies that make a driver robust; never a mirror image, because traffic keeps right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core import geometry
from autovla_core.action.codebook import Codebook
from autovla_core.action.tokenizer import corner_distances
from autovla_core.contracts import PLAN_STEPS


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; zero switches a part off."""

    brightness: float = 0.15  # of full scale, added
    contrast: float = 0.15  # relative
    shift_px: int = 2  # whole clip, each axis
    speed_noise: float = 0.05  # m/s, standard deviation
    acceleration_noise: float = 0.5  # m/s2: the expert's acceleration gives its next move away
    token_noise: float = 0.1  # probability that an action token fed back is a neighbour of the right one


def shift(clip: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Move the picture (..., H, W, 3) by dx to the right and dy down; the uncovered edge keeps its pixels."""
    height, width = clip.shape[-3:-1]
    moved = clip.copy()
    moved[..., max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0), :] = clip[
        ..., max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0), :
    ]
    return moved


def light(count: int, config: AugmentConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Per-sample gain (count,) and offset (count,) of pixel values in 0..255; the mean grey stays about put."""
    gain = 1.0 + config.contrast * rng.uniform(-1.0, 1.0, count)
    offset = 255.0 * config.brightness * rng.uniform(-1.0, 1.0, count) + 110.0 * (1.0 - gain)
    return gain.astype(np.float32), offset.astype(np.float32)


def noisy_tokens(
    codebook: Codebook, poses: np.ndarray, probability: float, rng: np.random.Generator, reach: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens fed to the model (B, T), some of them wrong, and the right next tokens (B, T) given those before.

    A wrong token is one of the ``reach`` nearest to the right one; the labels after it lead back to
    the plan, so the model learns to correct its own slips instead of repeating them.
    """
    count = len(poses)
    current = np.zeros((count, 3))
    fed = np.zeros((count, PLAN_STEPS), np.int64)
    labels = np.zeros_like(fed)
    for step in range(PLAN_STEPS):
        distance = corner_distances(codebook, geometry.relative(current, poses[:, step]))
        labels[:, step] = fed[:, step] = distance.argmin(axis=1)
        wrong = np.flatnonzero(rng.random(count) < probability)
        if len(wrong):
            near = np.argpartition(distance[wrong], reach, axis=1)[:, :reach]
            fed[wrong, step] = near[np.arange(len(wrong)), rng.integers(reach, size=len(wrong))]
        current = geometry.compose(current, codebook.motions[fed[:, step]])
    return fed, labels
