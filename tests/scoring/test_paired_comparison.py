"""Two agents differ only where the same drives say so, and a table knows what it could not have seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.scoring.statistics import (
    bootstrap_quantile,
    bootstrap_rate,
    bootstrap_share,
    detectable_difference,
    holm,
    paired_difference,
    sign_flip,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drives(values: np.ndarray, seeds: int = 1) -> dict[tuple[int, int], float]:
    return {(route, seed): float(value) for route, value in enumerate(values) for seed in range(seeds)}


def test_a_constant_gain_is_shown_however_much_the_routes_differ():
    scores = np.linspace(10.0, 90.0, 20)
    found = paired_difference(drives(scores), drives(scores + 2.0), rng())
    assert found.difference.mean == pytest.approx(2.0) and found.difference.low == pytest.approx(2.0)
    assert found.shown and found.detectable == pytest.approx(0.0, abs=1e-9)
    assert (found.mean_a, found.mean_b) == (pytest.approx(50.0), pytest.approx(52.0))


def test_equal_agents_show_no_difference_and_swapping_them_turns_the_sign():
    a, b = (drives(np.random.default_rng(k).uniform(0, 100, 30)) for k in (1, 2))
    there, back = paired_difference(a, b, rng()), paired_difference(b, a, rng())
    assert not there.shown
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    assert there.detectable == pytest.approx(back.detectable) and there.detectable > abs(there.difference.mean)


def test_three_seeds_of_a_route_prove_no_more_than_one():
    noise = np.random.default_rng(3).normal(3.0, 10.0, 15)
    one = paired_difference(drives(np.zeros(15)), drives(noise), rng())
    three = paired_difference(drives(np.zeros(15), 3), drives(noise, 3), rng())
    assert three.pairs == 45 and three.groups == one.groups == 15
    assert three.detectable == pytest.approx(one.detectable)
    assert three.p_value == pytest.approx(one.p_value, abs=0.02)


def test_only_drives_of_both_agents_count():
    found = paired_difference({("r", 0): 1.0, ("only a", 0): 99.0}, {("r", 0): 4.0, ("only b", 0): 0.0}, rng())
    assert (found.pairs, found.difference.mean) == (1, 3.0)
    assert found.detectable is None and not found.shown  # one route proves nothing
    with pytest.raises(ValueError, match="found none among 1 and 1"):
        paired_difference({("r", 0): 1.0}, {("s", 0): 1.0}, rng())


def test_agents_that_never_differ_tell_nothing_about_what_could_be_shown():
    same = drives(np.zeros(20))
    assert paired_difference(same, same, rng()).detectable is None


def test_signs_are_counted_exactly_for_few_routes():
    assert sign_flip(np.array([1.0, 1.0, 1.0]), rng()) == 2 / 8
    assert sign_flip(np.zeros(5), rng()) == 1.0
    assert sign_flip(np.ones(20), rng()) < 0.001


def test_five_routes_cannot_show_anything_at_five_percent():
    assert not paired_difference(drives(np.zeros(5)), drives(np.full(5, 50.0)), rng()).shown
    assert paired_difference(drives(np.zeros(6)), drives(np.full(6, 50.0)), rng()).shown


def test_the_detectable_difference_is_found_in_four_of_five_experiments():
    chance = np.random.default_rng(4)
    smallest = detectable_difference(chance.normal(0.0, 10.0, 4000)[:4000]) * math.sqrt(4000 / 20)  # for 20 routes
    found = [
        paired_difference(drives(np.zeros(20)), drives(chance.normal(smallest, 10.0, 20)), rng()).shown
        for _ in range(60)
    ]
    assert 0.6 <= np.mean(found) <= 0.95


def test_the_detectable_difference_follows_students_t():
    # t(0.975, 9) = 2.262, t(0.8, 9) = 0.883; sd 1 by construction
    values = np.array([-1.0, 1.0] * 5) * math.sqrt(9 / 10)
    assert detectable_difference(values) == pytest.approx((2.262 + 0.883) / math.sqrt(10), rel=0.002)


def test_holm_allows_for_the_number_of_comparisons():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_never_failed_is_not_never_fails():
    share = bootstrap_share([True] * 20, rng())
    assert share.mean == share.high == 100.0 and share.low == pytest.approx(83.16, abs=0.01)  # 0.025 ** (1 / 20)
    assert bootstrap_share([False] * 20, rng()).high == pytest.approx(100.0 - share.low)
    seeds = bootstrap_share([True] * 60, rng(), groups=list(range(20)) * 3)
    assert seeds.low == share.low
    assert bootstrap_rate([0] * 10, rng()).high == pytest.approx(0.3689, abs=1e-4)  # -ln 0.025 / 10
    assert bootstrap_rate([0, 2], rng()).mean == 1.0


def test_a_median_knows_its_groups():
    values = list(np.random.default_rng(5).normal(200.0, 20.0, 30))
    one = bootstrap_quantile(values, 0.5, rng())
    many = bootstrap_quantile(values * 10, 0.5, rng(), groups=list(range(30)) * 10)
    assert one.low < one.mean == np.median(values) < one.high
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.25)
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_quantile([], 0.5, rng())
