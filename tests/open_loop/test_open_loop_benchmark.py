"""The benchmark of readers and scores: it counts what it says it counts, on data that its own command writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.open_loop.fixtures import write_navsim
from training import benchmark_open_loop
from training.datasets import navsim


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drives that share their pictures: 51 moments."""
    return write_navsim.write_many(tmp_path_factory.mktemp("many"), 3)


def test_every_figure_is_there_and_pictures_are_counted(many: Path, tmp_path: Path, capsys) -> None:
    """In order, 8 moments of one drive show 4 + 7 pictures a camera; three cameras have 96 places in 8 clips."""
    where = ["--dataset", "navsim", "--root", str(many), "--index", str(tmp_path), "--split", "navmini", "--prepare"]
    out = tmp_path / "figures.json"
    assert benchmark_open_loop.main([*where, "--pictures", "8", "--scores", "8", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found == json.loads(capsys.readouterr().out) and found["split_samples"] == 51
    assert found["reading"]["samples"] == 51 and found["reading"]["sample_ms"] > 0.0
    assert found["pictures"]["size"] == [56, 96, 3] and found["pictures"]["cameras"] == [
        "front",
        "front_left",
        "front_right",
    ]
    assert found["pictures"]["in_order"]["new_pictures"] == pytest.approx(33 / 96)
    assert found["pictures"]["alone"]["new_pictures"] == 1.0
    assert all(value > 0.0 for name in ("in_order", "alone") for value in found["pictures"][name].values())
    assert [mark[0] for mark in found["scoring"]["quarters_plans_cpu_s_mib"]] == [2, 4, 6, 8]
    assert found["prepare"]["cpu_s"] > 0.0 and found["scoring"]["plan_ms"] > found["scoring"]["plan_of_64_ms"] > 0.0


def test_drives_share_pictures_but_no_token(many: Path, tmp_path: Path) -> None:
    navsim.prepare(many, tmp_path, "navmini")
    reader = navsim.open_split(many, tmp_path, "navmini", score="none")
    assert len(set(reader.tokens())) == 51 and len({sample.scene for sample in reader}) == 3
    assert reader[0].images["front"] == reader[17].images["front"]


def test_what_cannot_be_measured_is_told(many: Path, tmp_path: Path, capsys) -> None:
    where = ["--dataset", "navsim", "--root", str(many), "--index", str(tmp_path), "--split", "navmini"]
    assert benchmark_open_loop.main(where) == 1 and "training.prepare" in capsys.readouterr().err
    assert benchmark_open_loop.main([*where, "--prepare", "--option", "score"]) == 1
    assert "expected name=value" in capsys.readouterr().err
