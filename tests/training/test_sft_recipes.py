"""Every recipe of supervised fine-tuning that is shipped runs, on a tiny model and miniatures of its data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core import config
from autovla_core.model.encoding import CameraView
from autovla_core.model.vla import AutoVLA
from tests.open_loop.fixtures import write_navsim, write_nuscenes, write_waymo
from tests.training.toys import ROOT, lines
from training import prepare, sft
from training.datasets.mixture import SourceConfig
from training.rft_settings import RftConfig
from training.sft_settings import SftConfig

RECIPES = sorted(file.name for file in (ROOT / "training/recipes").glob("*.yaml") if "rft" not in file.name)
SPLITS = {"nuscenes": "mini_train", "navsim": "navmini", "waymo": "train"}


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Roots of the foreign data sets; each holds its index."""
    found = {name: tmp_path_factory.mktemp(name) for name in SPLITS}
    write_nuscenes.write(found["nuscenes"], pictures=False)
    write_navsim.write_root(found["navsim"])
    pytest.importorskip("google_crc32c")
    records = write_waymo.frames(0, 0, 25, write_waymo.moment(0.01, 8.0))
    write_waymo.write_shards(found["waymo"], "training", records, 1)
    for name, root in found.items():
        command = [name, "--root", str(root), "--out", str(root / "index"), "--split", SPLITS[name]]
        assert prepare.main(command) == 0
    return found


def small(given: SftConfig, routes: Path, init: Path, sources: tuple[SourceConfig, ...], out: Path) -> SftConfig:
    """The recipe with a tiny model and a little data: all else is its own."""
    cameras = tuple(CameraView(camera.id, 56, 84) for camera in given.model.cameras)
    return dataclasses.replace(
        given,
        out=out / "run",
        data=dataclasses.replace(
            given.data,
            routes=(routes,) if given.data.routes else (),
            sources=sources,
            cache=out / "cache",
            held_out=0.0,
            held_out_samples=4,
        ),
        model=dataclasses.replace(given.model, size="n01", init=given.model.init and init, cameras=cameras),
        batch_size=4,
        accumulate=min(given.accumulate, 4),
        loop=dataclasses.replace(given.loop, steps=2, minutes=None, log_every=1),
        device="cpu",
        threads=1,
        compile=False,  # a minute each
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_on_a_tiny_model(
    name: str, roads: Path, thinker: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    given = config.load(SftConfig, ROOT / "training/recipes" / name)
    roots = request.getfixturevalue("miniatures") if given.data.sources else {}
    sources = tuple(
        dataclasses.replace(
            each,
            root=roots[each.dataset],
            index=roots[each.dataset] / "index",
            split=SPLITS[each.dataset],
            held_out=0.0,
        )
        for each in given.data.sources
    )
    recipe = small(given, roads, thinker, sources, tmp_path)
    progress, scores = sft.train(recipe)
    assert progress.finished and progress.step == 2 and np.isfinite(scores["ade_m"])
    rows = lines(recipe.out, "train")
    assert [row["step"] for row in rows] == [1, 2] and all(np.isfinite(row["loss"]) for row in rows)
    planner = AutoVLA.from_pretrained(recipe.out / "model")
    assert planner.record.training["recipe"] == config.to_dict(recipe)
    assert (recipe.out / "adapter").exists() == (given.lora is not None)


@pytest.mark.parametrize("name", ["sft_3b_lora.yaml", "sft_3b_full.yaml"])
def test_the_recipes_of_the_big_model_have_the_papers_numbers(name: str) -> None:
    given = config.load(SftConfig, ROOT / "training/recipes" / name)
    steps = given.loop
    assert (given.loss.action, given.loss.reasoning, given.loss.mode) == (1.0, 40.0, None)
    assert (given.batch_size, given.dtype, given.recompute, given.data.thoughts) == (32, "bfloat16", True, True)
    assert (steps.warmup, steps.decay, steps.decay_steps, steps.clip) == (500, 0.98, 2000, 1.0)
    assert steps.steps == pytest.approx(5 * 274_500 / 32, rel=1e-3)
    assert [given.parts(ranks) for ranks in (1, 2, 4, 8)] == [32] * 4
    (camera,) = given.model.cameras
    assert camera.id == "front" and camera.height * camera.width <= 28 * 28 * 384
    assert (given.lora is None) == (given.loop.lr == 1e-5) == given.shard


def test_reinforcement_of_the_big_model_starts_from_what_its_sft_makes() -> None:
    taught = config.load(SftConfig, ROOT / "training/recipes/sft_3b_lora.yaml")
    reinforced = config.load(RftConfig, ROOT / "training/recipes/rft_3b_lora.yaml")
    assert reinforced.init == taught.out / "model" and reinforced.data.routes == taught.data.routes
