"""The recipe of reinforcement fine-tuning on NAVSIM says what the paper says, and names no test split."""

from __future__ import annotations

from pathlib import Path

from autovla_core import config
from training import rft_settings
from training.datasets import registry
from training.rft_settings import RftConfig

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
