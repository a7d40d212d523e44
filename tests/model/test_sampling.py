from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from autovla_core.errors import ConfigError
from autovla_core.model.sampling import GREEDY, Dice, Sampling, choose, log_distribution

SCORES = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


def test_the_distribution_by_hand() -> None:
    assert np.allclose(log_distribution(SCORES, Sampling(1.0)).exp(), [[0.5, 0.3, 0.15, 0.05]])
    assert np.allclose(log_distribution(SCORES, Sampling(1.0, top_k=2)).exp(), [[0.625, 0.375, 0.0, 0.0]])
    assert np.allclose(log_distribution(SCORES, Sampling(1.0, top_p=0.6)).exp(), [[0.625, 0.375, 0.0, 0.0]])
    assert np.allclose(log_distribution(SCORES, Sampling(0.5)).exp(), np.array([[100, 36, 9, 1]]) / 146, atol=1e-6)
    allowed = torch.tensor([False, True, True, False])
    assert np.allclose(log_distribution(SCORES, Sampling(1.0), allowed).exp(), [[0.0, 2 / 3, 1 / 3, 0.0]])


@pytest.mark.parametrize("temperature, top_k, top_p", [(0.1, 0, 0.01), (1.0, 20, 0.5), (0.8, 5, 0.2), (1.7, 0, 0.9)])
def test_the_distribution_is_hugging_faces(temperature: float, top_k: int, top_p: float) -> None:
    scores = torch.randn((6, 50), generator=torch.Generator().manual_seed(0)) * 3.0
    expected = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    expected = TopPLogitsWarper(top_p)(None, expected).log_softmax(-1)
    found = log_distribution(scores, Sampling(temperature, top_k, top_p))
    assert torch.equal(found.isinf(), expected.isinf())
    assert torch.allclose(found, expected, atol=1e-5)


def test_draws_follow_the_distribution_and_report_its_log_probabilities() -> None:
    rows = 20_000
    tokens, log_probs = choose(SCORES.expand(rows, -1), Sampling(1.0, top_k=3), Dice.of(0, rows))
    shares = np.bincount(tokens, minlength=4) / rows
    assert np.allclose(shares, np.array([0.5, 0.3, 0.15, 0.0]) / 0.95, atol=0.012)  # three deviations
    assert np.allclose(log_probs.exp(), np.array([0.5, 0.3, 0.15, 0.0])[tokens] / 0.95, atol=1e-6)


def test_a_row_draws_the_same_alone_and_beside_others() -> None:
    scores = torch.randn((4, 100), generator=torch.Generator().manual_seed(1))
    together, _ = choose(scores, Sampling(1.0), Dice.of(5, 4))
    dice = Dice.of(5, 4)
    alone = [choose(scores[row : row + 1], Sampling(1.0), dice.rows([row]))[0].item() for row in (3, 1, 0, 2)]
    assert [together[row].item() for row in (3, 1, 0, 2)] == alone
    assert not torch.equal(Dice.of(6, 1).throw(scores.device), Dice.of(5, 1).throw(scores.device))


def test_greedy_takes_the_likeliest_whatever_the_dice() -> None:
    tokens, log_probs = choose(SCORES, GREEDY, Dice.of(0, 1))
    assert tokens.tolist() == [0] and np.allclose(log_probs.exp(), 0.5)


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0.0}])
def test_what_makes_no_distribution_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Sampling(**wrong)
