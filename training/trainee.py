"""The model with its auxiliary heads, and the loss of a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS, RULES
from autovla_core.model.backbone import PAIR
from autovla_core.model.encoding import Encoder
from training import losses
from training.collate import NEAR_M, Batch
from training.datasets.routes import AHEAD
from training.sft_settings import LossConfig

SEEN_NEAR = float(np.exp(-30.0 / NEAR_M))  # nearness at 30 m: what is farther counts as not there
NO_EVIDENCE = -4.0  # at first no single token speaks for anything


class Trainee(nn.Module):
    """The model and its auxiliary heads, which are not saved with it.

    Two read the state that chooses the first action: ten positions, and what lies ahead. One reads the newest images.

    Args:
        compute: of the arithmetic; the weights stay what they are.
    """

    def __init__(
        self,
        vlm: PreTrainedModel,
        encoder: Encoder,
        codebook: Codebook,
        loss: LossConfig,
        compute: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.vlm = vlm
        self._width = width = vlm.config.text_config.hidden_size
        self.waypoints = nn.Linear(width, PLAN_STEPS * 2)
        self.outlook = nn.Linear(width, len(RULES) + len(AHEAD))
        self.evidence = nn.Linear(width, len(AHEAD))
        nn.init.constant_(self.evidence.bias, NO_EVIDENCE)
        vlm.model.visual.register_forward_hook(self._keep_image_states)
        self._image_states: torch.Tensor | None = None  # (tokens of a batch, D), of the newest forward
        self._encoder, self._loss, self._compute = encoder, loss, compute
        if loss.soft_sigma > 0:
            index, share = losses.neighbour_table(torch.from_numpy(codebook.corners), loss.soft_sigma)
            self.register_buffer("neighbour_index", index, persistent=False)
            self.register_buffer("neighbour_share", share, persistent=False)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch, and its terms without weights; of a part of a batch, what it adds to them."""
        if self._compute is torch.float32:
            terms = self._terms(batch)
        else:
            with torch.autocast(batch.ids.device.type, self._compute):
                terms = self._terms(batch)
        weight = self._loss
        total = terms["cross_entropy"] + weight.waypoints * terms["waypoints"] + weight.outlook * terms["outlook"]
        total = total + weight.evidence * terms["evidence"]
        return total, {name: value.detach() for name, value in terms.items()}

    def _terms(self, batch: Batch) -> dict[str, torch.Tensor]:
        states, (samples, poses, rules) = self._answer_states(batch), batch.shares
        logits = self.vlm.lm_head(states)
        first = batch.action.int().argmax(dim=1)
        start = states[torch.arange(len(first), device=first.device), first]
        known = None if batch.all_known else batch.known
        waypoints = self.waypoints(start).float().view(-1, PLAN_STEPS, 2)
        evidence = self._image_evidence(len(first))
        return {
            "cross_entropy": samples * self._cross_entropy(logits, batch),
            "waypoints": poses * losses.waypoint_loss(waypoints, batch.poses, known),
            "outlook": rules * losses.outlook_loss(self.outlook(start), batch.rule, batch.nearness),
            "evidence": rules * losses.evidence_loss(evidence, batch.nearness > SEEN_NEAR, batch.rule),
            "accuracy": poses * _accuracy(logits.detach(), batch),
        }

    def _cross_entropy(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self._loss.soft_sigma > 0:
            return self._soften(logits, batch)
        return losses.weighted_cross_entropy(logits, batch.labels, batch.weights)

    def _keep_image_states(self, tower: nn.Module, given: object, output: BaseModelOutputWithPooling) -> None:
        self._image_states = output.pooler_output

    def _image_evidence(self, count: int) -> torch.Tensor:
        """Logits (B, T, 4) of the tokens of every camera's newest pair of images."""
        clips = self._image_states.view(count, len(self._encoder.camera_ids), CLIP_IMAGES // PAIR, -1, self._width)
        return self.evidence(clips[:, :, -1].flatten(1, 2))

    def _answer_states(self, batch: Batch) -> torch.Tensor:
        """Last hidden states (B, T, D) at the places that predict the answer."""
        count, length = batch.ids.shape
        hidden = self.vlm.model(
            input_ids=batch.ids,
            pixel_values_videos=self._encoder.patches(batch.clips, (batch.gain, batch.offset)),
            position_ids=self._encoder.positions(length).expand(3, count, -1),
            use_cache=False,
            **self._encoder.vision(count),
        ).last_hidden_state
        return hidden[torch.arange(count, device=hidden.device)[:, None], batch.places]

    def _soften(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The same weighted sum, with action targets spread over neighbouring motions."""
        first, last = self._encoder.first_action, self._encoder.first_action + self._encoder.actions
        hard = nn.functional.cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), reduction="none")
        tokens = torch.where(batch.action, batch.labels - first, 0)
        soft = losses.soft_cross_entropy(logits[..., first:last], tokens, (self.neighbour_index, self.neighbour_share))
        per_token = torch.where(batch.action, soft, hard.view_as(soft))
        return (batch.weights * per_token).sum(1).mean()


def _accuracy(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Share of the actions that are learnt which the likeliest token gets right; poses that are not known count not."""
    counted = batch.action & (batch.weights > 0.0)
    right = (logits.argmax(-1) == batch.labels) & counted
    return right.sum().float() / counted.sum().clamp(min=1)
