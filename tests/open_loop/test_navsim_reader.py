"""The NAVSIM reader on a miniature: each field, the splits, and what a broken or hostile log does."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Command
from tests.open_loop.fixtures import write_navsim as writer
from training.datasets import navsim, navsim_splits
from training.datasets.navsim_logs import CAMERAS, read_records
from training.datasets.sample import DatasetError

Change = Callable[[list[dict[str, object]]], None]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., navsim.NavsimReader]:
    """Writes a miniature whose records ``change`` may spoil, prepares and opens ``navmini``."""

    def make(change: Change = lambda records: None, skip_broken: bool = False, **options: str) -> navsim.NavsimReader:
        root = writer.write_root(tmp_path / "root", change=change)
        navsim.prepare(root, tmp_path, "navmini", skip_broken)
        return navsim.open_split(root, tmp_path, "navmini", skip_broken, **options)

    return make


def test_a_sample_holds_what_the_log_says(opened: Callable[..., navsim.NavsimReader]) -> None:
    reader = opened(point="rear_axle")
    sample = reader[1]  # the filter names records 3, 5, ... 19
    now = writer.ego(5)
    east, north = np.cos(now[2]), np.sin(now[2])
    for step, pose in enumerate(sample.poses, start=6):
        dx, dy, dyaw = writer.ego(step) - now
        np.testing.assert_allclose(pose, [east * dx + north * dy, east * dy - north * dx, dyaw], atol=1e-6)
    assert len(reader) == 9 and reader.tokens() == [writer.token(writer.LOG, i) for i in range(3, 20, 2)]
    assert (sample.id, sample.scene) == (writer.token(writer.LOG, 5), writer.LOG)
    assert sample.speed == 8.0 and sample.acceleration == 0.25
    assert sample.command is Command.FOLLOW and reader[5].command is Command.LEFT  # record 13 turns
    assert sample.history.shape == (3, 3) and sample.history[-1, 0] == pytest.approx(-4.0, abs=0.01)
    assert sample.mask.all() and sample.extra["map"] == writer.LOCATION


def test_a_clip_is_the_four_images_up_to_now(opened: Callable[..., navsim.NavsimReader]) -> None:
    sample = opened()[0]
    assert list(sample.images) == list(CAMERAS)
    names = [image.path.stem for image in sample.images["front"]]
    assert names == [writer.token(writer.LOG, i) for i in range(4)]
    assert {clip[0].path.parent.name for clip in sample.images.values()} == set(CAMERAS.values())
    assert sample.images["back"][3].read().shape == (56, 96, 3)


def test_poses_are_those_of_the_box_centre(opened: Callable[..., navsim.NavsimReader]) -> None:
    """The centre lies 1.461 m ahead: a turn by a moves it by 1.461 (cos a - 1, sin a) more than the axle."""
    centre = opened()[0].poses
    axle = opened(point="rear_axle")[0].poses
    turn = axle[:, 2]
    expected = axle[:, :2] + 1.461 * np.column_stack([np.cos(turn) - 1.0, np.sin(turn)])
    np.testing.assert_allclose(centre[:, :2], expected, atol=1e-9)
    np.testing.assert_allclose(centre[:, 2], turn, atol=1e-12)


def test_nothing_of_the_future_is_seen(opened: Callable[..., navsim.NavsimReader]) -> None:
    def move(records: list[dict[str, object]]) -> None:
        for record in records[4:]:
            record["ego2global_translation"] = record["ego2global_translation"] + np.array([0.0, 5.0, 0.0])
            record["ego_dynamic_state"] = [1.0, 0.0, -3.0, 0.0]
            record["driving_command"] = np.eye(4, dtype=int)[2]

    before, after = opened()[0], opened(move)[0]  # now is record 3
    np.testing.assert_array_equal(before.history, after.history)
    assert before.images == after.images
    assert (before.speed, before.acceleration, before.command) == (after.speed, after.acceleration, after.command)
    np.testing.assert_allclose(after.poses[:, 1] - before.poses[:, 1], 5.0, atol=1e-3)


def test_the_mask_ends_at_a_gap(opened: Callable[..., navsim.NavsimReader]) -> None:
    def gap(records: list[dict[str, object]]) -> None:
        for record in records[24:]:
            record["timestamp"] += 400_000

    sample = opened(gap)[8]  # record 19: 20 ... 23 follow at 0.5 s
    assert sample.mask.tolist() == [True] * 4 + [False] * 6
    np.testing.assert_array_equal(sample.poses[4:], np.tile(sample.poses[3], (6, 1)))


def test_a_whole_folder_is_cut_into_scenes_that_do_not_overlap(tmp_path: Path) -> None:
    root = writer.write_root(tmp_path / "root")
    counts = navsim.prepare(root, tmp_path, "mini")
    assert counts == {"logs": 1, "records": 30, "samples": 2, "images": 64, "broken": 0}  # 30 // 14 scenes, 8 x 4 each
    assert navsim.open_split(root, tmp_path, "mini").tokens() == [writer.token(writer.LOG, i) for i in (3, 17)]


@pytest.mark.parametrize("split", navsim_splits.SPLITS)
def test_only_test_splits_are_guarded(split: str) -> None:
    guarded = {"test", "navtest", "warmup_test_e2e", "private_test_e2e", "navhard_two_stage", "warmup_two_stage"}
    assert (split in navsim.TEST_SPLITS) == (split in guarded)
    navsim.refuse_test_split(split, i_know=True)
    if split in guarded:
        with pytest.raises(DatasetError, match=f"{split}.*test split.*--i-know"):
            navsim.refuse_test_split(split)
    else:
        navsim.refuse_test_split(split)


def test_an_unknown_split_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'navtrian'; known: .*navtrain"):
        navsim.prepare(tmp_path, tmp_path, "navtrian")


class _Asks:
    """Pickles as a call of a function that a stranger chose."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("function, name", [(eval, "builtins.eval"), (Path.unlink, "builtins.getattr|pathlib")])
def test_a_pickle_that_runs_something_is_refused_by_name(
    function: Callable[..., object], name: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.pkl"
    path.write_bytes(pickle.dumps([{"token": _Asks(function, "1")}]))
    with pytest.raises(DatasetError, match=rf"log\.pkl.*({name}).*refused"):
        read_records(path)


def spoil(index: int, key: str, value: object) -> Change:
    def change(records: list[dict[str, object]]) -> None:
        records[index][key] = value

    return change


def drop(index: int, key: str) -> Change:
    return lambda records: records[index].pop(key) and None


BROKEN = {  # what is wrong with record 5: what the error says
    "a NaN pose": (spoil(5, "ego2global_translation", [np.nan, 0.0, 0.0]), "record 5 .*ego2global_translation.*finite"),
    "no rotation": (spoil(5, "ego2global_rotation", [0.0, 0.0, 0.0, 0.0]), "record 5 .*length 0.000"),
    "an empty token": (spoil(5, "token", ""), "record 5 .*token is ''"),
    "no speed": (drop(5, "ego_dynamic_state"), "record 5 .*no field 'ego_dynamic_state'"),
    "two commands": (spoil(5, "driving_command", [1, 1, 0, 0]), r"driving_command is \[1.0, 1.0"),
    "no cameras": (spoil(5, "cams", {}), "cams lacks CAM_F0"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_record_is_named(what: str, opened: Callable[..., navsim.NavsimReader]) -> None:
    change, text = BROKEN[what]
    with pytest.raises(DatasetError, match=text):
        opened(change)


def test_skipped_records_are_counted_with_their_reason(tmp_path: Path) -> None:
    """Record 5 is in the clips of the samples at 5 and 7 (records 4 ... 7), and of no other sample."""
    root = writer.write_root(tmp_path / "root", change=spoil(5, "ego2global_translation", [np.nan, 0.0, 0.0]))
    counts = navsim.prepare(root, tmp_path, "navmini", skip_broken=True)
    assert counts["samples"] == 7 and counts["broken"] == 2
    with pytest.raises(DatasetError, match="without 2 broken records.*--skip-broken"):
        navsim.open_split(root, tmp_path, "navmini")
    reader = navsim.open_split(root, tmp_path, "navmini", skip_broken=True)
    assert len(reader.broken) == 2 and all("ego2global_translation" in reason for reason in reader.broken)


def test_a_missing_image_is_named_or_skipped(tmp_path: Path) -> None:
    root = writer.write_root(tmp_path / "root")
    lost = root / "sensor_blobs" / "mini" / writer.LOG / "CAM_L0" / f"{writer.token(writer.LOG, 0)}.jpg"
    lost.unlink()
    with pytest.raises(DatasetError, match=f"no image .*CAM_L0/{lost.name}"):
        navsim.prepare(root, tmp_path, "navmini")
    counts = navsim.prepare(root, tmp_path, "navmini", skip_broken=True)
    assert (counts["samples"], counts["broken"]) == (8, 1)


def test_an_image_path_cannot_leave_its_folder(opened: Callable[..., navsim.NavsimReader]) -> None:
    def climb(records: list[dict[str, object]]) -> None:
        records[5]["cams"]["CAM_F0"]["data_path"] = "../../../etc/passwd"

    with pytest.raises(DatasetError, match="leaves the folder"):
        opened(climb)


def test_a_token_of_the_filter_that_no_log_has_is_named(tmp_path: Path) -> None:
    root = writer.write_root(tmp_path / "root")
    writer.write_filter(root, "navmini", [writer.token(writer.LOG, 3), "feedc0de"], [writer.LOG])
    with pytest.raises(DatasetError, match="1 of 2 tokens .*feedc0de"):
        navsim.prepare(root, tmp_path, "navmini")
    assert navsim.prepare(root, tmp_path, "navmini", skip_broken=True)["broken"] == 1
