"""Many plans for one sample, drawn by the model's own probabilities, and two ways to pick one of them.

``oracle`` picks by the true score of each plan, as the paper's best-of-N does: an upper bound, not a planner.
``own_probability`` picks the plan that the model holds most likely: that, a car could do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from autovla_core.contracts import PLAN_STEPS
from autovla_core.model.encoding import Encoder


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


@torch.inference_mode()
def sample_actions(
    model: Qwen2_5_VLForConditionalGeneration,
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
    batch, length = ids.shape
    first, rows = encoder.first_action, model.lm_head.weight[encoder.first_action :][: encoder.actions]
    positions = encoder.positions(length + steps).expand(3, batch, -1)
    cache = DynamicCache(config=model.config.text_config)
    hidden = model.model(
        input_ids=ids,
        pixel_values_videos=patches.to(rows.dtype),
        position_ids=positions[:, :, :length],
        past_key_values=cache,
        use_cache=True,
        **encoder.vision(batch),
    ).last_hidden_state[:, -1]
    cache.batch_repeat_interleave(count)
    hidden = hidden.repeat_interleave(count, dim=0)
    positions = positions[:, :1].expand(3, batch * count, -1)
    tokens, log_probs = [], []
    for step in range(steps):
        scores = (hidden @ rows.T).float()
        drawn = torch.multinomial(torch.softmax(scores / temperature, -1), 1, generator=generator)
        tokens.append(drawn[:, 0])
        log_probs.append(torch.log_softmax(scores, -1).gather(1, drawn)[:, 0])
        if step < steps - 1:
            hidden = model.model.language_model(
                input_ids=drawn + first,
                position_ids=positions[:, :, length + step : length + step + 1],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
    shape = (batch, count, steps)
    return torch.stack(tokens, 1).view(shape), torch.stack(log_probs, 1).view(shape)
