"""The submission: every wanted frame once, shards under the name that the server looks for."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from training.datasets.sample import DatasetError
from training.waymo_submission import Method, shard, write_submission

METHOD = Method("a@b.org", "method", ("A", "B"), "3B", True, ("base",), "lab", "text", "link")
PLANS = {f"{name}-149": np.arange(40.0).reshape(20, 2) + i for i, name in enumerate("abc")}


def test_the_archive_holds_all_shards(tmp_path: Path) -> None:
    path = write_submission(PLANS, list(PLANS), METHOD, tmp_path / "mine.tar.gz", shards=2)
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["mysubmission.binproto-00000-of-00002", "mysubmission.binproto-00001-of-00002"]
        held = b"".join(tar.extractfile(name).read() for name in tar.getnames())
    assert all(held.count(name.encode()) == 1 for name in PLANS)


def test_missing_frames_and_nan_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1 frames have no plan"):
        write_submission(PLANS, [*PLANS, "d-149"], METHOD, tmp_path / "m.tar.gz")
    with pytest.raises(DatasetError, match="NaN"):
        shard({"a-1": np.full((20, 2), np.nan)}, METHOD)


def test_the_genuine_class_reads_it() -> None:
    """Runs where ``pip install --no-deps waymo-open-dataset-tf-2-12-0 protobuf`` was done."""
    pb2 = pytest.importorskip("waymo_open_dataset.protos.end_to_end_driving_submission_pb2")
    data = shard(PLANS, METHOD)
    genuine = pb2.E2EDChallengeSubmission.FromString(data)
    assert genuine.SerializeToString() == data
    assert [p.frame_name for p in genuine.predictions] == list(PLANS)
    assert list(genuine.predictions[1].trajectory.pos_y) == PLANS["b-149"][:, 1].tolist()
    assert (genuine.submission_type, genuine.num_model_parameters) == (1, "3B")


def test_a_refused_submission_leaves_nothing_and_an_archive_names_no_user(tmp_path: Path) -> None:
    bad = {**PLANS, "c-149": np.full((20, 2), np.nan)}
    with pytest.raises(DatasetError, match="NaN"):
        write_submission(bad, list(bad), METHOD, tmp_path / "m.tar.gz")
    with pytest.raises(DatasetError, match="every shard needs one"):
        write_submission(PLANS, list(PLANS), METHOD, tmp_path / "m.tar.gz", shards=4)
    assert list(tmp_path.iterdir()) == []
    with tarfile.open(write_submission(PLANS, list(PLANS), METHOD, tmp_path / "m.tar.gz")) as tar:
        assert {(entry.uname, entry.mtime) for entry in tar} == {("", 0)}
    assert [file.name for file in tmp_path.iterdir()] == ["m.tar.gz"]
