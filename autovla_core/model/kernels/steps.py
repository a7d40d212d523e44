"""One token after the other through the language model: for small models on a CPU, where calling a library costs most.

The same sums as ``decoder.py`` makes with torch, float32, one thread. Every row stands at its own place, so rows of
different lengths need no masks, and rows that read nothing cost nothing. A step's time goes into fetching weights:
where every weight is a bfloat16, as checkpoints store them, matrices hold two in 32 bits and half is fetched.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from autovla_core.model.kernels.parts import compiled, exponential, gate, larger, lower, normalise, soften, turn, upper


def add_product(x: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """out (B, N) += x (B, M) @ matrix, which is (M, N) float32 or, see ``tables.in_halves``, (M / 2, N) uint32."""
    raise NotImplementedError("only kernels call this")


@overload(add_product)
def _choose_product(x, matrix, out):  # types of arrays; numba wants no annotations here
    if matrix.dtype == types.uint32:
        return lambda x, matrix, out: _add_halves(x, matrix, out)
    return lambda x, matrix, out: _add_floats(x, matrix, out)


@compiled
def _add_halves(x: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """Four rows of 32 bits at a time, which are eight of the matrix."""
    rows, (count, width) = x.shape[0], matrix.shape
    for i in range(0, count - 3, 4):
        first, second, third, fourth = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        for row in range(rows):
            own, line = x[row, 2 * i : 2 * i + 8], out[row]
            a, b, c, d, e, f, g, h = own[0], own[1], own[2], own[3], own[4], own[5], own[6], own[7]
            for j in range(width):
                line[j] += (
                    (a * lower(first[j]) + b * upper(first[j]))
                    + (c * lower(second[j]) + d * upper(second[j]))
                    + (e * lower(third[j]) + f * upper(third[j]))
                    + (g * lower(fourth[j]) + h * upper(fourth[j]))
                )
    for i in range(count - count % 4, count):
        for row in range(rows):
            for j in range(width):
                out[row, j] += x[row, 2 * i] * lower(matrix[i, j]) + x[row, 2 * i + 1] * upper(matrix[i, j])


@compiled
def _add_floats(x: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """Eight rows of the matrix at a time; only as many columns as ``out`` has."""
    rows, count, width = x.shape[0], x.shape[1], out.shape[1]
    for i in range(0, count - 7, 8):
        first, second, third, fourth = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        fifth, sixth, seventh, eighth = matrix[i + 4], matrix[i + 5], matrix[i + 6], matrix[i + 7]
        for row in range(rows):
            own, line = x[row, i : i + 8], out[row]
            a, b, c, d, e, f, g, h = own[0], own[1], own[2], own[3], own[4], own[5], own[6], own[7]
            for j in range(width):
                line[j] += (
                    (a * first[j] + b * second[j])
                    + (c * third[j] + d * fourth[j])
                    + (e * fifth[j] + f * sixth[j])
                    + (g * seventh[j] + h * eighth[j])
                )
    for i in range(count - count % 8, count):
        for row in range(rows):
            for j in range(width):
                out[row, j] += x[row, i] * matrix[i, j]


@compiled
def _attend(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, shares: np.ndarray, out: np.ndarray) -> None:
    """out (G, S) = softmax(queries (G, S) . keys / sqrt S) @ values of (T, S); ``shares`` (G, T) is room."""
    count, size = keys.shape
    for t in range(0, count - 3, 4):
        first, second, third, fourth = keys[t], keys[t + 1], keys[t + 2], keys[t + 3]
        for h in range(len(queries)):
            query, line = queries[h], shares[h]
            a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(size):
                a += query[i] * first[i]
                b += query[i] * second[i]
                c += query[i] * third[i]
                d += query[i] * fourth[i]
            line[t], line[t + 1], line[t + 2], line[t + 3] = a, b, c, d
    for t in range(count - count % 4, count):
        for h in range(len(queries)):
            shares[h, t] = np.float32(0.0)
            for i in range(size):
                shares[h, t] += queries[h, i] * keys[t, i]
    for h in range(len(shares)):  # "for line in shares" would compile for any stride, four times slower
        soften(shares[h], np.float32(1.0 / math.sqrt(size)))
    out[:] = np.float32(0.0)
    add_product(shares, values, out)


@compiled
def _mix(
    joint: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    cache: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    qk_norm: np.ndarray,
    eps: float,
    shares: np.ndarray,
    mixed: np.ndarray,
) -> None:
    """Attention of one layer: joint (B, heads + 2 kv heads, S) into the cache and into mixed (B, heads, S)."""
    kv_heads, heads = cache.shape[1] // 2, mixed.shape[1]
    group = heads // kv_heads
    for b in range(joint.shape[0]):
        at, own, parts = places[b], cache[rows[b]], joint[b]
        turn(parts[: heads + kv_heads], qk_norm, heads, eps, cos[at], sin[at])
        room = shares[: group * (at + 1)].reshape(group, at + 1)
        for h in range(2 * kv_heads):
            own[h, at] = parts[heads + h]
        for kv in range(kv_heads):
            keys, values = own[kv, : at + 1], own[kv_heads + kv, : at + 1]
            mine = slice(kv * group, (kv + 1) * group)
            _attend(parts[mine], keys, values, room, mixed[b, mine])


@compiled
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
        norms: (layers, 2, D) before attention and before the MLP; the matrices (layers, in, out) as ``add_product``
            takes them.
        qkv_bias: (layers, (heads + 2 kv heads) * S), zeros where there is none; qk_norm: (layers, 0 or 2, S).
    """
    batch, width = x.shape
    size, inner = cos.shape[1], gate_up.shape[2] // 2
    joint = np.empty((batch, qkv.shape[2]), np.float32)
    mixed = np.empty((batch, qkv.shape[2] - cache.shape[2] * size), np.float32)
    both = np.empty((batch, 2 * inner), np.float32)
    gated = np.empty((batch, inner), np.float32)
    shares = np.empty(mixed.shape[1] // size * cache.shape[3], np.float32)
    normal = np.empty((batch, width), np.float32)
    for layer in range(len(cache)):
        for b in range(batch):
            joint[b] = qkv_bias[layer]
            normalise(x[b], norms[layer, 0], eps, normal[b])
        add_product(normal, qkv[layer], joint)
        shaped, gathered = joint.reshape(batch, -1, size), mixed.reshape(batch, -1, size)
        _mix(shaped, places, rows, cache[layer], cos, sin, qk_norm[layer], eps, shares, gathered)
        add_product(mixed, out[layer], x)
        for b in range(batch):
            normalise(x[b], norms[layer, 1], eps, normal[b])
        both[:] = np.float32(0.0)
        add_product(normal, gate_up[layer], both)
        for b in range(batch):
            gate(both[b], gated[b])
        add_product(gated, down[layer], x)
    for b in range(batch):
        normalise(x[b], last_norm, eps, x[b])


@compiled
def _draw(scores: np.ndarray, temperature: float, throw: float) -> tuple[int, float]:
    """A token and its log-probability: the likeliest at temperature 0, else where ``throw`` falls in the heap."""
    most, total = scores[0], np.float32(0.0)
    for i in range(len(scores)):
        most = larger(most, scores[i])
        total += scores[i]
    if math.isnan(total) or math.isinf(total):
        return 0, np.nan
    token = 0
    if temperature == 0.0:
        while scores[token] != most:
            token += 1
    factor = np.float32(1.0 / temperature) if temperature > 0.0 else np.float32(1.0)
    for i in range(len(scores)):
        scores[i] = exponential((scores[i] - most) * factor)
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


@compiled
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
        head: (D, K) as ``add_product`` takes it, and embeddings: (K, D), of the actions alone.
        places: (B,) of the first action in each row; see ``read_token`` for the rest.
    """
    batch, steps = tokens.shape
    scores = np.empty((batch, head.shape[1]), np.float32)
    for step in range(steps):
        scores[:] = np.float32(0.0)
        add_product(hidden, head, scores)
        for b in range(batch):
            token, log_prob = _draw(scores[b], temperature, throws[b, step])
            tokens[b, step], log_probs[b, step] = token, log_prob
            hidden[b] = embeddings[token]
        if step < steps - 1:
            read_token(
                hidden, places + step, rows, cache, cos, sin, norms, qkv, qkv_bias, qk_norm, out, gate_up, down,
                last_norm, eps,
            )  # fmt: skip
