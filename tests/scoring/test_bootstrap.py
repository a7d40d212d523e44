"""The interval of a mean is repeatable, and honest about routes driven more than once."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.scoring.statistics import bootstrap_mean


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_interval_holds_the_mean_and_matches_the_normal_approximation():
    values = np.random.default_rng(1).normal(50.0, 10.0, 400)
    interval = bootstrap_mean(values, rng())
    assert interval.low < interval.mean < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20.0, rel=0.1)


def test_equal_values_give_a_point():
    interval = bootstrap_mean([3.0] * 5, rng())
    assert (interval.mean, interval.low, interval.high) == (3.0, 3.0, 3.0)
    assert str(interval) == "3.0 [3.0, 3.0]"


def test_the_same_seed_gives_the_same_interval():
    assert bootstrap_mean([1, 2, 5, 9], rng()) == bootstrap_mean([1, 2, 5, 9], rng())


def test_repeating_every_route_does_not_make_the_mean_surer():
    values = list(np.random.default_rng(2).uniform(0, 100, 20))
    once = bootstrap_mean(values, rng())
    thrice = bootstrap_mean(values * 3, rng(), groups=list(range(20)) * 3)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)


def test_senseless_input_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_mean([], rng())
    with pytest.raises(ValueError, match="2 groups for 3 values"):
        bootstrap_mean([1, 2, 3], rng(), groups=["a", "b"])
    with pytest.raises(ValueError, match="confidence 95"):
        bootstrap_mean([1.0], rng(), confidence=95)
