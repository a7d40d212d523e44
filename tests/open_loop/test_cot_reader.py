"""AutoVLA's JSON: the last four images, paths of another machine, units."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from autovla_core.contracts import Command
from training.datasets import cot
from training.datasets.sample import DatasetError


def write(root: Path, **changes: object) -> None:
    names = [f"{i}.jpg" for i in range(9)]
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "val").mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", (16, 16), (20 * i, 0, 0)).save(root / "images" / name)
    poses = [[2.5 * k, 0.0, 0.0] for k in range(1, 11)]  # 5 m/s
    data = {"token": "a-012", "dataset_name": "waymo", "cot_output": [], "velocity": [5.0, 0.0]}
    data |= {"acceleration": [-1.0, 0.0], "instruction": "go left", "gt_trajectory": poses}
    data |= {"front_camera_paths": [f"/elsewhere/images/{name}" for name in names]}
    (root / "val" / "a.json").write_text(json.dumps(data | changes))


def test_the_last_four_of_nine_images_count(tmp_path: Path) -> None:
    write(tmp_path)
    counts = cot.prepare(tmp_path, tmp_path / "out", "val")
    assert (counts["samples"], counts["broken"], counts["with_thought"]) == (1, 0, 0)
    sample = cot.open_split(tmp_path, tmp_path / "out", "val")[0]
    np.testing.assert_allclose([i.read()[8, 8, 0] for i in sample.images["front"]], [100, 120, 140, 160], atol=3)
    assert (sample.speed, sample.acceleration, sample.command) == (5.0, -1.0, Command.LEFT)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"velocity": [20.0, 0.0]}, "first step makes 5.00"),
        ({"gt_trajectory": [[2.5, 0.0, 90.0]] * 10}, "radians"),
        ({"gt_trajectory": []}, "shape"),
        ({"instruction": "fly"}, "fly"),
        ({"front_camera_paths": ["../x.jpg"] * 4}, "not below"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(DatasetError, match=text):
        cot.prepare(tmp_path, tmp_path / "out", "val")


@pytest.mark.parametrize(
    ("token", "image", "scene"),
    [
        ("1f0d-7", "/x/samples/CAM_FRONT/n015-2018+0800__CAM_FRONT__1532402927612460.jpg", "n015-2018+0800"),
        ("b37fa5b9", "/x/sensor_blobs/2021.05.12_veh-35/CAM_F0/0a1b.jpg", "2021.05.12_veh-35"),
        ("segment-149", "/x/images/149.jpg", "segment"),
        ("b37f-a5b9c", "/x/images/1.jpg", "b37f-a5b9c"),
    ],
)
def test_moments_of_one_drive_share_a_scene(token: str, image: str, scene: str) -> None:
    assert cot._scene(token, PurePosixPath(image)) == scene


def test_poses_that_are_not_known_may_be_anything(tmp_path: Path) -> None:
    poses = [[2.5 * k, 0.0, 0.0] for k in range(1, 9)] + [[float("nan")] * 3] * 2
    write(tmp_path, gt_trajectory=poses, future_mask=[1] * 8 + [0] * 2)
    sample = cot.load(tmp_path / "val" / "a.json", tmp_path)
    assert sample.mask.tolist() == [True] * 8 + [False] * 2 and np.isfinite(sample.poses).all()


@pytest.mark.parametrize(
    "changes", [{"front_camera_paths": []}, {"front_camera_paths": "a.jpg"}, {"future_mask": [[1], [1, 2]]}]
)
def test_a_file_without_front_camera_or_with_a_ragged_mask_is_named(tmp_path: Path, changes: dict) -> None:
    write(tmp_path, **changes)
    with pytest.raises(DatasetError, match="no sample of AutoVLA's preprocessing"):
        cot.load(tmp_path / "val" / "a.json", tmp_path)
