"""NAVSIM v2's two stages: synthetic scenes are read as logs are, scores come together as worked out by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.contracts import Command
from tests.open_loop.fixtures import write_navhard as hard
from tests.open_loop.fixtures import write_navsim as logs
from training import evaluate_open_loop, navsim_results, navsim_two_stage, prepare
from training.datasets import navsim, navsim_splits, navsim_synthetic, registry
from training.datasets.navsim_scenes import Scenes
from training.datasets.navsim_splits import Group, Pair
from training.datasets.sample import DatasetError, Sample
from training.navsim_two_stage import Planned, score, weights

SPLIT = hard.SPLIT


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two-stage miniature with its index in ``index``; do not change it."""
    root = hard.write_root(tmp_path_factory.mktemp("navhard"))
    navsim.prepare(root, root / "index", SPLIT)
    return root


@pytest.fixture(scope="module")
def reader(data: Path) -> navsim.NavsimReader:
    return navsim.open_split(data, data / "index", SPLIT, score="epdms")


def by_token(reader: navsim.NavsimReader) -> dict[str, Sample]:
    return dict(zip(reader.tokens(), reader))


def test_weights_are_a_gaussian_of_the_distance_to_the_end_of_the_plan() -> None:
    """exp(-d^2 / 0.2): 1 at 0 m, 1/e at sqrt(0.2) m; where all are far they count alike."""
    starts = np.array([[3.0, 4.0], [3.0, 4.0 + math.sqrt(0.2)]])
    near = 1.0 / (1.0 + math.exp(-1.0))
    np.testing.assert_allclose(weights(np.array([3.0, 4.0]), starts), [near, 1.0 - near])
    np.testing.assert_allclose(weights(np.array([50.0, 0.0]), starts), [0.5, 0.5])


def placed(x: float, y: float = 0.0, log: str = "log") -> Sample:
    """A sample at a place, of the rear axle's poses."""
    extra = {"log": log, "record": 3, "rear_axle": np.array([x, y, 0.0]), "ahead_m": 0.0}
    nothing = np.zeros((10, 3))
    return Sample("x", {}, 0.0, 0.0, Command.FOLLOW, nothing[:3], nothing, np.zeros(10, bool), extra=extra)


def terms(progress: float) -> dict[str, float | None]:
    """All terms 1 but the progress; extended comfort is not known yet."""
    found: dict[str, float | None] = dict.fromkeys(navsim_two_stage.NAMES, 1.0)
    return found | {"ego_progress": progress, "two_frame_extended_comfort": None}


GROUPS = (Group(Pair("n", "p"), (Pair("a", "ap"), Pair("b", "bp"))),)
DRIVE = np.column_stack([4.0 * np.arange(1, 11), np.zeros((10, 2))])  # 8 m/s: the fourth second ends at 32 m


def two_stages() -> Planned:
    """From 0 m to 32 m; a starts there, b sqrt(0.2) m aside; a's pair is comfortable, b's is not."""
    places = {"n": (0.0, 0.0), "p": (-4.0, 0.0), "a": (32.0, 0.0), "b": (32.0, math.sqrt(0.2))}
    places |= {"ap": (28.0, 1.0), "bp": (28.0, -1.0)}
    kinds = {"n": "log", "p": "log"}
    samples = {token: placed(x, y, kinds.get(token, f"synthetic/{token}")) for token, (x, y) in places.items()}
    progress = {"n": 0.6, "p": 1.0, "a": 1.0, "ap": 0.2, "b": 1.0, "bp": 0.2}
    return Planned(samples, dict.fromkeys(places, DRIVE), {token: terms(value) for token, value in progress.items()})


def judge(uncomfortable: tuple[Sample, ...]) -> Callable[..., SimpleNamespace]:
    def judged(plans: np.ndarray, sample: Sample, previous: tuple[np.ndarray, Sample]) -> SimpleNamespace:
        comfortable = not any(sample is other for other in uncomfortable)
        return SimpleNamespace(extended_comfort=np.array([float(comfortable)]))

    return judged


def test_two_stages_come_together_as_worked_out_by_hand() -> None:
    """A score is (5 progress + 5 + 2 + 2 + 2 comfort) / 16.

    First stage: now 14 / 16 = 0.875, before 1. Second: a 1, its predecessor 12 / 16; b 14 / 16, its predecessor
    10 / 16. Now a weighs 0.731059 and b 0.268941: 0.966382; before, both are 1 m off and weigh alike: 0.6875.
    The products are 0.845585 and 0.6875, their mean 0.766542.
    """
    planned = two_stages()
    found = score(planned, GROUPS, judge((planned.samples["b"],)))
    scores = {token: values[-1] for token, (_, _, values) in found.rows.items()}
    assert scores == {"n": 0.875, "p": 1.0, "a": 1.0, "ap": 0.75, "b": 0.875, "bp": 0.625}
    near = 1.0 / (1.0 + math.exp(-1.0))
    later = near + 0.875 * (1.0 - near)
    assert found.first[-1] == pytest.approx((0.875 + 1.0) / 2)
    assert found.second[-1] == pytest.approx((later + 0.6875) / 2) == pytest.approx(0.826941, abs=1e-6)
    assert found.both[-1] == pytest.approx((0.875 * later + 0.6875) / 2) == pytest.approx(0.766542, abs=1e-6)


def test_a_moment_without_a_plan_scores_nothing_and_stands_where_it_was() -> None:
    """The first stage has no plan: its product is 0, both moments lose their comfort, and a and b are far and alike."""
    planned = two_stages()
    plans = {token: plan for token, plan in planned.plans.items() if token != "n"}
    lost = dataclasses.replace(planned, plans=plans, terms={**planned.terms, "n": None})
    found = score(lost, GROUPS, judge(()))
    assert found.rows["n"][0] is False and not found.rows["n"][2].any()
    assert found.rows["p"][2][-1] == pytest.approx(14 / 16)
    assert found.both[-1] == pytest.approx((0.0 + 14 / 16 * 0.75) / 2)
    head, *rows = csv.reader(navsim_two_stage.table(found).splitlines())
    assert rows[0][1:4] == ["n", "False", ""] and {row[2] for row in rows[-3:]} == {"False"}


def test_a_group_that_is_not_whole_is_named_and_one_that_is_not_there_left_out() -> None:
    planned = two_stages()
    other = Group(Pair("x", "y"), (Pair("z", "w"),))
    assert score(planned, (*GROUPS, other), judge(())).rows.keys() == planned.samples.keys()
    with pytest.raises(DatasetError, match="none of 1 groups"):
        score(planned, (other,), judge(()))
    samples = {token: sample for token, sample in planned.samples.items() if token != "bp"}
    with pytest.raises(DatasetError, match="1 of 6 scenes of 1 groups .* the first is bp; .*--limit"):
        score(dataclasses.replace(planned, samples=samples), GROUPS, judge(()))


def test_a_synthetic_scene_is_a_sample_that_nobody_drove(reader: navsim.NavsimReader, data: Path) -> None:
    assert len(reader) == 2 + 6
    sample = by_token(reader)[hard.token(1, 12)]
    np.testing.assert_allclose(sample.extra["rear_axle"][:2], hard.ego(1, 12)[:2] + logs.ORIGIN, atol=1e-6)
    assert (sample.scene, sample.speed, sample.acceleration) == (logs.LOG, 8.0, 0.25)
    assert sample.command is Command.FOLLOW and not sample.mask.any()
    assert set(sample.images) == {"front", "front_left", "front_right"}  # those that were rendered
    folder = data / SPLIT / "sensor_blobs" / hard.token(1, 12) / "CAM_F0"
    assert [image.path for image in sample.images["front"]] == [folder / f"{record}.jpg" for record in range(9, 13)]
    assert sample.images["front"][3].read().shape == (56, 96, 3)
    assert sample.history[-1, 0] == pytest.approx(-4.0, abs=0.01)


def test_others_drive_on_whether_frames_or_objects_tell_it(
    make: dict[str, type], reader: navsim.NavsimReader, tmp_path: Path
) -> None:
    """The same scene twice: with eight more frames, and with nuPlan's own objects after the last frame."""
    root = hard.write_root(tmp_path / "root", make)
    navsim.prepare(root, tmp_path, SPLIT)
    other = navsim.open_split(root, tmp_path, SPLIT, score="epdms")
    token = hard.token(2, 12)
    one, two = by_token(reader)[token], by_token(other)[token]
    a, b = Scenes(reader.root, SPLIT)(one), Scenes(root, SPLIT)(two)
    assert {track.id for track in a.tracks} == {"car-ahead", "person", "cone", "car-left"} and a.human is None
    kinds = {track.id: track for track in b.tracks}
    for track in a.tracks:
        same = kinds[track.id]
        assert (track.kind, track.length, track.width) == (same.kind, same.length, same.width)
        np.testing.assert_allclose(track.states, same.states, atol=1e-6)
    assert a.tracks[0].states.shape == (9, 5) and a.red_lights["302"].all()
    assert {name: red.tolist() for name, red in a.red_lights.items()} == {
        name: red.tolist() for name, red in b.red_lights.items()
    }
    ahead = next(track for track in a.tracks if track.id == "car-ahead")  # 25 m before the log's car, not before ours
    np.testing.assert_allclose(ahead.states[0, :2] - logs.ORIGIN, [logs.ego(12)[0] + 25.0, -1.75], atol=1e-6)
    assert navsim.score(DRIVE, one) == pytest.approx(navsim.score(DRIVE, two), nan_ok=True)


def evaluated(data: Path, out: Path, score: str = "epdms", *more: str) -> list[str]:
    where = ["--root", str(data), "--index", str(data / "index")]
    command = ["--dataset", "navsim", "--split", SPLIT, *where, "--baseline", "constant_velocity", "--out", str(out)]
    assert evaluate_open_loop.main([*command, "--option", f"score={score}", "--pictures", "0", *more]) == 0
    return [str(out), *where, "--out", str(out / "table.csv")]


def test_the_table_has_the_devkits_rows_and_columns(data: Path, tmp_path: Path) -> None:
    """Constant velocity ends 32 m ahead of record 4 (and 3); its score is made of the rows above it."""
    assert navsim_results.main(evaluated(data, tmp_path / "out")) == 0
    head, *rows = csv.reader((tmp_path / "out" / "table.csv").open())
    names = navsim_two_stage.NAMES[:-1]
    assert head == [
        "",
        "token",
        "valid",
        *(f"{n}_stage_one" for n in names),
        *(f"{n}_stage_two" for n in names),
        "score",
    ]
    found = {row[1]: dict(zip(head, row)) for row in rows}
    firsts = [logs.token(logs.LOG, record) for record in hard.FIRST]
    total = 0.0
    for first, record, now in zip(firsts, hard.FIRST, hard.SECOND):
        pose = logs.ego(record)
        end = pose[:2] + 32.0 * np.array([math.cos(pose[2]), math.sin(pose[2])])
        near = [math.exp(-np.sum((hard.ego(v, now)[:2] - end) ** 2) / 0.2) for v in range(3)]
        later = [float(found[hard.token(v, now)]["score"]) for v in range(3)]
        total += float(found[first]["score"]) * np.average(later, weights=near) / 2
    assert float(found["extended_pdm_score_combined"]["score"]) == pytest.approx(total, abs=1e-6)
    assert [row[1] for row in rows[-3:]] == [
        f"extended_pdm_score_{name}" for name in ("stage_one", "stage_two", "combined")
    ]
    for token, row in found.items():
        stage = "_two" if len(token) == 17 else "_one"
        filled = {name for name in head[3:-1] if row[name] != ""}
        if token not in ("extended_pdm_score_stage_two", "extended_pdm_score_combined"):
            assert filled == {name for name in head[3:-1] if name.endswith(stage)} and row["valid"] == "True"
        if stage == "_two":  # straight on at the same speed as 0.5 s before
            assert row["two_frame_extended_comfort_stage_two"] == "1.0"


def test_a_two_stage_table_needs_the_data_and_v2(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = evaluated(data, tmp_path / "v1", "pdms")
    assert navsim_results.main(arguments) == 1 and "not evaluated with score=epdms" in capsys.readouterr().err
    assert navsim_results.main([arguments[0], *arguments[-2:]]) == 1
    assert "needs --root and --index" in capsys.readouterr().err
    arguments = evaluated(data, tmp_path / "some", "epdms", "--limit", "3")
    assert navsim_results.main(arguments) == 1 and "not in this evaluation" in capsys.readouterr().err
    run = json.loads((tmp_path / "v1" / "run.json").read_text())
    (tmp_path / "v1" / "run.json").write_text(json.dumps(run | {"dataset": "waymo"}))
    assert navsim_results.main([arguments[0].replace("some", "v1"), *arguments[1:]]) == 1
    assert "is an evaluation on waymo" in capsys.readouterr().err


def test_nobody_trains_on_a_two_stage_split() -> None:
    with pytest.raises(DatasetError, match="has no score"):
        registry.refuse_held_out("navsim", SPLIT, i_know=False)
    assert set(navsim.TEST_SPLITS) == set(registry.entry("navsim").held_out)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A miniature to break."""
    return hard.write_root(tmp_path / "root")


def test_a_synthetic_scene_that_is_lost_broken_or_hostile_is_named(own: Path, tmp_path: Path) -> None:
    path = own / SPLIT / "synthetic_scene_pickles" / f"{hard.token(0, 12)}.pkl"
    whole = path.read_bytes()

    class Asks:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1",)

    scene = hard.scene(0, 12)
    for content, text in (
        (whole[:900], "is not a pickle that can be read"),
        (pickle.dumps({"frames": Asks()}), "'builtins.eval', which is refused"),
        (pickle.dumps({"scene_metadata": {}}), "not laid out as the devkit's: KeyError"),
        (pickle.dumps(scene | {"frames": scene["frames"][:2]}), "has 2 frames, of which number 3 should be now"),
    ):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=f"synthetic scene .*{path.name}.*{text}"):
            navsim.prepare(own, tmp_path, SPLIT)
    counts = prepare.prepare("navsim", own, tmp_path, SPLIT, skip_broken=True)
    assert (counts["samples"], counts["broken"]) == (7, 2)  # the file, and the token that the filter asks for
    path.unlink()
    with pytest.raises(DatasetError, match=f"1 of 8 tokens of its filter are in no log .*{hard.token(0, 12)}"):
        navsim.prepare(own, tmp_path, SPLIT)


def test_a_lost_picture_or_a_nan_pose_of_a_synthetic_scene_is_named(own: Path, tmp_path: Path) -> None:
    lost = own / SPLIT / "sensor_blobs" / hard.token(1, 11) / "CAM_L0" / "9.jpg"
    lost.unlink()
    with pytest.raises(DatasetError, match=f"no image .*{hard.token(1, 11)}/CAM_L0/9.jpg"):
        navsim.prepare(own, tmp_path, SPLIT)
    scene = hard.scene(1, 11)
    scene["frames"][2]["ego_status"]["ego_pose"][0] = np.nan
    path = own / SPLIT / "synthetic_scene_pickles" / f"{hard.token(1, 11)}.pkl"
    path.write_bytes(pickle.dumps(scene))
    with pytest.raises(DatasetError, match="frame 2: ego_pose is .*expected finite"):
        navsim_synthetic.read_scene(path)


def test_a_split_without_its_scenes_or_its_table_says_where_they_should_lie(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="reactive_all_mapping of"):
        (own / "train_test_split" / f"{SPLIT}.yaml").write_text("reactive_all_mapping: [[a, b, [[c]]]]\n")
        navsim_splits.groups(own, SPLIT)
    with pytest.raises(DatasetError, match="reactive_all_mapping of"):
        (own / "train_test_split" / f"{SPLIT}.yaml").write_text("data_split: test\n")
        navsim_splits.groups(own, SPLIT)
    (own / SPLIT / "synthetic_scene_pickles").rename(own / "elsewhere")
    with pytest.raises(DatasetError, match=f"no synthetic scenes .*{SPLIT}/synthetic_scene_pickles"):
        navsim.prepare(own, tmp_path, SPLIT)


def test_the_future_of_a_synthetic_scene_is_not_seen(own: Path, tmp_path: Path, reader: navsim.NavsimReader) -> None:
    scene = hard.scene(0, 12)
    for later in scene["frames"][4:]:
        later["ego_status"]["ego_pose"] += [0.0, 5.0, 0.1]
        later["annotations"]["boxes"] = later["annotations"]["boxes"] + 1.0
    path = own / SPLIT / "synthetic_scene_pickles" / f"{hard.token(0, 12)}.pkl"
    path.write_bytes(pickle.dumps(scene))
    navsim.prepare(own, tmp_path, SPLIT)
    before, after = by_token(reader)[path.stem], by_token(navsim.open_split(own, tmp_path, SPLIT))[path.stem]
    np.testing.assert_array_equal(before.history, after.history)
    np.testing.assert_array_equal(before.poses, after.poses)
    assert (before.speed, before.acceleration, before.command) == (after.speed, after.acceleration, after.command)
