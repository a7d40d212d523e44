"""Closed-loop reinforcement fine-tuning as a program: a real simulator, a small random model, two steps."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core import config
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import ConfigError
from autovla_core.evaluation.route_file import read_routes, write_routes
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView
from autovla_core.model.sampling import Sampling
from autovla_core.model.thinking import ThinkingConfig
from training import rft
from training.datasets.mixture import MixtureConfig
from training.rewards import RewardConfig
from training.rft_closed_loop import ClosedLoopRun
from training.rft_drives import Drives, piece
from training.rft_settings import DrivesConfig, GrpoConfig, RftConfig, StepsConfig

pytestmark = pytest.mark.xdist_group("forks")

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "minutes", "branch_ms")  # of the wall clock: no two runs share them


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    codebook = Codebook.load(SHIPPED)
    tokenizer = tiny.build_tokenizer(len(codebook))
    torch.manual_seed(0)
    model = tiny.build_model("n01", tokenizer, codebook, 56, 112)
    folder = tmp_path_factory.mktemp("closed") / "model"
    return checkpoint.save(folder, model, tokenizer, codebook, (CameraView("front", 56, 112),), {"by": "test"})


@pytest.fixture
def recipe(init: Path, tmp_path: Path) -> RftConfig:
    torch.set_num_threads(1)
    route = read_routes(ROOT / "leaderboard_configs/routes/havenbrook_demo.xml")[0]
    write_routes(tmp_path / "routes.xml", [dataclasses.replace(route, scenarios=())])
    file = tmp_path / "routes.xml"
    return RftConfig(
        out=tmp_path / "run",
        init=init,
        data=MixtureConfig(),
        drives=DrivesConfig(file, file, 1, 1, traffic=3, seconds=1.0, every_s=0.5, latest_s=1.5),
        loop=StepsConfig(steps=2, lr=1e-3, warmup=1, validate_every=9),
        grpo=GrpoConfig(group=3, prompts=2),
        reward=RewardConfig({"driven": 1.0, "comfort": 0.1, "ade": 0.01}),
        thinking=ThinkingConfig("fast", actions=Sampling(temperature=1.0)),
        threads=1,
    )


def logged(out: Path) -> list[Mapping[str, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_the_same_seed_logs_the_same_run_and_a_stopped_one_ends_like_it(recipe: RftConfig, tmp_path: Path) -> None:
    progress, scores = rft.train(recipe, kind=ClosedLoopRun)
    assert progress.finished and {"reward", "standing", "half_speed", "expert", "term_driven"} <= set(scores)
    rows = logged(recipe.out)
    assert [row["kind"] for row in rows] == ["validation", "step", "step", "validation"]
    assert all(row["groups_a_drive"] == 2.0 for row in rows if row["kind"] == "step")
    other, stop, deal = dataclasses.replace(recipe, out=tmp_path / "stopped"), threading.Event(), Drives.groups

    def interrupt(self: Drives, step: int, *more: object) -> list:
        if step == 1:
            stop.set()  # the second step is broken off
        return deal(self, step, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drives, "groups", interrupt)
        assert rft.train(other, stop, kind=ClosedLoopRun)[0].step == 1
    assert rft.train(other, kind=ClosedLoopRun)[0].finished
    assert logged(other.out) == rows
    weights = [(run.out / "checkpoint/module.safetensors").read_bytes() for run in (recipe, other)]
    assert weights[0] == weights[1]


def test_recipes_of_the_other_program_and_rewards_of_recorded_truth_are_refused(recipe: RftConfig) -> None:
    with pytest.raises(ConfigError, match="run it with python -m training.rft_closed_loop"):
        rft.train(recipe)
    with pytest.raises(ConfigError, match="the recipe has no drives"):
        rft.train(dataclasses.replace(recipe, drives=None), kind=ClosedLoopRun)
    judged = dataclasses.replace(recipe, reward=RewardConfig({"pdm": 1.0}))
    with pytest.raises(ConfigError, match=r"\['pdm'\] need recorded truth; in a fork there is driven"):
        rft.train(judged, kind=ClosedLoopRun)


def test_the_shipped_recipe_can_be_read_and_its_drives_share_the_prompts() -> None:
    settings = config.load(RftConfig, ROOT / "training/recipes/tiny_rft_closed_loop.yaml")
    assert settings.drives is not None and settings.grpo.prompts % settings.drives.drives == 0
    with pytest.raises(ConfigError, match="prompts 5 cannot be shared by 2 drives"):
        dataclasses.replace(settings, grpo=dataclasses.replace(settings.grpo, prompts=5))
    with pytest.raises(ConfigError, match=r"found seconds 6.0.*expected 0.5 to 5.0"):
        dataclasses.replace(settings.drives, seconds=6.0)


def test_a_piece_of_a_route_ends_where_the_route_ends_and_has_two_points_at_least() -> None:
    route = read_routes(ROOT / "leaderboard_configs/routes/havenbrook_test20.xml")[0]
    pieces = [piece(route, np.random.default_rng(seed)) for seed in range(20)]
    assert all(each.carla_points[-1] == route.carla_points[-1] and len(each.carla_points) >= 2 for each in pieces)
    assert len({each.carla_points[0] for each in pieces}) > 2
