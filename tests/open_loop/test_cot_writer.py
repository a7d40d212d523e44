"""AutoVLA's JSON written and read back bit for bit, thoughts in both forms, and work that goes on after a kill."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autovla_core.contracts import Command
from tests.open_loop.fixtures import write_navsim
from training import open_loop_export, prepare
from training.datasets import cot, cot_format, cot_writer, navsim
from training.datasets.cot_writer import Target
from training.datasets.sample import DatasetError, Reasoning, Sample, StoredImage

THOUGHT = Reasoning(
    "A wide road, <dry>.".replace("<dry>", "dry"), "A van ahead.\nIt brakes.", "Keep back.", "Slow down."
)
ANNOTATED = """Q (Scene Description):
Rain, two lanes.
**2. Critical Object Description**: a <c1,CAM_FRONT,3.0,4.0> ahead
### Reasoning on Intent
It stops; "we" wait - (left).

4. Best Driving Action: stop"""


def sample(root: Path, **changes: object) -> Sample:
    """A sample whose numbers have no short decimal form."""
    rng = np.random.default_rng(3)
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    for k in range(4):
        Image.new("RGB", (16, 16), (20 * k, 0, 0)).save(root / "blobs" / f"{k}.jpg")
    poses = np.column_stack([np.arange(1, 11) * 2.5, rng.normal(0, 0.3, 10), rng.normal(0, 0.1, 10)])
    images = {camera: tuple(StoredImage(root / "blobs" / f"{k}.jpg") for k in range(4)) for camera in ("front", "left")}
    made = Sample(
        id="seg-012",
        images=images,
        speed=5.0 + rng.random() / 3,
        acceleration=-rng.random() / 7,
        command=Command.LEFT,
        history=rng.normal(0, 1, (3, 3)),
        poses=poses,
        mask=np.ones(10, bool),
        reasoning=THOUGHT,
    )
    return dataclasses.replace(made, **changes)


def same(one: Sample, other: Sample) -> None:
    """Equal to the last bit, pictures too; unknown poses count for nothing."""
    names = ("id", "speed", "acceleration", "command", "reasoning")
    assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    for name in ("history", "mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.poses[one.mask], other.poses[other.mask])
    assert set(one.images) == set(other.images)
    for camera, images in one.images.items():
        for a, b in zip(images, other.images[camera]):
            np.testing.assert_array_equal(a.read(), b.read())


@pytest.mark.parametrize("dataset", cot_format.FORMS)
@pytest.mark.parametrize("speed", [5.3 / 3.0, -0.7 / 3.0, 0.0])
def test_a_sample_comes_back_bit_for_bit(dataset: str, speed: float, tmp_path: Path) -> None:
    target = Target(tmp_path / "out", "train", dataset, tmp_path / "data")
    target.link()
    poses = sample(tmp_path / "data").poses * [0.0 if speed < 1.0 else 0.3, 1.0, 1.0]
    written = sample(tmp_path / "data", speed=speed, poses=poses, mask=np.arange(10) < 7)
    file = cot_writer.write(written, target)
    found = cot.load(file, tmp_path / "out")
    same(written, found)
    before = file.read_bytes()
    cot_writer.write(dataclasses.replace(found, images=written.images), target)
    assert file.read_bytes() == before


@pytest.mark.parametrize("dataset", cot_format.FORMS)
def test_every_word_is_read_as_the_command_that_wrote_it(dataset: str) -> None:
    for command in cot_format.FORMS[dataset].words:
        assert cot_format.command_of(cot_format.word_of(command, dataset)) is command
    with pytest.raises(DatasetError, match="CHANGE_LEFT has no word"):
        cot_format.word_of(Command.CHANGE_LEFT, dataset)


def test_the_keys_are_those_of_the_official_files(tmp_path: Path) -> None:
    made = {}
    for dataset in cot_format.FORMS:
        target = Target(tmp_path / dataset, "train", dataset, tmp_path / "data")
        made[dataset] = cot_writer.record(sample(tmp_path / "data"), target)
    assert made["nuplan"]["velocity"][1] == 0.0 and isinstance(made["nuscenes"]["velocity"], float)
    assert made["waymo"]["instruction"] == "go left" and made["nuscenes"]["instruction"] == "Turn Left"
    assert made["nuplan"]["cot_output"].startswith("### Scene Description:\nA wide road, dry.\n\n### Critical Object")
    assert len(made["nuscenes"]["cot_output"]) == 5
    assert made["nuplan"]["his_trajectory"][-1] == [0.0, 0.0, 0.0] and len(made["nuplan"]["his_trajectory"]) == 4
    assert made["nuplan"]["front_camera_paths"] == [f"images/blobs/{k}.jpg" for k in range(4)]
    assert "future_mask" not in made["nuplan"]


def test_the_annotators_headings_are_found_however_they_are_set() -> None:
    found = cot_format.reasoning_of(ANNOTATED)
    assert found == Reasoning("Rain, two lanes.", "a the object ahead", 'It stops; "we" wait - (left).', "stop")


def test_five_answers_make_four_parts() -> None:
    answers = ["A car.", "The car. ", "It is going ahead.", "Notice <c2,CAM_BACK>.", "STOP\n"]
    found = cot_format.reasoning_of(answers)
    assert found == Reasoning("A car.", "The car. It is going ahead.", "Notice the object.", "STOP")


@pytest.mark.parametrize(
    "thought", [[], "", "just drive", ANNOTATED.split("###")[0], ["a"] * 4, ["a", "b", "c", "", "e"], 7]
)
def test_a_thought_without_its_four_parts_is_none(thought: object) -> None:
    assert cot_format.reasoning_of(thought) is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"speed": float("nan")}, "Out of range float"),
        ({"reasoning": Reasoning("a", "", "c", "d")}, "part 'objects'"),
        ({"images": {"roof": ()}}, "cameras .'roof'. have no key"),
        ({"id": "../x"}, "cannot name a file"),
        ({"images": {"front": (StoredImage(Path("/nowhere/x.jpg")),)}}, "is not below"),
    ],
)
def test_what_the_files_cannot_say_is_named_and_leaves_nothing(
    changes: dict[str, object], text: str, tmp_path: Path
) -> None:
    target = Target(tmp_path / "out", "train", "nuplan", tmp_path / "data")
    with pytest.raises(DatasetError, match=text):
        cot_writer.write(sample(tmp_path / "data", **changes), target)
    assert not list((tmp_path / "out").rglob("*.json"))


def test_a_picture_inside_a_larger_file_is_written_byte_for_byte(tmp_path: Path) -> None:
    made = sample(tmp_path / "data")
    whole = b"".join((tmp_path / "data" / "blobs" / f"{k}.jpg").read_bytes() for k in range(4))
    ends = np.cumsum([0, *((tmp_path / "data" / "blobs" / f"{k}.jpg").stat().st_size for k in range(4))])
    (tmp_path / "data" / "shard").write_bytes(whole)
    inside = tuple(StoredImage(tmp_path / "data" / "shard", int(a), int(b - a)) for a, b in zip(ends, ends[1:]))
    target = Target(tmp_path / "out", "train", "waymo", tmp_path / "data")
    file = cot_writer.write(dataclasses.replace(made, images={"front": inside}), target)
    stored = [image.path.read_bytes() for image in cot.load(file, tmp_path / "out").images["front"]]
    assert b"".join(stored) == whole
    cut = StoredImage(tmp_path / "data" / "shard", int(ends[3]), 10**6)
    with pytest.raises(DatasetError, match="expected 1000000"):
        cot_writer.write(dataclasses.replace(made, images={"front": (cut,) * 4}), target)


def test_prepare_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path / "out", "train", "nuplan", tmp_path / "data")
    target.link()
    for k in range(6):
        cot_writer.write(sample(tmp_path / "data", id=f"seg-{k:03d}", reasoning=THOUGHT if k else None), target)
    read, original = [], cot.load

    def tired(path: Path, root: Path) -> Sample:
        read.append(path.stem)
        if len(read) == 4:
            raise KeyboardInterrupt
        return original(path, root)

    monkeypatch.setattr(cot, "load", tired)
    with pytest.raises(KeyboardInterrupt):
        cot.prepare(tmp_path / "out", tmp_path / "index", "train")
    progress = tmp_path / "index" / "cot_train.progress.jsonl"
    progress.write_text(progress.read_text()[:-5])  # killed while it wrote: the third line is not whole
    (tmp_path / "out" / "train" / "seg-001.json").touch()  # changed since
    assert cot.prepare(tmp_path / "out", tmp_path / "index", "train") == {
        "samples": 6,
        "broken": 0,
        "with_thought": 5,
        "thought_without_parts": 0,
    }
    assert read[4:] == [f"seg-{k:03d}" for k in (1, 2, 3, 4, 5)] and not progress.exists()


def test_broken_files_are_listed_and_mended_ones_read_again(tmp_path: Path) -> None:
    target = Target(tmp_path / "out", "train", "nuplan", tmp_path / "data")
    target.link()
    files = [cot_writer.write(sample(tmp_path / "data", id=f"seg-{k:03d}"), target) for k in range(3)]
    whole = files[1].read_text()
    files[1].write_text(whole[:-40])
    command = ["cot", "--root", str(tmp_path / "out"), "--out", str(tmp_path / "index"), "--split", "train"]
    assert prepare.main(command) == 1
    assert prepare.main([*command, "--skip-broken"]) == 0
    assert "seg-001.json" in (tmp_path / "index" / "broken_cot_train.txt").read_text()
    files[1].write_text(whole)
    assert prepare.main(command) == 0
    assert len(cot.open_split(tmp_path / "out", tmp_path / "index", "train")) == 3


def test_a_whole_split_is_exported_read_and_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, index, out = tmp_path / "data", tmp_path / "index", tmp_path / "out"
    write_navsim.write_root(root)
    assert prepare.main(["navsim", "--root", str(root), "--out", str(index), "--split", "navmini"]) == 0
    command = ["navsim", "--root", str(root), "--index", str(index), "--split", "navmini", "--out", str(out)]
    capsys.readouterr()
    assert open_loop_export.main(command) == 0
    assert json.loads(capsys.readouterr().out) == {"samples": 9, "written": 9, "with_thought": 0, "broken": 0}
    sorted((out / "navmini").iterdir())[4].unlink()
    assert open_loop_export.main(command) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 1
    assert prepare.main(["cot", "--root", str(out), "--out", str(index), "--split", "navmini"]) == 0
    found = {sample.id: sample for sample in cot.open_split(out, index, "navmini")}
    ours = navsim.open_split(root, index, "navmini", point="rear_axle", score="none")
    assert len(found) == len(ours)
    for one in ours:
        same(one, found[one.id])
        assert found[one.id].scene == one.scene
    other = ["navsim", "--root", str(tmp_path), *command[3:]]
    assert open_loop_export.main(other) == 1
    sorted((out / "navmini").iterdir())[4].unlink()
    capsys.readouterr()
    assert open_loop_export.main([*command, "--option", "point=centre"]) == 1  # the others are of the rear axle
    assert '"point": "centre"' in capsys.readouterr().err


def test_shifting_the_future_of_a_file_leaves_the_input_unchanged(tmp_path: Path) -> None:
    target = Target(tmp_path / "out", "train", "nuplan", tmp_path / "data")
    target.link()
    file = cot_writer.write(sample(tmp_path / "data"), target)
    one, stored = cot.load(file, tmp_path / "out"), json.loads(file.read_text())
    shifted = [[x + 1.0, y - 3.0, -yaw] for x, y, yaw in stored["gt_trajectory"]]
    file.write_text(json.dumps(stored | {"gt_trajectory": shifted}))
    other = cot.load(file, tmp_path / "out")
    assert not np.array_equal(one.poses, other.poses)
    same(one, dataclasses.replace(other, poses=one.poses))


def test_what_cannot_be_exported_is_listed_when_skipped(tmp_path: Path) -> None:
    target = Target(tmp_path / "out", "train", "waymo", tmp_path / "data")

    class Two(list):
        name, split, broken = "waymo", "train", ()

    samples = Two([sample(tmp_path / "data"), sample(tmp_path / "data", id="seg-013", command=Command.CHANGE_LEFT)])
    with pytest.raises(DatasetError, match="seg-013: command CHANGE_LEFT has no word"):
        open_loop_export.export(samples, target)
    counts = open_loop_export.export(samples, target, skip_broken=True)
    assert counts == {"samples": 2, "written": 0, "with_thought": 2, "broken": 1}
    assert "CHANGE_LEFT" in (tmp_path / "out" / "broken_export_train.txt").read_text()
