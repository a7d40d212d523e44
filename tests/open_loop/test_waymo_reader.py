"""The Waymo reader on a small genuine data set: clips, frames, commands, what is broken, no look into the future."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Command
from tests.open_loop.fixtures import write_waymo as fixture
from training.datasets import waymo
from training.datasets.sample import DatasetError, Sample

CURVATURE, SPEED = 0.02, 8.0  # 1/m, m/s: 0.08 rad in half a second


def write(root: Path, at: fixture.Moment, count: int = 18) -> Path:
    fixture.write_shards(root, fixture.TRAIN, fixture.frames(1, 8, count, at), 3)
    return root


def read(root: Path, out: Path, point: str = "centre") -> Sample:
    waymo.prepare(root, out, "train")
    return waymo.open_split(root, out, "train", point=point)[0]


def test_a_clip_is_the_frame_and_those_half_seconds_before_it(tmp_path: Path) -> None:
    root = write(tmp_path / "data", fixture.moment(CURVATURE, SPEED, intent=2))
    counts = waymo.prepare(root, tmp_path / "out", "train")
    assert (counts["records"], counts["without_clip"], counts["future"]) == (18, 15, 3)  # the first 1.5 s have none
    sample = waymo.open_split(root, tmp_path / "out", "train")[0]
    assert sample.id.endswith("-023") and sample.command is Command.LEFT and len(sample.images) == 8
    greens = [int(image.read()[20, 20, 1]) for image in sample.images["front_left"]]  # green tells the frame
    np.testing.assert_allclose(greens, [8, 13, 18, 23], atol=2)


def test_poses_lie_on_the_arc_that_was_driven(tmp_path: Path) -> None:
    sample = read(write(tmp_path / "data", fixture.moment(CURVATURE, SPEED)), tmp_path / "out", "rear_axle")
    yaw = CURVATURE * SPEED * 0.5 * np.arange(1, 11)
    expected = np.stack([np.sin(yaw), 1.0 - np.cos(yaw)], axis=1) / CURVATURE
    np.testing.assert_allclose(sample.poses, np.column_stack([expected, yaw]), atol=1e-4)
    np.testing.assert_allclose(sample.history[:, 2], -0.08 * np.arange(7, 0, -1), atol=1e-4)
    assert sample.speed == pytest.approx(SPEED) and sample.acceleration == pytest.approx(0.0) and sample.mask.all()


def test_shifting_the_future_leaves_the_input_unchanged(tmp_path: Path) -> None:
    at = fixture.moment(CURVATURE, SPEED)
    shifted = dataclasses.replace(at, future=at.future * 0.5 + [0.0, 1.0])
    one = read(write(tmp_path / "a", at), tmp_path / "out_a")
    other = read(write(tmp_path / "b", shifted), tmp_path / "out_b")
    assert not np.allclose(one.poses, other.poses)
    assert (one.speed, one.acceleration, one.command) == (other.speed, other.acceleration, other.command)
    np.testing.assert_array_equal(one.history, other.history)
    for camera, images in one.images.items():
        for a, b in zip(images, other.images[camera]):
            np.testing.assert_array_equal(a.read(), b.read())


def test_the_true_plan_scores_best(tmp_path: Path) -> None:
    path = fixture.moment(CURVATURE, SPEED).future
    rated = [(path, 9.0), (path + [0.0, 20.0], 2.0), (path, -1.0)]
    sample = read(write(tmp_path / "data", fixture.moment(CURVATURE, SPEED, rated)), tmp_path / "out")
    terms = waymo.score(sample.poses, sample)
    assert terms["rfs"] == 9.0  # both judged points are poses of the plan
    # between poses the plan is straight: sagitta of a 0.5 s chord, 8^2 * 0.02 * 0.5^2 / 8 = 0.04 m at every 2nd point
    assert terms["ade_5s"] == terms["log_ade_5s"] == pytest.approx(0.02, abs=1e-3)


def test_nan_is_named_and_skipped_only_when_told(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    at = fixture.moment(CURVATURE, SPEED)
    bad = dataclasses.replace(at, past=np.where(np.arange(16)[:, None] == 3, np.nan, at.past))
    fixture.write_shards(root, fixture.TRAIN, fixture.frames(1, 0, 20, at) + fixture.frames(2, 0, 1, bad), 1)
    with pytest.raises(DatasetError, match=r"tfrecord-00000-of-00001 record \d+: past states hold NaN"):
        waymo.prepare(root, out, "train")
    assert waymo.prepare(root, out, "train", skip_broken=True)["broken"] == 1
    with pytest.raises(DatasetError, match="1 broken"):
        waymo.open_split(root, out, "train")
    assert len(waymo.open_split(root, out, "train", skip_broken=True).broken) == 1
