"""The recipe of reinforcement fine-tuning on NAVSIM: what the paper says, no test split, and a few steps of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core import config
from autovla_core.action.codebook import Codebook
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView
from autovla_core.model.vla import AutoVLA
from training import rewards, rft, rft_settings
from training.datasets import registry
from training.datasets.mixture import MixtureConfig, SourceConfig
from training.rewards import Outcome, TermSettings
from training.rft_scenes import SampledScenes, open_pools
from training.rft_settings import MemoryConfig, RftConfig, ValidationConfig

RECIPE = Path(rft_settings.__file__).parent / "recipes" / "rft_navsim.yaml"


def test_the_recipe_holds_the_papers_numbers() -> None:
    recipe = config.load(RftConfig, RECIPE)
    (source,) = recipe.data.sources
    assert (source.dataset, source.split, source.options) == ("navsim", "navtrain", {"score": "pdms"})
    registry.refuse_held_out(source.dataset, source.split, i_know=False)
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.loop.lr, recipe.loop.steps) == (8, 8.0, 3e-5, 6000)
    assert (recipe.grpo.beta, recipe.grpo.updates, recipe.loop.clip) == (0.04, 1, 1.0)
    for sampling in (recipe.thinking.words, recipe.thinking.actions):
        assert sampling.temperature == 1.0 and not sampling.greedy
    paid = {name: weight for name, weight in recipe.reward.weights.items() if weight}
    assert paid == {"pdm": 1.0, "thinking": -0.3}
    assert (recipe.reward.terms.thinking_tokens, recipe.reward.terms.thinking_slope) == (400.0, 0.002)


CAMERAS = (CameraView("front", 56, 84),)
MOMENTS = 9  # of the miniature


@pytest.fixture
def source(navsim_data: Path) -> SourceConfig:
    """The recipe's source on the miniature, of which nothing is held out: it is one scene."""
    (wanted,) = config.load(RftConfig, RECIPE).data.sources
    return dataclasses.replace(wanted, root=navsim_data, index=navsim_data / "index", split="navmini", held_out=0.0)


@pytest.fixture(scope="module")
def init(codebook: Codebook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose answers differ."""
    vocabulary = tiny.build_tokenizer(len(codebook))
    model = tiny.build_model("n01", vocabulary, codebook, 56, 84)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(4.0)
    return checkpoint.save(tmp_path_factory.mktemp("init") / "model", model, vocabulary, codebook, CAMERAS, {})


def test_scenes_of_navsim_judge_plans_as_the_benchmark_does(
    source: SourceConfig, codebook: Codebook, tmp_path: Path
) -> None:
    data = MixtureConfig(cache=tmp_path, sources=(source,))
    pool, _ = open_pools(data, CAMERAS, codebook, frozenset({"truth"}), 1, i_know=False)
    assert len(pool) == MOMENTS and isinstance(pool.sides[0], SampledScenes) and pool.frequencies.all()
    reader = registry.open_split("navsim", source.root, source.index, "navmini", options=source.options)
    for number in (0, MOMENTS - 1):
        scene, sample = pool.scene(number), reader[number]
        plans = np.stack([sample.poses, np.zeros((10, 3)), 3.0 * sample.poses])
        found = scene.judge(plans)["score"]
        alone = [registry.score("navsim", plan, sample)["score"] for plan in plans]
        assert scene.id == sample.id and found == pytest.approx(alone)
        assert found[0] > found[1] and found[0] > found[2]


def test_steps_of_the_recipe_are_rewarded_by_the_pdm_score(
    source: SourceConfig, init: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: list[np.ndarray] = []

    def pdm(outcome: Outcome, settings: TermSettings) -> np.ndarray:
        found = rewards.pdm(outcome, settings)
        if len(found) == recipe.grpo.group + 1:  # a group, and a car that stands
            paid.append(found[:-1])
        return found

    whole = config.load(RftConfig, RECIPE)
    recipe = dataclasses.replace(
        whole,
        out=tmp_path / "run",
        init=init,
        data=MixtureConfig(cache=tmp_path / "cache", sources=(source,)),
        loop=dataclasses.replace(whole.loop, steps=2, validate_every=2),
        grpo=dataclasses.replace(whole.grpo, group=4, prompts=3),
        thinking=dataclasses.replace(whole.thinking, most_tokens=8),
        validation=ValidationConfig(samples=3, batch=3),
        memory=MemoryConfig(3, 12),
        threads=1,
        device="cpu",
    )
    monkeypatch.setitem(rewards.REWARDS, "pdm", pdm)
    progress, scores = rft.train(recipe)
    rows = [json.loads(line) for line in (recipe.out / "log.jsonl").read_text().splitlines()]
    steps, held_out = ([row for row in rows if row["kind"] == kind] for kind in ("step", "validation"))
    assert progress.finished and [row["step"] for row in steps] == [1, 2]
    assert [row["step"] for row in held_out] == [0, 2]
    assert len(paid) == 2 * recipe.grpo.prompts and all(((p >= 0.0) & (p <= 1.0)).all() for p in paid)
    assert any(np.ptp(group) > 0.0 for group in paid)
    assert all(np.isfinite(row["term_pdm"]) and row["unscored"] == 0.0 and row["grad_norm"] > 0.0 for row in steps)
    assert steps[0]["term_pdm"] != steps[1]["term_pdm"]
    for row in held_out:
        assert row["expert"] > row["standing"] and 0.0 <= row["scored_score"] <= 1.0
        assert row["scored_score"] == pytest.approx(row["term_pdm"], abs=1e-4)
    assert AutoVLA.from_pretrained(recipe.out / "model").record.training["scores"] == scores
