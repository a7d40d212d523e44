"""The compiled kernel over torch's memory: tensors in, tensors out, nothing copied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from autovla_core.model.tables import TextWeights


class CompiledSteps:
    """``kernel.read_token`` over the decoder's own memory."""

    def __init__(self, weights: TextWeights, last_norm: torch.Tensor, size: int, eps: float) -> None:
        from autovla_core.model import kernel  # numba is slow to import; only small models need it

        layers, _, joint = weights.qkv.shape
        bias = torch.zeros(layers, joint) if weights.qkv_bias is None else weights.qkv_bias
        qk_norm = torch.zeros(layers, 0, size) if weights.qk_norm is None else weights.qk_norm
        tables = weights.norms, weights.qkv, bias, qk_norm, weights.out, weights.gate_up, weights.down, last_norm
        self._read, self._write, self._eps = kernel.read_token, kernel.write_actions, eps
        self._normalise, self._rotate = kernel.normalise, kernel.rotate
        self._tables = tuple(table.detach().numpy() for table in tables)

    def normal(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """See ``kernel.normalise``."""
        return torch.from_numpy(self._normalise(x.numpy(), weight.detach().numpy(), self._eps))

    def turn(self, heads: torch.Tensor, count: int, cos: torch.Tensor, sin: torch.Tensor) -> None:
        """See ``kernel.rotate``."""
        self._rotate(heads.numpy(), count, cos.view(len(heads), -1).numpy(), sin.view(len(heads), -1).numpy())

    def write(
        self,
        hidden: torch.Tensor,
        throws: torch.Tensor,
        temperature: float,
        head: torch.Tensor,
        embeddings: torch.Tensor,
        starts: Sequence[int],
        cache: np.ndarray,
        cos: np.ndarray,
        sin: np.ndarray,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``LeanDecoder.write_actions``."""
        shape, rows = throws.shape, np.arange(len(starts))
        tokens, log_probs = np.empty(shape, np.int64), np.empty(shape, np.float32)
        given = hidden.clone(memory_format=torch.contiguous_format), throws, head, embeddings
        x, chance, head_array, table = (tensor.numpy() for tensor in given)
        memory = np.array(starts), rows, cache, cos, sin
        self._write(x, chance, temperature, head_array, table, tokens, log_probs, *memory, *self._tables, self._eps)
        return torch.from_numpy(tokens), torch.from_numpy(log_probs)

    def read(
        self,
        embedded: torch.Tensor,
        starts: Sequence[int],
        counts: Sequence[int],
        cache: np.ndarray,
        cos: np.ndarray,
        sin: np.ndarray,
    ) -> torch.Tensor:
        """The output (B, D) at the last of the tokens (B, T, D) that each row takes."""
        rows, count = np.arange(len(counts)), max(counts)
        if count == 1 and min(counts) == 1:  # the usual step: every row reads one token
            x = embedded[:, 0]
            self._read(x.numpy(), np.array(starts), rows, cache, cos, sin, *self._tables, self._eps)
            return x
        tokens, result = embedded.numpy(), torch.zeros(embedded.shape[0], embedded.shape[2])
        for turn in range(count):
            own = rows[np.array(counts) > turn]
            x = np.ascontiguousarray(tokens[own, turn])
            self._read(x, np.array(starts)[own] + turn, own, cache, cos, sin, *self._tables, self._eps)
            result[own] = torch.from_numpy(x)
        return result
