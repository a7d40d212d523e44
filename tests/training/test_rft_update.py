"""The gradient of a step is that of the loss as the paper writes it, answer by answer, choice by choice."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Mode
from tests.training.toys import ADAPTIVE, CAMERAS, scored_plainly
from training.rft_benchmark import gradient
from training.rft_groups import Dealer, Group
from training.rft_policy import Policy
from training.rft_scenes import open_pools
from training.rft_settings import GrpoConfig, MemoryConfig, RftConfig
from training.rft_tally import Tally
from training.rft_update import Update

BETA = 0.5  # more than in any recipe: the divergence must show in the gradient


@pytest.fixture
def policy(recipe: RftConfig) -> Policy:
    return Policy(recipe, torch.device("cpu"))


def plain_loss(policy: Policy, groups: list[Group], divisor: float | None) -> torch.Tensor:
    """Minus the mean over answers of ``sum over choices (A log p - beta k3)``, by its choices or the divisor."""
    grammar, losses = policy.sampler.grammar, []
    for group in groups:
        prompt = group.prompt[: len(group.prompt) - len(grammar.opening("adaptive"))]
        for answer, advantage in zip(group.answers, group.advantages):
            given = policy.sampler.encoder, grammar, prompt, group.features[0], answer, ADAPTIVE
            own = scored_plainly(policy.scored, *given)
            with torch.no_grad(), policy.reference() as model:
                other = scored_plainly(model, *given)
            k3 = torch.exp(other - own) - 1.0 - (other - own)
            losses.append(-(float(advantage) * own - BETA * k3).sum() / (divisor or len(own)))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("divisor", [None, 20.0])
def test_the_gradient_is_that_of_the_loss_by_plain_passes(
    recipe: RftConfig, policy: Policy, codebook: Codebook, divisor: float | None
) -> None:
    objective = GrpoConfig(group=4, prompts=3, beta=BETA, divisor=divisor)
    settings = dataclasses.replace(recipe, thinking=ADAPTIVE, grpo=objective, memory=MemoryConfig(2, 3))
    pool, _ = open_pools(recipe.data, CAMERAS, codebook, frozenset(), 1, False)
    dealer, update = Dealer(pool, policy.sampler, settings), Update(policy, settings)
    optimizer = torch.optim.AdamW(policy.trainable.parameters(), 1e-2)

    def deal(step: int) -> list[Group]:
        policy.follow()
        return [dealer.group(step, place, int(i), Tally()) for place, i in enumerate(dealer.indices(step))]

    update.backward(update.readings(deal(0)), Tally())
    optimizer.step()  # away from the reference
    optimizer.zero_grad(set_to_none=True)
    groups, tally = deal(1), Tally()
    assert {answer.mode for group in groups for answer in group.answers} == set(Mode)
    update.backward(update.readings(groups), tally)
    found = gradient(policy)
    plain_loss(policy, groups, divisor).backward()
    expected = gradient(policy)
    assert tally.means()["kl"] > 1e-3
    assert float((found - expected).norm() / expected.norm()) < 1e-4
