"""One token through the language model, compiled: for small models on a CPU, where calling a library costs most.

The same sums as ``decoder.py`` makes with torch, float32, one thread. Every row stands at its own place, so rows of
different lengths need no masks, and rows that read nothing cost nothing. numba compiles it at the first call of all
(some seconds) and keeps the result on disk.
"""

from __future__ import annotations

import math

import numba
import numpy as np

FASTMATH = {"contract", "reassoc", "nsz"}  # not "nnan": damaged weights must show


@numba.njit(cache=True, fastmath=FASTMATH)
def _add_product(x: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """out (B, N) += x (B, M) @ matrix (M, N), four rows of the matrix and two of x at a time."""
    rows, (count, width) = x.shape[0], matrix.shape
    for i in range(0, count - 3, 4):
        first, second, third, fourth = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        for row in range(0, rows - 1, 2):
            a, b, c, d = x[row, i], x[row, i + 1], x[row, i + 2], x[row, i + 3]
            e, f, g, h = x[row + 1, i], x[row + 1, i + 1], x[row + 1, i + 2], x[row + 1, i + 3]
            line, next_line = out[row], out[row + 1]
            for j in range(width):
                line[j] += a * first[j] + b * second[j] + c * third[j] + d * fourth[j]
                next_line[j] += e * first[j] + f * second[j] + g * third[j] + h * fourth[j]
        if rows % 2:
            a, b, c, d = x[rows - 1, i], x[rows - 1, i + 1], x[rows - 1, i + 2], x[rows - 1, i + 3]
            line = out[rows - 1]
            for j in range(width):
                line[j] += a * first[j] + b * second[j] + c * third[j] + d * fourth[j]
    for i in range(count - count % 4, count):
        for row in range(rows):
            for j in range(width):
                out[row, j] += x[row, i] * matrix[i, j]


@numba.njit(cache=True, fastmath=FASTMATH, inline="always")
def _normalise(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> None:
    """out = x / root mean square * weight."""
    total = np.float32(0.0)
    for i in range(len(x)):
        total += x[i] * x[i]
    factor = np.float32(1.0 / math.sqrt(total / len(x) + eps))
    for i in range(len(x)):
        out[i] = x[i] * factor * weight[i]


@numba.njit(cache=True, fastmath=FASTMATH)
def _rotate(heads: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    """Turn heads (H, S) by the angles of one place; ``sin`` has the sign of the swapped half."""
    half = heads.shape[1] // 2
    for h in range(heads.shape[0]):
        for i in range(half):
            low, high = heads[h, i], heads[h, i + half]
            heads[h, i] = low * cos[i] + high * sin[i]
            heads[h, i + half] = high * cos[i + half] + low * sin[i + half]


@numba.njit(cache=True, fastmath=FASTMATH)
def _exp(x: np.ndarray, bits: np.ndarray) -> None:
    """x (N,) becomes e^x to about a unit in the last place; ``bits`` (at least N,) int32 is room to work in.

    Cephes' polynomial on the remainder of a power of two, in loops that fill vector registers: the C library's
    exponential goes one number at a time.
    """
    count = len(x)
    for i in range(count):
        value = min(max(x[i], np.float32(-87.0)), np.float32(88.0))
        power = np.int32(value * np.float32(1.44269504) + np.float32(127.5))  # positive: truncation rounds
        whole = np.float32(power - np.int32(127))
        rest = value - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
        poly = np.float32(1.9875691500e-4)
        poly = poly * rest + np.float32(1.3981999507e-3)
        poly = poly * rest + np.float32(8.3334519073e-3)
        poly = poly * rest + np.float32(4.1665795894e-2)
        poly = poly * rest + np.float32(1.6666665459e-1)
        poly = poly * rest + np.float32(5.0000001201e-1)
        x[i] = poly * rest * rest + rest + np.float32(1.0)
        bits[i] = power << np.int32(23)
    scale = bits.view(np.float32)
    for i in range(count):
        x[i] *= scale[i]


@numba.njit(cache=True, fastmath=FASTMATH)
def _attend(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, weights: np.ndarray, bits: np.ndarray, out: np.ndarray
) -> None:
    """out (S,) = softmax(query . keys / sqrt S) @ values over (T, S)."""
    count, size = keys.shape
    scale, most = np.float32(1.0 / math.sqrt(size)), np.float32(-np.inf)
    for t in range(count):
        total = np.float32(0.0)
        for i in range(size):
            total += query[i] * keys[t, i]
        weights[t] = total * scale
        most = max(most, weights[t])
    weights[:count] -= most
    _exp(weights[:count], bits)
    total = np.float32(0.0)
    for t in range(count):
        total += weights[t]
    out[:] = np.float32(0.0)
    for t in range(count):
        share = weights[t] / total
        for i in range(size):
            out[i] += share * values[t, i]


@numba.njit(cache=True, fastmath=FASTMATH)
def _mix(
    joint: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    cache: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    qk_norm: np.ndarray,
    eps: float,
    weights: np.ndarray,
    bits: np.ndarray,
    mixed: np.ndarray,
) -> None:
    """Attention of one layer: joint (B, heads + 2 kv heads, S) into the cache and into mixed (B, heads, S)."""
    kv_heads, heads = cache.shape[1] // 2, mixed.shape[1]
    group = heads // kv_heads
    for b in range(joint.shape[0]):
        at, own, parts = places[b], cache[rows[b]], joint[b]
        if len(qk_norm):
            for h in range(heads + kv_heads):
                _normalise(parts[h], qk_norm[0 if h < heads else 1], eps, parts[h])
        _rotate(parts[: heads + kv_heads], cos[at], sin[at])
        for h in range(2 * kv_heads):
            own[h, at] = parts[heads + h]
        for h in range(heads):
            kv = h // group
            _attend(parts[h], own[kv, : at + 1], own[kv_heads + kv, : at + 1], weights, bits, mixed[b, h])


@numba.njit(cache=True, fastmath=FASTMATH)
def read_token(
    x: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    cache: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    norms: np.ndarray,
    qkv: np.ndarray,
    qkv_bias: np.ndarray,
    qk_norm: np.ndarray,
    out: np.ndarray,
    gate_up: np.ndarray,
    down: np.ndarray,
    last_norm: np.ndarray,
    eps: float,
) -> None:
    """One token for each of B rows of the cache, in place: x (B, D) embeddings become the output.

    Args:
        places, rows: (B,) where each token stands, in which row of the cache.
        cache: (layers, rows, 2 * kv heads, places, S); cos, sin: (places, S).
        norms: (layers, 2, D) before attention and before the MLP; the matrices (layers, in, out).
        qkv_bias: (layers, (heads + 2 kv heads) * S), zeros where there is none; qk_norm: (layers, 0 or 2, S).
    """
    batch, width = x.shape
    size, inner = cache.shape[4], down.shape[1]
    joint = np.empty((batch, qkv.shape[2]), np.float32)
    mixed = np.empty((batch, out.shape[1]), np.float32)
    both = np.empty((batch, 2 * inner), np.float32)
    weights = np.empty(cache.shape[3], np.float32)
    turned = np.empty(inner, np.float32)
    bits = np.empty(max(cache.shape[3], inner), np.int32)
    normal = np.empty((batch, width), np.float32)
    for layer in range(len(cache)):
        for b in range(batch):
            joint[b] = qkv_bias[layer]
            _normalise(x[b], norms[layer, 0], eps, normal[b])
        _add_product(normal, qkv[layer], joint)
        shaped, gathered = joint.reshape(batch, -1, size), mixed.reshape(batch, -1, size)
        _mix(shaped, places, rows, cache[layer], cos, sin, qk_norm[layer], eps, weights, bits, gathered)
        _add_product(mixed, out[layer], x)
        for b in range(batch):
            _normalise(x[b], norms[layer, 1], eps, normal[b])
        both[:] = np.float32(0.0)
        _add_product(normal, gate_up[layer], both)
        for b in range(batch):
            turned[:] = -both[b, :inner]
            _exp(turned, bits)
            for i in range(inner):
                both[b, i] *= both[b, inner + i] / (np.float32(1.0) + turned[i])
        _add_product(both[:, :inner], down[layer], x)
    for b in range(batch):
        _normalise(x[b], last_norm, eps, x[b])


@numba.njit(cache=True, fastmath=FASTMATH)
def _draw(scores: np.ndarray, temperature: float, throw: float, bits: np.ndarray) -> tuple[int, float]:
    """A token and its log-probability: the likeliest at temperature 0, else where ``throw`` falls in the heap."""
    most, total = np.float32(-np.inf), np.float32(0.0)
    for i in range(len(scores)):
        most = max(most, scores[i])
        total += scores[i]
    if math.isnan(total) or math.isinf(total):
        return 0, np.nan
    token = 0
    if temperature == 0.0:
        while scores[token] != most:
            token += 1
    factor = np.float32(1.0 / temperature) if temperature > 0.0 else np.float32(1.0)
    for i in range(len(scores)):
        scores[i] = (scores[i] - most) * factor
    _exp(scores, bits)
    whole = 0.0
    for i in range(len(scores)):
        whole += np.float64(scores[i])
    if temperature == 0.0:
        return token, -math.log(whole)
    left = throw * whole
    while token < len(scores) - 1:
        left -= np.float64(scores[token])
        if left < 0.0:
            break
        token += 1
    return token, math.log(np.float64(scores[token]) / whole)


@numba.njit(cache=True, fastmath=FASTMATH)
def write_actions(
    hidden: np.ndarray,
    throws: np.ndarray,
    temperature: float,
    head: np.ndarray,
    embeddings: np.ndarray,
    tokens: np.ndarray,
    log_probs: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    cache: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    norms: np.ndarray,
    qkv: np.ndarray,
    qkv_bias: np.ndarray,
    qk_norm: np.ndarray,
    out: np.ndarray,
    gate_up: np.ndarray,
    down: np.ndarray,
    last_norm: np.ndarray,
    eps: float,
) -> None:
    """Choose and read actions one after the other, into ``tokens`` and ``log_probs`` (B, steps).

    Args:
        hidden: (B, D) output at the place before the first action; used up.
        throws: (B, steps) in [0, 1), looked at where the temperature is not 0.
        head: (D, K) and embeddings: (K, D), of the actions alone.
        places: (B,) of the first action in each row; see ``read_token`` for the rest.
    """
    batch, steps = tokens.shape
    scores = np.empty((batch, head.shape[1]), np.float32)
    bits = np.empty(head.shape[1], np.int32)
    for step in range(steps):
        scores[:] = np.float32(0.0)
        _add_product(hidden, head, scores)
        for b in range(batch):
            token, log_prob = _draw(scores[b], temperature, throws[b, step], bits)
            tokens[b, step], log_probs[b, step] = token, log_prob
            hidden[b] = embeddings[token]
        if step < steps - 1:
            read_token(
                hidden, places + step, rows, cache, cos, sin, norms, qkv, qkv_bias, qk_norm, out, gate_up, down,
                last_norm, eps,
            )  # fmt: skip


@numba.njit(cache=True, fastmath=FASTMATH)
def normalise(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """Rows (N, D) by their root mean square, times weight (D,)."""
    out = np.empty_like(x)
    for row in range(len(x)):
        _normalise(x[row], weight, eps, out[row])
    return out


@numba.njit(cache=True, fastmath=FASTMATH)
def rotate(heads: np.ndarray, count: int, cos: np.ndarray, sin: np.ndarray) -> None:
    """Turn the first ``count`` heads of (N, H, S) in place, row n by the angles (N, S) of its own place."""
    for row in range(len(heads)):
        _rotate(heads[row, :count], cos[row], sin[row])
