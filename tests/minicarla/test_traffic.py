"""Cars that the server drives keep to their lanes, their distance and the rules."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.minicarla.world import acts
from autovla_core.minicarla.world.actor import LightColor, VehicleControl, WalkerControl
from autovla_core.minicarla.world.town import load_town
from autovla_core.minicarla.world.traffic_path import build_path
from autovla_core.minicarla.world.world import World
from tests.minicarla.drives import DT, add, run

EAST_APPROACH, EAST_CROSSING, NORTH_LOOP, NORTH_CROSSING = range(4)  # lanes of the figure of eight


def show(world: World, sign_id: str, color: LightColor) -> None:
    for light in world.lights():
        light.frozen = True
        light.state = color if light.sign_id == sign_id else LightColor.RED


def test_a_car_alone_keeps_to_its_lane_and_below_the_limit(eight):
    world = World(eight)
    show(world, "none", LightColor.RED)
    car, offsets, speeds = add(world, 20.0, 0.0, 0.0), [], []

    def watch() -> None:
        offsets.append(abs(eight.nearest_lane(*car.location[:2].tolist())[2]))
        speeds.append(car.forward_speed)

    run(world, 20.0, watch)
    assert max(offsets) < 0.6
    assert 7.0 < max(speeds) < 0.87 * 40.0 / 3.6


def test_a_car_stops_before_a_red_light_and_goes_at_green(eight):
    world = World(eight)
    show(world, "north light", LightColor.GREEN)
    car = add(world, -45.0, 0.0, 0.0)
    run(world, 15.0)
    assert car.forward_speed < 0.05
    assert -8.0 - 2.5 < car.location[0] + car.box_extent[0] < -8.0
    assert car.at_light_id
    show(world, "east light", LightColor.GREEN)
    run(world, 6.0)
    assert car.location[0] > 0.0


def test_a_car_halts_at_a_stop_sign_and_goes_on(eight_with_stops):
    world, speeds = World(eight_with_stops), []
    car = add(world, -45.0, 0.0, 0.0)
    run(world, 20.0, lambda: speeds.append(car.forward_speed))
    standing = sum(speed < 0.1 for speed in speeds[40:]) * DT
    assert 1.0 <= standing < 4.0
    assert car.location[0] > 20.0


def test_a_queue_forms_behind_a_standing_car(eight):
    world = World(eight)
    add(world, 40.0, 0.0, 0.0, role="hero")
    first, second = add(world, 22.0, 0.0, 0.0), add(world, 10.0, 0.0, 0.0)
    assert run(world, 20.0) == 0
    assert first.forward_speed < 0.05 and second.forward_speed < 0.05
    assert 1.0 < 40.0 - first.location[0] - 2 * 2.446 < 6.0
    assert 1.0 < first.location[0] - second.location[0] - 2 * 2.446 < 6.0


def test_a_car_brakes_for_a_walker_who_steps_into_its_way(eight):
    world = World(eight)
    show(world, "none", LightColor.RED)
    car = add(world, 10.0, 0.0, 0.0)
    walker = world.spawn("walker.pedestrian.0002", {}, (40.0, -6.0, 0.93), (0.0, 0.0, 0.0))
    walker.control = WalkerControl((0.0, 1.0, 0.0), 1.4)
    speeds = []
    assert run(world, 12.0, lambda: speeds.append(car.forward_speed)) == 0
    assert min(speeds[60:160]) < 4.5 < 7.0 < max(speeds)
    assert car.location[0] > 45.0 or car.location[1] > 1.0  # went on behind the walker


def test_cars_do_not_enter_a_crossing_that_another_car_uses(eight_with_stops):
    world = World(eight_with_stops)
    cars = [add(world, x, 0.0, 0.0) for x in (-45.0, -30.0)] + [add(world, 0.0, y, -90.0) for y in (45.0, 30.0)]
    both = []

    def watch() -> None:
        lanes = {eight_with_stops.nearest_lane(*car.location[:2].tolist())[0] for car in cars}
        both.append({EAST_CROSSING, NORTH_CROSSING} <= lanes)

    assert run(world, 40.0, watch) == 0
    assert not any(both)
    assert all(eight_with_stops.nearest_lane(*car.location[:2].tolist())[0] != EAST_APPROACH for car in cars[:1])


def test_a_waiting_ego_in_the_crossing_is_not_rammed(eight_with_stops):
    world = World(eight_with_stops)
    add(world, 0.0, 1.0, -90.0, role="hero")
    car = add(world, -40.0, 0.0, 0.0)
    assert run(world, 20.0) == 0
    assert car.location[0] < -8.0


def test_being_hit_by_the_ego_is_reported(eight):
    world = World(eight)
    show(world, "none", LightColor.RED)
    car = add(world, -12.0, 0.0, 0.0)
    run(world, 5.0)
    ego = add(world, -30.0, 0.0, 0.0, role="hero")
    acts.apply_control(ego, VehicleControl(throttle=1.0))
    partners = set()
    run(world, 4.0, lambda: partners.update(c.other_id for c in world.contacts if c.actor_id == ego.id))
    assert car.id in partners


def test_only_the_traffic_role_is_driven(eight):
    world = World(eight)
    ego = add(world, -40.0, 0.0, 0.0, role="hero")
    run(world, 3.0)
    assert ego.location[0] == -40.0
    ego.autopilot = True
    run(world, 3.0)
    assert ego.location[0] > -39.0


def test_a_car_put_elsewhere_finds_its_lane_again(eight):
    world = World(eight)
    show(world, "none", LightColor.RED)
    car = add(world, 20.0, 0.0, 0.0)
    run(world, 3.0)
    world.set_transform(car.id, (-40.0, 0.4, 0.0), (0.0, 0.0, 0.0))
    run(world, 12.0)
    assert car.forward_speed < 0.05 and -12.0 < car.location[0] < -8.0


def test_the_window_slows_for_curves_before_they_begin(eight):
    path = build_path(eight.lanes, NORTH_LOOP, 5.0, (), 0.8, np.random.default_rng(0))
    limit = 0.8 * 40.0 / 3.6
    assert path.speed.max() <= limit + 1e-9
    assert (np.diff(path.speed**2) > -2 * 1.8 - 1e-6).all()
    assert path.xy.shape == (128, 2)
    assert np.linalg.norm(np.diff(path.xy, axis=0), axis=1) == pytest.approx(1.0, abs=0.02)


def test_thirty_cars_in_the_real_town_flow_without_a_crash():
    world = World(load_town("Havenbrook"))
    ids = world.spawn_traffic(30, seed=4)
    assert len(ids) == 30
    driven, standing = dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 0.0)

    def watch() -> None:
        for i in ids:
            speed = abs(world.actors[i].forward_speed)
            driven[i] += speed * DT
            standing[i] = standing[i] + DT if speed < 0.1 else 0.0
            assert standing[i] < 60.0

    assert run(world, 90.0, watch) == 0
    assert np.mean(list(driven.values())) > 90.0 * 4.0


def test_a_hundred_cars_neither_crash_nor_wait_for_each_other_for_ever():
    world = World(load_town("Havenbrook"))
    ids = world.spawn_traffic(100, seed=1)
    assert len(ids) == 100
    driven, standing, longest = dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 0.0), 0.0

    def watch() -> None:
        nonlocal longest
        for i in ids:
            speed = abs(world.actors[i].forward_speed)
            driven[i] += speed * DT
            standing[i] = standing[i] + DT if speed < 0.1 else 0.0
        longest = max(longest, *standing.values())

    assert run(world, 100.0, watch) == 0
    assert longest < 75.0, "one round of the lights takes 45 s"
    assert np.mean(list(driven.values())) > 100.0 * 3.5
