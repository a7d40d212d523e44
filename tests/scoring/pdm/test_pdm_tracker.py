"""From plans to driven states: numbers of the tracker and the bicycle worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.scoring.pdm import tracker
from autovla_core.scoring.pdm.tracker import AX, STEER, STEER_RATE, VX, YAW, YAW_ACC, YAW_RATE, X, Y
from autovla_core.scoring.pdm_types import PACIFICA, EgoState

ORIGIN = np.zeros(3)


def drive(plan, ego, period_s=0.5):
    return tracker.simulate(tracker.on_grid(tracker.to_world(np.asarray(plan)[None], ego), period_s), ego, PACIFICA)[0]


@pytest.mark.parametrize("speed", [0.0, 3.0, 20.0])
def test_a_plan_at_the_present_speed_is_driven_exactly(pdm, speed):
    states = drive(pdm.straight(speed), EgoState(ORIGIN, speed))
    assert states[:, X] == pytest.approx(speed * 0.1 * np.arange(41), abs=1e-9)
    assert np.abs(states[:, [Y, YAW, AX, STEER]]).max() < 1e-9


def test_ten_poses_at_2_hz_and_forty_at_10_hz_are_the_same_plan(pdm):
    ego = EgoState(ORIGIN, 8.0)
    slow, fast = drive(pdm.straight(8.0), ego), drive(pdm.straight(8.0, steps=40, period_s=0.1), ego, 0.1)
    assert slow == pytest.approx(fast, abs=1e-9)


def test_only_four_seconds_of_a_plan_count(pdm):
    plan = pdm.straight(8.0)
    bent = plan.copy()
    bent[8:, 1] = 30.0
    assert (drive(plan, EgoState(ORIGIN, 8.0)) == drive(bent, EgoState(ORIGIN, 8.0))).all()


def test_a_short_plan_is_held_at_its_last_pose(pdm):
    ego = EgoState(ORIGIN, 5.0)
    grid = tracker.on_grid(tracker.to_world(pdm.straight(5.0, steps=4)[None], ego), 0.5)[0]
    assert grid[20:, X] == pytest.approx(10.0)


def test_a_plan_that_turns_through_pi_is_interpolated_the_short_way():
    poses = np.zeros((1, 2, 3))
    poses[0, :, YAW] = 3.1, -3.1
    assert np.abs(tracker.on_grid(poses, 0.5)[0, :6, YAW]).min() > 3.09


def test_the_first_step_follows_the_lqr_and_the_lag():
    # 10 m/s now, a plan of 5 m/s: command -(10/11)*5; the lag passes 0.1/(0.1 + 0.2) of it
    plan = np.stack([2.5 * np.arange(1, 11), np.zeros(10), np.zeros(10)], -1)
    states = drive(plan, EgoState(ORIGIN, 10.0))
    acceleration = -(10.0 / 11.0) * 5.0 / 3.0
    assert states[1, AX] == pytest.approx(acceleration, abs=1e-9)
    assert states[1, VX] == pytest.approx(10.0 + 0.1 * acceleration, abs=1e-9)
    assert states[1, X] == pytest.approx(1.0)  # Euler with the old speed


def test_near_standstill_a_gentle_controller_takes_over():
    # 0.2 m/s and a standing plan: command -0.5*0.2, and a third of it
    states = drive(np.zeros((10, 3)), EgoState(ORIGIN, 0.2))
    assert states[1, AX] == pytest.approx(-0.1 / 3.0, abs=1e-12)
    faster = drive(np.zeros((10, 3)), EgoState(ORIGIN, 0.21))
    assert faster[1, AX] == pytest.approx(-(10.0 / 11.0) * 0.21 / 3.0, abs=1e-9)


def test_steering_passes_its_own_lag_and_its_limit():
    # alone, one step: command r, the wheel turns 0.1/(0.1 + 0.05) of 0.1 r
    old, new = np.zeros(11), np.zeros(11)
    old[VX] = 10.0
    tracker._advance(old, new, 0.0, 0.3, 3.089)
    assert new[STEER] == pytest.approx(0.02)
    assert new[STEER_RATE] == pytest.approx(0.2)
    assert new[YAW] == 0.0  # Euler with the old steering angle
    assert new[YAW_RATE] == pytest.approx(10.0 * np.tan(0.02) / 3.089)
    assert new[YAW_ACC] == pytest.approx(new[YAW_RATE] / 0.1)
    tracker._advance(old, new, 0.0, 100.0, 3.089)
    assert new[STEER] == pytest.approx(np.pi / 3)


def test_left_and_right_are_mirror_images():
    angle = 0.06 * np.arange(1, 11)
    plan = np.stack([40.0 * np.sin(angle), 40.0 * (1 - np.cos(angle)), angle], -1)
    left, right = drive(plan, EgoState(ORIGIN, 5.0)), drive(plan * [1, -1, -1], EgoState(ORIGIN, 5.0))
    odd = [Y, YAW, STEER, STEER_RATE, YAW_RATE, YAW_ACC]
    assert left[:, odd] == pytest.approx(-right[:, odd], abs=1e-9)
    assert left[:, [X, VX, AX]] == pytest.approx(right[:, [X, VX, AX]], abs=1e-9)


def test_where_the_world_puts_the_origin_does_not_matter(pdm):
    moved = drive(pdm.straight(8.0), EgoState(np.array([700.0, -300.0, 2.0]), 6.0))
    home = drive(pdm.straight(8.0), EgoState(ORIGIN, 6.0))
    assert moved[:, [VX, AX, STEER]] == pytest.approx(home[:, [VX, AX, STEER]], abs=1e-9)
    assert np.hypot(*(moved[:, :2] - [700.0, -300.0]).T) == pytest.approx(home[:, X], abs=1e-9)


def test_the_velocity_fit_pulls_accelerations_towards_zero():
    # the benchmark's quirk: a constant acceleration costs, though only its change was meant to
    ramp = 0.1 * (5.0 + 0.1 * np.arange(40))
    fitted = tracker.speed_fit() @ ramp
    assert np.diff(fitted)[0] == pytest.approx(0.0618, abs=1e-4)  # of the ramp's 0.1 a step
    assert np.diff(fitted)[20] == pytest.approx(0.1, abs=1e-6)
    assert tracker.speed_fit() @ np.full(40, 0.7) == pytest.approx(np.full(40, 7.0))


def test_curvature_of_a_circle_is_found_and_standing_still_has_an_answer():
    assert tracker._curvatures(np.full((1, 40), 0.5), np.full((1, 40), 0.01))[0] == pytest.approx(np.full(40, 0.02))
    assert (tracker._curvatures(np.zeros((1, 40)), np.zeros((1, 40))) == 0.0).all()


def test_curvatures_solve_their_least_squares_problem():
    rng = np.random.default_rng(3)
    width, turn = rng.uniform(0.0, 1.0, 40), rng.normal(0.0, 0.02, 40)
    design = np.tri(40) * 0.01  # of the first curvature and 39 rates, times dt: k_i = k_0 + 0.1 * sum r
    design[:, 0] = 0.1
    design *= width[:, None] / 0.1
    weights = np.diag([1e-10] + [1e-2] * 39)
    solved = np.linalg.solve(design.T @ design + weights, design.T @ turn)
    expected = solved[0] + 0.1 * np.concatenate([[0.0], np.cumsum(solved[1:])])
    assert tracker._curvatures(width[None], turn[None])[0] == pytest.approx(expected, abs=1e-9)
