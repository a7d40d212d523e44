"""The tracker on the bicycle fitted to CARLA's ego."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core import geometry
from autovla_core.contracts import FULL_BRAKE, PLAN_STEPS, STEP_S, Plan
from autovla_core.control.bicycle import DT_S, Bicycle
from autovla_core.control.tracker import Tracker
from autovla_core.route.plan import RoutePlan, from_poses
from autovla_core.route.progress import RouteProgress


def turn(radius: float, side: float = 1.0) -> RoutePlan:
    """40 m straight, a quarter circle, 40 m straight."""
    straight = [(x, 0.0, 0.0) for x in np.arange(0.0, 40.0, 1.0)]
    angles = np.arange(0.0, math.pi / 2, 1.0 / radius)
    arc = [(40 + radius * math.sin(a), side * radius * (1 - math.cos(a)), side * a) for a in angles]
    out = [(40 + radius, side * (radius + y), side * math.pi / 2) for y in np.arange(0.0, 40.0, 1.0)]
    poses = np.array([*straight, *arc, *out])
    return from_poses(poses, [4] * len(poses))


def follow(route: RoutePlan, speed: float, replan_ticks: int) -> float:
    """Drive plans of constant speed along a route; return the largest distance to it."""
    car, tracker, progress = Bicycle(speed=speed), Tracker(), RouteProgress(route)
    worst, plan = 0.0, None
    for tick in range(300):
        s = progress.update(car.pose)
        worst = max(worst, abs(progress.offset))
        if s > route.length - 15.0:
            return worst
        if tick % replan_ticks == 0:
            ahead = np.array([route.pose_at(s + speed * STEP_S * (k + 1)) for k in range(PLAN_STEPS)])
            plan = Plan(geometry.relative(car.pose, ahead), tick * DT_S, tick * DT_S)
        car.step(tracker.step(plan, tick * DT_S, car.speed, car.yaw_rate))
    raise AssertionError("the car did not get through the turn")


@pytest.mark.parametrize(("radius", "speed"), [(9.0, 6.0), (9.0, 8.0), (12.0, 8.0), (30.0, 8.0)])
@pytest.mark.parametrize("replan_ticks", [1, 10])
def test_a_turn_is_followed_within_35_cm(radius, speed, replan_ticks):
    assert follow(turn(radius), speed, replan_ticks) < 0.35


def test_left_and_right_turns_are_mirror_images():
    left, right = follow(turn(10.0), 6.0, 10), follow(turn(10.0, -1.0), 6.0, 10)
    assert left == pytest.approx(right, abs=1e-6)


def profile(speed: float, acceleration: float, end: float) -> np.ndarray:
    """Straight poses (10, 3) of a car that changes its speed to ``end`` at ``acceleration``."""
    times = np.arange(1, 501) * 0.01
    speeds = speed + acceleration * times
    speeds = np.minimum(speeds, end) if acceleration > 0 else np.maximum(speeds, end)
    x = np.cumsum(speeds)[49::50] * 0.01
    return np.stack([x, 0 * x, 0 * x], axis=1)


@pytest.mark.parametrize("speed", [5.0, 8.0])
def test_the_car_stops_where_the_plan_stops(speed):
    car, tracker, stop = Bicycle(speed=speed), Tracker(), 30.0
    for tick in range(260):
        left = stop - car.pose[0]
        if tick % 10 == 0:
            needed = car.speed**2 / (2.0 * max(left, 0.05))
            poses = profile(car.speed, -needed, 0.0) if needed > 2.0 or left < 0.5 else profile(car.speed, 0.01, 9.0)
            plan = Plan(poses, tick * DT_S, tick * DT_S)
        control = tracker.step(plan, tick * DT_S, car.speed, car.yaw_rate)
        car.step(control)
    assert car.speed == pytest.approx(0.0, abs=1e-6)
    assert abs(car.pose[0] - stop) < 0.7
    assert control.brake == 1.0 and control.throttle == 0.0


def test_a_car_starts_promptly_and_reaches_the_planned_speed():
    car, tracker = Bicycle(), Tracker()
    speeds = []
    for tick in range(200):
        if tick % 10 == 0:
            plan = Plan(profile(car.speed, 2.0, 8.0), tick * DT_S, tick * DT_S)
        car.step(tracker.step(plan, tick * DT_S, car.speed, car.yaw_rate))
        speeds.append(car.speed)
    assert speeds[19] > 1.4  # after 1 s
    assert speeds[-1] == pytest.approx(8.0, abs=0.3)


def test_a_standing_plan_holds_the_brake():
    tracker = Tracker()
    plan = Plan(np.zeros((PLAN_STEPS, 3)), 0.0, 0.0)
    for tick in range(5):
        control = tracker.step(plan, tick * DT_S, 0.0, 0.0)
        assert (control.throttle, control.brake) == (0.0, 1.0)


def test_no_plan_brakes_fully():
    assert Tracker().step(None, 0.0, 5.0, 0.0) == FULL_BRAKE


def test_a_plan_that_has_run_out_brakes():
    tracker = Tracker()
    plan = Plan(profile(8.0, 0.01, 8.0), 0.0, 0.0)
    controls = [tracker.step(plan, tick * DT_S, 8.0, 0.0) for tick in range(120)]
    assert controls[20].brake == 0.0
    assert controls[-1].brake > 0.0 and controls[-1].throttle == 0.0


def test_a_late_plan_is_followed_from_where_it_was_observed():
    """Two trackers get the same plan, one of them 0.3 s later: afterwards they steer alike."""
    poses = np.array([(3.0 * k, 0.05 * k * k, 0.03 * k) for k in range(1, 11)])
    early, late = Tracker(), Tracker()
    straight = Plan(profile(6.0, 0.01, 6.0), 0.0, 0.0)
    plan = Plan(poses, 0.0, 0.3)
    for tick in range(30):
        a = early.step(plan, tick * DT_S, 6.0, 0.05)
        b = late.step(straight if tick < 6 else plan, tick * DT_S, 6.0, 0.05)
    assert a.steer == pytest.approx(b.steer, abs=1e-9)
