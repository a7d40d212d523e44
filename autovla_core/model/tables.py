"""Weights of many layers as one table each. The layers' own tensors become views into it: nothing is held twice, and
whoever trains the layers trains the table. (in, out) is the faster order when few tokens are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from autovla_core.errors import CheckpointError


@dataclass(frozen=True)
class LayerWeights:
    """Weights of all L layers, matrices as (L, in, out); q, k, v and gate, up are one matrix each."""

    norms: torch.Tensor  # (L, 2, D) before attention and before the MLP
    qkv: torch.Tensor
    out: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor
    qkv_bias: torch.Tensor | None = None  # (L, out), and so on
    out_bias: torch.Tensor | None = None
    gate_up_bias: torch.Tensor | None = None
    down_bias: torch.Tensor | None = None
    qk_norm: torch.Tensor | None = None  # (L, 2, head size), Qwen3 only

    @classmethod
    def of_text(cls, layers: Sequence[nn.Module]) -> LayerWeights:
        """Of the library's decoder layers.

        Raises:
            CheckpointError: layers that are not plain ones.
        """
        attention, mlp = [layer.self_attn for layer in layers], [layer.mlp for layer in layers]
        if attention[0].o_proj.bias is not None:
            raise CheckpointError("the lean decoder knows no bias after attention, the model has one")
        norms = [(layer.input_layernorm, layer.post_attention_layernorm) for layer in layers]
        projections = [(part.q_proj, part.k_proj, part.v_proj) for part in attention]
        has_norms, has_bias = hasattr(attention[0], "q_norm"), projections[0][0].bias is not None
        return cls(
            norms=vectors(norms, "weight").unflatten(1, (2, -1)),
            qkv=matrices(projections),
            qkv_bias=vectors(projections, "bias") if has_bias else None,
            qk_norm=vectors([(a.q_norm, a.k_norm) for a in attention], "weight").unflatten(1, (2, -1))
            if has_norms
            else None,
            out=matrices([(part.o_proj,) for part in attention]),
            gate_up=matrices([(part.gate_proj, part.up_proj) for part in mlp]),
            down=matrices([(part.down_proj,) for part in mlp]),
        )

    @classmethod
    def of_tower(cls, blocks: Sequence[nn.Module]) -> LayerWeights:
        """Of the library's blocks of a Qwen2.5-VL tower.

        Raises:
            CheckpointError: layers that are not plain ones.
        """
        ways = {
            "qkv": [(block.attn.qkv,) for block in blocks],
            "out": [(block.attn.proj,) for block in blocks],
            "gate_up": [(block.mlp.gate_proj, block.mlp.up_proj) for block in blocks],
            "down": [(block.mlp.down_proj,) for block in blocks],
        }
        norms = vectors([(block.norm1, block.norm2) for block in blocks], "weight").unflatten(1, (2, -1))
        biases = {f"{name}_bias": vectors(parts, "bias") for name, parts in ways.items()}
        return cls(norms=norms, **{name: matrices(parts) for name, parts in ways.items()}, **biases)


def in_halves(*tables: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Matrices (..., in, out) float32 as (..., in / 2, out) uint32, two bfloat16 each, if every weight is one and no
    ``in`` is odd; else as they are. Rows 2 i lie in the lower halves, rows 2 i + 1 in the upper."""
    bits = [table.detach().numpy().view(np.uint32) for table in tables]
    if any(each.shape[-2] % 2 or (each & 0xFFFF).any() for each in bits):
        return tuple(table.detach().numpy() for table in tables)
    return tuple(each[..., 0::2, :] >> 16 | each[..., 1::2, :] for each in bits)


def matrices(layers: Sequence[Sequence[nn.Module]]) -> torch.Tensor:
    """(L, in, out) of linear layers side by side.

    Raises:
        CheckpointError: something else than plain linear layers.
    """
    for part in (part for parts in layers for part in parts):
        if type(part) is not nn.Linear:
            found = type(part).__name__
            raise CheckpointError(f"our own decoding reads plain linear layers, found {found}; merge adapters first")
    widths = [part.out_features for part in layers[0]]
    held = [part.weight for parts in layers for part in parts]
    shape = len(layers), layers[0][0].in_features, sum(widths)
    return _table(held, shape, lambda table: [view.t() for joint in table for view in joint.split(widths, dim=1)])


def vectors(layers: Sequence[Sequence[nn.Module]], name: str) -> torch.Tensor:
    """(L, N) of biases or norms in a row."""
    held = [getattr(part, name) for parts in layers for part in parts]
    widths = [len(getattr(part, name)) for part in layers[0]]
    shape = len(layers), sum(widths)
    return _table(held, shape, lambda table: [view for joint in table for view in joint.split(widths)])


def _table(
    held: Sequence[torch.Tensor], shape: tuple[int, ...], cut: Callable[[torch.Tensor], list[torch.Tensor]]
) -> torch.Tensor:
    """A table whose parts, as ``cut`` gives them, are the parameters ``held``: the one they lie in already, where
    somebody made it before, so that all who read them read the same; else a new one that they move to."""
    first = held[0].detach()
    memory = first.untyped_storage()
    if memory.nbytes() == math.prod(shape) * first.element_size():
        table = first.new_empty(0).set_(memory, 0, shape)
        if all(_same(parameter, view) for parameter, view in zip(held, cut(table))):
            return table
    table = first.new_empty(shape)
    for parameter, view in zip(held, cut(table)):
        view.copy_(parameter.detach())
        parameter.data = view
    return table


def _same(parameter: torch.Tensor, view: torch.Tensor) -> bool:
    """Whether two tensors are the same place in memory, read in the same order."""
    return parameter.data_ptr() == view.data_ptr() and parameter.stride() == view.stride()
