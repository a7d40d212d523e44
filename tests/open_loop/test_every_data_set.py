"""One way for all: each data set's miniature is prepared and scored by the commands, and trained on in one mixture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autovla_core.model.encoding import CameraView
from training import evaluate_open_loop, prepare, sft
from training.datasets import registry
from training.datasets.mixture import SourceConfig
from training.loop import LoopConfig
from training.sft import DataConfig, LossConfig, ModelConfig, SftConfig

HERE = Path(__file__).parent
SPLITS = {"nuscenes": "mini_train", "navsim": "navmini", "waymo": "train"}
NEEDS = {"waymo": "google_crc32c"}
CAMERAS = tuple(CameraView(name, 56, 84) for name in ("front", "front_left", "front_right"))


@pytest.fixture(scope="module")
def roots(
    root: Path, program: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The miniatures of all data sets whose packages are installed."""
    found = {"nuscenes": root, "navsim": tmp_path_factory.mktemp("navsim")}
    program(HERE / "navsim_fixture.py").write_root(found["navsim"])
    try:
        import google_crc32c  # noqa: F401
    except ImportError:
        return found
    found["waymo"] = tmp_path_factory.mktemp("waymo")
    waymo = program(HERE / "waymo_fixture.py")
    records = [r for segment in range(3) for r in waymo.frames(segment, 0, 25, waymo.moment(0.01 * segment, 8.0))]
    waymo.write_shards(found["waymo"], "training", records, 2)
    return found


@pytest.fixture(scope="module")
def indices(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("all")
    for name, root in roots.items():
        assert prepare.main([name, "--root", str(root), "--out", str(out), "--split", SPLITS[name]]) == 0
    return out


@pytest.mark.parametrize("name", SPLITS)
def test_the_truth_is_perfect_and_standing_still_is_not(
    name: str, roots: dict[str, Path], indices: Path, tmp_path: Path
) -> None:
    if name not in roots:
        pytest.skip(f"{name} needs {NEEDS[name]}")
    where = ["--dataset", name, "--root", str(roots[name]), "--index", str(indices), "--split", SPLITS[name]]
    means = {}
    for rule in ("truth", "stopped"):
        assert evaluate_open_loop.main([*where, "--baseline", rule, "--out", str(tmp_path / rule), "--limit", "6"]) == 0
        summary = json.loads((tmp_path / rule / "summary.json").read_text())
        assert summary["failed"] == 0 and summary["samples"] >= 6
        means[rule] = {metric: value["mean"] for metric, value in summary["metrics"].items()}
    assert means["truth"]["ade_known_5s"] == pytest.approx(0.0, abs=1e-3)
    assert means["stopped"]["ade_known_5s"] > 5.0
    rank = registry.entry(name).rank
    better = means["truth"][rank] > means["stopped"][rank]
    assert better == registry.entry(name).higher_is_better


def test_one_model_learns_from_all_of_them(roots: dict[str, Path], indices: Path, tmp_path: Path) -> None:
    options = {"navsim": {"score": "none"}}
    sources = tuple(
        SourceConfig(name, root, indices, SPLITS[name], weight=1.0, options=options.get(name, {}))
        for name, root in roots.items()
    )
    recipe = SftConfig(
        data=DataConfig(cache=tmp_path / "cache", sources=sources, held_out_samples=6),
        out=tmp_path / "run",
        loop=LoopConfig(steps=20, warmup=2, log_every=5, lr=3e-3),
        model=ModelConfig("n01", cameras=CAMERAS),
        loss=LossConfig(outlook=0.0),
        batch_size=4,
        threads=1,
    )
    progress, scores = sft.train(recipe)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert progress.finished and losses[-1] < losses[0] and np.isfinite(scores["ade_m"])
