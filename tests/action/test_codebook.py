from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import CodebookError
from training.build_codebook import build


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook.load(SHIPPED)


def test_the_shipped_codebook_holds_2048_motions_and_stands_still_exactly(book: Codebook) -> None:
    assert book.motions.shape == (2048, 3)
    assert not book.motions[0].any()


def test_the_shipped_codebook_is_the_one_that_checkpoints_were_trained_with(book: Codebook) -> None:
    assert book.hash.startswith("7a6aaaf7454b")


def test_every_motion_has_its_mirror_image(book: Codebook) -> None:
    motions = {tuple(m) for m in np.round(book.motions, 5) + 0.0}
    assert {(x, 0.0 - y, 0.0 - yaw) for x, y, yaw in motions} == motions


def test_no_motion_is_faster_than_the_car_or_turns_on_the_spot(book: Codebook) -> None:
    assert np.abs(book.motions[:, 0]).max() <= 0.5 * 15.0
    assert np.all(np.abs(book.motions[:, 2]) <= 0.25 * np.abs(book.motions[:, 0]) + 0.05)


def test_saving_twice_gives_the_same_bytes_and_loading_the_same_hash(book: Codebook, tmp_path: Path) -> None:
    book.save(tmp_path / "a.npz")
    book.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = Codebook.load(tmp_path / "a.npz")
    assert again.hash == book.hash
    assert again.provenance == book.provenance


def test_an_interrupted_saving_leaves_the_old_file(book: Codebook, tmp_path: Path, monkeypatch) -> None:
    book.save(tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()

    def torn(file: BinaryIO, **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", torn)
    with pytest.raises(KeyboardInterrupt):
        Codebook(book.motions[:50]).save(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_a_changed_motion_is_refused(book: Codebook, tmp_path: Path) -> None:
    book.save(tmp_path / "book.npz")
    with np.load(tmp_path / "book.npz") as archive:
        values = {key: archive[key] for key in archive.files}
    values["motions"][7, 0] += 1e-6
    np.savez(tmp_path / "forged.npz", **values)
    with pytest.raises(CodebookError, match="motions hash to"):
        Codebook.load(tmp_path / "forged.npz")


def test_an_object_array_is_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", motions=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CodebookError):
        Codebook.load(tmp_path / "bad.npz")


def test_a_moving_entry_0_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CodebookError, match="standing still"):
        Codebook(np.ones((4, 3)))
    with pytest.raises(CodebookError, match="no codebook at"):
        Codebook.load(tmp_path / "none.npz")


def test_building_twice_with_one_seed_gives_one_codebook() -> None:
    motions = np.random.default_rng(0).normal([2.0, 0.0, 0.0], [1.0, 0.1, 0.05], (4000, 3))
    motions[:1500, 1:] = 0.0
    a, b = (build(motions, 64, np.random.default_rng(3), straight=15) for _ in range(2))
    assert a.shape == (64, 3)
    assert np.array_equal(a, b)
