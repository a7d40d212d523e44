"""Ten action tokens, guaranteed: one prefill up to the first action, then ten choices among action rows."""

from __future__ import annotations

import torch
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from autovla_core.contracts import PLAN_STEPS
from autovla_core.model.encoding import Encoder


@torch.inference_mode()
def decode_actions(
    model: Qwen2_5_VLForConditionalGeneration,
    encoder: Encoder,
    ids: torch.Tensor,
    patches: torch.Tensor,
    steps: int = PLAN_STEPS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy action tokens for prompts of one length.

    Args:
        ids: (B, L) the prompt with the answer's fixed text: what comes next is the first action.
        patches: (B * P, 1176), see ``Encoder.patches``.

    Returns:
        Codebook indices (B, steps) int64, and their log-probabilities (B, steps) float32 among actions.
    """
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
    tokens, log_probs = [], []
    for step in range(steps):
        scores = torch.log_softmax((hidden @ rows.T).float(), dim=-1)
        best = scores.max(dim=-1)
        tokens.append(best.indices)
        log_probs.append(best.values)
        if step < steps - 1:
            hidden = model.model.language_model(
                input_ids=best.indices[:, None] + first,
                position_ids=positions[:, :, length + step : length + step + 1],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
    return torch.stack(tokens, dim=1), torch.stack(log_probs, dim=1)
