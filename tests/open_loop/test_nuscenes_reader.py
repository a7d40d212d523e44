"""The nuScenes reader on the miniature: every number follows from the drives in fixtures/write_nuscenes.py."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autovla_core.contracts import Command
from training import prepare
from training.datasets import nuscenes, nuscenes_columns, nuscenes_motion, nuscenes_tables
from training.datasets.sample import DatasetError, Reader, Sample
from training.datasets.sampled import thought_of

AHEAD = nuscenes_motion.BOX_CENTRE_M


def sample_at(reader: Reader, scene: str, key_frame: int, first: int = 3) -> Sample:
    """The sample of a scene's ``key_frame``; samples start at key frame 3, where a clip has its four images."""
    found = [sample for sample in reader if sample.scene == scene]
    return found[key_frame - first]


@pytest.fixture(scope="module")
def train(root: Path, index: Path) -> Reader:
    return nuscenes.open_split(root, index, "mini_train")


@pytest.fixture(scope="module")
def val(root: Path, index: Path) -> Reader:
    return nuscenes.open_split(root, index, "mini_val")


def test_counts_say_what_fell_away_and_why(root: Path, index: Path) -> None:
    # 20 key frames a scene: the first 3 lack a past; in a training split the last 10 lack a future
    counts = nuscenes.prepare(root, index, "mini_train")
    assert counts["scenes"] == 2 and counts["key_frames"] == 40 and counts["samples"] == 2 * (20 - 3 - 10)
    assert counts["too_little_past"] == 6 and counts["too_little_future"] == 20 and counts["broken"] == 0
    assert nuscenes.prepare(root, index, "mini_val")["samples"] == 2 * (20 - 3)


def test_a_straight_drive_at_constant_speed(train: Reader) -> None:
    sample = sample_at(train, "scene-0061", 5)
    assert sample.speed == pytest.approx(8.0) and sample.acceleration == pytest.approx(0.0, abs=1e-9)
    steps = np.arange(1, 11)
    assert np.allclose(sample.poses, np.outer(4.0 * steps, [1.0, 0.0, 0.0]), atol=1e-9) and sample.mask.all()
    assert np.allclose(sample.history, [[-12.0, 0.0, 0.0], [-8.0, 0.0, 0.0], [-4.0, 0.0, 0.0]], atol=1e-9)
    assert np.allclose(sample.extra["truth_xy"], sample.poses[:, :2], atol=1e-9)


def test_an_arc_is_told_by_the_box_centre_and_by_the_lidar(train: Reader) -> None:
    sample = sample_at(train, "scene-0553", 6)
    yaw = 8.0 * 0.02 * 0.5 * np.arange(1, 11)  # speed x curvature x time
    rear = np.column_stack([np.sin(yaw) / 0.02, (1.0 - np.cos(yaw)) / 0.02])
    for ahead, points in ((AHEAD, sample.poses[:, :2]), (0.943713, sample.extra["truth_xy"])):
        moved = rear + ahead * np.column_stack([np.cos(yaw) - 1.0, np.sin(yaw)])
        assert np.allclose(points, moved, atol=1e-9)
    assert np.allclose(sample.poses[:, 2], yaw, atol=1e-9)
    assert sample.speed == pytest.approx(2.0 * 50.0 * math.sin(0.04) / 0.5)  # the chord of 0.08 rad over 0.5 s


def test_the_rear_axle_and_the_lidar_can_be_asked_for(root: Path, index: Path) -> None:
    rear = nuscenes.open_split(root, index, "mini_train", point="rear_axle")
    assert sample_at(rear, "scene-0553", 6).poses[0, :2] == pytest.approx(
        [math.sin(0.08) / 0.02, (1.0 - math.cos(0.08)) / 0.02]
    )
    with pytest.raises(DatasetError, match="expected one of centre, rear_axle, lidar"):
        nuscenes.open_split(root, index, "mini_train", point="middle")


def test_speed_and_acceleration_while_braking(val: Reader) -> None:
    # scene-0916: 8 m/s until 3 s, then 4 m/s2. x(3.0) = 24, x(3.5) = 27.5, x(4.0) = 30, x(4.5) = 31.5, x(5.0) = 32
    sample = sample_at(val, "scene-0916", 8)
    assert sample.speed == pytest.approx((30.0 - 27.5) / 0.5)
    assert sample.acceleration == pytest.approx((5.0 - 7.0) / 0.5)  # 7 m/s over the half second before
    assert np.allclose(sample.poses[:, 0], [1.5, *[2.0] * 9], atol=1e-9)


def test_the_future_ends_with_the_scene(val: Reader) -> None:
    sample = sample_at(val, "scene-0103", 17)  # two key frames are left
    assert sample.mask.tolist() == [True] * 2 + [False] * 8
    assert np.allclose(sample.poses[:, 0], [3.0] + [6.0] * 9)  # the last known one is repeated
    assert not sample_at(val, "scene-0103", 19).mask.any()


def test_clips_are_the_four_last_key_frames_oldest_first(train: Reader, root: Path) -> None:
    sample = sample_at(train, "scene-0061", 5)
    assert set(sample.images) == {"front", "front_left", "front_right"}
    stamps = [int(image.path.stem.split("__")[-1]) for image in sample.images["front"]]
    assert np.diff(stamps).tolist() == [500_000] * 3
    assert all(image.path.parent == root / "samples" / "CAM_FRONT" for image in sample.images["front"])
    oldest, newest = sample.images["front"][0].read(), sample.images["front"][-1].read()
    assert newest.shape == (90, 160, 3) and np.abs(oldest.astype(int) - newest).mean() > 0.5


def test_commands_of_the_three_rules(root: Path, index: Path) -> None:
    found = {rule: nuscenes.open_split(root, index, "mini_train", command=rule) for rule in ("oracle", "past", "none")}
    turning = {rule: sample_at(reader, "scene-0553", 6).command for rule, reader in found.items()}
    straight = {rule: sample_at(reader, "scene-0061", 6).command for rule, reader in found.items()}
    assert turning == {"oracle": Command.LEFT, "past": Command.LEFT, "none": Command.FOLLOW}
    assert straight == {"oracle": Command.STRAIGHT, "past": Command.STRAIGHT, "none": Command.FOLLOW}
    with pytest.raises(DatasetError, match="expected one of oracle, past, none"):
        nuscenes.open_split(root, index, "mini_train", command="route")


def test_the_input_holds_nothing_of_the_future(writer: ModuleType, root: Path, index: Path, tmp_path: Path) -> None:
    """Another drive that is the same until 3.1 s: what the planner sees at 3 s is the same, byte for byte."""
    old = writer.DRIVES["scene-0061"]

    def turned(t: float) -> tuple[float, float, float]:
        late = max(t - 3.1, 0.0)  # the cameras of the key frame at 3 s are triggered 0.02 s after it
        return 8.0 * min(t, 3.1) + 30.0 * math.sin(late / 6.0), 30.0 * (1.0 - math.cos(late / 6.0)), late / 6.0

    drives = {**writer.DRIVES, "scene-0061": dataclasses.replace(old, pose=turned)}
    other_root = writer.write(tmp_path / "root", drives)
    nuscenes.prepare(other_root, tmp_path / "index", "mini_train")
    for rule in ("none", "past", "oracle"):
        before = sample_at(nuscenes.open_split(root, index, "mini_train", command=rule), "scene-0061", 6)
        after = sample_at(
            nuscenes.open_split(other_root, tmp_path / "index", "mini_train", command=rule), "scene-0061", 6
        )
        assert not np.allclose(before.poses, after.poses)
        assert (before.speed, before.acceleration) == (after.speed, after.acceleration)
        assert np.array_equal(before.history, after.history)
        for camera, clip in before.images.items():
            same = zip(clip, after.images[camera])
            assert all(np.array_equal(a.read(), b.read()) for a, b in same), camera
        assert (before.command == after.command) == (rule != "oracle")  # the oracle rule looks ahead, and says so


def test_boxes_lie_where_they_were_annotated(train: Reader, val: Reader) -> None:
    # scene-0061 at 2.5 s: the lidar is at 8 x 2.5 + 0.943713 in the scene's frame; the car stands at (90, 3.5), turned
    boxes = sample_at(train, "scene-0061", 5).extra["vehicles"]
    assert len(boxes) == 6 and all(len(step) == 1 for step in boxes)
    assert np.allclose(boxes[0][0, :2], [90.0 - 20.943713, 3.5]) and np.allclose(boxes[3][0], boxes[0][0])
    assert abs(boxes[0][0, 2]) == pytest.approx(math.pi) and boxes[0][0, 3:].tolist() == [4.6, 1.9]
    walker = sample_at(train, "scene-0553", 3).extra
    assert len(walker["vehicles"][0]) == 0 and walker["pedestrians"][0][0, 3:].tolist() == [0.7, 0.7]
    assert [len(step) for step in sample_at(val, "scene-0103", 17).extra["vehicles"]] == [1, 1, 0, 0, 0, 0]


def test_drivelm_answers_become_the_four_parts(train: Reader) -> None:
    sample = sample_at(train, "scene-0061", 5)
    thought = sample.reasoning
    assert thought.scene == "There is one white sedan to the front of the ego car."
    assert thought.objects == (
        "There is a white sedan to the front of the ego vehicle. The moving status of **White sedan** is stationary."
    )
    assert thought.intention.startswith("Firstly, notice **White sedan**.")
    assert thought.action == "keep forward at a constant speed"
    text = thought_of(sample)
    assert [line for line in text.splitlines() if line.startswith("###")] == [
        "### Scene Description:",
        "### Critical Object Description:",
        "### Reasoning on Intent:",
        "### Best Driving Action:",
    ]
    assert sample_at(train, "scene-0061", 6).reasoning is None
    assert sample_at(train, "scene-0553", 9).reasoning is None


@pytest.mark.parametrize(
    ("path", "speed", "words"),
    [
        (lambda t: (0.0, 0.0), 0.0, "remain stopped"),
        (lambda t: (0.0, 0.0), 3.0, "stop"),
        (lambda t: (5.0 * t, 0.0), 5.0, "keep forward at a constant speed"),
        (lambda t: (5.0 * t + 0.5 * t * t, 0.0), 5.0, "keep forward and accelerate"),
        (lambda t: (6.0 * t - 0.5 * t * t, 0.0), 6.0, "keep forward and decelerate"),
        (lambda t: (min(3.0 * t, 9.0), 0.0), 3.0, "keep forward and decelerate to a stop"),
        (lambda t: (5.0 * t, 0.6 * t), 5.0, "change lane to left at a constant speed"),
        (lambda t: (5.0 * t, -1.2 * t), 5.0, "turn right at a constant speed"),
    ],
)
def test_the_driven_path_in_words(path: Callable[[float], tuple[float, float]], speed: float, words: str) -> None:
    poses = np.array([(*path(0.5 * k), 0.0) for k in range(1, 11)])
    assert nuscenes_motion.meta_action(poses, speed) == words


def test_an_index_is_built_once_and_goes_on_where_it_was(plain_root: Path, tmp_path: Path) -> None:
    def interrupted(*_: object) -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nuscenes_columns, "boxes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nuscenes.prepare(plain_root, tmp_path, "mini_val")
    frames = tmp_path / "v1.0-mini" / "frames.npz"
    stamp = frames.stat().st_mtime_ns
    assert nuscenes.prepare(plain_root, tmp_path, "mini_val")["samples"] == 34
    assert frames.stat().st_mtime_ns == stamp
    assert not list(tmp_path.rglob("*.partial"))


def edit(root: Path, table: str, change: Callable[[list[dict]], None]) -> None:
    file = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows))


def lidar_record(rows: list[dict], number: int) -> dict:
    return [row for row in rows if "LIDAR_TOP" in row["filename"] and row["is_key_frame"]][number]


BREAKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "unknown ego pose": (
        lambda root: edit(root, "sample_data", lambda rows: lidar_record(rows, 5).update(ego_pose_token="gone")),
        "ego_pose.json: no record 'gone'",
    ),
    "pose that is not a number": (
        lambda root: edit(root, "ego_pose", lambda rows: rows[10]["translation"].__setitem__(0, math.nan)),
        r"ego_pose.json, record 'ego_pose0000.*nan",
    ),
    "rotation of no length": (
        lambda root: edit(root, "ego_pose", lambda rows: rows[10].update(rotation=[0, 0, 0, 0])),
        "expected xyz and a rotation",
    ),
    "missing image": (
        lambda root: next(iter(sorted((root / "samples" / "CAM_FRONT").glob("scene-0061*")))).unlink(),
        "this image of key frame 'sample.*is missing",
    ),
    "no lidar": (
        lambda root: edit(root, "sample_data", lambda rows: rows.remove(lidar_record(rows, 5))),
        "has no LIDAR_TOP record",
    ),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_record_is_named_or_left_out_and_listed(copy: Path, tmp_path: Path, kind: str) -> None:
    break_it, message = BREAKS[kind]
    break_it(copy)
    with pytest.raises(DatasetError, match=message):
        nuscenes.prepare(copy, tmp_path / "index", "mini_train")
    counts = prepare.prepare("nuscenes", copy, tmp_path / "index", "mini_train", skip_broken=True)
    assert counts["broken"] == 1 and 0 < counts["samples"] < 14
    assert len((tmp_path / "index" / "broken_nuscenes_mini_train.txt").read_text().splitlines()) == 1
    with pytest.raises(DatasetError, match="1 broken records"):
        nuscenes.open_split(copy, tmp_path / "index", "mini_train")


def test_broken_annotations_and_answers_are_listed_and_cost_no_sample(copy: Path, tmp_path: Path) -> None:
    edit(copy, "sample_annotation", lambda rows: rows[3].update(instance_token="nobody"))
    file = copy / "drivelm" / "v1_1_train_nus.json"
    document = json.loads(file.read_text())
    frames = next(iter(document.values()))["key_frames"]
    del frames[next(iter(frames))]["QA"]
    file.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="sample_annotation.json, record .*unknown instance"):
        nuscenes.prepare(copy, tmp_path / "index", "mini_train")
    counts = prepare.prepare("nuscenes", copy, tmp_path / "index", "mini_train", skip_broken=True)
    assert counts["samples"] == 14 and counts["with_reasoning"] == 1
    lines = (tmp_path / "index" / "broken_nuscenes_mini_train.txt").read_text().splitlines()
    assert len(lines) == counts["broken"] == 2 and "instance" in lines[0] and "KeyError 'QA'" in lines[1]
    (tmp_path / "again").mkdir()
    with pytest.raises(DatasetError, match="is no DriveLM file"):
        file.write_text("[]")
        edit(copy, "sample_annotation", lambda rows: rows.pop(3))
        nuscenes.prepare(copy, tmp_path / "again", "mini_train")


def test_a_scene_whose_key_frames_do_not_hang_together_is_left_out_whole(copy: Path, tmp_path: Path) -> None:
    edit(copy, "sample", lambda rows: rows[4].update(next="nowhere"))
    with pytest.raises(DatasetError, match="scene 'scene-0061': key frame 'nowhere' is not in sample.json"):
        nuscenes.prepare(copy, tmp_path / "index", "mini_train")
    counts = nuscenes.prepare(copy, tmp_path / "index", "mini_train", skip_broken=True)
    assert counts["scenes"] == 1 and counts["samples"] == 7 and counts["broken"] == 1


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_truncated_table_is_an_error_even_when_skipping(copy: Path, tmp_path: Path, keep: float) -> None:
    file = copy / "v1.0-mini" / "sample_data.json"
    text = file.read_text()
    file.write_text(text[: int(len(text) * keep)])
    with pytest.raises(DatasetError, match="sample_data.json, row .* truncated"):
        nuscenes.prepare(copy, tmp_path / "index", "mini_train", skip_broken=True)


def test_wrong_roots_and_splits_are_named(plain_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no nuScenes table .*scene.json"):
        nuscenes.prepare(tmp_path, tmp_path / "index", "mini_train")
    with pytest.raises(DatasetError, match="known: mini_train, mini_val, train, val, test"):
        nuscenes.prepare(plain_root, tmp_path / "index", "training")
    with pytest.raises(DatasetError, match="run python -m training.prepare"):
        nuscenes.open_split(plain_root, tmp_path / "none", "mini_train")


def test_rows_survive_any_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [{"token": f"t{i}", "text": 'a } ] , { " \u00e9', "values": [i, [1.5, -2.0]]} for i in range(7)]
    for indent in (None, 0):
        (tmp_path / "t.json").write_text(json.dumps(wanted, indent=indent))
        for size in (1, 2, 3, 17, 64, 10_000):
            monkeypatch.setattr(nuscenes_tables, "CHUNK_CHARS", size)
            assert list(nuscenes_tables.rows(tmp_path / "t.json")) == wanted
    (tmp_path / "t.json").write_text('{"not": "an array"}')
    with pytest.raises(DatasetError, match="expected a JSON array"):
        list(nuscenes_tables.rows(tmp_path / "t.json"))


def test_scene_lists_come_from_json_or_from_the_devkits_file_unrun(tmp_path: Path) -> None:
    names = ["scene-0001", "scene-0002", "scene-0003"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nuscenes_tables.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(DatasetError, match="splits.py"):
            nuscenes_tables.split_scenes(tmp_path, "val", names)
    text = """import nowhere
a = ['scene-0003']
b = ['scene-0001']
train = list(sorted(set(a + b)))
val = \\
    ['scene-0002']
"""
    (tmp_path / "splits.py").write_text(text)
    assert nuscenes_tables.split_scenes(tmp_path, "train", names) == ["scene-0001", "scene-0003"]
    assert nuscenes_tables.split_scenes(tmp_path, "val", names) == ["scene-0002"]
    (tmp_path / "splits.json").write_text(json.dumps({"val": ["scene-0003"]}))
    assert nuscenes_tables.split_scenes(tmp_path, "val", names) == ["scene-0003"]
    with pytest.raises(DatasetError, match="'train'"):
        nuscenes_tables.split_scenes(tmp_path, "train", names)
