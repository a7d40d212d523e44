from __future__ import annotations

import numpy as np
import pytest
import torch

from training.rft_losses import ADVANTAGES, centred, dead, k3, leave_one_out, normalised, surrogate, token_shares


def test_the_papers_advantage_is_worked_out_by_hand() -> None:
    # mean 2, deviations -2, -1, 0, 3; squares 14, by G - 1 = 3: std 2.160247
    found = normalised(np.array([0.0, 1.0, 2.0, 5.0]))
    assert found == pytest.approx(np.array([-2.0, -1.0, 0.0, 3.0]) / (np.sqrt(14.0 / 3.0) + 1e-4))


def test_leave_one_out_compares_with_the_mean_of_the_others() -> None:
    # others of 0: (1 + 5) / 2 = 3; of 1: 2.5; of 5: 0.5
    assert leave_one_out(np.array([0.0, 1.0, 5.0])) == pytest.approx([-3.0, -1.5, 4.5])


def test_centred_is_not_divided() -> None:
    assert centred(np.array([[1.0, 3.0], [10.0, 30.0]])) == pytest.approx(np.array([[-1.0, 1.0], [-10.0, 10.0]]))


@pytest.mark.parametrize("name", sorted(ADVANTAGES))
def test_an_advantage_sums_to_nothing_and_keeps_the_order(name: str) -> None:
    rewards = np.random.default_rng(0).normal(size=(5, 8))
    found = ADVANTAGES[name](rewards)
    assert np.allclose(found.sum(1), 0.0, atol=1e-9)
    assert np.array_equal(found.argsort(1), rewards.argsort(1))


def test_the_papers_advantage_does_not_depend_on_the_scale_of_the_reward() -> None:
    rewards = np.random.default_rng(1).normal(size=8)
    assert normalised(10.0 * rewards + 3.0) == pytest.approx(normalised(rewards), rel=1e-3)


def test_a_group_that_earned_the_same_is_dead() -> None:
    rewards = np.array([[0.5, 0.5, 0.5], [0.5, 0.5 + 1e-8, 0.5], [0.5, 0.5, 0.6]])
    assert dead(rewards, 1e-6).tolist() == [True, True, False]
    assert dead(rewards, 0.11).tolist() == [True, True, True]


def test_k3_is_nothing_for_the_same_model_and_worked_out_by_hand_for_another() -> None:
    own = torch.log(torch.tensor([0.5, 0.25]))
    assert k3(own, own).tolist() == [0.0, 0.0]
    # ratio reference / own = 0.5 and 2: r - 1 - ln r
    other = torch.log(torch.tensor([0.25, 0.5]))
    assert k3(other, own).tolist() == pytest.approx([0.5 - 1 + np.log(2), 2 - 1 - np.log(2)])


def test_k3_is_unbiased() -> None:
    own, reference = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    expected = (own * (own / reference).log()).sum()
    assert float((own * k3(reference.log(), own.log())).sum()) == pytest.approx(float(expected), rel=1e-5)


def test_a_ratio_is_clipped_only_where_that_gives_less() -> None:
    old = torch.zeros(4)
    own = torch.log(torch.tensor([1.5, 0.5, 1.5, 0.5]))
    advantage = torch.tensor([1.0, 1.0, -1.0, -1.0])
    gain, clipped = surrogate(own, old, advantage, 0.2)
    assert gain.tolist() == pytest.approx([1.2, 0.5, -1.5, -0.8])
    assert clipped.tolist() == [True, False, False, True]
    assert surrogate(own, old, advantage, None)[0].tolist() == pytest.approx([1.5, 0.5, -1.5, -0.5])


def test_the_first_update_has_the_policy_gradient() -> None:
    own = torch.tensor([-1.0, -2.0], requires_grad=True)
    gain, _ = surrogate(own, own.detach(), torch.tensor([2.0, -3.0]), 0.2)
    gain.sum().backward()
    assert own.grad.tolist() == [2.0, -3.0]


def test_choices_share_their_answer_or_a_constant() -> None:
    row, counts = torch.tensor([0, 0, 1]), torch.tensor([2, 1])
    assert token_shares(row, counts, None).tolist() == [0.5, 0.5, 1.0]
    assert token_shares(row, counts, 20.0).tolist() == pytest.approx([0.05] * 3)
