"""From an observation's values to the model's inputs; training and driving share these lines."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.contracts import CLIP_IMAGES, Command
from autovla_core.errors import CheckpointError
from autovla_core.model.backbone import MERGE, family_of, pixels_of, tower_indices, video_text
from autovla_core.model.patches import grid_of, pixel_patches, vision_indices
from autovla_core.prompt import render, text
from autovla_core.prompt.wording import CURRENT, Wording


@dataclass(frozen=True)
class CameraView:
    """One camera of the rig that a checkpoint was trained with; image size in pixels."""

    id: str
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int, int]:
        """(pairs, rows, columns) of a clip's patches in Qwen2.5-VL."""
        return grid_of(CLIP_IMAGES, self.height, self.width)

    @property
    def tokens(self) -> int:
        """Places that a clip takes in the prompt of Qwen2.5-VL."""
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
    """Prompt ids, answer ids, positions and patches for one tokenizer, one rig and one model.

    Attributes:
        grids: (pairs, rows, columns) of patches of each camera's clip.
        video_places: (V,) where the clips stand in every prompt, camera by camera, pair by pair.
        stamped: each pair of images has its time in the prompt.
        pixels: how bytes become the tower's input.
        fast_ids, slow_ids, close_ids, suffix_ids: fixed texts of an answer.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        cameras: tuple[CameraView, ...],
        actions: int,
        wording: Wording = CURRENT,
    ) -> None:
        self.cameras = cameras
        self.camera_ids = tuple(camera.id for camera in cameras)
        self.first_action = action_start(tokenizer, actions)
        self.actions = actions
        self.wording = wording
        self._tokenizer = tokenizer
        self._lock = threading.Lock()  # Hugging Face's fast tokenizers fail when two threads call one
        self._model = model
        self.pixels = pixels_of(model)
        self.grids = tuple(grid_of(CLIP_IMAGES, c.height, c.width, self.pixels.patch) for c in cameras)
        self.stamped = family_of(model).stamped
        self._videos = [video_text(family_of(model), int(np.prod(grid)) // MERGE**2) for grid in self.grids]
        self.fast_ids = self.ids(wording.fast_prefix)
        self.slow_ids = self.ids(wording.slow_prefix)
        self.close_ids = self.ids(wording.close)
        self.suffix_ids = self.ids(wording.answer_close + text.END_OF_TURN)
        self._prompt_ids = lru_cache(maxsize=100_000)(self.ids)
        self._positions = self._text_positions(1024)
        self.vision = lru_cache(maxsize=8)(self._vision)
        self.pair_indices = lru_cache(maxsize=8)(self._pair_indices)

    def prompt(
        self, speed: float, acceleration: float, command: Command, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Ids of the rendered prompt, every video's pads written out."""
        return self._prompt_ids(render.render(speed, acceleration, command, self.camera_ids, instruction, self.wording))

    def fast_prefix(
        self, speed: float, acceleration: float, command: Command, instruction: str | None = None
    ) -> tuple[int, ...]:
        """The prompt and the fixed text of a fast answer: the next token is the first action."""
        return self.prompt(speed, acceleration, command, instruction) + self.fast_ids

    def fast_answer(self, tokens: np.ndarray) -> tuple[int, ...]:
        """Ids of the whole fast answer for codebook indices (10,), the end of the turn included."""
        return self.fast_ids + tuple(int(t) + self.first_action for t in tokens) + self.suffix_ids

    def positions(self, length: int) -> torch.Tensor:
        """Positions (3, 1, length): time, row, column. All text after the videos just counts on."""
        if length > self._positions.shape[2]:
            self._positions = self._text_positions(2 * length)
        return self._positions[:, :, :length]

    def patches(
        self, clips: Mapping[str, torch.Tensor], brighten: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Patches (B * P, 1176) of clips {camera: (B, T, H, W, 3) uint8}, sample by sample, camera by camera."""
        parts = [pixel_patches(clips[camera], brighten, self.pixels) for camera in self.camera_ids]
        return torch.cat(parts, dim=1).flatten(0, 1)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, as it is."""
        with self._lock:
            return self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)

    def ids(self, string: str) -> tuple[int, ...]:
        """Ids of a text; every ``<|video_pad|>`` in it is one camera's clip, written out."""
        head, *rest = string.split(text.VIDEO_PAD)
        whole = head + "".join(video + part for video, part in zip(self._videos, rest))
        with self._lock:
            return tuple(self._tokenizer(whole, add_special_tokens=False).input_ids)

    def strings(self) -> list[str | None]:
        """Every token's string in the tokenizer's own spelling, None for the rows of the table that have none."""
        rows = self._model.config.get_text_config().vocab_size
        with self._lock:
            found = self._tokenizer.convert_ids_to_tokens(list(range(min(rows, len(self._tokenizer)))))
        return found + [None] * (rows - len(found))

    @property
    def special_ids(self) -> frozenset[int]:
        """Control tokens: never part of a thought."""
        return frozenset(self._tokenizer.all_special_ids) | {
            id for id, token in self._tokenizer.added_tokens_decoder.items() if token.special
        }

    def _vision(self, batch: int) -> dict[str, torch.Tensor]:
        """Grid and indices of the vision tower for ``batch`` samples: keyword arguments of the forward."""
        grid = torch.tensor(list(self.grids) * batch)
        device = self._model.device
        indices = vision_indices(self._model, grid)
        return {"video_grid_thw": grid.to(device), **{k: v.to(device) for k, v in indices.items()}}

    def _pair_indices(self, count: int) -> dict[str, torch.Tensor]:
        """The tower's own arguments for ``count`` times one pair of images of every camera."""
        grid = torch.tensor([(1, rows, columns) for _, rows, columns in self.grids] * count)
        indices = {"grid_thw": grid, **tower_indices(self._model, grid)}
        return {name: value.to(self._model.device) for name, value in indices.items()}

    def _text_positions(self, length: int) -> torch.Tensor:
        base = self.ids(render.render(0.0, 0.0, Command.FOLLOW, self.camera_ids, wording=self.wording))
        ids = torch.tensor([base + (0,) * max(0, length - len(base))])
        kinds = (ids == self._model.config.video_token_id).int() * 2
        grid = torch.tensor(self.grids)
        seconds = torch.ones(len(self.cameras))  # one pair of images spans 1 s at 2 Hz; the library would assume 24 Hz
        positions, _ = self._model.model.get_rope_index(
            ids, kinds, video_grid_thw=grid, second_per_grid_ts=seconds, attention_mask=torch.ones_like(ids)
        )
        self.video_places = kinds[0].nonzero()[:, 0].to(self._model.device)
        self.first_video_place = int(self.video_places[0])
        return positions.to(self._model.device)
