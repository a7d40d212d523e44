"""A file is there whole or as it was before."""

from __future__ import annotations

import hashlib

import pytest

from autovla_core.files import replacing, sha256, write_whole


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


def test_a_hash_is_of_the_bytes_and_new_when_they_are(tmp_path):
    file = tmp_path / "a"
    for data in (b"one", b"three"):
        file.write_bytes(data)
        assert sha256(file) == hashlib.sha256(data).hexdigest()
