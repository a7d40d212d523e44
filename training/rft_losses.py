"""The mathematics of group-relative policy optimisation (GRPO), as pure functions.

Paper (arXiv 2506.13757): ``A_i = (r_i - mean r) / std r`` within a group of G answers to one prompt; the loss of an
answer is minus the mean over its tokens of ``ratio A - beta KL``, KL by the unbiased estimator k3.

Shapes: P prompts, G answers each, C choices (tokens that the model chose itself) of many answers in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

STD_FLOOR = 1e-4  # added to the spread of a group


def normalised(rewards: np.ndarray) -> np.ndarray:
    """The paper's: distance from the group's mean in units of its standard deviation (of a sample: G - 1)."""
    centred = rewards - rewards.mean(axis=-1, keepdims=True)
    return centred / (rewards.std(axis=-1, ddof=1, keepdims=True) + STD_FLOOR)


def leave_one_out(rewards: np.ndarray) -> np.ndarray:
    """Distance from the mean of the others: an unbiased baseline, and ``centred`` times G / (G - 1)."""
    count = rewards.shape[-1]
    return (rewards - rewards.mean(axis=-1, keepdims=True)) * count / (count - 1)


def centred(rewards: np.ndarray) -> np.ndarray:
    """Distance from the mean, not divided: Dr. GRPO (arXiv 2503.20783), where all prompts weigh alike."""
    return rewards - rewards.mean(axis=-1, keepdims=True)


ADVANTAGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "normalised": normalised,
    "leave_one_out": leave_one_out,
    "centred": centred,
}


def dead(rewards: np.ndarray, least_spread: float) -> np.ndarray:
    """Which groups (..., G) say nothing: their best and worst answers earned the same, or nearly."""
    return np.ptp(rewards, axis=-1) <= least_spread


def k3(reference: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Unbiased, never negative estimate of KL(own || reference) for each choice drawn from ``own``: log-probs (C,)."""
    gap = reference - own
    return torch.expm1(gap) - gap


def token_shares(row: torch.Tensor, counts: torch.Tensor, divisor: float | None) -> torch.Tensor:
    """What each choice (C,) weighs in its answer: one over the answer's choices, or over ``divisor`` (Dr. GRPO).

    Args:
        row: (C,) whose choice.
        counts: (R,) choices of each answer.
    """
    lengths = counts[row].float()
    return 1.0 / (lengths if divisor is None else torch.full_like(lengths, divisor))


def surrogate(
    own: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What to maximise for each choice (C,), and which of them were clipped (C,) bool.

    Args:
        own, old: log-probabilities now and when the answers were drawn.
        advantage: (C,) of the answer.
        clip: how far the ratio may leave 1 to the answer's advantage; None: as far as it likes (one update a draw).
    """
    ratio = torch.exp(own - old)
    plain = ratio * advantage
    if clip is None:
        return plain, torch.zeros_like(plain, dtype=torch.bool)
    bounded = ratio.clamp(1.0 - clip, 1.0 + clip) * advantage
    return torch.minimum(plain, bounded), bounded < plain
