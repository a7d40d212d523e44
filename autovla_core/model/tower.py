"""The vision towers of Qwen2.5-VL and Qwen3-VL without the library around them: the same sums, everything that depends
on the size of the pictures alone worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from autovla_core.model.backbone import MERGE
from autovla_core.model.encoding import Encoder
from autovla_core.model.tables import matrices, vectors

UNIT = MERGE**2  # patches that become one token
EPS = 1e-6


@dataclass(frozen=True)
class Segments:
    """``count`` stretches of ``length`` patches, each attending within itself; at ``places``, or in a row."""

    count: int
    length: int
    places: torch.Tensor | None


@dataclass(frozen=True)
class Layout:
    """What follows from the grids alone."""

    order: torch.Tensor | None  # (units,) the order in which windows are whole, None: as they come
    back: torch.Tensor | None
    cos: torch.Tensor  # (N, 1, 1, head size)
    sin: torch.Tensor
    whole: tuple[Segments, ...]
    windows: tuple[Segments, ...]
    table: torch.Tensor | None  # (N, width) learned positions, Qwen3 only


class LeanTower:
    """Patches of pairs of images to features.

    Raises:
        CheckpointError: at the beginning, if its layers are not plain ones.
    """

    def __init__(self, model: PreTrainedModel, encoder: Encoder) -> None:
        self._tower, self._encoder = model.model.visual, encoder
        blocks = self._tower.blocks
        attention = [block.attn for block in blocks]
        self._heads = attention[0].num_heads
        self._qkv, self._qkv_bias = (
            matrices([(a.qkv,) for a in attention]),
            vectors([(a.qkv,) for a in attention], "bias"),
        )
        self._out, self._out_bias = (
            matrices([(a.proj,) for a in attention]),
            vectors([(a.proj,) for a in attention], "bias"),
        )
        self._stamped = encoder.stamped
        mlps = [block.mlp for block in blocks]
        ins = [(m.linear_fc1,) if self._stamped else (m.gate_proj, m.up_proj) for m in mlps]
        outs = [(m.linear_fc2,) if self._stamped else (m.down_proj,) for m in mlps]
        self._in, self._in_bias = matrices(ins), vectors(ins, "bias")
        self._down, self._down_bias = matrices(outs), vectors(outs, "bias")
        self._layout = lru_cache(maxsize=8)(partial(make_layout, self._tower, encoder))
        self._full = set(range(len(blocks))) if self._stamped else set(self._tower.fullatt_block_indexes)
        self._deep = list(self._tower.deepstack_visual_indexes) if self._stamped else []
        weight = self._tower.patch_embed.proj.weight
        self._embed, self._embed_bias = weight.view(weight.shape[0], -1), self._tower.patch_embed.proj.bias

    @torch.inference_mode()
    def __call__(self, clips: Mapping[str, torch.Tensor], pairs: int) -> tuple[torch.Tensor, ...]:
        """Features (V, D) of clips {camera: (pairs, 2, H, W, 3) uint8}; for Qwen3-VL more follow."""
        layout = self._layout(pairs)
        patches = self._encoder.patches(clips).to(self._embed)
        x = functional.linear(patches, self._embed, self._embed_bias)
        if layout.table is not None:
            x = x + layout.table
        if layout.order is not None:
            x = x.view(-1, UNIT, x.shape[-1])[layout.order].flatten(0, 1)
        deep = []
        for number, block in enumerate(self._tower.blocks):
            segments = layout.whole if number in self._full else layout.windows
            mixed = self._attention(number, self._norm(block.norm1, x), layout, segments)
            x = torch.addmm(x, mixed, self._out[number]).add_(self._out_bias[number])
            inner = torch.addmm(self._in_bias[number], self._norm(block.norm2, x), self._in[number])
            x = torch.addmm(x, self._activation(block, inner), self._down[number]).add_(self._down_bias[number])
            if number in self._deep:
                deep.append(self._tower.deepstack_merger_list[self._deep.index(number)](x))
        merged = self._tower.merger(x)
        return (merged if layout.back is None else merged[layout.back], *deep)

    def _norm(self, norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if self._stamped:
            return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, EPS)
        return functional.rms_norm(x, x.shape[-1:], norm.weight, EPS)

    def _activation(self, block: nn.Module, inner: torch.Tensor) -> torch.Tensor:
        if self._stamped:
            return block.mlp.act_fn(inner)
        gate, up = inner.chunk(2, -1)
        return block.mlp.act_fn(gate).mul_(up)

    def _attention(self, number: int, x: torch.Tensor, layout: Layout, segments: tuple[Segments, ...]) -> torch.Tensor:
        """Mixed values (N, width)."""
        joint = torch.addmm(self._qkv_bias[number], x, self._qkv[number]).view(len(x), 3, self._heads, -1)
        turned = joint[:, :2].float()  # the library turns in float32 whatever the weights are
        half = turned.shape[-1] // 2
        swapped = turned.unflatten(-1, (2, half)).flip(-2).flatten(-2)
        turned = torch.addcmul(turned * layout.cos, swapped, layout.sin).to(x.dtype)
        query, key, value = turned[:, 0], turned[:, 1], joint[:, 2]
        if len(segments) == 1 and segments[0].places is None:
            return _within(query, key, value, segments[0])
        mixed = torch.empty_like(x)
        for part in segments:
            mixed[part.places] = _within(query[part.places], key[part.places], value[part.places], part)
        return mixed


def make_layout(tower: nn.Module, encoder: Encoder, pairs: int) -> Layout:
    """What follows from ``pairs`` pairs of images of every camera."""
    indices = encoder.pair_indices(pairs)
    weight = tower.patch_embed.proj.weight
    cos, sin = tower.rotary_pos_emb(weight, indices["position_ids"])
    order = indices.get("window_index")
    if order is not None and torch.equal(order, torch.arange(len(order), device=order.device)):
        order = None
    if order is not None:
        cos, sin = (part.view(-1, UNIT, part.shape[-1])[order].flatten(0, 1) for part in (cos, sin))
    sign = torch.ones_like(cos[0])
    sign[: len(sign) // 2] = -1.0
    table = None
    if encoder.stamped:
        taps = tower.pos_embed(indices["interp_indices"]) * indices["interp_weights"][:, :, None]
        table = taps.sum(1).to(weight.dtype)
    return Layout(
        order,
        None if order is None else torch.argsort(order),
        cos[:, None, None].float(),
        (sin * sign)[:, None, None].float(),
        _segments(indices["cu_seqlens"], weight.device),
        _segments(indices.get("cu_window_seqlens", indices["cu_seqlens"]), weight.device),
        table,
    )


def stretch_ends(ends: torch.Tensor) -> list[tuple[int, int]]:
    """(start, end) of every stretch between cumulative ``ends`` (C + 1,)."""
    ends = torch.unique_consecutive(ends.cpu()).tolist()
    return list(zip(ends[:-1], ends[1:]))


def _within(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, part: Segments) -> torch.Tensor:
    """Attention (N, width) within stretches, of (N, heads, size) each."""
    shape = part.count, part.length, *query.shape[1:]
    query, key, value = (each.reshape(shape).transpose(1, 2) for each in (query, key, value))
    return (
        functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(part.count * part.length, -1)
    )


def _segments(ends: torch.Tensor, device: torch.device) -> tuple[Segments, ...]:
    """Stretches between cumulative ``ends`` (C + 1,), those of one length together."""
    ends = torch.unique_consecutive(ends.cpu())
    starts, lengths = ends[:-1], ends[1:] - ends[:-1]
    kinds = lengths.unique().tolist()
    if len(kinds) == 1:
        return (Segments(len(lengths), kinds[0], None),)
    found = []
    for length in kinds:
        first = starts[lengths == length]
        places = (first[:, None] + torch.arange(length)).flatten().to(device)
        found.append(Segments(len(first), length, places))
    return tuple(found)
