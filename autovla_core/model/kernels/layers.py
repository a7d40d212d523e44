"""What lies between the matrix products of a layer, for many tokens at once: a tower's patches, a prompt.

torch multiplies matrices as fast as the machine can; for small models its many calls between them take as long again.
"""

from __future__ import annotations

import numpy as np

from autovla_core.model.kernels import parts
from autovla_core.model.kernels.parts import compiled, exponential, larger

MIDDLE = np.float32(128.0)


@compiled
def spread(pixels: np.ndarray, starts: np.ndarray, run: int, out: np.ndarray) -> None:
    """out (N, R * run) = for each patch its R rows of ``run`` bytes, which start at ``starts`` (N, R) in pixels, less
    ``MIDDLE``: small numbers lose less to rounding."""
    for n in range(starts.shape[0]):
        for r in range(starts.shape[1]):
            start = starts[n, r]
            source, target = pixels[start : start + run], out[n, r * run : (r + 1) * run]
            for i in range(run):
                target[i] = np.float32(source[i]) - MIDDLE


@compiled
def settle(x: np.ndarray, bias: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> None:
    """x (N, D) += bias (D,), or (0,) for none; out = its rows by their root mean square, times weight (D,)."""
    for n in range(len(x)):
        line = x[n]
        for i in range(len(bias)):
            line[i] += bias[i]
        parts.normalise(line, weight, eps, out[n])


@compiled
def seat(
    joint: np.ndarray,
    bias: np.ndarray,
    norms: np.ndarray,
    eps: float,
    cos: np.ndarray,
    sin: np.ndarray,
    queries: np.ndarray,
    memory: np.ndarray,
    first: int,
) -> None:
    """Turn queries and keys of joint (N, heads + 2 kv heads, S) by the angles (N, S); queries go to ``queries``
    (heads, N, S), keys and then values to ``memory`` (2 kv heads, places, S), from place ``first`` on.

    Args:
        bias: ((heads + 2 kv heads) * S,) added before, or (0,); norms: see ``parts.turn``.
    """
    heads, rest, size = len(queries), len(memory), joint.shape[2]
    for n in range(len(joint)):
        flat, own = joint[n].reshape(-1), joint[n]
        for i in range(len(bias)):
            flat[i] += bias[i]
        parts.turn(own[: heads + rest // 2], norms, heads, eps, cos[n], sin[n])
        for h in range(heads):
            for i in range(size):
                queries[h, n, i] = own[h, i]
        for h in range(rest):
            for i in range(size):
                memory[h, first + n, i] = own[heads + h, i]


@compiled
def share(scores: np.ndarray, scale: float, causal: bool) -> None:
    """Scores (H, N, T) become shares. ``causal``: the last row sees all, the one before all but the last, and so on."""
    heads, count, places = scores.shape
    factor = np.float32(scale)
    for h in range(heads):
        for n in range(count):
            seen = scores[h, n, : places - (count - 1 - n if causal else 0)]
            most = seen[0]
            for t in range(len(seen)):
                most = larger(most, seen[t])
            for t in range(len(seen)):
                seen[t] = (seen[t] - most) * factor
    flat = scores.reshape(-1)
    for i in range(len(flat)):  # in one go: the end of every row that fills no vector costs as much as the rest of it
        flat[i] = exponential(flat[i])
    for h in range(heads):
        for n in range(count):
            line, end = scores[h, n], places - (count - 1 - n if causal else 0)
            total = np.float32(0.0)
            for t in range(end):
                total += line[t]
            part = np.float32(1.0) / total
            for t in range(end):
                line[t] *= part
            line[end:] = np.float32(0.0)


@compiled
def gate(both: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """out (N, I) = silu of the first half of both (N, 2 I) + bias (2 I,), or (0,) for none, times the second."""
    for n in range(len(both)):
        line = both[n]
        for i in range(len(bias)):
            line[i] += bias[i]
        parts.gate(line, out[n])
