"""The whole way: the miniature is written, prepared, trained on for 20 steps, evaluated; the numbers are checked."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from autovla_core.model.encoding import CameraView
from autovla_core.model.vla import AutoVLA
from training import best_of, evaluate_open_loop, open_loop_results, prepare, sft
from training.datasets import nuscenes
from training.datasets.mixture import SourceConfig
from training.datasets.sample import DatasetError, Sample
from training.evaluate_open_loop import EvaluationConfig, evaluate
from training.open_loop_planners import Baseline, Batched, Planned, Sampling, Thinking
from training.open_loop_results import ResultsError
from training.schedule import LoopConfig
from training.sft_settings import DataConfig, LossConfig, ModelConfig, SftConfig

CAMERAS = tuple(CameraView(name, 56, 84) for name in ("front", "front_left", "front_right"))


@pytest.fixture(scope="module")
def model(root: Path, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps of the smallest model on mini_train, thoughts and all."""
    out = tmp_path_factory.mktemp("run")
    assert prepare.main(["nuscenes", "--root", str(root), "--out", str(index), "--split", "mini_train"]) == 0
    recipe = SftConfig(
        data=DataConfig(cache=out / "cache", sources=(SourceConfig("nuscenes", root, index, "mini_train"),)),
        out=out,
        loop=LoopConfig(steps=20, warmup=2, log_every=5, lr=3e-3),
        model=ModelConfig("n01", cameras=CAMERAS),
        loss=LossConfig(outlook=0.0),  # 40 for a thought would make the loss tell how many thoughts a batch holds
        batch_size=4,
        threads=1,
    )
    progress, _ = sft.train(recipe)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert progress.finished and len(losses) == 4 and losses[-1] < losses[0]
    return out / "model"


def settings(root: Path, index: Path, out: Path, **more: object) -> EvaluationConfig:
    return EvaluationConfig("nuscenes", root, index, out, split="mini_val", batch=5, pictures=3, **more)


def plans_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "plans.jsonl").read_text().splitlines()]


def driven(writer: ModuleType, scene: str, key_frame: int) -> np.ndarray:
    """Places (6, 2) of the lidar at the next six key frames of a straight scene: how far the car really went."""
    pose = writer.DRIVES[scene].pose
    start = pose(0.5 * key_frame)[0]
    return np.array([[pose(0.5 * min(key_frame + k, 19))[0] - start, 0.0] for k in range(1, 7)])


def test_the_summary_is_the_mean_of_what_can_be_worked_out_by_hand(
    writer: ModuleType, root: Path, index: Path, model: Path, tmp_path: Path
) -> None:
    summary = evaluate(settings(root, index, tmp_path, checkpoint=model))
    rows = plans_of(tmp_path)
    assert len(rows) == summary["samples"] == 34 and summary["failed"] == 0 and summary["scenes"] == 2
    lidar = 0.943713 - nuscenes.nuscenes_motion.BOX_CENTRE_M  # of the lidar, ahead of the box centre
    distance = np.zeros((34, 6))
    for row in rows:
        key_frame = 3 + row["index"] % 17
        plan = np.array(row["poses"][0])[:6]
        x = plan[:, 0] + lidar * (np.cos(plan[:, 2]) - 1.0)
        y = plan[:, 1] + lidar * np.sin(plan[:, 2])
        known = key_frame + np.arange(1, 7) <= 19
        truth = driven(writer, row["scene"], key_frame)
        distance[row["index"]] = np.hypot(x - truth[:, 0], y - truth[:, 1]) * known
    found = summary["metrics"]
    for horizon, steps in (("1s", 2), ("2s", 4), ("3s", 6)):
        assert found[f"l2_uniad_{horizon}"]["mean"] == pytest.approx(distance[:, steps - 1].mean(), abs=1e-4)
        assert found[f"l2_stp3_{horizon}"]["mean"] == pytest.approx(distance[:, :steps].mean(), abs=1e-4)
    assert found["l2_vad_3s"]["samples"] == 2 * (20 - 3 - 6)  # samples with six key frames to come
    assert all(v["low"] <= v["mean"] <= v["high"] for v in found.values())
    assert summary["thinking_share"] == 0.0 and summary["ms_per_plan"]["mean"] > 0.0
    assert "| l2_uniad_3s |" in (tmp_path / "table.md").read_text()


def test_the_truth_scores_nothing_and_standing_still_what_was_driven(
    writer: ModuleType, root: Path, index: Path, tmp_path: Path
) -> None:
    perfect = evaluate(settings(root, index, tmp_path / "truth", baseline="truth"))["metrics"]
    assert all(value["mean"] == pytest.approx(0.0, abs=1e-3) for value in perfect.values())
    found = evaluate(settings(root, index, tmp_path / "stopped", baseline="stopped"))["metrics"]
    total = 0.0
    for scene in ("scene-0103", "scene-0916"):
        total += sum(driven(writer, scene, k)[5, 0] for k in range(3, 14))  # those whose 3 s are known
    assert found["l2_uniad_3s"]["mean"] == pytest.approx(total / 34, abs=1e-4)


def test_the_worst_samples_are_shown(root: Path, index: Path, tmp_path: Path) -> None:
    evaluate(settings(root, index, tmp_path, baseline="constant_velocity"))
    names = sorted(file.name for file in (tmp_path / "worst").iterdir())
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    worst = sorted(scores, key=lambda row: -row["scores"][0]["l2_stp3_3s"])[:3]
    assert names == [f"{i + 1:02d}_{row['id']}.jpg" for i, row in enumerate(worst)]


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(
    root: Path, index: Path, model: Path, tmp_path: Path
) -> None:
    drawn = {"checkpoint": model, "sampling": Sampling(2, 1.0, 7)}
    evaluate(settings(root, index, tmp_path / "whole", **drawn))
    original, calls = Batched.plan, []

    def tired(self: Batched, samples: Sequence[Sample]) -> list[Planned]:
        calls.append(len(samples))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batched, "plan", tired)
        with pytest.raises(KeyboardInterrupt):
            evaluate(settings(root, index, tmp_path / "halves", **drawn))
    file = tmp_path / "halves" / "plans.jsonl"
    assert len(plans_of(tmp_path / "halves")) == 15
    file.write_text(file.read_text()[:-30])  # killed while it wrote: the third batch is not whole
    evaluate(settings(root, index, tmp_path / "halves", **drawn))
    whole, halves = plans_of(tmp_path / "whole"), plans_of(tmp_path / "halves")
    assert [{**row, "ms": 0} for row in whole] == [{**row, "ms": 0} for row in halves]


def test_another_evaluation_is_not_mixed_in(root: Path, index: Path, tmp_path: Path) -> None:
    evaluate(settings(root, index, tmp_path, baseline="stopped"))
    with pytest.raises(ResultsError, match="planner is 'stopped' there and 'truth' here"):
        evaluate(settings(root, index, tmp_path, baseline="truth"))


def test_a_sample_that_cannot_be_planned_counts_as_a_failure(copy: Path, model: Path, tmp_path: Path) -> None:
    nuscenes.prepare(copy, tmp_path / "index", "mini_val")
    broken = sorted((copy / "samples" / "CAM_FRONT").glob("scene-0103*"))[10]
    broken.write_bytes(broken.read_bytes()[:200])  # truncated: it is in the clips of key frames 10 to 13
    summary = evaluate(settings(copy, tmp_path / "index", tmp_path / "out", checkpoint=model))
    assert (summary["samples"], summary["failed"]) == (34, 4)
    assert all("cannot read the image" in failure["error"] for failure in summary["failures"])
    assert summary["metrics"]["l2_uniad_1s"]["samples"] == 34
    scores = [json.loads(line)["scores"][0] for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    failed = [row["index"] for row in plans_of(tmp_path / "out") if row["error"]]
    assert failed == [7, 8, 9, 10]
    assert scores[7]["l2_uniad_3s"] == pytest.approx(18.0) and scores[7]["collision_uniad_3s"] == 1.0  # 6 m/s, 3 s


def test_plans_in_batches_and_those_that_drive_agree(root: Path, index: Path, model: Path) -> None:
    vla = AutoVLA.from_pretrained(model)
    reader = nuscenes.open_split(root, index, "mini_val")
    samples = [reader[i] for i in (0, 5, 20)]
    together = Batched(vla, Sampling()).plan(samples)
    driving = Thinking(vla).plan(samples)
    for a, b in zip(together, driving):
        assert np.allclose(a.poses, b.poses, atol=1e-5) and b.mode == "fast" and not a.error
        assert a.log_probs[0] == pytest.approx(b.log_probs[0], abs=1e-3)


def test_thoughts_are_kept_and_their_share_is_told(root: Path, index: Path, model: Path, tmp_path: Path) -> None:
    summary = evaluate(settings(root, index, tmp_path, checkpoint=model, thinking="slow", limit=4))
    assert summary["thinking_share"] == 1.0 and summary["failed"] == 0
    rows = plans_of(tmp_path)
    assert {row["mode"] for row in rows} == {"slow"} and any(row["thought"] for row in rows)


def test_best_of_n_takes_the_best_by_truth_and_the_likeliest(
    root: Path, index: Path, model: Path, tmp_path: Path
) -> None:
    chosen = {"checkpoint": model, "sampling": Sampling(4, 1.0, 3), "limit": 12}
    summary = evaluate(settings(root, index, tmp_path, **chosen))
    rows = plans_of(tmp_path)
    assert len(rows) == 12 and all(len(row["poses"]) == 5 for row in rows)
    scores = [json.loads(line)["scores"] for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    oracle = np.mean([min(plan["l2_stp3_3s"] for plan in plans[1:]) for plans in scores])
    likely = [1 + int(np.argmax(row["log_probs"][1:])) for row in rows]
    own = np.mean([plans[number]["l2_stp3_3s"] for plans, number in zip(scores, likely)])
    best = summary["best_of"]
    assert best["plans"] == 4 and best["ranked_by"] == "l2_stp3_3s"
    assert best["oracle"]["l2_stp3_3s"]["mean"] == pytest.approx(oracle, abs=1e-5)
    assert best["own_probability"]["l2_stp3_3s"]["mean"] == pytest.approx(own, abs=1e-5)
    assert oracle <= own


def test_plans_are_drawn_by_the_models_own_probabilities(root: Path, index: Path, model: Path) -> None:
    vla = AutoVLA.from_pretrained(model)
    sample = nuscenes.open_split(root, index, "mini_val")[0]
    greedy = Batched(vla, Sampling()).plan([sample])[0]
    cold = Batched(vla, Sampling(3, 1e-4)).plan([sample])[0]
    assert np.allclose(cold.poses, greedy.poses[0]) and cold.log_probs == pytest.approx(
        [greedy.log_probs[0]] * 4, abs=1e-3
    )
    warm = Batched(vla, Sampling(8, 1.0)).plan([sample])[0]
    assert len({poses.tobytes() for poses in warm.poses[1:]}) > 4 and (warm.log_probs < 0.0).all()
    again = Batched(vla, Sampling(8, 1.0)).plan([sample])[0]
    assert np.array_equal(warm.poses, again.poses)


def test_the_chance_of_a_drawn_token_is_its_probability(model: Path, root: Path, index: Path) -> None:
    """Of 4,000 first tokens, the likeliest one comes as often as the model says, within four standard deviations."""
    vla = AutoVLA.from_pretrained(model)
    sample = nuscenes.open_split(root, index, "mini_val")[0]
    clips = {c: torch.from_numpy(x)[None] for c, x in Batched(vla, Sampling())._pictures.clips(sample).items()}
    ids = torch.tensor([vla.encoder.fast_prefix(sample.speed, sample.acceleration, sample.command)])
    generator = torch.Generator().manual_seed(0)
    arguments = vla.model, vla.encoder, ids, vla.encoder.patches(clips)
    tokens, likely = best_of.sample_actions(*arguments, 4000, 1.0, generator, steps=1)
    values, counts = np.unique(tokens[0, :, 0].numpy(), return_counts=True)
    most = counts.argmax()
    chance = math.exp(likely[0, (tokens[0, :, 0] == int(values[most])).nonzero()[0, 0], 0])
    assert abs(counts[most] / 4000 - chance) < 4.0 * math.sqrt(chance * (1.0 - chance) / 4000)
    with pytest.raises(ValueError, match="expected both positive"):
        best_of.sample_actions(*arguments, 4, 0.0, generator)


def test_pickers_pick_and_unknown_ones_are_named() -> None:
    assert best_of.pick("oracle", [math.nan, -2.0, -1.0], [-1.0, -9.0, -9.0]) == 2
    assert best_of.pick("oracle", [math.nan, math.nan], [-2.0, -1.0]) == 0
    assert best_of.pick("own_probability", [5.0, 1.0], [-3.0, -2.0]) == 1
    with pytest.raises(ValueError, match="known: oracle, own_probability"):
        best_of.pick("truth", [1.0], [1.0])


def test_a_blind_model_sees_black(root: Path, index: Path, model: Path, tmp_path: Path) -> None:
    vla = AutoVLA.from_pretrained(model)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        original = vla.encoder.patches
        patch.setattr(vla.encoder, "patches", lambda clips: seen.append(clips) or original(clips))
        sample = nuscenes.open_split(root, index, "mini_val")[0]
        Batched(vla, Sampling(), blind=True).plan([sample])
    assert all(not images.any() for images in seen[0].values())


def test_a_share_of_the_split_is_spread_evenly() -> None:
    assert evaluate_open_loop._chunks(10, None, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert evaluate_open_loop._chunks(100, 3, 2) == [[0, 50], [99]]
    assert evaluate_open_loop._chunks(2, 5, 4) == [[0, 1]] and evaluate_open_loop._chunks(0, None, 4) == []


def test_the_commands_tell_errors_in_words(root: Path, index: Path, tmp_path: Path, capsys) -> None:
    common = ["--root", str(root), "--index", str(index), "--out", str(tmp_path / "out"), "--split", "mini_val"]
    assert evaluate_open_loop.main(["--dataset", "nuscenes", *common, "--baseline", "stopped", "--limit", "4"]) == 0
    assert "| l2_uniad_3s |" in capsys.readouterr().out
    assert evaluate_open_loop.main(["--dataset", "nuscenes", *common, "--baseline", "truth", "--limit", "4"]) == 1
    assert "holds another evaluation" in capsys.readouterr().err
    assert prepare.main(["nuscenes", "--root", str(tmp_path), "--out", str(tmp_path), "--split", "mini_val"]) == 1
    assert "no nuScenes table" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="known: stopped, constant_velocity"):
        Baseline("clever")
    with pytest.raises(ValueError, match="exactly one"):
        settings(root, index, tmp_path)


def test_a_model_that_was_trained_on_the_split_is_told(root: Path, index: Path, model: Path, tmp_path: Path) -> None:
    for split, seen in (("mini_train", True), ("mini_val", False)):
        chosen = EvaluationConfig("nuscenes", root, index, tmp_path / split, split, model, limit=2, pictures=0)
        assert evaluate(chosen)["trained_on_this_split"] is seen
    assert evaluate_open_loop.trained_on({}) == set() == evaluate_open_loop.trained_on({"recipe": None})


def test_intervals_hold_whole_scenes_together() -> None:
    scores = [{"x": 0.0}] * 50 + [{"x": 1.0}] * 50 + [{"x": math.nan}]
    scenes = ["a"] * 50 + ["b"] * 50 + ["c"]
    found = open_loop_results.means(scores, scenes, 0)["x"]
    assert (found["mean"], found["low"], found["high"], found["samples"]) == (0.5, 0.0, 1.0, 100)
