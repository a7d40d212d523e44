"""The recipes that are shipped, and what no recipe may ask for."""

from __future__ import annotations

import dataclasses

import pytest

from autovla_core import config
from autovla_core.errors import ConfigError
from autovla_core.model.sampling import Sampling
from autovla_core.model.thinking import ThinkingConfig
from tests.training.toys import ADAPTIVE, ROOT, WARM, lines
from training import rft
from training.rft_settings import GrpoConfig, RftConfig, ValidationConfig
from training.schedule import TrainingError


def test_answers_that_cannot_differ_or_cannot_be_drawn_twice_are_refused(recipe: RftConfig) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        dataclasses.replace(recipe, thinking=ThinkingConfig("fast"))
    with pytest.raises(ConfigError, match="clock"):
        dataclasses.replace(recipe, thinking=dataclasses.replace(ADAPTIVE, deadline_ms=50.0))
    with pytest.raises(ConfigError, match="nothing to be compared with"):
        GrpoConfig(group=1)
    with pytest.raises(ConfigError, match="known: normalised"):
        GrpoConfig(advantage="std")


def test_a_name_of_the_best_that_is_no_value_lists_them(recipe: RftConfig) -> None:
    wrong = dataclasses.replace(recipe, validation=ValidationConfig(samples=2, best="pdm"))
    with pytest.raises(TrainingError, match="known here: ade_m, .*reward"):
        rft.train(wrong)


RECIPES = {file.name for file in (ROOT / "training" / "recipes").glob("*rft*.yaml")}
DRIVEN = {"tiny_rft_closed_loop.yaml"}  # of training.rft_closed_loop, which needs a simulator: its test is with it


@pytest.mark.parametrize("name", sorted(RECIPES - DRIVEN))
def test_a_recipe_runs_on_a_tiny_model(recipe: RftConfig, name: str) -> None:
    given = config.load(RftConfig, ROOT / "training" / "recipes" / name)
    small = dataclasses.replace(
        given,
        out=recipe.out,
        init=recipe.init,
        data=recipe.data,
        device="cpu",
        threads=1,
        loop=dataclasses.replace(given.loop, steps=2),
        grpo=dataclasses.replace(given.grpo, group=3, prompts=2),
        thinking=dataclasses.replace(given.thinking, most_tokens=8),
        validation=dataclasses.replace(given.validation, samples=4),
    )
    progress, scores = rft.train(small)
    assert progress.finished and small.validation.best in scores
    assert {f"term_{name}" for name in given.reward.weights} <= set(lines(recipe.out, "step")[0])


def test_the_recipe_of_the_big_model_has_the_papers_numbers() -> None:
    given = config.load(RftConfig, ROOT / "training" / "recipes" / "rft_3b_lora.yaml")
    assert (given.lora.rank, given.lora.alpha, given.loop.lr, given.loop.steps) == (8, 8.0, 3e-5, 6000)
    assert (given.grpo.beta, given.grpo.updates, given.grpo.advantage) == (0.04, 1, "normalised")
    assert given.thinking.words == given.thinking.actions == WARM
    assert given.reward.weights["pdm"] == 1.0 and given.reward.weights["thinking"] == -0.3
    assert (given.reward.terms.thinking_tokens, given.reward.terms.thinking_slope) == (400.0, 0.002)


@pytest.mark.parametrize("cut", [{"top_k": 40}, {"top_p": 0.9}])
@pytest.mark.parametrize("kind", ["words", "actions"])
def test_choices_that_only_one_of_two_models_can_make_are_refused(
    recipe: RftConfig, kind: str, cut: dict[str, float]
) -> None:
    thinking = dataclasses.replace(ADAPTIVE, **{kind: Sampling(1.0, **cut)})
    with pytest.raises(ConfigError, match="top_k and top_p.*infinite"):
        dataclasses.replace(recipe, thinking=thinking)
