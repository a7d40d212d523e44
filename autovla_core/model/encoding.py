"""From an observation's values to the model's inputs; training and driving share these lines."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from autovla_core.contracts import CLIP_IMAGES, Command
from autovla_core.errors import CheckpointError
from autovla_core.model.patches import MERGE, grid_of, pixel_patches, vision_indices
from autovla_core.prompt import answer, render, text


@dataclass(frozen=True)
class CameraView:
    """One camera of the rig that a checkpoint was trained with; image size in pixels."""

    id: str
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int, int]:
        """(pairs, rows, columns) of patches of a clip."""
        return grid_of(CLIP_IMAGES, self.height, self.width)

    @property
    def tokens(self) -> int:
        """Places that a clip takes in the prompt."""
        return int(np.prod(self.grid)) // MERGE**2


def action_start(tokenizer: PreTrainedTokenizerBase, actions: int) -> int:
    """Id of ``<action_0>``; the ids of all actions follow it without a gap.

    Raises:
        CheckpointError: they do not, or the tokenizer lacks them.
    """
    ids = tokenizer.convert_tokens_to_ids([text.ACTION.format(i) for i in range(actions)])
    if ids[0] is None or ids[0] == tokenizer.unk_token_id or ids != list(range(ids[0], ids[0] + actions)):
        raise CheckpointError(f"the tokenizer has no {actions} action tokens in a row; <action_0> is {ids[0]}")
    return ids[0]


class Encoder:
    """Prompt ids, answer ids, positions and patches for one tokenizer, one rig and one model."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        cameras: tuple[CameraView, ...],
        actions: int,
    ) -> None:
        self.cameras = cameras
        self.camera_ids = tuple(camera.id for camera in cameras)
        self.first_action = action_start(tokenizer, actions)
        self.actions = actions
        self._tokenizer = tokenizer
        self._lock = threading.Lock()  # Hugging Face's fast tokenizers fail when two threads call one
        self._model = model
        self._fast_ids = self._ids(answer.FAST_PREFIX)
        self.suffix_ids = self._ids(answer.SUFFIX + text.END_OF_TURN)
        self._prompt_ids = lru_cache(maxsize=100_000)(self._ids)
        self._positions = self._text_positions(1024)
        self.vision = lru_cache(maxsize=8)(self._vision)

    def prompt(
        self, speed: float, acceleration: float, command: Command, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Ids of the rendered prompt, every video's pads written out."""
        return self._prompt_ids(render.render(speed, acceleration, command, self.camera_ids, instruction))

    def fast_prefix(
        self, speed: float, acceleration: float, command: Command, instruction: str | None = None
    ) -> tuple[int, ...]:
        """The prompt and the fixed text of a fast answer: the next token is the first action."""
        return self.prompt(speed, acceleration, command, instruction) + self._fast_ids

    def fast_answer(self, tokens: np.ndarray) -> tuple[int, ...]:
        """Ids of the whole fast answer for codebook indices (10,), the end of the turn included."""
        return self._fast_ids + tuple(int(t) + self.first_action for t in tokens) + self.suffix_ids

    def positions(self, length: int) -> torch.Tensor:
        """Positions (3, 1, length): time, row, column. All text after the videos just counts on."""
        if length > self._positions.shape[2]:
            self._positions = self._text_positions(2 * length)
        return self._positions[:, :, :length]

    def patches(
        self, clips: Mapping[str, torch.Tensor], brighten: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Patches (B * P, 1176) of clips {camera: (B, 4, H, W, 3) uint8}, sample by sample, camera by camera."""
        parts = [pixel_patches(clips[camera], brighten) for camera in self.camera_ids]
        return torch.cat(parts, dim=1).flatten(0, 1)

    def _vision(self, batch: int) -> dict[str, torch.Tensor]:
        """Grid and indices of the vision tower for ``batch`` samples: keyword arguments of the forward."""
        grid = torch.tensor([camera.grid for camera in self.cameras] * batch)
        device = self._model.device
        indices = vision_indices(self._model, grid)
        return {"video_grid_thw": grid.to(device), **{k: v.to(device) for k, v in indices.items()}}

    def _ids(self, string: str) -> tuple[int, ...]:
        head, *rest = string.split(text.VIDEO_PAD)
        whole = head + "".join(text.VIDEO_PAD * camera.tokens + part for camera, part in zip(self.cameras, rest))
        with self._lock:
            return tuple(self._tokenizer(whole, add_special_tokens=False).input_ids)

    def _text_positions(self, length: int) -> torch.Tensor:
        base = self._ids(render.render(0.0, 0.0, Command.FOLLOW, self.camera_ids))
        ids = torch.tensor([base + (0,) * max(0, length - len(base))])
        kinds = (ids == self._model.config.video_token_id).int() * 2
        grid = torch.tensor([camera.grid for camera in self.cameras])
        seconds = torch.ones(len(self.cameras))  # one pair of images spans 1 s at 2 Hz; the library would assume 24 Hz
        positions, _ = self._model.model.get_rope_index(
            ids, kinds, video_grid_thw=grid, second_per_grid_ts=seconds, attention_mask=torch.ones_like(ids)
        )
        return positions.to(self._model.device)
