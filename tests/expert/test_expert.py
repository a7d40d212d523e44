"""The expert on values: no simulator, the fitted bicycle as the car."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from autovla_core import footprints, geometry
from autovla_core.contracts import Actor, LightState, Scene, StopLine
from autovla_core.control.bicycle import DT_S, Bicycle
from autovla_core.expert.expert import Expert, ExpertDecision
from autovla_core.route.plan import RoutePlan, from_poses

LENGTH, WIDTH, LIMIT = 4.9, 2.13, 40 / 3.6
World = Callable[[float], tuple[list[Actor], list[StopLine]]]


def route(radius: float = 0.0, straight: float = 120.0) -> RoutePlan:
    """Straight, or 40 m straight and then a left turn."""
    if radius == 0.0:
        poses = [(x, 0.0, 0.0) for x in np.arange(0.0, straight)]
    else:
        poses = [(x, 0.0, 0.0) for x in np.arange(0.0, 40.0)]
        angles = np.arange(0.0, math.pi / 2, 1.0 / radius)
        poses += [(40 + radius * math.sin(a), radius * (1 - math.cos(a)), a) for a in angles]
        poses += [(40 + radius, radius + y, math.pi / 2) for y in np.arange(0.0, 50.0)]
    return from_poses(np.array(poses), [4] * len(poses))


class Drive:
    """What happened."""

    def __init__(self) -> None:
        self.speed: list[float] = []
        self.front: list[float] = []
        self.offset: list[float] = []
        self.decisions: list[ExpertDecision] = []
        self.actors: list[list[Actor]] = []
        self.poses: list[np.ndarray] = []

    def hits(self) -> bool:
        return any(
            footprints.overlap(footprints.corners(pose, LENGTH, WIDTH), footprints.corners(a.pose, a.length, a.width))
            for pose, actors in zip(self.poses, self.actors)
            for a in actors
        )

    def hardest(self) -> float:
        return float(-np.diff(self.speed).min() / DT_S)


def empty(t: float) -> tuple[list[Actor], list[StopLine]]:
    """Nobody there."""
    return [], []


def drive(
    plan: RoutePlan,
    seconds: float,
    world: World = lambda t: ([], []),
    pose: tuple = (0.0, 0.0, 0.0),
    speed: float = 0.0,
) -> Drive:
    expert, car, log = Expert(plan), Bicycle(np.array(pose), speed), Drive()
    for tick in range(int(seconds / DT_S)):
        actors, lines = world(tick * DT_S)
        scene = Scene(
            tick * DT_S, car.pose, car.speed, car.acceleration, LENGTH, WIDTH, LIMIT, tuple(actors), tuple(lines)
        )
        decision = expert.step(scene)
        log.speed.append(car.speed)
        log.front.append(expert.progress.s + LENGTH / 2)
        log.offset.append(expert.progress.offset)
        log.decisions.append(decision)
        log.actors.append(actors)
        log.poses.append(car.pose)
        car.step(decision.control)
    return log


def light(s: float, state: Callable[[float], LightState]) -> World:
    return lambda t: ([], [StopLine(5, "light", s, state(t))])


def test_it_cruises_at_072_of_the_limit():
    assert drive(route(), 11.0).speed[-1] == pytest.approx(0.72 * LIMIT, abs=0.35)


@pytest.mark.parametrize("radius", [8.0, 12.0])
def test_it_slows_for_a_turn_and_stays_on_its_lane(radius):
    log = drive(route(radius), 14.0)
    assert max(np.abs(log.offset)) < 0.35
    in_turn = [v for v, front in zip(log.speed, log.front) if 46 < front < 44 + radius]
    assert max(in_turn) ** 2 / radius < 3.0


def test_it_stops_before_a_red_light_and_goes_on_green():
    log = drive(route(), 22.0, light(50.0, lambda t: LightState.RED if t < 14 else LightState.GREEN))
    waiting = log.front[int(13.5 / DT_S)]
    assert 48.0 < waiting < 50.0
    assert log.speed[int(13.5 / DT_S)] == 0.0
    assert log.speed[-1] > 6.0
    reasons = {(d.reason.rule, d.reason.actor_id) for d in log.decisions}
    assert ("light", 5) in reasons
    changes = np.diff(log.speed[: int(12 / DT_S)]) / DT_S
    assert changes[np.array(log.speed[: len(changes)]) > 0.5].min() > -3.5


def test_a_standing_plan_stands_exactly():
    log = drive(route(), 13.0, light(50.0, lambda t: LightState.RED))
    assert not log.decisions[-1].poses.any()
    assert log.decisions[-1].control.brake == 1.0


@pytest.mark.parametrize(("distance", "stops"), [(25.0, True), (5.0, False)])
def test_it_stops_for_yellow_only_when_that_is_comfortable(distance, stops):
    """8 m/s, the light turns yellow with the bumper ``distance`` before the line, and red 3 s later."""

    def state(t: float) -> LightState:
        return LightState.YELLOW if t < 3.0 else LightState.RED

    log = drive(route(), 8.0, light(LENGTH / 2 + distance, state), speed=8.0)
    assert (log.front[-1] < LENGTH / 2 + distance) == stops
    assert log.hardest() < 6.0 or stops


def test_it_stops_at_a_stop_sign_waits_and_goes():
    log = drive(route(), 20.0, lambda t: ([], [StopLine(9, "stop", 40.0)]))
    standing = [front for v, front in zip(log.speed, log.front) if v < 0.1 and front > 30.0]
    assert standing and all(37.5 < front < 40.3 for front in standing)
    assert 0.5 <= len(standing) * DT_S < 3.0
    assert log.front[-1] > 60.0


def leader(speed_at: Callable[[float], float], start: float = 20.0) -> World:
    def world(t: float) -> tuple[list[Actor], list[StopLine]]:
        x = start + sum(speed_at(k * DT_S) * DT_S for k in range(int(t / DT_S)))
        return [Actor(7, "vehicle", np.array([x, 0.2, 0.0]), speed_at(t), 4.5, 2.0)], []

    return world


def test_it_follows_a_slower_car_and_stops_behind_it():
    log = drive(route(straight=200.0), 20.0, leader(lambda t: 4.0 if t < 10 else max(0.0, 4.0 - 3.0 * (t - 10))))
    gap = log.actors[-1][0].pose[0] - 2.25 - log.front[-1]
    assert log.speed[int(9.5 / DT_S)] == pytest.approx(4.0, abs=0.7)
    assert log.speed[-1] == 0.0
    assert 2.0 < gap < 4.5
    assert not log.hits()


def test_it_brakes_hard_when_that_is_needed():
    parked = [Actor(3, "vehicle", np.array([LENGTH / 2 + 13.0, 0.0, 0.0]), 0.0, 4.5, 2.0)]
    log = drive(route(), 5.0, lambda t: (parked, []), speed=9.0)
    assert not log.hits()
    assert log.speed[-1] == 0.0


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_it_lets_a_crossing_car_pass(side):
    def world(t: float) -> tuple[list[Actor], list[StopLine]]:
        return [Actor(8, "vehicle", np.array([40.0, side * (34.0 - 5.0 * t), -side * math.pi / 2]), 5.0, 4.5, 2.0)], []

    log = drive(route(), 14.0, world)
    assert not log.hits()
    assert any(d.reason == d.reason and d.reason.rule == "conflict" for d in log.decisions)
    assert log.front[-1] > 50.0


def test_it_lets_an_oncoming_car_pass_before_turning_left():
    def world(t: float) -> tuple[list[Actor], list[StopLine]]:
        return [Actor(8, "vehicle", np.array([86.0 - 6.0 * t, 3.5, math.pi]), 6.0, 4.5, 2.0)], []

    log = drive(route(10.0), 16.0, world)
    assert not log.hits()
    assert log.front[-1] > 60.0


def test_oncoming_traffic_on_its_own_lane_is_no_reason_to_brake():
    def world(t: float) -> tuple[list[Actor], list[StopLine]]:
        return [Actor(8, "vehicle", np.array([90.0 - 8.0 * t, 3.5, math.pi]), 8.0, 4.5, 2.0)], []

    log = drive(route(), 8.0, world)
    assert {d.reason.rule for d in log.decisions} == {"cruise"}


def test_a_car_behind_is_no_reason_to_brake():
    def world(t: float) -> tuple[list[Actor], list[StopLine]]:
        return [Actor(8, "vehicle", np.array([-12.0 + 4.0 * t, 0.0, 0.0]), 4.0, 4.5, 2.0)], []

    assert {d.reason.rule for d in drive(route(), 2.5, world).decisions} == {"cruise"}


@pytest.mark.parametrize("offset", [-1.2, 1.2])
def test_a_plan_from_beside_the_path_comes_back_smoothly_and_can_be_driven(offset):
    log = drive(route(), 6.0, pose=(0.0, offset, 0.12), speed=7.0)
    plan = np.vstack([np.zeros(3), log.decisions[0].poses])
    steps = geometry.relative(plan[:-1], plan[1:])
    curvature = steps[:, 2] / np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 0.1)
    assert np.abs(curvature).max() < 0.2
    assert np.abs(np.diff(curvature)).max() < 0.12
    world = geometry.compose(np.array([0.0, offset, 0.12]), log.decisions[0].poses)
    assert abs(world[-1, 1]) < 0.3
    assert abs(log.offset[-1]) < 0.15


def test_the_expert_drives_what_it_plans():
    """The plan made at one moment predicts where the car is 2 s later."""
    log = drive(route(12.0), 12.0)
    for tick in range(40, 180, 20):
        decision = log.decisions[tick]
        made = int(round(decision.plan.observed_at_s / DT_S))
        predicted = geometry.compose(log.poses[made], decision.poses[3])
        assert np.hypot(*(predicted - log.poses[made + 40])[:2]) < 1.0


def test_two_drives_of_the_same_scenes_are_identical():
    world = light(50.0, lambda t: LightState.RED if t < 9 else LightState.GREEN)
    a, b = drive(route(10.0), 12.0, world), drive(route(10.0), 12.0, world)
    assert a.speed == b.speed
    assert all((x.poses == y.poses).all() for x, y in zip(a.decisions, b.decisions))


def test_it_says_what_lies_ahead_and_which_of_it_binds():
    def world(t: float) -> tuple[list[Actor], list[StopLine]]:
        state = LightState.RED if t < 6.0 else LightState.GREEN
        return [Actor(9, "vehicle", np.array([70.0, 0.0, 0.0]), 0.0, 4.0, 2.0)], [StopLine(5, "light", 30.0, state)]

    log = drive(route(), 12.0, world)
    waiting = log.decisions[100].outlook
    assert waiting.rule == "light" and waiting.red_m == pytest.approx(30.0 - log.front[99], abs=0.1)
    assert math.isinf(waiting.green_m) and math.isinf(waiting.sign_m)
    free = log.decisions[125].outlook
    assert (
        free.rule != "light"
        and math.isinf(free.red_m)
        and free.green_m == pytest.approx(30.0 - log.front[125], abs=0.4)
    )
    assert free.lead_m == pytest.approx(68.0 - log.front[125], abs=0.4)


def test_a_stop_sign_is_ahead_until_it_was_obeyed():
    log = drive(route(), 16.0, lambda t: ([], [StopLine(5, "stop", 40.0)]))
    first_stand = next(i for i, v in enumerate(log.speed) if i > 60 and v < 0.01)
    assert log.decisions[60].outlook.rule == "stop_sign" or log.decisions[first_stand - 10].outlook.rule == "stop_sign"
    assert log.decisions[first_stand - 10].outlook.sign_m < 5.0
    assert math.isinf(log.decisions[first_stand + 40].outlook.sign_m)
