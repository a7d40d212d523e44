"""Layers of a small model over many tokens on a CPU: torch multiplies matrices, compiled kernels do what is between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from autovla_core.model.tables import LayerWeights

WIDEST = 512  # wider models gain nothing: their time goes into the matrix products
Stretch = tuple[slice, slice]  # some queries, and the places that they look at


def is_small(model: PreTrainedModel) -> bool:
    """Whether compiled kernels pay: a narrow float32 model on a CPU."""
    weight = model.get_input_embeddings().weight
    return weight.device.type == "cpu" and weight.dtype is torch.float32 and weight.shape[1] <= WIDEST


class CompiledLayers:
    """The layers of a language model or of a tower, in float32. Whoever trains the weights trains these."""

    def __init__(self, weights: LayerWeights, heads: int, kv_heads: int, eps: float) -> None:
        from autovla_core.model.kernels import layers  # numba is slow to import; only small models need it

        self._kernels, self._weights, self._eps = layers, weights, eps
        self._heads, self._kv_heads = heads, kv_heads
        count, self._size = len(weights.qkv), weights.qkv.shape[2] // (heads + 2 * kv_heads)
        names = ("qkv_bias", "out_bias", "gate_up_bias", "qk_norm")
        found = {name: getattr(weights, name) for name in names}
        empty = torch.zeros(count, 0), torch.zeros(count, 0, self._size)
        self._vectors = {
            name: (empty[name == "qk_norm"] if table is None else table).detach().numpy()
            for name, table in found.items()
        }
        self._norms = weights.norms.detach().numpy()
        self._nothing = np.zeros(0, np.float32)

    def normal(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Rows (N, D) by their root mean square, times weight (D,)."""
        return self._settled(x, self._nothing, weight.detach().numpy())

    def through(
        self,
        number: int,
        x: torch.Tensor,
        cos: np.ndarray,
        sin: np.ndarray,
        memory: torch.Tensor,
        first: int,
        stretches: Sequence[Stretch],
        causal: bool,
        last: bool = False,
    ) -> torch.Tensor:
        """x (B * N, D) after layer ``number``; x itself is used up.

        Args:
            cos, sin: (N, S) angles; ``sin`` has the sign of the swapped half.
            memory: (B, 2 kv heads, places, S): keys and values go there, from place ``first`` on.
            stretches: who looks where, alike for every row of B; causal: up to the own place.
            last: (B, D) of the last tokens alone, the only ones in ``stretches``.
        """
        weights, vectors, batch = self._weights, self._vectors, len(memory)
        normal = self._settled(x, self._nothing, self._norms[number, 0])
        joint = torch.mm(normal, weights.qkv[number]).view(batch, -1, self._heads + 2 * self._kv_heads, self._size)
        mixed = normal.new_empty(batch, 1 if last else joint.shape[1], self._heads, self._size)
        for own, room, out in zip(joint, memory, mixed):
            queries = own.new_empty(self._heads, len(own), self._size)
            bias, norms = vectors["qkv_bias"][number], vectors["qk_norm"][number]
            into = queries.numpy(), room.numpy(), first
            self._kernels.seat(own.numpy(), bias, norms, self._eps, cos, sin, *into)
            for some, places in stretches:
                self._attend(queries[:, some], room[:, places], out if last else out[some], causal)
        if last:
            x = x.view(batch, -1, x.shape[1])[:, -1].contiguous()
        x.addmm_(mixed.view(len(x), -1), weights.out[number])
        normal = self._settled(x, vectors["out_bias"][number], self._norms[number, 1])
        x.addmm_(self._gated(torch.mm(normal, weights.gate_up[number]), number), weights.down[number])
        return x if weights.down_bias is None else x.add_(weights.down_bias[number])

    def _settled(self, x: torch.Tensor, bias: np.ndarray, weight: np.ndarray) -> torch.Tensor:
        out = torch.empty_like(x)
        self._kernels.settle(x.numpy(), bias, weight, self._eps, out.numpy())
        return out

    def _gated(self, both: torch.Tensor, number: int) -> torch.Tensor:
        out = both.new_empty(len(both), both.shape[1] // 2)
        self._kernels.gate(both.numpy(), self._vectors["gate_up_bias"][number], out.numpy())
        return out

    def _attend(self, queries: torch.Tensor, memory: torch.Tensor, out: torch.Tensor, causal: bool) -> None:
        """Into out (N, heads, S): what queries (heads, N, S) find in memory (2 kv heads, T, S)."""
        count, kv_heads = queries.shape[1], self._kv_heads
        keys, values = memory[:kv_heads], memory[kv_heads:]
        together = queries.reshape(kv_heads, -1, self._size)  # heads that share keys and values in one product
        scores = torch.bmm(together, keys.transpose(1, 2)).view(self._heads, count, -1)
        self._kernels.share(scores.numpy(), self._size**-0.5, causal)
        found = torch.bmm(scores.view(kv_heads, -1, scores.shape[2]), values)
        out.copy_(found.view(self._heads, count, self._size).transpose(0, 1))
