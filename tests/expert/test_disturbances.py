"""The expert among those who disturb: no simulator, the fitted bicycle as the car, a straight road."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from autovla_core import footprints
from autovla_core.contracts import Actor, Scene
from autovla_core.control.bicycle import DT_S, Bicycle
from autovla_core.expert.conflicts import UNDER_WAY, caution_of, conflicts
from autovla_core.expert.detour import BESIDE, ONCOMING, OWN, Detour, offsets, ramp_for
from autovla_core.expert.expert import Expert, ExpertDecision
from autovla_core.expert.hazards import nearby
from autovla_core.expert.obstacles import Extent, Obstruction, StandWatch
from autovla_core.expert.overtaking import EgoState, Overtaking, plan_detour, seconds_to_cover
from autovla_core.expert.path import build_path
from autovla_core.expert.rollout import Start
from autovla_core.expert.rollout import drive as roll_out
from autovla_core.expert.scene import RoadScene, Room
from autovla_core.expert.speed import SpeedConfig
from autovla_core.route.plan import RoutePlan, from_poses

LENGTH, WIDTH, LIMIT, LANE = 4.9, 1.84, 40 / 3.6, 3.5
World = Callable[[float], Sequence[Actor]]


def route(length: float = 220.0) -> RoutePlan:
    poses = [(x, 0.0, 0.0) for x in np.arange(0.0, length)]
    return from_poses(np.array(poses), [4] * len(poses))


def room(plan: RoutePlan, lanes_left: int = 0, lanes_right: int = 0, junctions: Sequence[tuple] = ()) -> Room:
    """One oncoming lane, and so many lanes of the ego's direction beside its own."""
    ones, half = np.ones(len(plan.s)), LANE / 2
    inside = np.zeros(len(plan.s), bool)
    for begin, end in junctions:
        inside |= (plan.s >= begin) & (plan.s <= end)
    left, right = half + LANE * lanes_left, half + LANE * lanes_right
    return Room(plan.s, half * ones, half * ones, left * ones, right * ones, (left + LANE) * ones, inside)


class Drive:
    """What happened."""

    def __init__(self) -> None:
        self.speed: list[float] = []
        self.s: list[float] = []
        self.offset: list[float] = []
        self.decisions: list[ExpertDecision] = []
        self.hit = False

    def reasons(self) -> set[tuple[str, int]]:
        return {(d.reason.rule, d.reason.actor_id) for d in self.decisions}

    def at(self, seconds: float) -> int:
        return int(seconds / DT_S)


def drive(
    seconds: float,
    world: World,
    road: Room | None = None,
    speed: float = 8.0,
    emergency: frozenset[int] = frozenset(),
    staged: bool = True,
) -> Drive:
    plan = route()
    expert, car, log = Expert(plan), Bicycle(np.array([0.0, 0.0, 0.0]), speed), Drive()
    for tick in range(int(seconds / DT_S)):
        actors = tuple(world(tick * DT_S))
        plain = (tick * DT_S, car.pose, car.speed, car.acceleration, LENGTH, WIDTH, LIMIT, actors, ())
        ids = frozenset(a.id for a in actors) if staged else frozenset()
        decision = expert.step(RoadScene(*plain, room=road or room(plan), staged=ids, emergency=emergency))
        log.speed.append(car.speed)
        log.s.append(expert.progress.s)
        log.offset.append(expert.progress.offset)
        log.decisions.append(decision)
        mine = footprints.corners(car.pose, LENGTH, WIDTH)
        log.hit |= any(footprints.overlap(mine, footprints.corners(a.pose, a.length, a.width)) for a in actors)
        car.step(decision.control)
    return log


def car_at(id: int, x: float, y: float, yaw: float = 0.0, speed: float = 0.0, kind: str = "vehicle") -> Actor:
    size = {"vehicle": (4.5, 2.0), "walker": (0.5, 0.5), "static": (1.0, 1.0), "bicycle": (1.6, 0.5)}[kind]
    return Actor(id, kind, np.array([x, y, yaw]), speed, *size)


def standing(t: float) -> list[Actor]:
    return [car_at(7, 60.0, -1.2)]


def test_it_passes_a_stopped_car_on_the_lane_beside_and_comes_back():
    log = drive(20.0, standing, room(route(), lanes_left=1))
    assert not log.hit
    assert max(log.offset) == pytest.approx(LANE, abs=0.5)
    assert abs(log.offset[-1]) < 0.2 and log.s[-1] > 100.0
    assert min(log.speed) > 4.0  # without stopping
    assert ("overtake", 7) in log.reasons()


def test_it_lets_a_car_on_the_lane_beside_go_first():
    def world(t: float) -> list[Actor]:
        return [*standing(t), car_at(8, -6.0 + 9.0 * t, LANE, speed=9.0)]

    log = drive(24.0, world, room(route(), lanes_left=1))
    assert not log.hit and log.s[-1] > 100.0
    assert ("beside", 8) in log.reasons()
    changing = next(tick for tick, offset in enumerate(log.offset) if offset > 0.5)
    assert -6.0 + 9.0 * changing * DT_S - 2.25 > log.s[changing] + LENGTH / 2  # it is in front by then


def test_through_the_oncoming_lane_it_waits_for_a_gap_that_is_long_enough():
    """Two cars come, 25 m apart: too near each other to go between them."""

    def world(t: float) -> list[Actor]:
        others = [car_at(8 + k, 110.0 + 25.0 * k - 8.0 * t, LANE, math.pi, 8.0) for k in range(2)]
        return [*standing(t), *others]

    log = drive(32.0, world)
    assert not log.hit
    waited = [s for s, v in zip(log.s, log.speed) if v < 0.1]
    assert waited and max(waited) + LENGTH / 2 < 60.0 - 2.25 - 5.0  # with room to steer out
    assert {("oncoming", 8), ("oncoming", 9), ("overtake", 7)} <= log.reasons()
    assert log.s[-1] > 100.0 and abs(log.offset[-1]) < 0.2


def test_along_a_row_of_cars_it_does_not_linger_on_the_oncoming_lane():
    log = drive(24.0, lambda t: [car_at(7 + k, 60.0 + 12.0 * k, -1.2) for k in range(4)])
    assert not log.hit and log.s[-1] > 120.0
    facing = [v for v, offset in zip(log.speed, log.offset) if offset > 1.0]
    assert 0.8 * LIMIT < max(facing) < 1.02 * LIMIT  # it cruises at 0.72 of the limit


def test_who_has_waited_long_for_a_stream_takes_a_shorter_gap():
    asked = [caution_of(False, waited_s) for waited_s in (-math.inf, 19.0, 21.0, 41.0)]
    assert [caution.shift for caution in asked] == [3, 3, 2, 1] and caution_of(True, 0.0) == UNDER_WAY
    assert [caution.presses for caution in asked] == [False, False, True, True]


def test_who_presses_drives_before_those_who_can_still_stop_but_not_before_a_stream():
    """A car crosses the ego's way 12 m ahead: at 6 m/s it is there 3 s from now, in time to stop."""
    path, rollout = build_path(route(), 2.0, 2.0, 20.0), Start(0.0, 0.0, 0.0, 4.0, 0.0, 0.0, LENGTH / 2)
    rollout = roll_out(path, rollout, [], 4.0, SpeedConfig())
    crossing = nearby([car_at(7, 12.0, -18.0, math.pi / 2, 6.0)], {}, path, 0.0, WIDTH / 2)

    def stops(lawless: frozenset[int], presses: bool) -> int:
        bold = replace(UNDER_WAY, presses=presses)
        return len(conflicts(crossing, rollout, LENGTH / 2, WIDTH, None, SpeedConfig(), lawless, {}, bold))

    assert [stops(frozenset(), False), stops(frozenset(), True), stops(frozenset({7}), True)] == [1, 0, 1]


def test_with_the_oncoming_lane_free_it_does_not_wait():
    log = drive(20.0, standing)
    assert not log.hit and log.s[-1] > 90.0
    assert min(log.speed) > 1.0
    assert max(log.offset) > 1.0


def test_a_car_that_was_seen_driving_is_waited_for_and_not_overtaken():
    def world(t: float) -> list[Actor]:
        speed = max(6.0 - 6.0 * t, 0.0)
        return [car_at(7, 33.0 + 6.0 * min(t, 1.0) - 3.0 * min(t, 1.0) ** 2, 0.0, speed=speed)]

    log = drive(15.0, world)
    assert not log.hit and log.speed[-1] == 0.0
    assert max(np.abs(log.offset)) < 0.3
    assert ("lead", 7) in log.reasons()


def test_a_cyclist_who_rode_and_stopped_counts_as_standing_and_a_car_does_not():
    """Both drive for 2 s and stand from then on; a third stands all the time."""
    watch, seen = StandWatch(), {}
    for t in np.arange(0.0, 6.0, 0.5):
        speed = 3.0 if t <= 2.0 else 0.0
        actors = (car_at(1, 20.0, 0.0, speed=speed, kind="bicycle"), car_at(2, 40.0, 0.0, speed=speed), *standing(t))
        plain = (t, np.zeros(3), 0.0, 0.0, LENGTH, WIDTH, LIMIT, actors, ())
        for id in watch.update(RoadScene(*plain, staged=frozenset({1, 2, 7}))):
            seen.setdefault(id, t)
    assert seen == {7: 1.0, 1: 5.0}


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_it_brakes_for_a_walker_who_steps_out_and_goes_on_behind_him(side):
    def world(t: float) -> list[Actor]:
        y = side * (3.4 - 1.8 * max(t - 2.0, 0.0))
        walking = 2.0 < t < 7.0
        return [car_at(7, 40.0, float(np.clip(y, -6.0, 6.0)), -side * math.pi / 2, 1.8 * walking, "walker")]

    log = drive(16.0, world)
    assert not log.hit
    assert ("walker", 7) in log.reasons()
    assert min(log.speed) < 4.0 and log.s[-1] > 50.0
    assert max(np.abs(log.offset)) < 0.3


def test_a_walker_who_stands_at_the_kerb_is_no_reason_to_stop():
    log = drive(8.0, lambda t: [car_at(7, 30.0, -3.0, math.pi / 2, 0.0, "walker")])
    assert min(log.speed) > 7.0


def test_it_brakes_for_a_car_that_cuts_in_before_that_is_in_the_lane():
    def world(t: float) -> list[Actor]:
        in_s = np.clip((t - 1.0) / 2.5, 0.0, 1.0)
        y = -3.4 * (0.5 + 0.5 * math.cos(math.pi * in_s))
        yaw = 0.25 if 0.0 < in_s < 1.0 else 0.0
        return [car_at(7, 26.0 + 3.0 * max(t - 1.0, 0.0), y, yaw, 3.0 if t > 1.0 else 0.0)]

    log = drive(9.0, world)
    assert not log.hit
    cutting = [d for d in log.decisions if d.reason.rule == "cut_in"]
    assert cutting and cutting[0].reason.actor_id == 7
    assert log.speed[-1] == pytest.approx(3.0, abs=0.8)


def test_it_makes_room_for_an_emergency_vehicle_and_comes_back():
    def world(t: float) -> list[Actor]:
        return [car_at(7, -30.0 + 15.0 * t, 0.0, speed=15.0)]

    log = drive(14.0, world, room(route(), lanes_right=1), emergency=frozenset({7}))
    assert not log.hit
    assert min(log.offset) == pytest.approx(-LANE, abs=0.4)
    assert ("emergency", 7) in log.reasons()
    assert abs(log.offset[-1]) < 0.4
    assert min(log.speed) > 3.0


def test_an_emergency_vehicle_close_behind_does_not_push_it():
    """On a single lane it gives way at the edge: slowly, although the car behind it is faster."""

    def world(t: float) -> list[Actor]:
        return [car_at(7, -24.0 + 10.0 * t, 0.0, speed=10.0)]

    log = drive(3.0, world, emergency=frozenset({7}))
    assert min(log.offset) < -0.6
    assert max(log.speed[log.at(1.5) : log.at(2.4)]) < 6.0


def test_a_detour_is_driven_to_its_end_when_all_who_were_staged_are_gone():
    log = drive(18.0, lambda t: standing(t) if t < 5.5 else [], room(route(), lanes_left=1))
    assert 0.5 < log.offset[log.at(5.5)] < 0.8 * LANE  # on the ramp
    assert max(log.offset) == pytest.approx(LANE, abs=0.3)
    assert max(abs(d.control.steer) for d in log.decisions) < 0.2  # as on every ramp
    assert abs(log.offset[-1]) < 0.2 and log.s[-1] > 100.0


def test_it_keeps_right_where_oncoming_cars_come_over_the_line():
    """Their left side is 0.35 m over the line: 1.4 m from the middle of the ego's lane, half a metre from its side."""

    def world(t: float) -> list[Actor]:
        return [car_at(8 + k, 80.0 + 35.0 * k - 6.0 * t, 2.35, math.pi, 6.0) for k in range(3)]

    log = drive(10.0, world)
    assert not log.hit
    assert -LANE / 2 + WIDTH / 2 - 0.1 < min(log.offset) < -0.05
    assert min(log.speed) > 6.0


def test_nobody_staged_means_the_drive_of_a_plain_scene_to_the_last_bit():
    def world(t: float) -> list[Actor]:
        return [car_at(7, 40.0 + 3.0 * t, 0.1, speed=3.0), car_at(8, 90.0 - 8.0 * t, LANE, math.pi, 8.0)]

    rich = drive(6.0, world, staged=False)
    expert, car = Expert(route()), Bicycle(np.array([0.0, 0.0, 0.0]), 8.0)
    for tick in range(int(6.0 / DT_S)):
        scene = Scene(
            tick * DT_S, car.pose, car.speed, car.acceleration, LENGTH, WIDTH, LIMIT, tuple(world(tick * DT_S)), ()
        )
        decision = expert.step(scene)
        assert decision.control == rich.decisions[tick].control
        assert (decision.poses == rich.decisions[tick].poses).all()
        car.step(decision.control)


EGO = EgoState(s=0.0, speed=8.0, cruise=8.0, half_length=2.45, half_width=0.92)


@pytest.mark.parametrize(
    ("past_left", "past_right", "lanes", "lane", "sign"),
    [
        (0.6, -3.0, 0, OWN, 1.0),  # a nudge within the lane
        (3.0, -0.6, 0, OWN, -1.0),  # the thing stands on the left: past it on the right
        (2.0, -3.0, 1, BESIDE, 1.0),
        (2.0, -3.0, 0, ONCOMING, 1.0),
    ],
)
def test_the_least_detour_wins(past_left, past_right, lanes, lane, sign):
    thing = Obstruction(60.0, 65.0, past_left, past_right, 0.0, 7)
    detour = plan_detour(thing, room(route(), lanes_left=lanes), EGO)
    assert detour.lane == lane and math.copysign(1.0, detour.offset) == sign
    assert detour.begin + EGO.half_length <= 60.0 and detour.end - EGO.half_length >= 65.0


FIRST = Obstruction(60.0, 65.0, 2.0, -3.0, 0.0, 7)
BEFORE, MORE = replace(EGO, s=45.0), Obstruction(60.0, 85.0, 2.2, -3.0, 0.0, 8)


def oncoming(x: float) -> list[Extent]:
    actor = car_at(9, x, LANE, math.pi, 10.0)
    return [Extent(actor, x - 2.25, x + 2.25, LANE - 1.0, LANE + 1.0, math.pi)]


def test_a_detour_goes_on_past_more_of_the_same_only_while_nobody_comes():
    road = room(route())
    for others, end in (([], 85.0), (oncoming(170.0), 65.0)):
        overtaking = Overtaking()
        short = overtaking.decide([FIRST], [], road, BEFORE).detour
        assert short.lane == ONCOMING
        past = replace(EGO, s=short.leaves + 1.0)  # it is under way
        longer = overtaking.decide([MORE], others, road, past).detour
        assert longer.end == pytest.approx(end + 1.5 + EGO.half_length)
        assert longer.offset == (2.2 if end > 65.0 else 2.0)


def test_a_detour_does_not_go_on_past_what_is_passed_on_another_lane_or_side():
    kerb, middle = Obstruction(60.0, 85.0, 0.5, -3.0, 0.0, 8), Obstruction(60.0, 85.0, 3.0, -0.6, 0.0, 8)
    for other in (kerb, middle):
        overtaking, road = Overtaking(), room(route())
        known = overtaking.decide([FIRST], [], road, BEFORE).detour
        past = replace(EGO, s=known.leaves + 1.0)
        assert plan_detour(other, road, past).lane == OWN
        assert overtaking.decide([other], [], road, past).detour == known


def test_there_is_no_detour_off_the_road_nor_through_a_junction():
    wide = Obstruction(60.0, 65.0, 6.0, -6.0, 0.0, 7)
    assert plan_detour(wide, room(route()), EGO) is None
    thing = Obstruction(60.0, 65.0, 2.0, -3.0, 0.0, 7)
    assert plan_detour(thing, room(route(), junctions=[(40.0, 55.0)]), EGO) is None
    near = plan_detour(thing, room(route(), junctions=[(84.0, 100.0)]), EGO)
    assert near is not None and near.returns < 90.0


def test_driving_a_distance_from_a_standstill_takes_the_time_worked_out_by_hand():
    """2.5 m/s2 up to 8 m/s takes 3.2 s and 12.8 m; the other 11.2 m take 1.4 s."""
    assert seconds_to_cover(24.0, 0.0, 2.5, 8.0) == pytest.approx(4.6)
    assert seconds_to_cover(5.0, 0.0, 2.5, 8.0) == pytest.approx(2.0)
    assert seconds_to_cover(16.0, 8.0, 2.5, 8.0) == pytest.approx(2.0)
    assert seconds_to_cover(-1.0, 8.0, 2.5, 8.0) == 0.0


def test_a_ramp_is_smooth_and_bends_no_more_than_asked():
    detour = Detour(50.0, 60.0, 3.5, ramp_for(3.5, 0.1), BESIDE, 7)
    s = np.arange(0.0, 120.0, 0.5)
    shift = offsets([detour], s)
    assert shift[s < detour.leaves].max() == 0.0 and shift[s > detour.returns].max() == 0.0
    assert shift[(s >= 50.0) & (s <= 60.0)] == pytest.approx(3.5)
    assert np.abs(np.diff(shift, 2)).max() / 0.25 < 0.1 * 1.02
