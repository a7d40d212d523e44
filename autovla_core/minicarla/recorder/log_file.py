"""A recording on disk: a magic word, then packed chunks, each with its length and checksum. The first is the header.

Written under a temporary name and renamed when it is whole; a torn tail is read as far as it goes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgpack

from autovla_core.errors import AutoVLAError

MAGIC = b"MCREC\x00\x00\x02"
SUFFIX = ".log"
UNFINISHED = ".part"
MOST_FILE_BYTES = 1 << 29
MOST_CHUNK_BYTES = 1 << 24
LONGEST_NAME = 200

_CHUNK = struct.Struct("<II")  # bytes, CRC-32 of them


class RecordingError(AutoVLAError):
    """A recording cannot be written, found or read."""


def path_of(folder: Path, name: str) -> Path:
    """Where a recording of this name lies; a name without a suffix gets one.

    Raises:
        RecordingError: empty or overlong name, or a place outside of the served folder.
    """
    if not name or len(name) > LONGEST_NAME or "\x00" in name:
        raise RecordingError(f"a recording needs a name of 1 to {LONGEST_NAME} characters; found {name!r:.60}")
    home = folder.resolve()
    path = (home / (name if Path(name).suffix else name + SUFFIX)).resolve()
    if home not in path.parents:
        raise RecordingError(f"recording {name!r} lies outside the served folder {home}: start minicarla --recordings")
    return path


class Writer:
    """Writes one recording; ``close`` gives it its name."""

    def __init__(self, path: Path, header: dict) -> None:
        self.path = path
        self.bytes_written = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path.with_name(path.name + UNFINISHED), "wb")  # noqa: SIM115  open for many ticks
        except OSError as error:
            raise RecordingError(f"cannot record to {path}: {error.strerror or error}") from error
        self._put(MAGIC)
        self.write(header)

    @property
    def is_full(self) -> bool:
        return self.bytes_written > MOST_FILE_BYTES

    def write(self, value: object) -> None:
        """Append one chunk."""
        packed = zlib.compress(msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape"), 1)
        self._put(_CHUNK.pack(len(packed), zlib.crc32(packed)) + packed)

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise RecordingError(f"cannot go on recording to {self.path}: {error.strerror or error}") from error
        self.bytes_written += len(data)

    def close(self) -> None:
        """Finish the file.

        Raises:
            RecordingError: its last ticks cannot be written; the rest keeps the unfinished name.
        """
        try:
            self._file.close()
            Path(self._file.name).replace(self.path)
        except OSError as error:
            raise RecordingError(f"cannot finish recording {self.path}: {error.strerror or error}") from error


class Reader:
    """Reads one recording, chunk by chunk; a context manager."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = open(path, "rb")  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise RecordingError(f"no recording {path.name!r} can be read: {error.strerror or error}") from error
        magic = self._file.read(len(MAGIC))
        first = next(self.chunks(), None) if magic == MAGIC else None
        if not isinstance(first, dict):
            self._file.close()
            raise RecordingError(f"{path.name!r} is not a recording of minicarla (CARLA's own cannot be read)")
        self.header = first

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def chunks(self) -> Iterator[object]:
        """Yield what follows, until the end or the first damaged chunk."""
        while len(head := self._file.read(_CHUNK.size)) == _CHUNK.size:
            size, checksum = _CHUNK.unpack(head)
            packed = self._file.read(size) if size <= MOST_CHUNK_BYTES else b""
            if len(packed) < size or zlib.crc32(packed) != checksum:
                return
            inflater = zlib.decompressobj()
            try:
                content = inflater.decompress(packed, MOST_CHUNK_BYTES)
                value = msgpack.unpackb(content, strict_map_key=False, unicode_errors="surrogateescape")
            except (zlib.error, ValueError, msgpack.UnpackException):
                return
            yield value
