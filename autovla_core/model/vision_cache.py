"""Features of clips, pair of images by pair: a pair that was seen before is not looked at again.

A clip is two pairs of images, and the vision tower never lets one pair attend to the other. One second later the newer
pair is the older one, at the same place in no prompt but with the same features: half of the tower's work is done.
Pairs are found again by their bytes, not by their times, so a wrong guess is impossible. On a CPU every pair is
computed alone, always by the same operations: a plan does not depend, in any bit, on what was seen before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from autovla_core.contracts import CLIP_IMAGES
from autovla_core.model import backbone
from autovla_core.model.backbone import MERGE, PAIR
from autovla_core.model.compiled_layers import is_small
from autovla_core.model.compiled_tower import CompiledTower
from autovla_core.model.encoding import Encoder
from autovla_core.model.tower import LeanTower

PAIRS = CLIP_IMAGES // PAIR
HASHED_EVERY = 4999  # bytes; prime, so that it falls on all columns and colours
KEPT = 6  # of all cameras: at 2 Hz two clips overlap by a pair every second plan

Pair = tuple[tuple[torch.Tensor, ...], ...]  # by output of the tower, then by camera: (places, width)


class Seen(bytes):
    """What a pair of images consists of. A few of its bytes are hashed, hashing all would cost as much as a layer of a
    small tower; whether two are equal is still asked of every byte."""

    def __hash__(self) -> int:
        return hash(bytes(self[::HASHED_EVERY]))


class ClipFeatures:
    """The vision tower with a memory.

    Args:
        lean: by our own tower; else by the library's.

    Attributes:
        computed, found: pairs since the last ``reset``.

    Raises:
        CheckpointError: lean, and the tower's layers are not plain ones.
    """

    def __init__(self, model: PreTrainedModel, encoder: Encoder, kept: int = KEPT, lean: bool = True) -> None:
        self._model, self._encoder, self._kept = model, encoder, kept
        self._device = model.device
        self._tower = _tower(model, encoder) if lean else self._library
        self._places = [rows * columns // MERGE**2 for _, rows, columns in encoder.grids]
        self._together = self._device.type != "cpu"
        self.reset()

    def reset(self) -> None:
        """Forget every pair."""
        self._memory: OrderedDict[Seen, Pair] = OrderedDict()
        self.computed = self.found = 0

    @torch.inference_mode()
    def of(self, clips: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Outputs of the tower, each (B * V, D), sample by sample, camera by camera, pair by pair.

        Args:
            clips: {camera: (B, 4, H, W, 3) uint8}.
        """
        images = [clips[camera] for camera in self._encoder.camera_ids]
        keys = [[self._key(images, row, pair) for pair in range(PAIRS)] for row in range(len(images[0]))]
        wanted = {key: (row, pair) for row, line in enumerate(keys) for pair, key in enumerate(line)}
        pairs = {key: self._memory[key] for key in wanted if key in self._memory}
        missing = {key: place for key, place in wanted.items() if key not in pairs}
        pairs.update(zip(missing, self._look(images, list(missing.values()))))
        self.found, self.computed = self.found + len(wanted) - len(missing), self.computed + len(missing)
        self._remember(pairs, keys)
        outputs = range(len(pairs[keys[0][0]]))
        cameras = range(len(images))
        return tuple(
            torch.cat([pairs[key][output][camera] for line in keys for camera in cameras for key in line])
            for output in outputs
        )

    def _key(self, images: Sequence[torch.Tensor], row: int, pair: int) -> Seen:
        return Seen(b"".join(clip[row, PAIR * pair : PAIR * (pair + 1)].numpy().tobytes() for clip in images))

    def _look(self, images: Sequence[torch.Tensor], places: list[tuple[int, int]]) -> list[Pair]:
        """Run the tower over pairs (row, pair): on a GPU all at once, on a CPU one by one."""
        runs = [places] if self._together and places else [[place] for place in places]
        found: list[Pair] = []
        for run in runs:
            cut = {
                camera: torch.stack([clip[row, PAIR * pair : PAIR * (pair + 1)] for row, pair in run])
                for camera, clip in zip(self._encoder.camera_ids, images)
            }
            out = self._tower(cut, len(run))
            split = [part.split(self._places * len(run)) for part in out]
            width = len(self._places)
            found += [tuple(tuple(part[i * width : (i + 1) * width]) for part in split) for i in range(len(run))]
        return found

    def _library(self, clips: Mapping[str, torch.Tensor], pairs: int) -> tuple[torch.Tensor, ...]:
        patches = self._encoder.patches(clips).to(self._device)
        return backbone.features(self._model, patches, self._encoder.pair_indices(pairs))

    def _remember(self, pairs: Mapping[Seen, Pair], keys: Sequence[Sequence[Seen]]) -> None:
        room = max(self._kept, 2 * PAIRS * len(keys))
        for key in (key for line in keys for key in line):
            self._memory[key] = pairs[key]
            self._memory.move_to_end(key)
        while len(self._memory) > room:
            self._memory.popitem(last=False)


def _tower(model: PreTrainedModel, encoder: Encoder) -> Callable[[Mapping[str, torch.Tensor], int], tuple]:
    """Our own tower, compiled where that is faster and the tower is Qwen2.5-VL's."""
    return CompiledTower(model, encoder) if is_small(model) and not encoder.stamped else LeanTower(model, encoder)
