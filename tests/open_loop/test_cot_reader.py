"""AutoVLA's JSON: the last four images, paths of another machine, units."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert cot.prepare(tmp_path, tmp_path / "out", "val") == {"samples": 1, "broken": 0}
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
