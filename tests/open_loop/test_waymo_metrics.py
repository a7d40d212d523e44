"""Waymo's metrics against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.scoring.rater_feedback import (
    Rated,
    ade,
    best_rated,
    mean_over_clusters,
    padded,
    rater_feedback_score,
)

TIMES = 0.25 * np.arange(1, 21)
STRAIGHT = np.stack([10.0 * TIMES, 0.0 * TIMES], axis=1)  # 10 m/s along x: at 30 m after 3 s, at 50 m after 5 s
FAST = 11.0  # m/s, from here on the regions have their full size: 1 x 4 m at 3 s, 1.8 x 7.2 m at 5 s


def moved(dx: float, dy: float) -> np.ndarray:
    return STRAIGHT + [dx, dy]


def test_the_rated_trajectory_itself_gets_its_score() -> None:
    assert rater_feedback_score(STRAIGHT, [Rated(STRAIGHT, 8.0)], FAST) == 8.0


def test_inside_the_region_the_score_is_flat() -> None:
    # 0.99 m to the left: within 1.0 m at 3 s and within 1.8 m at 5 s.
    assert rater_feedback_score(moved(0.0, 0.99), [Rated(STRAIGHT, 8.0)], FAST) == 8.0
    assert rater_feedback_score(moved(3.9, 0.0), [Rated(STRAIGHT, 8.0)], FAST) == 8.0


def test_the_edge_belongs_to_the_region() -> None:
    assert rater_feedback_score(moved(4.0, 0.0), [Rated(STRAIGHT, 8.0)], FAST) == 8.0


def test_one_width_beyond_leaves_a_tenth_but_the_floor_holds() -> None:
    # 2 m to the left: n = 2 at 3 s, 2 / 1.8 at 5 s. 10 * 0.1^1 = 1; 10 * 0.1^(1/9) = 7.742637; mean 4.371319 > 4.
    expected = (10.0 * 0.1 + 10.0 * 0.1 ** (1.0 / 9.0)) / 2.0
    assert expected == pytest.approx(4.371319, abs=1e-6)
    assert rater_feedback_score(moved(0.0, 2.0), [Rated(STRAIGHT, 10.0)], FAST) == pytest.approx(expected)
    # with a score of 8 the mean is 3.497 and the floor 4 is given
    assert rater_feedback_score(moved(0.0, 2.0), [Rated(STRAIGHT, 8.0)], FAST) == 4.0


def test_far_away_gets_the_floor() -> None:
    assert rater_feedback_score(moved(0.0, 50.0), [Rated(STRAIGHT, 10.0)], FAST) == 4.0


def test_a_bad_score_inside_a_region_is_not_lifted_to_the_floor() -> None:
    assert rater_feedback_score(STRAIGHT, [Rated(STRAIGHT, 1.5)], FAST) == 1.5


@pytest.mark.parametrize(("speed", "scale"), [(0.0, 0.5), (1.4, 0.5), (6.2, 0.75), (11.0, 1.0), (30.0, 1.0)])
def test_the_region_grows_with_the_speed(speed: float, scale: float) -> None:
    # 0.5 + 0.5 (6.2 - 1.4) / 9.6 = 0.75; the half width at 3 s is 1 m times that
    rated = [Rated(STRAIGHT, 9.0)]
    assert rater_feedback_score(moved(0.0, scale - 1e-9), rated, speed) == 9.0
    assert rater_feedback_score(moved(0.0, scale + 1e-3), rated, speed) < 9.0


def test_the_best_rater_counts_at_each_time_for_itself() -> None:
    """One trajectory is met at 3 s only, the other at 5 s only: both scores count, and no pair is whole."""
    early, late = moved(0.0, 0.0), moved(0.0, 0.0)
    early[12:] += [0.0, 100.0]  # leaves after 3 s (index 11)
    late[:12] += [0.0, 100.0]  # arrives after 3 s
    early[19], late[11] = [50.0, 100.0], [30.0, 100.0]
    # at 3 s: 9 from ``early``; at 5 s: 7 from ``late``; mean 8. Not inside one at both, but 8 > 4.
    assert rater_feedback_score(STRAIGHT, [Rated(early, 9.0), Rated(late, 7.0)], FAST) == pytest.approx(8.0)
    # 3 and 1: the mean 2 is lifted to 4, since no single trajectory holds the plan at both times
    assert rater_feedback_score(STRAIGHT, [Rated(early, 3.0), Rated(late, 1.0)], FAST) == 4.0


def test_a_fourth_trajectory_does_not_count() -> None:
    rated = [Rated(moved(0.0, 90.0), 5.0)] * 3 + [Rated(STRAIGHT, 10.0)]
    assert rater_feedback_score(STRAIGHT, rated, FAST) == 4.0


def test_directions_follow_the_rated_trajectory() -> None:
    """Driven to the left (+y), 3 m further is along, 3 m beside is across."""
    left = np.stack([0.0 * TIMES, 10.0 * TIMES], axis=1)
    rated = [Rated(left, 10.0)]
    assert rater_feedback_score(left + [0.0, 3.0], rated, FAST) == 10.0  # 3 < 4 m along
    # 3 m beside: n = 3 at 3 s -> 10 * 0.1^2 = 0.1; 3 / 1.8 at 5 s -> 10 * 0.1^(2/3) = 2.154; mean 1.13 -> floor
    assert rater_feedback_score(left + [3.0, 0.0], rated, FAST) == 4.0


def test_a_standing_trajectory_looks_forward() -> None:
    standing = np.zeros((20, 2))
    # from standing the regions are half: 0.5 x 2 m at 3 s, 0.9 x 3.6 m at 5 s
    assert rater_feedback_score(standing + [1.9, 0.0], [Rated(standing, 6.0)], 0.0) == 6.0
    assert rater_feedback_score(standing + [0.0, 0.45], [Rated(standing, 6.0)], 0.0) == 6.0
    assert rater_feedback_score(standing + [0.0, 0.6], [Rated(standing, 6.0)], 0.0) < 6.0


def test_a_stop_keeps_the_direction_before_it() -> None:
    """To the left for 2 s, then standing: at 3 and 5 s "along" is still y."""
    stop = np.stack([0.0 * TIMES, 5.0 * np.minimum(TIMES, 2.0)], axis=1)
    assert rater_feedback_score(stop + [0.0, 3.9], [Rated(stop, 6.0)], FAST) == 6.0


def test_short_and_long_trajectories_become_twenty_points() -> None:
    assert padded(STRAIGHT[:11])[10:].tolist() == [[27.5, 0.0]] * 10
    longer = np.concatenate([STRAIGHT, [[52.5, 0.0]]])
    assert padded(longer).tolist() == STRAIGHT.tolist()
    assert rater_feedback_score(STRAIGHT, [Rated(longer, 7.0)], FAST) == 7.0


def test_left_and_right_are_alike() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        plan, rated = STRAIGHT + rng.normal(0, 2, (20, 2)), STRAIGHT + rng.normal(0, 2, (20, 2))
        mirror = np.array([1.0, -1.0])
        one = rater_feedback_score(plan, [Rated(rated, 9.0)], 5.0)
        assert rater_feedback_score(plan * mirror, [Rated(rated * mirror, 9.0)], 5.0) == pytest.approx(one)


def test_the_score_depends_on_three_and_five_seconds_only() -> None:
    plan = STRAIGHT + np.random.default_rng(5).normal(0, 30, (20, 2))
    plan[[11, 19]] = STRAIGHT[[11, 19]]
    assert rater_feedback_score(plan, [Rated(STRAIGHT, 9.0)], FAST) == 9.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: rater_feedback_score(STRAIGHT[:10], [Rated(STRAIGHT, 1.0)], 1.0), r"\(10, 2\)"),
        (lambda: rater_feedback_score(STRAIGHT, [], 1.0), "no rated"),
        (lambda: Rated(STRAIGHT, -1.0), "score -1.0"),
        (lambda: Rated(np.zeros((0, 2)), 1.0), "shape"),
        (lambda: ade(STRAIGHT, np.zeros((0, 2)), 3), "no known point"),
        (lambda: mean_over_clusters({"a": 1.0}, {}), "without a cluster"),
    ],
)
def test_what_cannot_be_scored_is_named(call: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()  # type: ignore[operator]


def test_ade_of_a_shifted_plan_is_the_shift() -> None:
    assert ade(moved(3.0, 4.0), STRAIGHT, 3) == pytest.approx(5.0)
    assert ade(moved(3.0, 4.0), STRAIGHT, 5) == pytest.approx(5.0)


def test_ade_of_a_stopped_plan_is_the_mean_distance_driven() -> None:
    # truth at 2.5, 5, ... m: the mean over 12 points is 2.5 * 6.5 = 16.25 m, over 20 points 2.5 * 10.5 = 26.25 m
    assert ade(np.zeros((20, 2)), STRAIGHT, 3) == pytest.approx(16.25)
    assert ade(np.zeros((20, 2)), STRAIGHT, 5) == pytest.approx(26.25)


def test_ade_of_a_constant_velocity_plan_before_a_braking_car() -> None:
    # the car brakes with 1 m/s2: behind by t^2 / 2. Mean of (k/4)^2 / 2 for k = 1..12: 650 / 12 / 32 = 1.692708
    braking = STRAIGHT - np.stack([0.5 * TIMES**2, 0.0 * TIMES], axis=1)
    assert ade(STRAIGHT, braking, 3) == pytest.approx(650 / 12 / 32)
    assert ade(STRAIGHT, braking, 5) == pytest.approx(2870 / 20 / 32)  # 1 + 4 + ... + 400 = 2870


def test_ade_counts_the_known_points_only() -> None:
    assert ade(np.zeros((20, 2)), STRAIGHT[:4], 5) == pytest.approx(2.5 * 2.5)  # 2.5, 5, 7.5, 10 m


def test_the_challenge_measures_against_the_highest_score() -> None:
    low, high, equal = Rated(STRAIGHT, 3.0), Rated(moved(1.0, 0.0), 9.0), Rated(moved(2.0, 0.0), 9.0)
    assert best_rated([low, high, equal]) is high


def test_the_final_score_is_the_mean_of_the_cluster_means() -> None:
    # cyclist (8 + 6) / 2 = 7, cut-in 1: mean 4, though the mean of the three frames is 5
    mean, parts = mean_over_clusters({"a": 8.0, "b": 6.0, "c": 1.0}, {"a": "Cyclist", "b": "Cyclist", "c": "Cut_ins"})
    assert (mean, parts) == (4.0, {"Cut_ins": 1.0, "Cyclist": 7.0})
