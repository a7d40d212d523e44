"""TFRecord files without TensorFlow: framing and checksums, nothing of what the records hold.

A record is, little-endian: u64 length, u32 checksum of these 8 bytes, the data, u32 checksum of the data. The checksum
is CRC-32C (Castagnoli), rotated and shifted. Source: the format as TensorFlow's record writer documents it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from training.datasets.sample import DatasetError

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True)
class Record:
    """One record; ``problem`` says why its data cannot be trusted, and is empty for a sound one."""

    number: int  # in its file, from 0
    offset: int  # of the data in the file
    data: bytes
    problem: str = ""


def masked_crc(data: bytes) -> int:
    """The checksum of ``data`` as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def read_records(path: Path) -> Iterator[Record]:
    """All records of a file, each checked.

    A record with wrong data carries a problem and reading goes on behind it. After a wrong length nothing can be found
    any more: the record that says so is the last.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number, offset = 0, 0
            while offset < size:
                record = _read_one(file, number, offset, size)
                yield record
                if not record.data:
                    return
                number += 1
                offset = record.offset + len(record.data) + FOOTER.size
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from None


def _read_one(file: BinaryIO, number: int, offset: int, size: int) -> Record:
    """The record at ``offset``; empty data means that its end is not known."""
    start = offset + HEADER.size
    if start > size:
        return Record(number, start, b"", f"the file ends within a header, at byte {size}; download it again")
    header = file.read(HEADER.size)
    length, crc = HEADER.unpack(header)
    if masked_crc(header[:8]) != crc:
        return Record(number, start, b"", "wrong checksum of the length; all records behind it are lost")
    left = size - start - FOOTER.size
    if length == 0 or length > left:
        what = f"length {length}, but {left} bytes are left; the file is truncated" if length else "the record is empty"
        return Record(number, start, b"", what)
    data = file.read(length)
    found, expected = masked_crc(data), FOOTER.unpack(file.read(FOOTER.size))[0]
    problem = "" if found == expected else f"checksum of the data is {found:08x}, stored is {expected:08x}"
    return Record(number, start, data, problem)
