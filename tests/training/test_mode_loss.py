"""The token that chooses between fast and slow, outside the mean of its answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autovla_core import config
from autovla_core.model.tiny import build_tokenizer
from autovla_core.prompt.reasoning_action import Action
from autovla_core.prompt.reasoning_claims import thought
from autovla_core.prompt.reasoning_facts import Facts, SeenLight, SeenObject
from training import sft
from training.losses import token_weights
from training.sft_settings import SftConfig

# two answers: fast with 4 tokens (mode, 2 actions, end), slow with 8 (mode, 4 of a thought, 2 actions, end)
ANSWER = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)
ACTION = torch.tensor([[0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]], dtype=torch.bool)
MODE = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 0]] * 2, dtype=torch.bool)
W = torch.tensor([1.0, 40.0])


def test_inside_the_mean_thinking_is_tilted_by_w_and_the_lengths():
    weights = token_weights(ANSWER, ACTION, W, 1.0)
    assert weights[:, 0].tolist() == pytest.approx([1 / 4, 40 / 8])
    assert float(weights[1, 0] / weights[0, 0]) == pytest.approx(40.0 * 4 / 8)  # w |fast| / |slow|


def test_outside_it_has_a_weight_of_its_own_and_the_rest_is_the_mean_of_the_rest():
    weights = token_weights(ANSWER, ACTION, W, 1.0, MODE, 0.2)
    assert weights[:, 0].tolist() == pytest.approx([0.2, 0.2])
    # fast: 1/3 each, plus 1/2 for each action; slow: 40 times 1/7 and 1/2
    assert weights[0].tolist() == pytest.approx([0.2, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2, 1 / 3, 0, 0, 0, 0])
    assert weights[1].tolist() == pytest.approx([0.2, *[40 / 7] * 4, *[40 / 7 + 20] * 2, 40 / 7])


def test_the_odds_that_minimise_the_loss_are_those_of_the_data():
    share = 0.3  # of slow answers in the data
    for mode, expected in ((None, 0.3 * 5.0 / (0.3 * 5.0 + 0.7 * 0.25)), (MODE, 0.3)):
        weights = token_weights(ANSWER, ACTION, W, 1.0, mode, 0.2)[:, 0]
        logit = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.LBFGS([logit], lr=1.0, max_iter=50)

        def closure(logit=logit, weights=weights, optimiser=optimiser):
            optimiser.zero_grad()
            slow, fast = torch.nn.functional.softplus(-logit), torch.nn.functional.softplus(logit)
            loss = share * weights[1] * slow + (1 - share) * weights[0] * fast
            loss.backward()
            return loss

        optimiser.step(closure)
        assert float(torch.sigmoid(logit.detach())) == pytest.approx(expected, abs=1e-3)


def test_the_recipe_of_two_ways_of_thinking_is_valid():
    recipe = config.load(SftConfig, Path(sft.__file__).parent / "recipes" / "tiny_thinking.yaml")
    assert recipe.data.thoughts and recipe.loss.mode == 0.2 and recipe.loss.reasoning == 8.0
    assert recipe.model.init is not None
    assert SftConfig(recipe.data, recipe.out, recipe.loop).loss.mode is None  # the paper's loss unless asked otherwise


def test_a_tokenizer_that_knows_thoughts_says_one_in_a_hundred_tokens():
    facts = Facts(
        0,
        8.0,
        4,
        "lead",
        1,
        light=SeenLight(9, "red", 30.0, 12),
        objects=(SeenObject(1, "car", 12.0, 0.5, 0.0, 4.0, pixels=90),),
    )
    said = thought(facts, Action("forward", "slow"), "r/1")
    knowing, plain = build_tokenizer(2048, thoughts=True), build_tokenizer(2048)
    ids = knowing(said).input_ids
    assert len(ids) < 130 < len(plain(said).input_ids) and knowing.decode(ids) == said
