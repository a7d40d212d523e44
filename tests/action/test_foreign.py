"""The authors' layout is read, and nothing but arrays is read from it. The numbers here are our own."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from autovla_core import footprints
from autovla_core.action import foreign
from autovla_core.action.codebook import Codebook
from autovla_core.errors import CodebookError
from autovla_core.restricted_pickle import PickleRefused

LENGTH, WIDTH = 4.8, 2.0
MOTIONS = np.array([[2.0, 0.1, 0.05], [0.002, 0.001, 0.0], [5.0, -0.6, -0.2], [-0.5, 0.0, 0.0], [3.0, 0.0, 2.5]])


def contours(motions: np.ndarray, times: int = 6) -> np.ndarray:
    """(K, times, 4, 2) float32: left front, right front, right back, left back."""
    shares = np.linspace(0.0, 1.0, times) if times > 1 else np.ones(1)
    poses = motions[:, None] * shares[None, :, None]
    return footprints.corners(poses, LENGTH, WIDTH)[..., [0, 3, 2, 1], :].astype(np.float32)


def released(tmp_path: Path, document: object, protocol: int = 4) -> Path:
    path = tmp_path / "agent_vocab.pkl"
    path.write_bytes(pickle.dumps(document, protocol=protocol))
    return path


def layout(veh: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    return {"token_all": {"veh": veh, "ped": veh[:1], "cyc": veh[:1]}}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("times", [1, 6])
def test_motions_come_from_the_last_contour_and_the_stillest_becomes_entry_0(
    tmp_path: Path, protocol: int, times: int
) -> None:
    book = foreign.read(released(tmp_path, layout(contours(MOTIONS, times)), protocol))
    assert np.allclose(book.motions[[1, 0, 2, 3, 4]][[0, 2, 3, 4]], MOTIONS[[0, 2, 3, 4]], atol=1e-5)
    assert not book.motions[0].any()
    assert (round(book.length, 3), round(book.width, 3)) == (LENGTH, WIDTH)
    assert book.provenance["standing_entry"] == 1
    assert book.provenance["standing_entry_moved_m"] == pytest.approx(0.00224, abs=1e-4)


def test_the_converted_file_is_an_ordinary_codebook(tmp_path: Path) -> None:
    book = foreign.read(released(tmp_path, layout(contours(MOTIONS))))
    book.save(tmp_path / "book.npz")
    again = Codebook.load(tmp_path / "book.npz")
    assert again.hash == book.hash
    assert len(again.provenance["sha256"]) == 64


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_file_that_calls_the_shell_is_refused_by_name(tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    path = released(tmp_path, {"token_all": {"veh": contours(MOTIONS), "x": Evil(mark)}})
    with pytest.raises(PickleRefused, match=r"agent_vocab\.pkl.*system'"):
        foreign.read(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([1, 2], "list"),
        ({"token_all": {"ped": contours(MOTIONS)}}, "'veh'"),
        (layout(contours(MOTIONS).reshape(5, 6, 8)), r"\(K, S, 4, 2\)"),
        (layout(contours(MOTIONS).astype(int)), "expected floats"),
        (layout(contours(MOTIONS) * np.float32(np.nan)), "not finite"),
        (layout(contours(MOTIONS)[:, :, ::-1]), "no box"),
        (layout(contours(MOTIONS) * np.linspace(1, 2, 5, dtype=np.float32)[:, None, None, None]), "no box"),
        (layout(contours(MOTIONS[[0, 2]])), "no entry stands still"),
    ],
)
def test_another_layout_is_a_named_error(tmp_path: Path, document: object, complaint: str) -> None:
    with pytest.raises(CodebookError, match=complaint):
        foreign.read(released(tmp_path, document))


def test_no_file_and_no_pickle_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(CodebookError, match="cannot read"):
        foreign.read(tmp_path / "none.pkl")
    (tmp_path / "text.pkl").write_text("hello")
    with pytest.raises(PickleRefused, match="not a pickle"):
        foreign.read(tmp_path / "text.pkl")
