"""The shield by hand-worked geometry: a box of 5 x 2 m, its front 2.5 m before its centre."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autovla_core import config as configs
from autovla_core.contracts import FULL_BRAKE, Control, Plan
from autovla_core.control.plan_limits import leaves_route, tyre_speed
from autovla_core.control.shield import Returns, Shield, ShieldConfig, contact_distances, is_obstacle
from autovla_core.control.tracker import Tracker
from autovla_core.control.way import AFTER_S, Way, way_along
from autovla_core.errors import ConfigError

LENGTH, WIDTH = 5.0, 2.0
CONFIG = ShieldConfig(enabled=True)
GO = Control(0.1, 0.6, 0.0)
HERE = np.zeros(3)
STRAIGHT_ON = np.zeros((0, 2))


def straight(speed: float = 8.0, progress: np.ndarray | None = None) -> Way:
    """40 m straight on at a steady speed, or as ``progress`` (21,) says."""
    poses = np.zeros((81, 3))
    poses[:, 0] = 0.5 * np.arange(81)
    return Way(poses, speed * AFTER_S if progress is None else progress)


def bend(radius: float, speed: float = 8.0) -> Way:
    """40 m to the left on a circle."""
    angle = 0.5 * np.arange(81) / radius
    return Way(
        np.column_stack([radius * np.sin(angle), radius * (1.0 - np.cos(angle)), angle]),
        speed * AFTER_S,
    )


def post(x: float, y: float = 0.0, away: float = 0.0, count: int = 4) -> np.ndarray:
    """Returns of something upright: from 0.4 to 1.4 m high."""
    height = np.linspace(0.4, 1.4, count)
    return np.column_stack([np.full(count, x), np.full(count, y), height, np.full(count, away)])


def act(
    returns: np.ndarray | None, way: Way | None = None, speed: float = 8.0, shield: Shield | None = None
) -> Control:
    """The first control of a shield with these returns."""
    shield = shield or Shield(CONFIG, LENGTH, WIDTH)
    return shield.step(GO, way or straight(), returns, HERE, 1.0, speed)


def brakes(returns: np.ndarray, way: Way | None = None, speed: float = 8.0) -> bool:
    return act(returns, way, speed) == Control(0.1, 0.0, 1.0)


def plan(speeds: list[float], yaw_rates: list[float]) -> Plan:
    """Half a second at each speed and yaw rate."""
    pose, poses = np.zeros(3), []
    for speed, rate in zip(speeds, yaw_rates):
        pose = pose + np.array([0.5 * speed * math.cos(pose[2]), 0.5 * speed * math.sin(pose[2]), 0.5 * rate])
        poses.append(pose)
    return Plan(np.array(poses), 0.0, 0.0)


# At 8 m/s: 0.5 m of margin, 8 * 0.15 = 1.2 m until the brakes bite, 64 / 14 = 4.57 m of braking: 6.27 m in all.


def test_the_distance_of_hard_braking_is_margin_delay_and_braking():
    assert CONFIG.stopping_distance(8.0) == pytest.approx(0.5 + 1.2 + 64.0 / 14.0)
    assert CONFIG.stopping_distance(0.0) == 0.5
    assert CONFIG.stopping_distance(8.0, 6.0) == pytest.approx(0.5 + 1.2 + 28.0 / 14.0)
    assert CONFIG.stopping_distance(8.0, -9.0) == CONFIG.stopping_distance(8.0)  # oncoming: as if it stood


def test_it_brakes_for_what_stands_within_the_stopping_distance_and_not_before():
    assert brakes(post(2.5 + 6.2)) and not brakes(post(2.5 + 6.4))
    assert not brakes(post(2.5 + 6.2), speed=7.0)  # 0.5 + 1.05 + 3.5 = 5.05 m


def test_it_holds_the_steering():
    assert act(post(6.0)).steer == GO.steer


def test_what_stands_beside_the_corridor_is_no_obstacle():
    assert brakes(post(6.0, 1.05)) and brakes(post(6.0, -1.05))
    assert not brakes(post(6.0, 1.15)) and not brakes(post(6.0, -1.15))


def test_a_box_meets_a_point_when_its_front_arrives_and_never_what_is_beside_or_behind_it():
    points = np.array([[9.0, 0.9], [2.4, 1.0], [-4.0, 0.0], [9.0, 1.1]])
    assert contact_distances(straight(), points, LENGTH, WIDTH).tolist() == [6.5, math.inf, math.inf, math.inf]
    assert contact_distances(straight(), points[:0], LENGTH, WIDTH).shape == (0,)


def test_on_a_bend_the_post_straight_ahead_is_left_alone_and_the_one_in_the_curve_is_not():
    # radius 12 m: after 7 m of arc the centre is at (12 sin 0.583, 12 (1 - cos 0.583)) = (6.61, 1.98)
    assert not brakes(post(8.0, -0.6), bend(12.0))  # straight ahead of the front, outside the curve
    assert brakes(post(8.0, -0.6))
    assert brakes(post(6.61, 1.98), bend(12.0))
    assert not brakes(post(6.61, 1.98))


def test_left_and_right_are_alike():
    mirror = np.array([1.0, -1.0, -1.0])
    left = bend(12.0)
    right = replace(left, poses=left.poses * mirror)
    for x, y in ((8.0, -0.6), (6.61, 1.98), (7.0, 0.0)):
        assert brakes(post(x, y), left) == brakes(post(x, -y), right)


def test_an_oncoming_car_in_its_own_lane_of_a_bend_is_left_alone():
    # lanes of 3.5 m, radius 12 m: its nearer side is 3.5 - 1.0 m outside our centre, at every place of the bend
    way = bend(12.0)
    for angle in np.linspace(0.0, 1.2, 13):
        x, y = 14.5 * math.sin(angle), 12.0 - 14.5 * math.cos(angle)
        assert not brakes(post(x, y, away=-8.0), way)


def test_an_oncoming_car_in_our_way_counts_as_if_it_stood():
    assert brakes(post(2.5 + 6.2, away=-8.0)) and not brakes(post(2.5 + 6.4, away=-8.0))


def test_a_leader_that_drives_away_is_none_and_a_slower_one_is_later_than_a_standing_one():
    assert not brakes(post(4.0, away=8.0)) and not brakes(post(4.0, away=9.0))
    # at 6 m/s: 0.5 + 1.2 + (64 - 36) / 14 = 3.7 m
    assert brakes(post(2.5 + 3.6, away=6.0)) and not brakes(post(2.5 + 3.8, away=6.0))


def test_a_plan_that_stops_in_time_is_trusted_as_long_as_it_can():
    stops = np.minimum(8.0 * AFTER_S, 5.0)
    assert not brakes(post(2.5 + 6.2), straight(progress=np.minimum(stops, 5.9)), speed=7.8)  # needs 4.9 m/s2
    assert brakes(post(2.5 + 4.6), straight(progress=np.minimum(stops, 4.0)))  # needs 64 / 9.2 = 7.0 m/s2
    assert brakes(post(2.5 + 4.9), straight(progress=stops), speed=6.9)  # stops 0.1 m too late


def test_waiting_behind_something_is_no_braking():
    assert act(post(2.7), straight(0.0), speed=0.0) == GO
    assert act(post(2.7), straight(2.0), speed=0.0) == Control(0.1, 0.0, 1.0)  # but driving into it is


def test_a_few_returns_a_kerb_and_the_road_on_a_crest_are_no_obstacle():
    assert not brakes(post(6.0, count=2))
    flat = post(6.0)
    flat[:, 2] = 0.35
    assert not brakes(flat)
    hill = np.column_stack([6.0 + 0.3 * np.arange(12), np.zeros(12), 0.3 + 0.045 * np.arange(12), np.zeros(12)])
    assert not brakes(hill)  # 15 %: 0.15 m up within a metre
    assert is_obstacle(np.array([0.2, 0.2, 0.2]), np.array([0.65, 0.7, 0.75]), CONFIG)  # near: the beam is narrow


def test_returns_stay_where_they_were_met_while_the_ego_drives_and_turns():
    kept = Returns(0.2)
    kept.add(post(10.0, count=1), HERE, 1.0)
    moved = kept.seen(np.array([4.0, 0.0, math.pi / 2]), 1.1)
    assert moved[0] == pytest.approx([0.0, -6.0, 0.4, 0.0], abs=1e-9)
    kept.add(post(9.0, away=-5.0, count=1), HERE, 1.15)
    assert kept.seen(HERE, 1.2)[1] == pytest.approx([8.75, 0.0, 0.4, -5.0])  # oncoming: nearer after 0.05 s
    kept.add(post(1.0, count=0), HERE, 1.25)
    assert len(kept.seen(HERE, 1.25)) == 1  # the first is older than 0.2 s


def test_returns_of_several_ticks_make_an_obstacle_together():
    shield = Shield(CONFIG, LENGTH, WIDTH)
    for tick, row in enumerate(post(8.6)):
        pose = np.array([0.0, 0.0, 0.0])
        got = shield.step(GO, straight(), row[None], pose, 0.05 * tick, 8.0)
        assert (got.brake == 1.0) == (tick >= 2)


def test_it_lets_go_when_the_way_is_free_and_counts_one_braking():
    shield = Shield(CONFIG, LENGTH, WIDTH)
    nothing = np.zeros((0, 4))
    times = 0.05 * np.arange(20)
    controls = [shield.step(GO, straight(), post(8.0) if t < 0.28 else nothing, HERE, t, 8.0) for t in times]
    braked = [control.brake for control in controls]
    assert braked == [1.0] * 9 + [0.0] * 11  # six ticks, and three until the last returns are 0.2 s old
    told = shield.summary()
    assert (told["shield_brakings"], told["shield_ticks_obstacle"], told["shield_ticks_blind"]) == (1.0, 9.0, 0.0)


def test_once_braking_it_goes_on_until_the_ego_stands_so_that_it_does_not_flutter():
    shield = Shield(CONFIG, LENGTH, WIDTH)
    act(post(2.5 + 6.2), shield=shield)
    slower = [shield.step(GO, straight(), post(2.5 + 6.2), HERE, 1.05, speed) for speed in (7.0, 4.0, 1.0, 0.0, 2.0)]
    assert [control.brake for control in slower] == [1.0, 1.0, 1.0, 0.0, 0.0]  # then it may drive up to it


def test_braking_for_a_slower_leader_ends_at_its_speed():
    shield = Shield(CONFIG, LENGTH, WIDTH)
    leader = post(2.5 + 3.6, away=6.0)
    assert [act(leader, speed=v, shield=shield).brake for v in (8.0, 7.0, 6.1, 5.9)] == [1.0, 1.0, 1.0, 0.0]


def test_without_a_plan_or_radar_it_changes_nothing_and_says_so():
    shield = Shield(CONFIG, LENGTH, WIDTH)
    assert shield.step(FULL_BRAKE, None, None, HERE, 0.0, 8.0) is FULL_BRAKE
    assert shield.step(GO, straight(), None, HERE, 0.05, 8.0) is GO
    assert shield.summary()["shield_ticks_blind"] == 2.0
    shield.reset()
    assert set(shield.summary().values()) == {0.0}


ROUTE_X = np.column_stack([np.arange(2.0, 52.0, 2.0), np.zeros(25)])


def test_a_plan_leaves_the_route_beyond_a_lane_and_only_if_it_goes_further_away():
    ahead = plan([8.0] * 10, [0.0] * 10)
    aside = replace(ahead, poses=ahead.poses + np.array([0.0, 4.4, 0.0]))
    assert not leaves_route(ahead, ROUTE_X, 4.5, 3.0) and not leaves_route(aside, ROUTE_X, 4.5, 3.0)
    assert leaves_route(replace(ahead, poses=ahead.poses + np.array([0.0, 4.6, 0.0])), ROUTE_X, 4.5, 3.0)
    assert not leaves_route(ahead, ROUTE_X + np.array([0.0, 6.0]), 4.5, 3.0)  # 6 m beside it already, and no further
    assert not leaves_route(ahead, np.zeros((0, 2)), 4.5, 3.0)
    late = plan([8.0] * 10, [0.0] * 6 + [1.0] * 4)
    assert not leaves_route(late, ROUTE_X, 4.5, 3.0)  # within 3 s it is on it


def test_a_plan_that_leaves_the_route_is_slowed_not_steered_and_the_next_one_is_free():
    shield = Shield(CONFIG, LENGTH, WIDTH)
    turns = plan([8.0] * 10, [0.5] * 10)
    shield.judge(turns, ROUTE_X)
    seen = np.zeros((0, 4))
    assert shield.step(GO, straight(), seen, HERE, 0.0, 8.0) == Control(0.1, 0.0, 0.3)
    assert shield.step(GO, straight(), seen, HERE, 0.05, 2.9) is GO  # slower than 3 m/s it may go on
    shield.judge(plan([8.0] * 10, [0.0] * 10), ROUTE_X)
    assert shield.step(GO, straight(), seen, HERE, 0.10, 8.0) is GO
    told = shield.summary()
    assert (told["shield_plans_checked"], told["shield_plans_route"], told["shield_ticks_route"]) == (2.0, 1.0, 1.0)


def test_a_curve_that_the_tyres_do_not_hold_is_slowed_to_what_they_hold():
    assert tyre_speed(plan([8.0] * 10, [0.8] * 10), 7.0) == math.inf  # 6.4 m/s2
    # 10 m/s and 1 rad/s: 10 m/s2 on a radius of 10 m, which holds sqrt(7 * 10) = 8.37 m/s
    fast = plan([10.0] * 10, [1.0] * 10)
    assert tyre_speed(fast, 7.0) == pytest.approx(math.sqrt(70.0))
    shield = Shield(CONFIG, LENGTH, WIDTH)
    shield.judge(fast, STRAIGHT_ON)
    seen = np.zeros((0, 4))
    assert shield.step(GO, bend(10.0), seen, HERE, 0.0, 9.0).brake == 0.3
    assert shield.step(GO, bend(10.0), seen, HERE, 0.05, 8.3) is GO
    assert shield.summary()["shield_ticks_tyres"] == 1.0


def test_turning_where_it_stands_is_no_curve():
    assert tyre_speed(plan([0.2] * 10, [2.0] * 10), 0.1) == math.inf


def test_the_way_joins_the_plan_from_beside_it_and_follows_it():
    line = np.column_stack([np.arange(0.0, 60.0), np.zeros(60)])
    way = way_along(line, np.array([10.0, 1.0, 0.0]), 6.0, 20.0, np.zeros(21))
    assert way.poses[0] == pytest.approx([0.0, 0.0, 0.0]) and len(way.poses) == 41
    late = way.poses[way.s > 6.5]
    assert late[:, 1] == pytest.approx(np.full(len(late), -1.0)) and late[:, 2] == pytest.approx(np.zeros(len(late)))
    assert (np.diff(way.poses[:, 1]) < 1e-9).all() and way.poses[:, 2].min() > -0.3  # never steeper than 1 in 3
    past = way_along(line[:12], np.array([10.5, 0.0, 0.3]), 6.0, 20.0, np.zeros(21))
    assert past.poses[:, 1:] == pytest.approx(np.zeros((len(past.poses), 2)))  # past its end: straight on


def test_the_tracker_says_what_is_left_of_its_plan():
    tracker = Tracker()
    assert tracker.way(0.0, 8.0, 20.0) is None
    ahead = plan([8.0] * 10, [0.0] * 10)
    for tick in range(11):
        tracker.step(ahead, 0.05 * tick, 8.0, 0.0)
    way = tracker.way(0.5, 8.0, 20.0)
    assert way.progress == pytest.approx(np.minimum(8.0 * AFTER_S, 36.0))  # 4 m are driven, 36 m are left
    assert way.poses[-1] == pytest.approx([20.0, 0.0, 0.0]) and tracker.pose[0] == pytest.approx(4.0)


@pytest.mark.parametrize("name, value", [("brake", 0.0), ("margin", -1.0), ("lateral", math.inf), ("returns", 0)])
def test_an_amount_that_is_none_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"shield.{name}"):
        ShieldConfig(**{name: value})


def test_an_empty_key_is_an_error_not_an_agent_without_a_shield():
    with pytest.raises(ConfigError, match="expected a mapping"):
        configs.from_dict(ShieldConfig, None, "shield")
