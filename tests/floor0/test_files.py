"""A file is there whole or as it was before."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from autovla_core import files
from autovla_core.files import replacing, sha256, take_place, write_whole


def test_a_text_takes_the_place_of_the_file_and_folders_are_made(tmp_path):
    file = tmp_path / "new" / "a.json"
    for text in ("ä", "b"):
        write_whole(file, text)
        assert file.read_bytes() == text.encode() and [f.name for f in file.parent.iterdir()] == ["a.json"]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    write_whole(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as partial:
        partial.write_text("ne")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old" and [f.name for f in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_program_left_is_not_continued(tmp_path):
    (tmp_path / ".a.partial").write_text("of another day, ")
    with replacing(tmp_path / "a") as partial, partial.open("a") as out:
        out.write("new")
    assert (tmp_path / "a").read_text() == "new"


def _told(monkeypatch) -> list[str]:
    """Names in the order in which they are synced and replaced."""
    told, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        told.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        told.append(f"replace {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", noted_fsync)
    monkeypatch.setattr(files.os, "replace", noted_replace)
    return told


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to tell the names of handles")
def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_we_go_on(tmp_path, monkeypatch):
    told = _told(monkeypatch)
    write_whole(tmp_path / "a.json", "new")
    assert told == ["sync .a.json.partial", "replace a.json", f"sync {tmp_path.name}"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to tell the names of handles")
def test_a_folder_takes_its_place_with_all_its_files_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / ".model.partial" / "deep").mkdir(parents=True)
    (tmp_path / ".model.partial" / "deep" / "weights").write_bytes(b"1")
    (tmp_path / ".model.partial" / "elsewhere").symlink_to(tmp_path / "nothing")
    told = _told(monkeypatch)
    take_place(tmp_path / ".model.partial", tmp_path / "model")
    assert sorted(told[:3]) == ["sync .model.partial", "sync deep", "sync weights"]
    assert told[3:] == ["replace model", f"sync {tmp_path.name}"]
    assert (tmp_path / "model" / "deep" / "weights").read_bytes() == b"1"


def test_a_file_system_that_cannot_sync_a_folder_is_no_reason_to_fail(tmp_path, monkeypatch):
    def refuse(handle: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a", "newer")
    assert (tmp_path / "a").read_text() == "new" and [f.name for f in tmp_path.iterdir()] == ["a"]


def test_a_hash_is_of_the_bytes_and_new_when_they_are(tmp_path):
    file = tmp_path / "a"
    for data in (b"one", b"three"):
        file.write_bytes(data)
        assert sha256(file) == hashlib.sha256(data).hexdigest()
