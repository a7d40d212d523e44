"""Driving scores worked by hand from the leaderboard's tables."""

from __future__ import annotations

import pytest

from autovla_core.scoring.closed_loop import Infraction, score

VEHICLE, RED, STOP = Infraction("collisions_vehicle"), Infraction("red_light"), Infraction("stop_infraction")
LANES = Infraction("outside_route_lanes", percentage=25.0)


def test_a_clean_route_scores_its_completion():
    for rule in ("product", "hyperbolic"):
        assert score(87.5, [], rule).composed == 87.5
        assert score(100.0, [], rule).penalty == 1.0


def test_the_product_rule_multiplies_factors():
    scores = score(100.0, [VEHICLE, RED, RED, LANES])
    assert scores.penalty == pytest.approx(0.6 * 0.7 * 0.7 * 0.75)
    assert scores.composed == pytest.approx(22.05)


def test_the_hyperbolic_rule_adds_coefficients():
    scores = score(50.0, [VEHICLE, RED, STOP, LANES], "hyperbolic")
    assert scores.penalty == pytest.approx(0.75 / (1 + 0.7 + 0.4 + 0.25), abs=1e-6)
    assert scores.composed == pytest.approx(50.0 * 0.75 / 2.35, abs=1e-6)


def test_what_only_ends_a_route_costs_no_factor():
    ends = [Infraction(kind) for kind in ("route_dev", "vehicle_blocked", "route_timeout")]
    assert score(40.0, ends).composed == score(40.0, ends, "hyperbolic").composed == 40.0


def test_a_second_infraction_weighs_less_under_the_hyperbolic_rule():
    once, twice = score(100, [VEHICLE], "hyperbolic").composed, score(100, [VEHICLE] * 2, "hyperbolic").composed
    assert once - twice < 100 - once


def test_unknown_names_are_errors_that_list_the_known():
    with pytest.raises(ValueError, match="red_light"):
        Infraction("ran_red")
    with pytest.raises(ValueError, match="hyperbolic"):
        score(1.0, [], "harmonic")
