"""The library's own modules behind the lean decoder's interface: slower, for every model that the library can run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel

from autovla_core.model.backbone import family_of
from autovla_core.model.encoding import Encoder


class EagerDecoder:
    """Reads prompts, then token after token, all rows alike.

    Attributes:
        ragged: rows may be of different lengths: not here.
        compiled: actions can be written in one go: not here.
    """

    ragged = compiled = False

    def __init__(self, model: PreTrainedModel, encoder: Encoder) -> None:
        self._model, self._encoder = model, encoder
        self._text = model.model.language_model
        self._stamped = family_of(model).stamped

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._model.device

    @torch.inference_mode()
    def start(self, ids: torch.Tensor, features: Sequence[torch.Tensor], more: int) -> torch.Tensor:
        """See ``LeanDecoder.start``."""
        batch, length = ids.shape
        places = self._encoder.video_places
        x = self._text.embed_tokens(ids)
        x[:, places] = features[0].view(batch, len(places), -1).to(x.dtype)
        extra: dict[str, object] = {}
        if self._stamped:
            seen = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
            seen[:, places] = True
            extra = {"visual_pos_masks": seen, "deepstack_visual_embeds": list(features[1:])}
        self._cache = DynamicCache(config=self._model.config.get_text_config())
        self._length = length
        return self._run({"inputs_embeds": x, **extra}, batch, 0, length)

    @torch.inference_mode()
    def extend(self, ids: torch.Tensor, counts: Sequence[int] | None = None) -> torch.Tensor:
        """See ``LeanDecoder.extend``; all rows take the same number of tokens."""
        batch, most = ids.shape
        if counts is not None and any(count != most for count in counts):
            raise ValueError(f"rows take {list(counts)} tokens; here all take {most}")
        self._length += most
        return self._run({"input_ids": ids}, batch, self._length - most, self._length)

    def repeat(self, count: int) -> None:
        """One row becomes ``count`` rows that share what was read."""
        self._cache.batch_repeat_interleave(count)

    @torch.inference_mode()
    def action_scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores (B, K) float32 of the action tokens alone."""
        first = self._encoder.first_action
        return functional.linear(hidden, self._model.lm_head.weight[first : first + self._encoder.actions]).float()

    @torch.inference_mode()
    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores (B, vocabulary) float32."""
        return self._model.lm_head(hidden).float()

    def _run(self, inputs: dict[str, object], batch: int, start: int, end: int) -> torch.Tensor:
        positions = self._encoder.positions(end)[:, :, start:].expand(3, batch, -1)
        out = self._text(position_ids=positions, past_key_values=self._cache, use_cache=True, **inputs)
        return out.last_hidden_state[:, -1]
