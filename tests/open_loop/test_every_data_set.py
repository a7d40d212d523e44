"""One way for all: each miniature is prepared, trained on in one mixture, and evaluated; the numbers are worked out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autovla_core.model.encoding import CameraView
from tests.open_loop.fixtures import write_navsim, write_waymo
from training import evaluate_open_loop, open_loop_export, prepare, sft
from training.datasets import registry
from training.datasets.mixture import SourceConfig
from training.schedule import LoopConfig
from training.sft_settings import DataConfig, LossConfig, ModelConfig, SftConfig

SPLITS = {"nuscenes": "mini_train", "navsim": "navmini", "cot": "navmini", "waymo": "train"}
NEEDS = {"waymo": "google_crc32c"}
AHEAD_M = {"navsim": 1.461, "cot": 0.0, "waymo": 1.495}  # of what the poses are, before the rear axle
SPEED, BEND = 8.0, 0.01  # of Waymo's miniature: m/s, and 1/m for each segment
CAMERAS = tuple(CameraView(name, 56, 84) for name in ("front", "front_left", "front_right"))


@pytest.fixture(scope="module")
def roots(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The miniatures of all data sets whose packages are installed."""
    found = {"nuscenes": root, "navsim": tmp_path_factory.mktemp("navsim")}
    write_navsim.write_root(found["navsim"])
    try:
        import google_crc32c  # noqa: F401
    except ImportError:
        return found
    found["waymo"] = tmp_path_factory.mktemp("waymo")
    moments = [write_waymo.moment(BEND * segment, SPEED) for segment in range(3)]
    records = [r for segment, at in enumerate(moments) for r in write_waymo.frames(segment, 0, 25, at)]
    write_waymo.write_shards(found["waymo"], "training", records, 2)
    return found


@pytest.fixture(scope="module")
def indices(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them indexed; the official JSON is what our export of NAVSIM writes."""
    out = tmp_path_factory.mktemp("all")
    for name, root in roots.items():
        assert prepare.main([name, "--root", str(root), "--out", str(out), "--split", SPLITS[name]]) == 0
    where = ["--root", str(roots["navsim"]), "--index", str(out), "--split", "navmini"]
    roots["cot"] = tmp_path_factory.mktemp("cot")
    assert open_loop_export.main(["navsim", *where, "--out", str(roots["cot"])]) == 0
    assert prepare.main(["cot", "--root", str(roots["cot"]), "--out", str(out), "--split", SPLITS["cot"]]) == 0
    return out


def evaluate(name: str, roots: dict[str, Path], index: Path, out: Path, *who: str) -> dict[str, dict]:
    """The metrics of six samples."""
    if name not in roots:
        pytest.skip(f"{name} needs {NEEDS[name]}")
    where = ["--dataset", name, "--root", str(roots[name]), "--index", str(index), "--split", SPLITS[name]]
    assert evaluate_open_loop.main([*where, *who, "--out", str(out), "--limit", "6", "--pictures", "2"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["failed"] == 0 and summary["samples"] >= 6
    return summary["metrics"]


@pytest.mark.parametrize("name", SPLITS)
def test_the_truth_is_perfect_and_standing_still_is_not(
    name: str, roots: dict[str, Path], indices: Path, tmp_path: Path
) -> None:
    means = {}
    for rule in ("truth", "stopped"):
        metrics = evaluate(name, roots, indices, tmp_path / rule, "--baseline", rule)
        means[rule] = {metric: value["mean"] for metric, value in metrics.items()}
    assert means["truth"]["ade_known_5s"] == pytest.approx(0.0, abs=1e-3)
    assert means["stopped"]["ade_known_5s"] > 5.0
    rank = registry.entry(name).rank
    better = means["truth"][rank] > means["stopped"][rank]
    assert better == registry.entry(name).higher_is_better


@pytest.fixture(scope="module")
def model(roots: dict[str, Path], indices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps on all of them."""
    out = tmp_path_factory.mktemp("mixture")
    options = {"navsim": {"score": "none"}}
    sources = tuple(
        SourceConfig(name, root, indices, SPLITS[name], weight=1.0, options=options.get(name, {}))
        for name, root in roots.items()
    )
    recipe = SftConfig(
        data=DataConfig(cache=out / "cache", sources=sources, held_out_samples=6),
        out=out / "run",
        loop=LoopConfig(steps=20, warmup=2, log_every=5, lr=3e-3),
        model=ModelConfig("n01", cameras=CAMERAS),
        loss=LossConfig(outlook=0.0),
        batch_size=4,
        threads=1,
    )
    progress, scores = sft.train(recipe)
    rows = [json.loads(line) for line in (out / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert progress.finished and losses[-1] < losses[0] and np.isfinite(scores["ade_m"])
    return out / "run" / "model"


def moved(rear: np.ndarray, ahead_m: float) -> np.ndarray:
    """Poses (N, 3) of the rear axle, relative to it now, as those of a point before it, relative to that now."""
    turn = np.column_stack([np.cos(rear[:, 2]) - 1.0, np.sin(rear[:, 2]), np.zeros(len(rear))])
    return rear + ahead_m * turn


def arc(segment: int, times: np.ndarray) -> np.ndarray:
    """(N, 3) of the rear axle of a segment of Waymo's miniature."""
    yaw = BEND * segment * SPEED * times
    return np.column_stack([write_waymo.arc(BEND * segment, SPEED, times), yaw])


def driven(name: str, token: str) -> np.ndarray:
    """(K, 3) known poses at 0.5 s, 1 s ... of a sample, out of the functions that the miniatures are drawn by."""
    if name == "waymo":
        return moved(arc(int(token.partition("-")[0], 16), 0.5 * np.arange(1, 11)), AHEAD_M[name])
    now = int(token[4:], 16)  # NAVSIM's record
    later = np.array([write_navsim.ego(k) for k in range(now + 1, min(now + 11, 30))]) - write_navsim.ego(now)
    cos, sin = np.cos(write_navsim.ego(now)[2]), np.sin(write_navsim.ego(now)[2])
    return moved(later @ np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]), AHEAD_M[name])


@pytest.mark.parametrize("name", AHEAD_M)
def test_what_a_trained_model_scores_follows_from_its_plans(
    name: str, model: Path, roots: dict[str, Path], indices: Path, tmp_path: Path
) -> None:
    """nuScenes' metrics are worked out in test_evaluation.py, in the same way."""
    metrics = evaluate(name, roots, indices, tmp_path / "out", "--checkpoint", str(model))
    rows = [json.loads(line) for line in (tmp_path / "out" / "plans.jsonl").read_text().splitlines()]
    plans = {row["id"]: np.array(row["poses"][0]) for row in rows}
    off = [np.hypot(*(plans[token][: len(true), :2] - true[:, :2]).T) for token, true in _truths(name, plans)]
    for horizon in (1, 2, 3, 5):
        mean = np.mean([distance[: 2 * horizon].mean() for distance in off])
        assert metrics[f"ade_known_{horizon}s"]["mean"] == pytest.approx(mean, abs=2e-3)
    assert metrics["fde_known"]["mean"] == pytest.approx(np.mean([distance[-1] for distance in off]), abs=2e-3)
    assert len(list((tmp_path / "out" / "worst").glob("*.jpg"))) == 2
    if name == "navsim":
        _check_pdm(tmp_path / "out", metrics)
    if name == "waymo":
        _check_log_ade(plans, metrics)


def _truths(name: str, plans: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(token, driven(name, token)) for token in plans]


def _check_pdm(out: Path, metrics: dict[str, dict]) -> None:
    """Two factors times (5 progress + 5 time to collision + 2 comfort) / 12, and the mean of that."""
    scores = [json.loads(line)["scores"][0] for line in (out / "scores.jsonl").read_text().splitlines()]
    made = [
        one["no_at_fault_collisions"]
        * one["drivable_area_compliance"]
        * (5 * one["ego_progress"] + 5 * one["time_to_collision_within_bound"] + 2 * one["comfort"])
        / 12
        for one in scores
    ]
    assert [one["score"] for one in scores] == pytest.approx(made)
    assert metrics["score"]["mean"] == pytest.approx(np.mean(made), abs=1e-5)


def _check_log_ade(plans: dict[str, np.ndarray], metrics: dict[str, dict]) -> None:
    """Of the rear axle at 4 Hz: the plan's poses moved back, straight between them, against the arc that was driven."""
    found = []
    for token, plan in plans.items():
        rear = np.concatenate([np.zeros((1, 2)), moved(plan, -AHEAD_M["waymo"])[:, :2]])
        times = 0.25 * np.arange(1, 21)
        points = np.column_stack([np.interp(times, 0.5 * np.arange(11), rear[:, axis]) for axis in (0, 1)])
        found.append(np.hypot(*(points - arc(int(token.partition("-")[0], 16), times)[:, :2]).T))
    assert metrics["log_ade_5s"]["mean"] == pytest.approx(np.mean(found), abs=2e-3)
    assert metrics["log_ade_3s"]["mean"] == pytest.approx(np.mean([one[:12].mean() for one in found]), abs=2e-3)
