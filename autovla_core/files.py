"""Files that appear whole under their names or not at all, and what they are told apart by."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

BLOCK = 1 << 20


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a temporary path beside ``file`` to write to; it takes the file's place when the block ends well.

    A reader sees the old file or the new one, never half of it. What an earlier, killed program left is removed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Replace a file by a text in UTF-8."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256(file: Path) -> str:
    """Of a file's bytes; read once as long as it does not change."""
    stat = file.stat()
    return _sha256(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _sha256(file: Path, mtime_ns: int, size: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
