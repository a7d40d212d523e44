"""Many plans for one sample, drawn by the model's own probabilities, and two ways to pick one of them.

``oracle`` picks by the true score of each plan, as the paper's best-of-N does: an upper bound, not a planner.
``own_probability`` picks the plan that the model holds most likely: that, a car could do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from autovla_core.contracts import PLAN_STEPS
from autovla_core.model.encoding import Encoder
from autovla_core.model.generate import decode_actions


@dataclass(frozen=True)
class Choice:
    """What a picker may look at: N plans of one sample."""

    scores: np.ndarray  # (N,) true score, higher is better; NaN where it is not known
    log_probs: np.ndarray  # (N,) of the whole plan


def oracle(choice: Choice) -> int:
    """The plan with the best true score; the first where none is known."""
    known = np.nan_to_num(choice.scores, nan=-np.inf)
    return int(known.argmax())


def own_probability(choice: Choice) -> int:
    """The plan that the model holds most likely."""
    return int(choice.log_probs.argmax())


PICKERS: dict[str, Callable[[Choice], int]] = {"oracle": oracle, "own_probability": own_probability}


def pick(name: str, scores: Sequence[float], log_probs: Sequence[float]) -> int:
    """The number of the plan that picker ``name`` chooses.

    Raises:
        ValueError: no such picker, or another number of scores than of probabilities.
    """
    if name not in PICKERS:
        raise ValueError(f"no picker {name!r}; known: {', '.join(PICKERS)}")
    if len(scores) != len(log_probs) or not len(scores):
        raise ValueError(f"{len(scores)} scores for {len(log_probs)} plans")
    return PICKERS[name](Choice(np.asarray(scores, float), np.asarray(log_probs, float)))


def sample_actions(
    model: PreTrainedModel,
    encoder: Encoder,
    ids: torch.Tensor,
    patches: torch.Tensor,
    count: int,
    temperature: float,
    generator: torch.Generator,
    steps: int = PLAN_STEPS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ``count`` plans for each prompt; the pictures and the prompt are read once.

    Args:
        ids: (B, L) as ``decode_actions`` takes them.
        temperature: 1 draws by the model's own probabilities; smaller is nearer to greedy.

    Returns:
        Codebook indices (B, count, steps) int64 and the model's own log-probabilities of them (at temperature 1,
        among actions) (B, count, steps) float32.

    Raises:
        ValueError: a temperature or count that is not positive.
    """
    if not temperature > 0.0 or count < 1:
        raise ValueError(f"temperature {temperature} and count {count}: expected both positive")

    def draw(scores: torch.Tensor) -> torch.Tensor:
        return torch.multinomial(torch.softmax(scores / temperature, -1), 1, generator=generator)[:, 0]

    tokens, log_probs = decode_actions(model, encoder, ids, patches, steps, count, draw)
    shape = (len(ids), count, steps)
    return tokens.view(shape), log_probs.view(shape)
