from __future__ import annotations

import numpy as np
import pytest

from autovla_core.action import kinematics, reach, tokenizer
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.action.reach import ReachLimits, reachable
from autovla_core.errors import ActionDecodeError, ObservationError
from training.build_codebook import MotionConfig, synthetic_plans

MIRROR = np.array([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook.load(SHIPPED)


def straight_book(*lengths: float) -> Codebook:
    return Codebook(np.array([[0.0, 0.0, 0.0], *([x, 0.0, 0.0] for x in lengths)]))


def test_the_first_motion_is_bounded_by_acceleration_over_a_quarter_second() -> None:
    limits = ReachLimits(acceleration=4.0, braking=8.0, rounding_m=0.0)
    # from 10 m/s the mean speed of the next half second lies in 10 - 2 .. 10 + 1, its length in 4.0 .. 5.5 m
    book = straight_book(3.99, 4.01, 5.0, 5.49, 5.51)
    assert reachable(book, 10.0, None, limits).tolist() == [False, False, True, True, True, False]


def test_the_next_motion_is_bounded_by_acceleration_over_half_a_second() -> None:
    limits = ReachLimits(acceleration=4.0, braking=8.0, rounding_m=0.0)
    # after 5 m (10 m/s) the next mean speed lies in 10 - 4 .. 10 + 2, its length in 3.0 .. 6.0 m
    book = straight_book(5.0, 2.99, 3.01, 5.99, 6.01)
    assert reachable(book, None, 1, limits).tolist() == [False, True, False, True, True, False]


def test_speed_and_token_before_both_bind() -> None:
    limits = ReachLimits(acceleration=4.0, braking=8.0, rounding_m=0.0)
    book = straight_book(5.0, 4.5, 3.5)
    assert reachable(book, None, 1, limits).tolist() == [False, True, True, True]
    assert reachable(book, 10.0, 1, limits).tolist() == [False, True, True, False]


def test_a_curve_may_not_jump_to_the_other_side_at_speed() -> None:
    book = Codebook(np.array([[0, 0, 0], [4.0, 0.4, 0.2], [4.0, 0.0, 0.0], [4.0, -0.4, -0.2]]))
    limits = ReachLimits(curvature_jump=0.06, rounding_yaw=0.0)
    # 0.2 rad in 4 m is 0.05 1/m: straight on is a jump of 0.05, the other side one of 0.1
    assert reachable(book, None, 1, limits).tolist() == [False, True, True, False]


def test_a_moving_car_does_not_reverse_and_a_standing_one_may(book: Codebook) -> None:
    back = kinematics.speeds(book.motions) < -0.5
    assert back.any()
    assert not reachable(book, 3.0)[back].any()
    assert reachable(book, 0.0)[back].any()
    assert reachable(book, 0.0)[0] and not reachable(book, 8.0)[0]


def test_left_and_right_are_alike(book: Codebook) -> None:
    mirror = tokenizer.nearest(book, book.motions * MIRROR)
    masks = reach.next_masks(book)
    assert np.array_equal(masks[np.ix_(mirror, mirror)], masks)


def test_drives_of_a_car_stay_inside_the_mask_and_most_entries_outside(book: Codebook) -> None:
    plans = synthetic_plans(800, MotionConfig(), np.random.default_rng(31))
    tokens = tokenizer.encode(book, plans)
    masks = reach.next_masks(book)
    assert masks[tokens[:, :-1], tokens[:, 1:]].all()
    assert masks[tokens[:, :-1]].mean() < 0.7


def test_a_mask_is_never_empty_even_for_a_speed_that_no_token_has(book: Codebook) -> None:
    for speed in (80.0, -40.0):
        mask = reachable(book, speed)
        assert mask.sum() == 1
    assert kinematics.speeds(book.motions)[reachable(book, 80.0)] == kinematics.speeds(book.motions).max()
    assert reach.next_masks(book).any(axis=1).all()
    assert reachable(book, 13.0, 0).sum() == 1  # a contradiction: standing before, fast now


def test_a_bad_speed_and_a_bad_token_are_named(book: Codebook) -> None:
    with pytest.raises(ObservationError, match="nan"):
        reachable(book, float("nan"))
    with pytest.raises(ActionDecodeError, match="2048"):
        reachable(book, None, 2048)


def test_nothing_known_excludes_nothing(book: Codebook) -> None:
    assert reachable(book, None).all()
