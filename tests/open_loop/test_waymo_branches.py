"""What can go wrong with Waymo's shards and side files, each under its name; ratings on the miniature; a submission."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.open_loop.fixtures import write_waymo as fixture
from training import evaluate_open_loop, waymo_submission
from training.datasets import protobuf_wire as wire
from training.datasets import registry, waymo, waymo_index
from training.datasets.sample import DatasetError, Sample

pytest.importorskip("google_crc32c")

SPEED = 8.0
AT = fixture.moment(0.0, SPEED)
NO_FUTURE = dataclasses.replace(AT, future=np.zeros((0, 2)))
METHOD = {"account_name": "a@b.org", "unique_method_name": "m", "authors": ["A"], "num_model_parameters": "3B"}
TIMES = 0.25 * np.arange(1, 21)


def line(speed: float) -> np.ndarray:
    """(20, 2) straight on."""
    return np.stack([speed * TIMES, 0.0 * TIMES], axis=1)


def write(root: Path, prefix: str = fixture.TRAIN, at: fixture.Moment = AT, segments: int = 1, shards: int = 2) -> Path:
    records = [r for s in range(1, segments + 1) for r in fixture.frames(s, 0, 17, at, (16, 16))]
    fixture.write_shards(root, prefix, records, shards)
    return root


def prepared(root: Path, split: str, **changes: object) -> waymo.WaymoReader:
    waymo.prepare(root, root / "out", split)
    return waymo.open_split(root, root / "out", split, **changes)


def test_splits_shards_and_points_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'training'; known: train, val"):
        waymo.prepare(tmp_path, tmp_path / "out", "training")
    with pytest.raises(DatasetError, match=r"holds no training\*"):
        waymo.prepare(tmp_path, tmp_path / "out", "train")
    with pytest.raises(DatasetError, match="no whole index of 'train'.*training.prepare waymo"):
        waymo.open_split(tmp_path, tmp_path / "out", "train")
    write(tmp_path)
    waymo.prepare(tmp_path, tmp_path / "out", "train")
    with pytest.raises(DatasetError, match="no point 'nose'; known: centre, rear_axle"):
        waymo.open_split(tmp_path, tmp_path / "out", "train", point="nose")


def test_a_shard_that_changed_and_an_index_of_another_schema_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    prepared(tmp_path, "train")
    shard = sorted(tmp_path.glob("training*"))[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole + fixture.tfrecord(b"x"))
    with pytest.raises(DatasetError, match=f"{shard.name} is missing or has not the {len(whole)} bytes"):
        waymo.open_split(tmp_path, tmp_path / "out", "train")
    shard.write_bytes(whole)
    file = tmp_path / "out" / "waymo_train" / "index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    with pytest.raises(DatasetError, match="schema 99"):
        waymo.open_split(tmp_path, tmp_path / "out", "train")


def test_missing_shards_are_counted_and_too_few_make_no_clip(tmp_path: Path) -> None:
    write(tmp_path, segments=3)
    assert waymo.prepare(tmp_path, tmp_path / "out", "train")["shards_missing"] == 0
    write(tmp_path / "part", shards=9)
    for path in sorted((tmp_path / "part").glob("training*"))[1:]:
        path.unlink()
    with pytest.raises(DatasetError, match="no sample for 'train'.*'shards_missing': 8.*all shards"):
        waymo.prepare(tmp_path / "part", tmp_path / "out2", "train")


def test_a_shard_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    read, original = [], waymo_index._scan
    monkeypatch.setattr(waymo_index, "_scan", lambda path: read.append(path.name) or original(path))
    first, second = sorted(path.name for path in tmp_path.glob("training*"))
    for _ in range(2):
        waymo.prepare(tmp_path, tmp_path / "out", "train")
    assert read == [first, second]
    (tmp_path / second).write_bytes((tmp_path / second).read_bytes() + fixture.tfrecord(b"no frame"))
    assert waymo.prepare(tmp_path, tmp_path / "out", "train", skip_broken=True)["broken"] == 1
    assert read == [first, second, second]


def changed(**changes: object) -> fixture.Moment:
    return dataclasses.replace(AT, **changes)


def frame(at: fixture.Moment = AT, name: str = "seg-000", picture: bytes | None = None) -> bytes:
    pictures = {c: picture or fixture.picture(1, 0, c, (16, 16)) for c in range(1, 9)}
    return fixture.e2ed_frame(name, pictures, at)


BROKEN = {
    "no camera 'front'": (lambda: frame(picture=b"GIF89a"), "camera 'front' has no JPEG"),
    "a name without a number": (lambda: frame(name="segment"), "is not <segment>-<number>"),
    "a name that is too long": (lambda: frame(name="s" * 80 + "-001"), "is not <segment>-<number>"),
    "fifteen past states": (lambda: frame(changed(past=AT.past[1:])), "expected 16 of each"),
    "a past that jumps": (lambda: frame(changed(past=AT.past * 40.0)), "past states jump by 80.0 m"),
    "a past that ends elsewhere": (lambda: frame(changed(past=AT.past + 0.5)), "expected at the origin"),
    "a future of 21 states": (lambda: frame(changed(future=np.zeros((21, 2)))), "future states: 21"),
    "a future that jumps": (lambda: frame(changed(future=line(400.0))), "future states jump by 100.0 m"),
    "a score of 11": (lambda: frame(changed(rated=[(line(8.0), 11.0)])), "and the score 11.0"),
    "a rating of nothing": (lambda: frame(changed(rated=[(np.zeros((0, 2)), 5.0)])), "has 0 points"),
    "a rating with NaN": (lambda: frame(changed(rated=[(line(np.nan), 5.0)])), "rated states hold NaN"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_record_is_named_with_its_place_and_listed_when_skipped(case: str, tmp_path: Path) -> None:
    make, text = BROKEN[case]
    records = [*fixture.frames(1, 0, 17, AT, (16, 16)), make()]
    fixture.write_shards(tmp_path, fixture.TRAIN, records, 1)
    with pytest.raises(DatasetError, match=rf"of-00001 record \d+: .*{text}"):
        waymo.prepare(tmp_path, tmp_path / "out", "train")
    counts = waymo.prepare(tmp_path, tmp_path / "out", "train", skip_broken=True)
    assert (counts["records"], counts["broken"], counts["all"]) == (17, 1, 2)
    listed = waymo.open_split(tmp_path, tmp_path / "out", "train", skip_broken=True).broken
    assert len(listed) == 1 and text in listed[0]


def test_a_frame_that_comes_twice_counts_once(tmp_path: Path) -> None:
    records = fixture.frames(1, 0, 17, AT, (16, 16))
    fixture.write_shards(tmp_path, fixture.TRAIN, [*records, records[3]], 1)
    with pytest.raises(DatasetError, match="-003 comes twice"):
        waymo.prepare(tmp_path, tmp_path / "out", "train")
    assert waymo.prepare(tmp_path, tmp_path / "out", "train", skip_broken=True)["records"] == 17


@pytest.mark.parametrize(
    ("content", "text"), [("{", "no readable JSON"), ("[]", "holds a list"), ('{"a": "x"}', "segment names and frame")]
)
def test_a_broken_list_of_frames_is_named(content: str, text: str, tmp_path: Path) -> None:
    write(tmp_path, fixture.TEST, NO_FUTURE)
    (tmp_path / waymo.SUBMISSION_FILE).write_text(content)
    with pytest.raises(DatasetError, match=text):
        waymo.prepare(tmp_path, tmp_path / "out", "test_submission")


def test_without_the_list_of_frames_there_is_nothing_to_submit(tmp_path: Path) -> None:
    write(tmp_path, fixture.TEST, NO_FUTURE)
    with pytest.raises(DatasetError, match="no sample for 'test_submission'"):
        waymo.prepare(tmp_path, tmp_path / "out", "test_submission")
    assert len(prepared(tmp_path, "test")) == 2


@pytest.mark.parametrize("entry", ["Cyclist", {"scenario_cluster": "Cyclist"}])
def test_a_sample_knows_its_cluster(entry: object, tmp_path: Path) -> None:
    write(tmp_path, fixture.VAL, segments=2)
    (tmp_path / waymo.CLUSTER_FILE).write_text(json.dumps({fixture.segment_name(1): entry}))
    found = {sample.scene: sample.extra["waymo"].cluster for sample in prepared(tmp_path, "val")}
    assert found == {fixture.segment_name(1): "Cyclist", fixture.segment_name(2): ""}


def test_a_part_of_a_split_that_was_trained_on_was_trained_on_too() -> None:
    """The paper trains on Waymo's val; the rated frames are some of it."""
    assert registry.share("waymo", "val_rated", "val") and registry.share("waymo", "val", "val_rated")
    assert registry.share("navsim", "navtest", "test") and registry.share("navsim", "navtrain", "navtrain")
    assert not registry.share("waymo", "val_rated", "train") and not registry.share("navsim", "navtest", "trainval")


def test_a_sample_of_another_data_set_has_no_score() -> None:
    none = Sample("x", {}, 0.0, 0.0, 4, np.zeros((0, 3)), np.zeros((10, 3)), np.zeros(10, bool))
    with pytest.raises(ValueError, match="x is no sample of the Waymo data set"):
        waymo.score(np.zeros((10, 3)), none)


def straight_plan(speed: float) -> np.ndarray:
    return np.column_stack([speed * 0.5 * np.arange(1, 11), np.zeros(10), np.zeros(10)])


def test_ratings_of_the_miniature_make_the_score_that_the_definition_does(tmp_path: Path) -> None:
    # People gave 8 to going on at 8 m/s and 9 to slowing to 6 m/s. At 8 m/s the region is 0.5 + 0.5 * 6.6 / 9.6 =
    # 0.84375 of its full size: 3.375 m along at 3 s, 6.075 m at 5 s.
    rated = [(line(8.0), 8.0), (line(6.0), 9.0), (line(1.0), -1.0)]
    records = fixture.frames(1, 0, 17, dataclasses.replace(AT, rated=rated), (16, 16))
    fixture.write_shards(tmp_path, fixture.VAL, [*records, *fixture.frames(2, 0, 17, AT, (16, 16))], 2)
    reader = prepared(tmp_path, "val_rated")
    assert len(reader) == 2 and {sample.scene for sample in reader} == {fixture.segment_name(1)}
    scores = {speed: waymo.score(straight_plan(speed), reader[0]) for speed in (8.0, 7.0, 5.0, 0.0)}
    assert scores[8.0]["rfs"] == pytest.approx(8.0)  # 6 m and 10 m from the slower one: 9 * 0.1^0.78, 9 * 0.1^0.65
    assert scores[7.0]["rfs"] == pytest.approx(9.0)  # 3 m and 5 m from both: inside of both
    assert scores[5.0]["rfs"] == pytest.approx(9.0)  # 3 m and 5 m from the slower one
    assert scores[0.0]["rfs"] == 4.0  # in no region: the floor
    assert scores[8.0]["ade_5s"] == pytest.approx(2.0 * 2.625) and scores[8.0]["ade_3s"] == pytest.approx(2.0 * 1.625)
    assert scores[8.0]["log_ade_5s"] == pytest.approx(0.0, abs=1e-5)
    assert len(prepared(tmp_path, "val")) == 4


def test_the_challenge_takes_the_mean_of_cluster_means(tmp_path: Path) -> None:
    """Two cyclists' frames score 8 each, one in a cut-in 4: the mean of frames is 6.67, that of the clusters 6."""
    records = []
    for segment, speed in ((1, 8.0), (2, 8.0), (3, 20.0)):  # people wanted this; a plan at 8 m/s is far from the last
        at = dataclasses.replace(AT, rated=[(line(speed), 8.0)])
        records += fixture.frames(segment, 0, 16, at, (16, 16))
    fixture.write_shards(tmp_path, fixture.VAL, records, 2)
    told = {1: "Cyclist", 2: "Cyclist", 3: "Cut_ins"}
    named = {fixture.segment_name(segment): cluster for segment, cluster in told.items()}
    (tmp_path / waymo.CLUSTER_FILE).write_text(json.dumps(named))
    waymo.prepare(tmp_path, tmp_path / "out", "val_rated")
    where = ["--dataset", "waymo", "--root", str(tmp_path), "--index", str(tmp_path / "out"), "--split", "val_rated"]
    out = tmp_path / "results"
    run = [*where, "--baseline", "constant_velocity", "--out", str(out), "--pictures", "0"]
    assert evaluate_open_loop.main(run) == 0
    found = json.loads((out / "summary.json").read_text())
    assert found["samples"] == 3 and found["metrics"]["rfs"]["mean"] == pytest.approx(20 / 3, abs=1e-5)
    rfs = found["over_clusters"]["metrics"]["rfs"]
    assert rfs["mean"] == pytest.approx(6.0) and rfs["clusters"] == {"Cut_ins": 4.0, "Cyclist": 8.0}
    assert "rfs, mean over 2 scenario clusters: 6.000" in (out / "table.md").read_text()


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., Path]:
    """The test split with two wanted frames, planned for by a rule."""

    def made(rule: str = "constant_velocity", split: str = "test_submission") -> Path:
        root = write(tmp_path / "data", fixture.TEST, NO_FUTURE, segments=2)
        asked = {fixture.segment_name(1): 16, fixture.segment_name(2): 15}
        (root / waymo.SUBMISSION_FILE).write_text(json.dumps(asked))
        waymo.prepare(root, tmp_path / "index", split)
        where = ["--dataset", "waymo", "--root", str(root), "--index", str(tmp_path / "index"), "--split", split]
        out = tmp_path / f"{rule}_{split}"
        assert evaluate_open_loop.main([*where, "--baseline", rule, "--out", str(out), "--pictures", "0"]) == 0
        return out

    return made


def submit(results: Path, *more: str, **changes: object) -> int:
    folder = results.parent
    (folder / "method.yaml").write_text(yaml.safe_dump(METHOD | changes))
    where = ["--root", str(folder / "data"), "--method", str(folder / "method.yaml"), "--out", str(folder / "m.tar.gz")]
    return waymo_submission.main([str(results), *where, *more])


def submitted(archive: Path) -> dict[str, np.ndarray]:
    """{frame: (20, 2)} out of an archive, by the wire alone."""
    text, floats = (wire.BYTES,), (wire.BYTES, wire.FIXED32)
    found = {}
    with tarfile.open(archive) as tar:
        shards = [tar.extractfile(name).read() for name in tar.getnames()]
    for data in shards:
        for span in wire.spans(field for field in wire.fields(data, 0, len(data)) if field.number == 1):
            parts = wire.message(data, [span], {1: text, 2: text})
            ((start, end),) = wire.spans(parts[1])
            points = wire.message(data, wire.spans(parts[2]), {1: floats, 2: floats})
            found[data[start:end].decode()] = np.column_stack([wire.floats(data, points[n]) for n in (1, 2)])
    return found


def test_an_evaluation_becomes_a_submission(evaluated: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    results = evaluated()
    capsys.readouterr()
    assert submit(results, "--shards", "2") == 0
    assert json.loads(capsys.readouterr().out) == {"frames": 2, "standing_still": 0, "shards": 2}
    found = submitted(results.parent / "m.tar.gz")
    assert set(found) == {f"{fixture.segment_name(1)}-016", f"{fixture.segment_name(2)}-015"}
    for points in found.values():
        np.testing.assert_allclose(points, line(SPEED), atol=1e-3)


def test_frames_without_a_plan_are_submitted_only_when_told(
    evaluated: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    results = evaluated()
    rows = [json.loads(text) for text in (results / "plans.jsonl").read_text().splitlines()]
    rows[0] |= {"error": "DatasetError: no picture", "poses": []}
    (results / "plans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert submit(results) == 1
    assert f"1 frames have no plan, the first is {rows[0]['id']}" in capsys.readouterr().err
    assert not (results.parent / "m.tar.gz").exists()
    assert submit(results, "--stand-still") == 0
    assert not submitted(results.parent / "m.tar.gz")[rows[0]["id"]].any()


def test_a_frame_whose_record_was_left_out_stands_still_too(
    evaluated: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    results = evaluated()
    rows = (results / "plans.jsonl").read_text().splitlines(keepends=True)
    (results / "plans.jsonl").write_text(rows[1])
    lost, kept = (json.loads(row)["id"] for row in rows)
    assert submit(results) == 1
    assert f"1 frames have no plan, the first is {lost}" in capsys.readouterr().err
    assert submit(results, "--stand-still") == 0
    assert json.loads(capsys.readouterr().out) == {"frames": 2, "standing_still": 1, "shards": 1}
    found = submitted(results.parent / "m.tar.gz")
    assert set(found) == {lost, kept} and not found[lost].any() and found[kept].any()


def test_a_submission_that_cannot_be_is_refused(
    evaluated: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = evaluated(split="test")  # plans for frames that nobody asked for
    assert submit(whole) == 1 and "are not asked" in capsys.readouterr().err
    assert submit(tmp_path / "nowhere") == 1 and "holds no whole evaluation" in capsys.readouterr().err
    assert submit(whole, account_name="nobody") == 1 and "needs an e-mail" in capsys.readouterr().err
    assert submit(whole, colour="red") == 1 and "unknown ['colour']" in capsys.readouterr().err
    run = json.loads((whole / "run.json").read_text())
    (whole / "run.json").write_text(json.dumps(run | {"dataset": "navsim"}))
    assert submit(whole) == 1 and "expected 'waymo'" in capsys.readouterr().err
