from __future__ import annotations

import itertools

import numpy as np
import pytest

from autovla_core import footprints
from autovla_core.action import beam, search, tokenizer
from autovla_core.action.codebook import SHIPPED, Codebook
from training.build_codebook import MotionConfig, synthetic_plans


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook.load(SHIPPED)


@pytest.fixture(scope="module")
def plans() -> np.ndarray:
    return synthetic_plans(300, MotionConfig(), np.random.default_rng(12))


def corner_cost(book: Codebook, tokens: np.ndarray, plans: np.ndarray) -> np.ndarray:
    """Sum over the plan of the mean corner distance (N,), which a beam minimises."""
    ends = [footprints.corners(p, book.length, book.width) for p in (tokenizer.decode(book, tokens), plans)]
    return np.linalg.norm(ends[0] - ends[1], axis=-1).mean(-1).sum(-1)


def test_one_beam_is_greedy(book: Codebook, plans: np.ndarray) -> None:
    assert np.array_equal(beam.encode(book, plans, beams=1), tokenizer.encode(book, plans))


def test_beams_follow_plans_a_fifth_more_closely(book: Codebook, plans: np.ndarray) -> None:
    greedy = corner_cost(book, tokenizer.encode(book, plans), plans)
    found = corner_cost(book, beam.encode(book, plans), plans)
    assert found.mean() < 0.85 * greedy.mean()
    assert (found <= greedy + 1e-3).mean() > 0.97  # a beam may lose the greedy path, and then finds one as good


def test_a_wide_beam_over_a_small_codebook_is_exhaustive_search() -> None:
    rng = np.random.default_rng(4)
    motions = np.concatenate([np.zeros((1, 3)), rng.uniform([0.0, -0.3, -0.2], [2.0, 0.3, 0.2], (4, 3))])
    book = Codebook(motions)
    plan = tokenizer.decode(book, rng.integers(0, 5, (1, 3))) + rng.normal(0.0, 0.2, (1, 3, 3))
    every = np.array(list(itertools.product(range(5), repeat=3)))
    best = every[corner_cost(book, every, np.repeat(plan, len(every), axis=0)).argmin()]
    assert beam.encode(book, plan, beams=125, children=5)[0].tolist() == best.tolist()


def test_standing_still_is_token_0_ten_times(book: Codebook) -> None:
    tokens = beam.encode(book, np.zeros((3, 10, 3)))
    assert not tokens.any()
    assert not tokenizer.decode(book, tokens).any()


def test_stopping_ends_in_exact_standstill(book: Codebook) -> None:
    times = 0.5 * np.arange(1, 11)
    x = np.where(times < 2.0, 4.0 * times - times**2, 4.0)  # 4 m/s, brakes with 2 m/s2, stands from 2 s on
    plan = np.stack([x, 0 * x, 0 * x], axis=1)
    for tokens in (tokenizer.encode(book, plan), beam.encode(book, plan)):
        assert tokens[-4:].tolist() == [0, 0, 0, 0]


def test_equal_entries_are_told_apart_by_their_index() -> None:
    book = Codebook(np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 0.1, 0.05], [2.0, -0.1, -0.05]]))
    plan = np.stack([2.0 * np.arange(1, 6), np.zeros(5), np.zeros(5)], axis=1)
    assert tokenizer.encode(book, plan).tolist() == [1] * 5
    assert beam.encode(book, plan).tolist() == [1] * 5


def test_batches_of_any_shape_equal_their_members(book: Codebook, plans: np.ndarray) -> None:
    tokens = beam.encode(book, plans[:130].reshape(2, 65, 10, 3))
    assert tokens.shape == (2, 65, 10)
    assert np.array_equal(tokens[1, 64], beam.encode(book, plans[129]))
    assert beam.encode(book, np.zeros((0, 10, 3))).shape == (0, 10)


def test_bad_poses_and_bad_widths_are_named(book: Codebook) -> None:
    with pytest.raises(ValueError, match="finite"):
        beam.encode(book, np.full((10, 3), np.inf))
    with pytest.raises(ValueError, match="0 beams"):
        beam.encode(book, np.zeros((10, 3)), beams=0)
    with pytest.raises(ValueError, match="65 children"):
        beam.encode(book, np.zeros((10, 3)), children=65)


def test_ranks_order_by_cost_then_by_place() -> None:
    costs = np.array([[0.5, 0.25, np.inf, 0.25, 0.0]], np.float32)
    order = np.sort(search.ranked(costs), axis=1) & ((1 << 20) - 1)
    assert order[0].tolist() == [4, 1, 3, 0, 2]


def test_neighbours_are_the_nearest_entries(book: Codebook) -> None:
    distance = tokenizer.corner_distances(book, book.motions[:50])
    assert np.array_equal(book.neighbours[:50, 0], np.arange(50))
    by_hand = np.take_along_axis(distance, book.neighbours[:50], axis=1)
    assert np.allclose(by_hand, np.sort(distance, axis=1)[:, :64], atol=1e-5)
