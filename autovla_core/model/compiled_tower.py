"""The vision tower of a small Qwen2.5-VL on a CPU: from the bytes of images to features, all that depends on their size
alone worked out once. The same sums as ``tower.py``'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from transformers import PreTrainedModel

from autovla_core.model.backbone import PAIR, scale
from autovla_core.model.compiled_layers import CompiledLayers, Stretch
from autovla_core.model.encoding import Encoder
from autovla_core.model.patches import patch_blocks
from autovla_core.model.tables import LayerWeights
from autovla_core.model.tower import EPS, UNIT, Layout, make_layout, stretch_ends


@dataclass(frozen=True)
class Looks:
    """What follows from the number of pairs of images."""

    starts: (
        np.ndarray
    )  # (N, R) where each row of each patch begins among the bytes of all cameras, in the tower's order
    cos: np.ndarray  # (N, S)
    sin: np.ndarray
    whole: tuple[Stretch, ...]  # one for each image
    windows: tuple[Stretch, ...]
    back: torch.Tensor | None  # from the tower's order to the prompt's


class CompiledTower:
    """Pairs of images of every camera to features.

    Raises:
        CheckpointError: at the beginning, if its layers are not plain ones.
    """

    def __init__(self, model: PreTrainedModel, encoder: Encoder) -> None:
        from autovla_core.model.kernels import layers  # numba is slow to import; only small models need it

        self._tower, self._encoder = model.model.visual, encoder
        self._spread, self._middle = layers.spread, float(layers.MIDDLE)
        blocks = self._tower.blocks
        self._count, self._heads = len(blocks), blocks[0].attn.num_heads
        self._layers = CompiledLayers(LayerWeights.of_tower(blocks), self._heads, self._heads, EPS)
        self._full = set(self._tower.fullatt_block_indexes)
        self._looks = lru_cache(maxsize=8)(self._make_looks)
        self._version = -1
        black = {c.id: torch.zeros(1, PAIR, c.height, c.width, 3, dtype=torch.uint8) for c in encoder.cameras}
        self(black, 1)  # compiles now, or loads what was compiled once, rather than within the first plan

    @torch.inference_mode()
    def __call__(self, clips: Mapping[str, torch.Tensor], pairs: int) -> tuple[torch.Tensor, ...]:
        """Features (V, D) of clips {camera: (pairs, 2, H, W, 3) uint8}."""
        self._refresh()
        looks = self._looks(pairs)
        x = torch.addmm(self._offset, self._rows(clips, looks), self._embed)
        memory = x.new_empty(1, 2 * self._heads, *looks.cos.shape)
        for number in range(self._count):
            stretches = looks.whole if number in self._full else looks.windows
            x = self._layers.through(number, x, looks.cos, looks.sin, memory, 0, stretches, False)
        merger = self._tower.merger
        merged = merger.mlp(self._layers.normal(x, merger.ln_q.weight).view(len(x) // UNIT, -1))
        return (merged if looks.back is None else merged[looks.back],)

    def _rows(self, clips: Mapping[str, torch.Tensor], looks: Looks) -> torch.Tensor:
        """Patches (N, 6 p^2) of plain bytes, as image by image, row by row, they lie in memory."""
        pixels = [clips[camera].reshape(-1) for camera in self._encoder.camera_ids]
        flat = pixels[0] if len(pixels) == 1 else torch.cat(pixels)
        out = self._embed.new_empty(len(looks.starts), len(self._embed))
        self._spread(flat.numpy(), looks.starts, out.shape[1] // looks.starts.shape[1], out.numpy())
        return out

    def _refresh(self) -> None:
        """The weights of patches, made again when they were trained: in the order of bytes, brightness and colour being
        put right by them instead of by every pixel."""
        weight = self._tower.patch_embed.proj.weight
        if weight._version == self._version:
            return
        gain, offset = (part.view(3, 1, 1, 1) for part in scale(self._encoder.pixels))
        weight, self._version = weight.detach(), weight._version
        ordered = (weight * gain).permute(0, 2, 3, 4, 1).flatten(1)
        self._embed = ordered.t().contiguous()
        self._offset = (weight * (offset + self._middle * gain)).sum((1, 2, 3, 4))

    def _make_looks(self, pairs: int) -> Looks:
        encoder = self._encoder
        layout, indices = make_layout(self._tower, encoder, pairs), encoder.pair_indices(pairs)
        whole, windows = (
            tuple((slice(a, b), slice(a, b)) for a, b in stretch_ends(indices[name]))
            for name in ("cu_seqlens", "cu_window_seqlens")
        )
        cos, sin = (part.flatten(1).contiguous().numpy() for part in (layout.cos, layout.sin))
        return Looks(self._starts(pairs, layout), cos, sin, whole, windows, layout.back)

    def _starts(self, pairs: int, layout: Layout) -> np.ndarray:
        """Found by cutting images whose pixels are their own numbers."""
        found, before, pixels = [], 0, self._encoder.pixels
        for camera in self._encoder.cameras:
            shape = pairs, PAIR, camera.height, camera.width, 3
            numbers = torch.arange(before, before + int(np.prod(shape))).view(shape)
            rows = patch_blocks(numbers, pixels)[..., 0, :, :, 0]  # of the first colour, the first column
            found.append(rows.reshape(pairs, -1, PAIR * pixels.patch))
            before += numbers.numel()
        starts = torch.cat(found, dim=1).flatten(0, 1)
        if layout.order is not None:
            starts = starts.view(-1, UNIT, starts.shape[1])[layout.order].flatten(0, 1)
        return starts.contiguous().numpy()
