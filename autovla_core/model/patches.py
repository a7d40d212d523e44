"""Images to the patches that Qwen2.5-VL's vision tower takes, and a tower that runs them in one batch.

Nothing here changes what the tower computes. Hugging Face's attention loops in Python over every
window of every image when flash-attention is absent; windows of equal length fit one batched call.
"""

from __future__ import annotations

import types
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids, get_vision_window_index

PATCH, MERGE, PAIR = 14, 2, 2  # pixels a side; patches a side that become one token; images a patch spans
CELL = PATCH * MERGE  # image sides are multiples of this
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, per RGB channel
STD = (0.26862954, 0.26130258, 0.27577711)


@lru_cache
def _scale() -> tuple[torch.Tensor, torch.Tensor]:
    """Per-channel gain and offset that turn bytes into normalised pixels."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return (1.0 / (255.0 * std)).view(3, 1), (-mean / std).view(3, 1)


def pixel_patches(clips: torch.Tensor, brighten: tuple[torch.Tensor, torch.Tensor] | None = None) -> torch.Tensor:
    """Patches (N, P, 1176) float32 of clips (N, T, H, W, 3) uint8.

    T is even, H and W are multiples of 28; P = T/2 * H/14 * W/14, in the order of the vision tower:
    pair of images, then 2 x 2 blocks of patches.

    Args:
        brighten: gain (N,) and offset (N,) that each clip's bytes are put through first, for training.
    """
    count, images, height, width, _ = clips.shape
    if images % PAIR or height % CELL or width % CELL:
        raise ValueError(f"clips are {tuple(clips.shape)}, expected (N, even, multiple of {CELL}, same, 3)")
    blocks = clips.reshape(
        count, images // PAIR, PAIR, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH, 3
    ).permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)
    pixels = blocks.reshape(count, -1, 3, PAIR * PATCH * PATCH).float()  # bytes move faster than floats: permute first
    gain, offset = _scale()
    if brighten is not None:
        offset = offset + gain * brighten[1].view(-1, 1, 1, 1)
        gain = gain * brighten[0].view(-1, 1, 1, 1)
    return pixels.mul_(gain).add_(offset).flatten(2)


def grid_of(images: int, height: int, width: int) -> tuple[int, int, int]:
    """(pairs, rows, columns) of patches of one clip."""
    return images // PAIR, height // PATCH, width // PATCH


def vision_indices(model: Qwen2_5_VLForConditionalGeneration, grid: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the vision tower derives from ``grid`` (N, 3) on every call, computed once; pass it to the forward."""
    tower = model.model.visual
    window, windows = get_vision_window_index(grid, tower.spatial_merge_size, tower.window_size, tower.patch_size)
    return {
        "video_position_ids": get_vision_position_ids(grid, tower.spatial_merge_size),
        "video_cu_seqlens": get_vision_cu_seqlens(grid),
        "video_window_index": window,
        "video_cu_window_seqlens": windows,
    }


def batch_vision(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Replace the per-window attention loop and the 3-D convolution of the tower, in place."""
    for module in model.modules():
        if isinstance(module, qwen.Qwen2_5_VLVisionAttention):
            module.forward = types.MethodType(_batched_attention, module)
        elif isinstance(module, qwen.Qwen2_5_VisionPatchEmbed):
            module.forward = types.MethodType(_linear_embed, module)


def _batched_attention(
    self: nn.Module,
    hidden_states: torch.Tensor,
    cu_seqlens: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
    **kwargs: object,
) -> torch.Tensor:
    total, chunks = hidden_states.shape[0], cu_seqlens.numel() - 1
    length = total // chunks
    if length * chunks != total or int((cu_seqlens[1:] - cu_seqlens[:-1]).max()) != length:
        attend = qwen.Qwen2_5_VLVisionAttention.forward
        return attend(self, hidden_states, cu_seqlens, position_embeddings=position_embeddings, **kwargs)
    query, key, value = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
    query, key = qwen.apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    query, key, value = (x.reshape(chunks, length, self.num_heads, -1).transpose(1, 2) for x in (query, key, value))
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=self.scaling)
    return self.proj(mixed.transpose(1, 2).reshape(total, -1))


def _linear_embed(self: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """The convolution's kernel is as large as its input: a matrix product, which is faster."""
    weight = self.proj.weight
    return functional.linear(hidden_states.to(weight.dtype), weight.view(weight.shape[0], -1))
