"""Files that appear whole under their names or not at all, and what they are told apart by."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

BLOCK = 1 << 20


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a temporary path beside ``file`` to write to; it takes the file's place when the block ends well.

    A reader sees the old file or the new one, never half of it, not even after the power failed. What an earlier,
    killed program left is removed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        take_place(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Replace a file by a text in UTF-8."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")


def take_place(partial: Path, target: Path) -> None:
    """Rename a file, or a folder with all that is in it, to ``target``; it is on the disk when this returns.

    Without that a rename may reach the disk before the bytes do, and a lost machine leaves an empty file.
    """
    sync_tree(partial)
    os.replace(partial, target)
    sync(target.parent)


def sync_tree(path: Path) -> None:
    """``sync`` of a file, or of a folder and all that is in it."""
    for inside in path.rglob("*"):
        if not inside.is_symlink():
            sync(inside)
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


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
