from __future__ import annotations

import math

import pytest
import torch

from training import losses


def test_the_loss_equals_the_papers_formula_by_hand() -> None:
    # Sample 0: answer of 3 tokens, 2 of them actions; sample 1: 2 tokens, 1 action, weighted 40 (a thought).
    answer = torch.tensor([[True, True, True], [True, True, False]])
    action = torch.tensor([[False, True, True], [False, True, False]])
    weights = losses.token_weights(answer, action, torch.tensor([1.0, 40.0]), lambda_action=0.5)
    odds = torch.tensor([[0.5, 0.25, 0.1], [0.2, 0.4, 0.9]])  # probability of the right token, of two
    labels = torch.zeros((2, 3), dtype=torch.long)
    logits = torch.stack([odds.log(), (1.0 - odds).log()], dim=-1)
    a, b, c = (-math.log(p) for p in (0.5, 0.25, 0.1))
    d, e = (-math.log(p) for p in (0.2, 0.4))
    first = 1.0 * ((a + b + c) / 3 + 0.5 * (b + c) / 2)
    second = 40.0 * ((d + e) / 2 + 0.5 * e)
    assert losses.weighted_cross_entropy(logits, labels, weights).item() == pytest.approx(
        (first + second) / 2, rel=1e-5
    )


def test_padding_has_no_weight_and_no_gradient() -> None:
    answer = torch.tensor([[True, True, False]])
    weights = losses.token_weights(answer, answer, torch.ones(1), 1.0)
    logits = torch.randn((1, 3, 5), requires_grad=True)
    losses.weighted_cross_entropy(logits, torch.zeros((1, 3), dtype=torch.long), weights).backward()
    assert weights[0, 2] == 0 and not logits.grad[0, 2].any() and logits.grad[0, 1].any()


def test_one_batch_of_four_equals_four_of_one() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn((4, 6, 9)), torch.randint(0, 9, (4, 6))
    answer = torch.arange(6)[None] < torch.tensor([6, 3, 4, 5])[:, None]
    action = answer & (torch.rand((4, 6)) < 0.5)
    weights = losses.token_weights(answer, action, torch.tensor([1.0, 40.0, 1.0, 1.0]), 1.0)
    together = losses.weighted_cross_entropy(logits, labels, weights)
    alone = [losses.weighted_cross_entropy(logits[i, None], labels[i, None], weights[i, None]) for i in range(4)]
    assert together.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-6)


def test_soft_targets_are_the_hard_ones_when_narrow_and_share_with_neighbours_when_wide() -> None:
    corners = torch.tensor([0.0, 0.1, 5.0])[:, None, None].expand(3, 4, 2).contiguous()
    logits, tokens = torch.randn((2, 4, 3)), torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    narrow = losses.soft_cross_entropy(logits, tokens, losses.neighbour_table(corners, 0.01, neighbours=3))
    hard = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    assert torch.allclose(narrow.flatten(), hard, atol=1e-5)
    index, share = losses.neighbour_table(corners, 0.5, neighbours=2)
    assert index[0].tolist() == [0, 1]
    assert share[0, 1].item() == pytest.approx(math.exp(-0.02 / 0.5) / (1 + math.exp(-0.02 / 0.5)), rel=1e-4)


def test_the_outlook_counts_labelled_samples_only() -> None:
    rule, nearness = torch.tensor([4, 0]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    predicted = torch.zeros(2, 8 + 2)
    expected = math.log(8) + 2 * math.log(2)  # eight rules and two coins, nothing known
    assert losses.outlook_loss(predicted, rule, nearness).item() == pytest.approx(expected)
    predicted[1] = 100.0
    assert losses.outlook_loss(predicted, rule, nearness).item() == pytest.approx(expected)
    predicted[0, 4], predicted[0, 8], predicted[0, 9] = 100.0, 100.0, -100.0
    assert losses.outlook_loss(predicted, rule, nearness).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.outlook_loss(predicted, torch.zeros(2, dtype=torch.long), nearness).item() == 0.0


def test_evidence_anywhere_in_the_picture_is_evidence() -> None:
    per_token = torch.full((1, 50, 2), -30.0)
    per_token[0, 7, 0] = 30.0  # one token of fifty sees the light
    ahead, rule = torch.tensor([[True, False]]), torch.tensor([4])
    assert losses.evidence_loss(per_token, ahead, rule).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.evidence_loss(per_token, ~ahead, rule).item() == pytest.approx(30.0 + 30.0 - math.log(50), rel=1e-4)
    assert losses.evidence_loss(per_token, ~ahead, torch.tensor([0])).item() == 0.0
