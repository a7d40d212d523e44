"""Our reader against the devkit's own classes on the same files, field by field. Needs nuscenes-devkit (1.2.0 here):

pip install --no-deps nuscenes-devkit pyquaternion cachetools matplotlib opencv-python-headless ...
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")

from nuscenes.nuscenes import NuScenes  # noqa: E402
from nuscenes.utils import splits  # noqa: E402
from nuscenes.utils.geometry_utils import transform_matrix  # noqa: E402
from pyquaternion import Quaternion  # noqa: E402

from training.datasets import nuscenes, nuscenes_motion, nuscenes_tables  # noqa: E402
from training.datasets.nuscenes_columns import CAMERAS  # noqa: E402
from training.datasets.sample import Reader, Sample  # noqa: E402


@pytest.fixture(scope="module")
def devkit(root: Path) -> NuScenes:
    return NuScenes("v1.0-mini", str(root), verbose=False)


@pytest.fixture(scope="module")
def reader(root: Path, index: Path) -> Reader:
    return nuscenes.open_split(root, index, "mini_val", command="none")


def chain(devkit: NuScenes, token: str, way: str, count: int) -> list[dict]:
    """The next or previous key frames."""
    found = []
    while len(found) < count and (token := devkit.get("sample", token)[way]):
        found.append(devkit.get("sample", token))
    return found


def global_from_ego(devkit: NuScenes, sample: dict) -> np.ndarray:
    record = devkit.get("sample_data", sample["data"]["LIDAR_TOP"])
    pose = devkit.get("ego_pose", record["ego_pose_token"])
    return transform_matrix(pose["translation"], Quaternion(pose["rotation"]))


def global_from_lidar(devkit: NuScenes, sample: dict) -> np.ndarray:
    record = devkit.get("sample_data", sample["data"]["LIDAR_TOP"])
    mounted = devkit.get("calibrated_sensor", record["calibrated_sensor_token"])
    return global_from_ego(devkit, sample) @ transform_matrix(mounted["translation"], Quaternion(mounted["rotation"]))


def test_key_frames_scenes_and_pictures(devkit: NuScenes, reader: Reader, root: Path) -> None:
    for ours in reader:
        theirs = devkit.get("sample", ours.id)
        assert ours.scene == devkit.get("scene", theirs["scene_token"])["name"]
        past = [*reversed(chain(devkit, ours.id, "prev", 3)), theirs]
        for camera, clip in ours.images.items():
            wanted = [root / devkit.get("sample_data", s["data"][CAMERAS[camera]])["filename"] for s in past]
            assert [image.path for image in clip] == wanted
        assert set(ours.images) == {camera for camera, channel in CAMERAS.items() if channel in theirs["data"]}


def test_future_past_speed_and_acceleration(devkit: NuScenes, reader: Reader) -> None:
    ahead = np.array([nuscenes_motion.BOX_CENTRE_M, 0.0, 0.0, 1.0])
    for ours in reader:
        theirs = devkit.get("sample", ours.id)
        now = np.linalg.inv(global_from_ego(devkit, theirs))
        lidar_now = np.linalg.inv(global_from_lidar(devkit, theirs))
        future = chain(devkit, ours.id, "next", 10)
        assert ours.mask.sum() == len(future)
        for row, sample in enumerate(future):
            relative = now @ global_from_ego(devkit, sample)
            assert ours.poses[row, :2] == pytest.approx((relative @ ahead - ahead)[:2], abs=1e-6)
            yaw = Quaternion(matrix=relative, atol=1e-6).yaw_pitch_roll[0]
            assert ours.poses[row, 2] == pytest.approx(yaw, abs=1e-9)
            x, y = (lidar_now @ global_from_lidar(devkit, sample))[:2, 3]
            assert ours.extra["truth_xy"][row] == pytest.approx([y, -x], abs=1e-6)
        before = chain(devkit, ours.id, "prev", 3)
        places = [global_from_ego(devkit, s)[:2, 3] for s in (theirs, *before)]
        times = [s["timestamp"] / 1e6 for s in (theirs, *before)]
        speeds = [np.linalg.norm(places[i] - places[i + 1]) / (times[i] - times[i + 1]) for i in (0, 1)]
        assert ours.speed == pytest.approx(speeds[0], abs=1e-6)
        assert ours.acceleration == pytest.approx((speeds[0] - speeds[1]) / 0.5, abs=1e-5)


def boxes_of(devkit: NuScenes, sample: dict, now: dict, start: str) -> np.ndarray:
    """The devkit's boxes of one key frame in the lidar's frame at another."""
    found = []
    matrix = np.linalg.inv(global_from_lidar(devkit, now))
    for token in sample["anns"]:
        box = devkit.get_box(token)
        if not box.name.startswith(start):
            continue
        box.rotate(Quaternion(matrix=matrix[:3, :3], atol=1e-6))
        x, y = (matrix @ [*devkit.get_box(token).center, 1.0])[:2]
        width, length, _ = box.wlh
        found.append([y, -x, box.orientation.yaw_pitch_roll[0] - np.pi / 2, length, width])
    return np.array(found).reshape(-1, 5)


def test_obstacles(devkit: NuScenes, root: Path, index: Path) -> None:
    for split in ("mini_train", "mini_val"):
        for ours in nuscenes.open_split(root, index, split):
            _same_boxes(devkit, ours)


def _same_boxes(devkit: NuScenes, ours: Sample) -> None:
    now = devkit.get("sample", ours.id)
    for row, sample in enumerate(chain(devkit, ours.id, "next", 6)):
        for name, start in (("vehicles", "vehicle"), ("pedestrians", "human.pedestrian")):
            found, wanted = ours.extra[name][row], boxes_of(devkit, sample, now, start)
            assert found.shape == wanted.shape
            assert np.allclose(found[:, [0, 1, 3, 4]], wanted[:, [0, 1, 3, 4]], atol=1e-6)
            assert np.allclose(np.exp(1j * found[:, 2]), np.exp(1j * wanted[:, 2]), atol=1e-6)


def test_splits(tmp_path: Path) -> None:
    for name, scenes in splits.create_splits_scenes().items():
        if name in ("train", "val"):
            assert nuscenes_tables.split_scenes(tmp_path, name, sorted(scenes)) == sorted(scenes)
            assert len(scenes) == nuscenes_tables.OFFICIAL_SIZES[name][0]
    assert set(nuscenes_tables.MINI_VAL) == set(splits.mini_val)
    every = sorted([*splits.mini_train, *splits.mini_val])
    assert nuscenes_tables.split_scenes(tmp_path, "mini_train", every) == sorted(splits.mini_train)
