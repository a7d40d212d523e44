"""Comfort: what is smoothed how, and where the bounds lie."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.scoring.pdm import comfort
from autovla_core.scoring.pdm.tracker import AX, AY, VX, YAW, YAW_ACC, YAW_RATE, X
from autovla_core.scoring.pdm_types import EgoState

T = 0.1 * np.arange(41)


def states(**columns):
    numbers = {"ax": AX, "ay": AY, "yaw": YAW, "yaw_rate": YAW_RATE, "yaw_acc": YAW_ACC}
    made = np.zeros((1, 41, 11))
    for name, values in columns.items():
        made[0, :, numbers[name]] = values
    return made


def is_comfortable(made):
    return comfort.within_bounds(comfort.signals_v1(made))[0] == 1.0


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("longitudinal acceleration", -4.05, 2.40),
        ("lateral acceleration", -4.89, 4.89),
        ("jerk", -8.37, 8.37),
        ("longitudinal jerk", -4.13, 4.13),
        ("yaw acceleration", -1.93, 1.93),
        ("yaw rate", -0.95, 0.95),
    ],
)
def test_each_bound_is_exclusive(name, low, high):
    def good(value):
        signals = {other: np.zeros((1, 41)) for other in comfort.BOUNDS}
        signals[name][0, 20] = value
        return comfort.within_bounds(signals)[0] == 1.0

    assert good(low + 0.01) and good(high - 0.01)
    assert not good(low) and not good(high)


def test_constant_acceleration_passes_through_every_filter():
    assert is_comfortable(states(ax=np.full(41, 2.39))) and not is_comfortable(states(ax=np.full(41, 2.41)))
    assert is_comfortable(states(ax=np.full(41, -4.04))) and not is_comfortable(states(ax=np.full(41, -4.06)))


def test_a_short_bump_is_smoothed_away_in_v1_and_seen_in_v2():
    # 3 m/s2 for half a second: the parabola over 4 s hardly sees it, the one over 0.8 s does
    bump = np.where((T > 1.75) & (T < 2.25), 3.0, 0.0)
    assert comfort.signals_v1(states(ax=bump))["longitudinal acceleration"].max() < 1.0
    assert comfort.signals_v2(states(ax=bump), 1.461)["longitudinal acceleration"].max() > 2.4


def test_jerk_is_the_slope_of_a_ramp():
    signals = comfort.signals_v1(states(ax=-1.0 * T))
    # exact in the middle; towards the ends the half step of the even window tilts the parabola a little
    assert signals["longitudinal jerk"][0, 20] == pytest.approx(-1.0, abs=1e-6)
    assert signals["jerk"][0, 20] == pytest.approx(1.0, abs=1e-6)  # of the magnitude
    assert signals["longitudinal jerk"] == pytest.approx(-1.0, abs=0.06)


def test_yaw_motion_is_judged_from_the_yaw_and_survives_the_wrap():
    turning = 3.0 + 0.94 * T
    wrapped = (turning + np.pi) % (2 * np.pi) - np.pi
    assert comfort.signals_v1(states(yaw=wrapped))["yaw rate"] == pytest.approx(0.94, abs=1e-7)
    assert is_comfortable(states(yaw=wrapped)) and not is_comfortable(states(yaw=0.96 * T))
    assert comfort.signals_v1(states(yaw=0.5 * T**2))["yaw acceleration"] == pytest.approx(1.0, abs=1e-6)


def test_v2_shifts_the_acceleration_to_the_centre_along_the_car_only():
    # as coded: ax + 1.461 * (rate^2 + acc), ay as it is
    signals = comfort.signals_v2(states(ax=1.0, yaw_rate=0.5, yaw_acc=0.2), 1.461)
    assert signals["longitudinal acceleration"] == pytest.approx(1.0 + 1.461 * (0.25 + 0.2), abs=1e-7)
    assert (signals["lateral acceleration"] == 0.0).all()
    assert signals["jerk"] == pytest.approx(0.0, abs=1e-6)  # of the rear axle


def test_the_past_is_14_states_from_minus_1_5_to_minus_0_2_s():
    rows = [[t, 10.0 * t, 0.0, 0.0, 10.0, 0.0, 0.5, 0.0] for t in (-1.5, -1.0, -0.5)]
    past = comfort.past_states(np.array(rows), EgoState(np.zeros(3), 10.0, ax=1.5))
    assert past[:, X] == pytest.approx(np.arange(-15, -1))
    assert past[-1, AX] == pytest.approx(0.5 + 1.0 * 0.3 / 0.5)  # 0.3 s of the last half second
    assert (past[:, VX] == 10.0).all() and (past[:, [YAW_RATE, YAW_ACC]] == 0.0).all()


def test_without_a_past_v2_finds_everything_comfortable():
    harsh = states(ax=np.full(41, 5.0))
    calm = np.zeros((14, 11))
    assert comfort.history_comfort(harsh, None, 1.461)[0] == 1.0
    assert comfort.history_comfort(harsh, calm, 1.461)[0] == 0.0
    assert comfort.history_comfort(states(), calm, 1.461)[0] == 1.0


def test_a_harsh_past_is_held_against_a_calm_plan():
    past = np.zeros((14, 11))
    past[:, AX] = -5.0
    assert comfort.history_comfort(states(), past, 1.461)[0] == 0.0


@pytest.mark.parametrize(("difference", "good"), [(0.69, 1.0), (0.7, 1.0), (0.71, 0.0)])
def test_extended_comfort_bounds_the_rms_difference_inclusively(difference, good):
    assert comfort.extended_comfort(states(ax=np.full(41, difference)), states()[0])[0] == good


def test_extended_comfort_compares_the_same_moments():
    # the plan of 0.5 s ago turns at 0.3 rad/s from its fifth step on; so does the present one from its first
    earlier, now = states(yaw=0.3 * (T - 0.5)), states(yaw=0.3 * T)
    assert comfort.extended_comfort(now, earlier[0])[0] == 1.0
    assert comfort.extended_comfort(now, states()[0])[0] == 0.0


@pytest.mark.parametrize("order", [2, 3])
def test_smoothing_keeps_a_polynomial_of_its_order(order):
    poly = T**order - 2.0 * T
    assert comfort.smoother(41, 5, order) @ poly == pytest.approx(poly, abs=1e-9)
    assert comfort.smoother(41, 15, order, 1) @ poly == pytest.approx(order * T ** (order - 1) - 2.0, abs=1e-8)


def test_an_even_window_judges_half_a_step_later_than_its_sample():
    inner = (comfort.smoother(41, 8, 2) @ T)[4:-4]
    assert inner == pytest.approx(T[4:-4] + 0.05)
    assert (comfort.smoother(41, 8, 2) @ T)[:4] == pytest.approx(T[:4])  # fitted ends are evaluated where they are
