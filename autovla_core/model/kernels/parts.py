"""Small pieces that the other kernels are made of and compiled with.

numba looks only at a kernel's own file to see whether its copy on disk is stale: whoever changes a piece here changes
the files that use it as well.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

FASTMATH = {"contract", "reassoc", "nsz"}  # not "nnan": damaged weights must show
compiled = numba.njit(cache=True, fastmath=FASTMATH, error_model="numpy")  # no checks that keep loops from vectors

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_EXPONENT, _HALF = ir.Constant(_INT, 23), ir.Constant(_INT, 16)
_UPPER, _BIAS = ir.Constant(_INT, 0xFFFF0000), ir.Constant(_INT, 127)
_LARGER = ir.FunctionType(_FLOAT, [_FLOAT, _FLOAT])


@intrinsic
def lower(context, halves):
    """The bfloat16 in the lower half of 32 bits, as float32."""

    def build(target, builder: ir.IRBuilder, signature, values):
        return builder.bitcast(builder.shl(values[0], _HALF), _FLOAT)

    return types.float32(types.uint32), build


@intrinsic
def upper(context, halves):
    """The bfloat16 in the upper half of 32 bits, as float32."""

    def build(target, builder: ir.IRBuilder, signature, values):
        return builder.bitcast(builder.and_(values[0], _UPPER), _FLOAT)

    return types.float32(types.uint32), build


@intrinsic
def larger(context, one, other):
    """The larger of two float32, or no number if either is none; ``max`` would keep a loop from vectors."""

    def build(target, builder: ir.IRBuilder, signature, values):
        return builder.call(builder.module.declare_intrinsic("llvm.maximum", [_FLOAT], _LARGER), values)

    return types.float32(types.float32, types.float32), build


@intrinsic
def power_of_two(context, whole):
    """2^whole of a whole float32 from -126 to 127, put together from its bits."""

    def build(target, builder: ir.IRBuilder, signature, values):
        power = builder.add(builder.fptosi(values[0], _INT), _BIAS)
        return builder.bitcast(builder.shl(power, _EXPONENT), _FLOAT)

    return types.float32(types.float32), build


@numba.njit(cache=True, fastmath=FASTMATH, error_model="numpy", inline="always")
def exponential(x: float) -> float:
    """e^x of a float32 to about a unit in the last place, between e^-75 and e^88; of no number, no number.

    Cephes' polynomial on the remainder of a power of two. Loops that call it fill vector registers; the C library's
    exponential goes one number at a time.
    """
    value = np.float32(-75.0) if x < np.float32(-75.0) else x  # smaller shares would be slow denormal numbers
    value = np.float32(88.0) if value > np.float32(88.0) else value
    whole = np.floor(value * np.float32(1.44269504) + np.float32(0.5))
    rest = value - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    poly = np.float32(1.9875691500e-4)
    poly = poly * rest + np.float32(1.3981999507e-3)
    poly = poly * rest + np.float32(8.3334519073e-3)
    poly = poly * rest + np.float32(4.1665795894e-2)
    poly = poly * rest + np.float32(1.6666665459e-1)
    poly = poly * rest + np.float32(5.0000001201e-1)
    return (poly * rest * rest + rest + np.float32(1.0)) * power_of_two(whole)


@compiled
def normalise(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> None:
    """out = x / root mean square * weight."""
    total = np.float32(0.0)
    for i in range(len(x)):
        total += x[i] * x[i]
    factor = np.float32(1.0 / math.sqrt(total / len(x) + eps))
    for i in range(len(x)):
        out[i] = x[i] * factor * weight[i]


@compiled
def turn(heads: np.ndarray, norms: np.ndarray, queries: int, eps: float, cos: np.ndarray, sin: np.ndarray) -> None:
    """Turn heads (H, S) by the angles (S,) of one place, in place; ``sin`` has the sign of the swapped half.

    Args:
        norms: (2, S) of the first ``queries`` heads and of the rest, which are normalised first; (0, S): they are not.
    """
    half = heads.shape[1] // 2
    for h in range(heads.shape[0]):
        if len(norms):
            normalise(heads[h], norms[0 if h < queries else 1], eps, heads[h])
        low, high = heads[h, :half], heads[h, half:]
        for i in range(half):
            a, b = low[i], high[i]
            low[i] = a * cos[i] + b * sin[i]
            high[i] = b * cos[half + i] + a * sin[half + i]


@compiled
def soften(scores: np.ndarray, scale: float) -> None:
    """Scores (T,) become shares: their softmax after multiplication by ``scale``."""
    most, total = scores[0], np.float32(0.0)
    for t in range(len(scores)):
        most = larger(most, scores[t])
    for t in range(len(scores)):
        scores[t] = exponential((scores[t] - most) * scale)
    for t in range(len(scores)):
        total += scores[t]
    share = np.float32(1.0) / total
    for t in range(len(scores)):
        scores[t] *= share


@compiled
def gate(both: np.ndarray, out: np.ndarray) -> None:
    """out (N,) = silu of the first half of both (2 N,), times the second."""
    first, second = both[: len(out)], both[len(out) :]
    for i in range(len(out)):
        out[i] = first[i] * second[i] / (np.float32(1.0) + exponential(-first[i]))
