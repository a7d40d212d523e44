from __future__ import annotations

import numpy as np
import pytest

from autovla_core import geometry
from autovla_core.action import tokenizer
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import ActionDecodeError
from training.build_codebook import MotionConfig, synthetic_plans


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook.load(SHIPPED)


def straight_plans(speeds: np.ndarray) -> np.ndarray:
    times = 0.5 * np.arange(1, 11)
    return np.stack([speeds[:, None] * times, np.zeros((len(speeds), 10)), np.zeros((len(speeds), 10))], -1)


def test_held_out_plans_survive_the_round_trip_within_five_centimetres(book: Codebook) -> None:
    plans = synthetic_plans(400, MotionConfig(), np.random.default_rng(991))
    decoded = tokenizer.decode(book, tokenizer.encode(book, plans))
    assert np.linalg.norm(decoded[..., :2] - plans[..., :2], axis=-1).mean() < 0.05
    assert np.degrees(np.abs(geometry.wrap_angle(decoded[..., 2] - plans[..., 2]))).mean() < 1.0


def test_standing_still_is_exact_and_does_not_drift(book: Codebook) -> None:
    tokens = tokenizer.encode(book, np.zeros((10, 3)))
    assert tokens.tolist() == [0] * 10
    assert not tokenizer.decode(book, tokens).any()


def test_errors_do_not_add_up_because_each_token_starts_where_the_last_one_ended(book: Codebook) -> None:
    plans = straight_plans(np.linspace(0.5, 13.5, 60))
    error = np.abs(tokenizer.decode(book, tokenizer.encode(book, plans)) - plans)[..., 0]
    assert error.max() < 0.15
    assert error[:, -1].mean() < 0.03


def test_decoded_plans_encode_to_a_plan_at_the_same_place(book: Codebook) -> None:
    tokens = np.random.default_rng(0).integers(0, 2048, (20, 10))
    poses = tokenizer.decode(book, tokens)
    assert np.allclose(tokenizer.decode(book, tokenizer.encode(book, poses)), poses, atol=1e-4)


def test_a_mirrored_plan_has_mirrored_tokens(book: Codebook) -> None:
    plans = synthetic_plans(50, MotionConfig(), np.random.default_rng(5))
    mirror = np.array([1.0, -1.0, -1.0])
    left = tokenizer.decode(book, tokenizer.encode(book, plans))
    right = tokenizer.decode(book, tokenizer.encode(book, plans * mirror))
    assert np.abs(left - right * mirror).mean() < 0.01  # an exact tie may fall to either side


def test_a_batch_equals_its_members_one_by_one(book: Codebook) -> None:
    plans = synthetic_plans(6, MotionConfig(), np.random.default_rng(2)).reshape(2, 3, 10, 3)
    tokens = tokenizer.encode(book, plans)
    assert tokens.shape == (2, 3, 10)
    assert np.array_equal(tokens[1, 2], tokenizer.encode(book, plans[1, 2]))


def test_decoding_chains_motions_by_hand() -> None:
    book = Codebook(np.array([[0.0, 0.0, 0.0], [2.0, 0.0, np.pi / 2]]))
    poses = tokenizer.decode(book, np.array([1, 1, 0]))
    assert np.allclose(poses[0], [2.0, 0.0, np.pi / 2])
    assert np.allclose(poses[1][:2], [2.0, 2.0])
    assert np.allclose(poses[2], poses[1])


def test_a_token_outside_the_codebook_and_a_nan_pose_are_named(book: Codebook) -> None:
    with pytest.raises(ActionDecodeError, match="2048"):
        tokenizer.decode(book, np.array([2048]))
    with pytest.raises(ValueError, match="finite"):
        tokenizer.encode(book, np.full((10, 3), np.nan))
