"""Read a pickle from a stranger without running what it asks for.

A pickle is a program: it names functions and calls them. This reader knows only the names in a
table given by the caller; any other name ends the reading with an error that says which. Arrays
are rebuilt by stand-ins below, not by numpy's own hooks: those trust the sizes that a file states.

The only file of the project that imports ``pickle``; nothing here writes one.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np

from autovla_core.errors import AutoVLAError

PLAIN_KINDS = "biufcSU"  # of numpy dtypes: booleans, numbers, strings; no objects, no records
MAX_DIMENSIONS = 32
BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
)  # what the standard unpickler raises on data that is no pickle, or a damaged one
HEAP_TYPE = 1 << 9  # of ``type.__flags__``: a class made by a class statement, whose attributes can be set


class PickleRefused(AutoVLAError):
    """A pickle names something outside the table, or is not one."""


class _Call:
    """A function that a pickle may call, and can do nothing else with (no attribute can be set)."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(f"a pickle tries to set {name!r} of a function")


class _Dtype:
    """What a pickle says about a dtype: a name such as ``f4``, and a byte order set afterwards."""

    __slots__ = ("value",)

    def __init__(self, spec: object) -> None:
        if not isinstance(spec, str):
            raise PickleRefused(f"a dtype is given as {type(spec).__name__}, expected a name such as 'f4'")
        self.value = np.dtype(spec)
        if self.value.kind not in PLAIN_KINDS:
            raise PickleRefused(f"an array of dtype {spec!r} is refused; only numbers, booleans and strings are read")

    def __setstate__(self, state: object) -> None:
        """Take the byte order alone; sizes and flags follow from the name."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise PickleRefused(f"dtype {self.value} has state {state!r:.60}, expected (version, byte order, ...)")
        self.value = self.value.newbyteorder(state[1])


class PickledArray(np.ndarray):
    """An array out of a pickle; ``np.asarray`` makes a plain one of it."""

    def __setstate__(self, state: object) -> None:
        """Fill from (version, shape, dtype, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype):
            raise PickleRefused(
                f"the state of an array is {state!r:.60}, expected (version, shape, dtype, order, bytes)"
            )
        _, shape, dtype, fortran, raw = state
        _expect_size(raw, shape, dtype.value)
        super().__setstate__((1, shape, dtype.value, bool(fortran), bytes(raw)))


def _expect_size(raw: object, shape: object, dtype: np.dtype) -> None:
    sizes_ok = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS
    if not sizes_ok or not all(type(n) is int and n >= 0 for n in shape):
        raise PickleRefused(f"an array has shape {shape!r:.60}")
    wanted = math.prod(shape) * dtype.itemsize
    if not isinstance(raw, bytes | bytearray) or len(raw) != wanted:
        found = f"{len(raw)} bytes" if isinstance(raw, bytes | bytearray) else type(raw).__name__
        raise PickleRefused(f"an array of shape {shape} and dtype {dtype} comes with {found}, expected {wanted} bytes")


def _dtype(spec: object, align: object = False, copy: object = False) -> _Dtype:
    return _Dtype(spec)


def _reconstruct(subtype: object, shape: object, kind: object) -> PickledArray:
    return np.empty(0, np.uint8).view(PickledArray)


def _frombuffer(raw: object, dtype: object, shape: object, order: object, axes: object = None) -> np.ndarray:
    """Protocol 5 keeps the bytes first. Order "K": the axes are stored in the order ``axes``."""
    if not isinstance(dtype, _Dtype) or order not in ("C", "F", "K") or (order == "K") != (axes is not None):
        raise PickleRefused(f"an array has order {order!r:.20} and axes {axes!r:.40}")
    _expect_size(raw, shape, dtype.value)
    if order != "K":
        return np.frombuffer(bytes(raw), dtype.value).reshape(shape, order=order).copy(order="K")
    if not isinstance(axes, tuple) or sorted(axes) != list(range(len(shape))):
        raise PickleRefused(f"an array of shape {shape} has axes {axes!r:.40}")
    return np.frombuffer(bytes(raw), dtype.value).reshape(shape).transpose(axes).copy(order="K")


def _scalar(dtype: _Dtype, raw: object = None) -> object:
    if not isinstance(dtype, _Dtype):
        raise PickleRefused(f"a numpy scalar has dtype {type(dtype).__name__}")
    _expect_size(raw, (), dtype.value)
    return np.frombuffer(bytes(raw), dtype.value)[0]


def _latin1(text: object, encoding: object = None) -> bytes:
    """How protocol 2 and older write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise PickleRefused(f"bytes are encoded as {encoding!r:.20}, expected 'latin1'")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    """How protocol 2 writes empty bytes; ``bytes(10**12)`` is not among its uses."""
    if arguments:
        raise PickleRefused("bytes() is called with arguments")
    return b""


NUMPY: Mapping[str, object] = {
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
    "numpy.ndarray": None,  # only ever an argument of _reconstruct; calling it is an error
    "numpy.dtype": _dtype,
    "_codecs.encode": _latin1,
    "__builtin__.bytes": _no_bytes,
    "builtins.bytes": _no_bytes,
}


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, allowed: Mapping[str, object]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> object:
        wanted = f"{module}.{name}"
        if wanted not in self._allowed:
            raise PickleRefused(f"the pickle asks for {wanted!r}, which is refused; {self._known()}")
        return _guarded(self._allowed[wanted])

    def persistent_load(self, pid: object) -> object:
        raise PickleRefused(f"the pickle refers to something outside itself ({pid!r:.40})")

    def _known(self) -> str:
        return f"allowed: {', '.join(sorted(self._allowed)) or 'plain values only'}"


def _guarded(value: object) -> object:
    """What the pickle gets instead of ``value``: the same to call, but whatever it sets dies with this reading."""
    if isinstance(value, type):
        return type(value.__name__, (value,), {}) if value.__flags__ & HEAP_TYPE else value
    return _Call(value) if callable(value) else value


def load(data: bytes | BinaryIO, allowed: Mapping[str, object], what: str) -> object:
    """Return what a pickle holds, if it asks for nothing but ``allowed``.

    Args:
        data: the pickle.
        allowed: what each global name ``module.name`` in it stands for; ``NUMPY`` for arrays. Plain values
            (numbers, strings, bytes, lists, tuples, dicts, sets) need no entry. A class in the table must do
            nothing on construction or ``__setstate__`` that a stranger may not cause.
        what: names the data in errors.

    Returns:
        The value; arrays in it are ``PickledArray``.

    Raises:
        PickleRefused: another name, an array of objects, or data that is no whole pickle.
    """
    file = io.BytesIO(data) if isinstance(data, bytes | bytearray | memoryview) else data
    try:
        return _Reader(file, allowed).load()
    except PickleRefused as error:
        raise PickleRefused(f"{what}: {error}") from None
    except BROKEN as error:
        raise PickleRefused(f"{what} is not a pickle that can be read: {type(error).__name__}: {error}") from None
