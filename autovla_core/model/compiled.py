"""The compiled kernel over torch's memory: tensors in, tensors out, nothing copied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from autovla_core.model.tables import LayerWeights, in_halves


class CompiledSteps:
    """``kernels.steps`` over the decoder's own memory."""

    def __init__(self, weights: LayerWeights, last_norm: torch.Tensor, size: int, eps: float) -> None:
        from autovla_core.model.kernels import steps  # numba is slow to import; only small models need it

        self._read, self._write, self._eps, self._weights = steps.read_token, steps.write_actions, eps, weights
        layers, _, joint = weights.qkv.shape
        bias = torch.zeros(layers, joint) if weights.qkv_bias is None else weights.qkv_bias
        qk_norm = torch.zeros(layers, 0, size) if weights.qk_norm is None else weights.qk_norm
        self._vectors = tuple(table.detach().numpy() for table in (weights.norms, bias, qk_norm, last_norm))

    def refresh(self, head: torch.Tensor) -> None:
        """The matrices as ``kernels.steps`` reads them fastest, made again after training; ``head``: (D, actions)."""
        weights, (norms, bias, qk_norm, last) = self._weights, self._vectors
        qkv, out, gate_up, down, self._head = in_halves(weights.qkv, weights.out, weights.gate_up, weights.down, head)
        self._tables = norms, qkv, bias, qk_norm, out, gate_up, down, last

    def write(
        self,
        hidden: torch.Tensor,
        throws: torch.Tensor,
        temperature: float,
        embeddings: torch.Tensor,
        starts: Sequence[int],
        cache: np.ndarray,
        cos: np.ndarray,
        sin: np.ndarray,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``LeanDecoder.write_actions``."""
        shape, rows = throws.shape, np.arange(len(starts))
        tokens, log_probs = np.empty(shape, np.int64), np.empty(shape, np.float32)
        given = hidden.clone(memory_format=torch.contiguous_format), throws, embeddings
        x, chance, table = (tensor.numpy() for tensor in given)
        memory = np.array(starts), rows, cache, cos, sin
        self._write(x, chance, temperature, self._head, table, tokens, log_probs, *memory, *self._tables, self._eps)
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
