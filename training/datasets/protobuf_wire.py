"""The wire format of protocol buffers, as far as reading a known message needs it.

Our own, because a reader needs to know *where* in the file a JPEG lies, which the protobuf package does not tell, and
because only documented fields may matter: all others are stepped over unread.
Source: the public description of the encoding (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from training.datasets.sample import DatasetError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
MAX_VARINT_BYTES = 10


class WireError(DatasetError):
    """Bytes that are no protocol buffer, or one of another schema."""


class Field(NamedTuple):
    """One field of a message: its content is ``data[start:end]``; ``value`` is that of a varint."""

    number: int
    wire: int
    start: int
    end: int
    value: int = 0


Span = tuple[int, int]
Message = dict[int, list[Field]]


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at ``at`` and the place behind it.

    Raises:
        WireError: the message ends within it, or it has more than ten bytes.
    """
    value = 0
    for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
        if at >= end:
            raise WireError(f"the message ends within a number, at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise WireError(f"the number before byte {at} has more than {MAX_VARINT_BYTES} bytes")


def fields(data: bytes, start: int, end: int) -> Iterator[Field]:
    """The fields of the message ``data[start:end]``, in order.

    Raises:
        WireError: at the first byte that cannot be one.
    """
    at = start
    while at < end:
        key, behind = read_varint(data, at, end)
        number, wire, value = key >> 3, key & 7, 0
        begin = behind
        if wire == VARINT:
            value, behind = read_varint(data, behind, end)
        elif wire == BYTES:
            length, begin = read_varint(data, behind, end)
            behind = begin + length
        elif wire in FIXED_SIZES:
            behind += FIXED_SIZES[wire]
        else:
            raise WireError(f"field {number} at byte {at} has the unknown wire type {wire}")
        if number == 0 or behind > end:
            raise WireError(f"field {number} at byte {at} ends at byte {behind}, its message at byte {end}")
        yield Field(number, wire, begin, behind, value)
        at = behind


def message(data: bytes, spans: Iterable[Span], schema: Mapping[int, tuple[int, ...]]) -> Message:
    """The fields of ``schema`` {number: wire types}; several spans are one message, as the format demands.

    Raises:
        WireError: broken, or a field with another wire type than the schema's.
    """
    found: Message = {number: [] for number in schema}
    for start, end in spans:
        for field in fields(data, start, end):
            if field.number not in schema:
                continue
            if field.wire not in schema[field.number]:
                expected = " or ".join(map(str, schema[field.number]))
                raise WireError(f"field {field.number} has wire type {field.wire}, expected {expected}")
            found[field.number].append(field)
    return found


def spans(found: Iterable[Field]) -> list[Span]:
    """Where the contents of these fields lie."""
    return [(field.start, field.end) for field in found]


def floats(data: bytes, found: Iterable[Field]) -> np.ndarray:
    """Repeated floats (N,), packed or not.

    Raises:
        WireError: a packed field whose length is no multiple of four.
    """
    parts = []
    for field in found:
        if (field.end - field.start) % 4:
            raise WireError(f"{field.end - field.start} bytes of packed floats are no multiple of 4")
        parts.append(np.frombuffer(data, "<f4", (field.end - field.start) // 4, field.start))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def varint_bytes(value: int) -> bytes:
    """Encode a number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def bytes_field(number: int, content: bytes) -> bytes:
    """Encode a string, bytes or an embedded message."""
    return varint_bytes(number << 3 | BYTES) + varint_bytes(len(content)) + content


def varint_field(number: int, value: int) -> bytes:
    """Encode a bool, an enum or an unsigned number."""
    return varint_bytes(number << 3 | VARINT) + varint_bytes(value)


def floats_field(number: int, values: np.ndarray) -> bytes:
    """Encode repeated floats, packed."""
    return bytes_field(number, struct.pack(f"<{len(values)}f", *values))
