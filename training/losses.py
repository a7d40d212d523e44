"""The loss of supervised fine-tuning, as pure functions.

Paper (arXiv 2506.13757): per sample ``w * (L_LM + lambda_a * L_action)``, where L_LM is the mean
cross-entropy over the whole answer and L_action the same over its action tokens. Here that is one
weight per token, so that a batch of any mixture is one weighted sum.

Shapes: B samples, T places of the answer (padded), V vocabulary, K codebook.
"""

from __future__ import annotations

import torch
from torch.nn import functional

WAYPOINT_SCALE = (10.0, 3.0)  # m along, m across


def token_weights(
    answer: torch.Tensor,
    action: torch.Tensor,
    sample_weight: torch.Tensor,
    lambda_action: float,
    mode: torch.Tensor | None = None,
    mode_weight: float = 0.0,
) -> torch.Tensor:
    """Weights (B, T): ``w_i * (answer / |answer| + lambda_action * action / |action|)``.

    Inside the mean the token that chooses between fast and slow gets ``w_i / |answer|``, so that training shifts the
    odds of thinking by ``w |fast| / |slow|``: with the paper's w = 40 towards always. With ``mode`` it is taken out of
    the mean and weighs ``mode_weight`` in every sample, and the odds stay those of the data.

    Args:
        answer: (B, T) bool, places of the answer, False where padded.
        action: (B, T) bool, the action tokens among them.
        sample_weight: (B,) w_i.
        mode: (B, T) bool, the one token of each answer that chooses the mode; None: as the paper.
        mode_weight: its weight, whatever w_i.
    """
    if mode is not None:
        rest = token_weights(answer & ~mode, action, sample_weight, lambda_action)
        return rest + mode_weight * mode
    answer, action = answer.float(), action.float()
    language = answer / answer.sum(1, keepdim=True)
    actions = action / action.sum(1, keepdim=True).clamp(min=1.0)
    return sample_weight[:, None] * (language + lambda_action * actions)


def weighted_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over samples of the weighted sum of token losses: logits (B, T, V), labels and weights (B, T)."""
    loss = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return (weights * loss.view_as(weights)).sum(1).mean()


def neighbour_table(corners: torch.Tensor, sigma: float, neighbours: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """For soft targets: each motion's nearest motions (K, n) and their shares (K, n), which sum to 1.

    Args:
        corners: (K, 4, 2) m, of the vehicle box at each motion.
        sigma: m, how far a share reaches.
    """
    flat = corners.flatten(1)
    distance, index = (torch.cdist(flat, flat) / 2.0).topk(neighbours, largest=False)
    return index, torch.softmax(-(distance**2) / (2.0 * sigma**2), dim=1)


def soft_cross_entropy(
    logits: torch.Tensor, tokens: torch.Tensor, table: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy (B, T) of action logits (B, T, K) against codebook indices spread over their neighbours."""
    index, share = table
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    return -(log_probs.gather(-1, index[tokens]) * share[tokens]).sum(-1)


def waypoint_loss(predicted: torch.Tensor, poses: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
    """Smooth L1 of the auxiliary head over known poses: predicted (B, T, 2) in units of ``WAYPOINT_SCALE``.

    Args:
        poses: (B, T, 3).
        known: (B, T) bool, which of them count; None: all.
    """
    target = poses[..., :2] / torch.tensor(WAYPOINT_SCALE, device=poses.device)
    if known is None:
        return functional.smooth_l1_loss(predicted, target)
    loss = functional.smooth_l1_loss(predicted, target, reduction="none").mean(-1)
    return (loss * known).sum() / known.sum().clamp(min=1)


def outlook_loss(predicted: torch.Tensor, rule: torch.Tensor, nearness: torch.Tensor) -> torch.Tensor:
    """Auxiliary head: which rule binds, and how near lights, signs and leaders are; unlabelled samples count nothing.

    Args:
        predicted: (B, R + N) logits of R rules and N kinds of things ahead.
        rule: (B,) 0 where nothing is known.
        nearness: (B, N) in 0..1.
    """
    known = (rule > 0).float()
    count = known.sum().clamp(min=1.0)
    kinds = nearness.shape[1]
    which = functional.cross_entropy(predicted[:, :-kinds].float(), rule, reduction="none")
    near = functional.binary_cross_entropy_with_logits(predicted[:, -kinds:].float(), nearness, reduction="none")
    return ((which + near.sum(1)) * known).sum() / count


def evidence_loss(per_token: torch.Tensor, ahead: torch.Tensor, rule: torch.Tensor) -> torch.Tensor:
    """Auxiliary head on the image tokens: is a red light, a green one, a sign, a leader anywhere in the picture?

    A sample's evidence is that of all its tokens together (log-sum-exp), so the loss says that there is one, not where;
    it reaches the vision tower without passing the language model.

    Args:
        per_token: (B, T, N) logits of N kinds of things ahead.
        ahead: (B, N) bool.
        rule: (B,) 0 where nothing is known; such samples count nothing.
    """
    known = (rule > 0).float()
    logits = torch.logsumexp(per_token.float(), dim=1)
    loss = functional.binary_cross_entropy_with_logits(logits, ahead.float(), reduction="none").sum(1)
    return (loss * known).sum() / known.sum().clamp(min=1.0)
