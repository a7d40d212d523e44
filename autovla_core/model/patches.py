"""Images to the patches that a vision tower takes, and a tower that runs them in one batch.

Nothing here changes what the tower computes. Hugging Face's attention loops in Python over every
window of every image when flash-attention is absent; windows of equal length fit one batched call.
"""

from __future__ import annotations

import types

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen  # its rotation is Qwen3-VL's too

from autovla_core.model.backbone import MERGE, PAIR, QWEN2_5, Pixels, family_of, scale, tower_indices

PATCH, CELL = QWEN2_5.patch, QWEN2_5.cell  # pixels a side of a patch, and what image sides are multiples of
MEAN, STD = QWEN2_5.mean, QWEN2_5.std


def pixel_patches(
    clips: torch.Tensor, brighten: tuple[torch.Tensor, torch.Tensor] | None = None, pixels: Pixels = QWEN2_5
) -> torch.Tensor:
    """Patches (N, P, 6 p^2) float32 of clips (N, T, H, W, 3) uint8; p = 14 for Qwen2.5-VL, 16 for Qwen3-VL.

    T is even, H and W are multiples of 2 p; P = T/2 * H/p * W/p, in the order of the vision tower:
    pair of images, then 2 x 2 blocks of patches.

    Args:
        brighten: gain (N,) and offset (N,) that each clip's bytes are put through first, for training.
    """
    blocks = patch_blocks(clips, pixels)
    values = blocks.reshape(len(clips), -1, 3, PAIR * pixels.patch**2).float()  # bytes move faster: cut first
    gain, offset = (each.to(values.device) for each in scale(pixels))
    if brighten is not None:
        offset = offset + gain * brighten[1].view(-1, 1, 1, 1)
        gain = gain * brighten[0].view(-1, 1, 1, 1)
    return values.mul_(gain).add_(offset).flatten(2)


def patch_blocks(clips: torch.Tensor, pixels: Pixels) -> torch.Tensor:
    """A view (N, T/2, H/2p, W/2p, 2, 2, 3, 2, p, p) of clips (N, T, H, W, 3): patches in the tower's order, each by
    colour, image, row and column."""
    count, images, height, width, _ = clips.shape
    patch, cell = pixels.patch, pixels.cell
    if images % PAIR or height % cell or width % cell:
        raise ValueError(f"clips are {tuple(clips.shape)}, expected (N, even, multiple of {cell}, same, 3)")
    return clips.reshape(
        count, images // PAIR, PAIR, height // cell, MERGE, patch, width // cell, MERGE, patch, 3
    ).permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)


def grid_of(images: int, height: int, width: int, patch: int = PATCH) -> tuple[int, int, int]:
    """(pairs, rows, columns) of patches of one clip."""
    return images // PAIR, height // patch, width // patch


def vision_indices(model: PreTrainedModel, grid: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the vision tower derives from ``grid`` (N, 3) on every call, computed once; pass it to the forward."""
    return {f"video_{name}": value for name, value in tower_indices(model, grid).items()}


def batch_vision(model: PreTrainedModel) -> None:
    """Replace the per-window attention loop and the 3-D convolution of the tower, in place."""
    family = family_of(model)
    for module in model.modules():
        if isinstance(module, family.attention):
            module.forward = types.MethodType(_batched_attention, module)
        elif isinstance(module, family.embedding):
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
        attend = type(self).forward
        return attend(self, hidden_states, cu_seqlens, position_embeddings=position_embeddings, **kwargs)
    query, key, value = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
    query, key = qwen.apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    query, key, value = (x.reshape(chunks, length, self.num_heads, -1).transpose(1, 2) for x in (query, key, value))
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=self.scaling)
    return self.proj(mixed.transpose(1, 2).reshape(total, -1))


def _linear_embed(self: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """The convolution's kernel is as large as its input: a matrix product, which is faster."""
    weight = self.proj.weight
    return functional.linear(hidden_states.to(weight.dtype), weight.view(weight.shape[0], -1), self.proj.bias)
