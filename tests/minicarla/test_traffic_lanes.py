"""Server traffic changes lanes, queues, yields and reacts to others: held-up cars, dead ends, junctions, walkers."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.minicarla.world import acts, lane_change
from autovla_core.minicarla.world.actor import LightColor, VehicleControl
from autovla_core.minicarla.world.right_of_way import Car
from autovla_core.minicarla.world.traffic import LEFT_BLINKER, RIGHT_BLINKER
from autovla_core.minicarla.world.traffic_path import build_path
from autovla_core.minicarla.world.world import World
from tests.minicarla.drives import DT, add, run

LEFT, RIGHT = 0, 1  # lanes of the straight road


def test_a_car_behind_a_broken_down_one_changes_lanes_and_blinks(straight_road):
    world = World(straight_road)
    add(world, 80.0, 0.0, role="broken down")
    car, lights = add(world, 10.0, 0.0), set()
    assert run(world, 30.0, lambda: lights.add(car.light_state & (LEFT_BLINKER | RIGHT_BLINKER))) == 0
    assert car.location[0] > 110.0 and car.location[1] == pytest.approx(3.5, abs=0.3)
    assert lights == {0, RIGHT_BLINKER}


def test_nobody_changes_lanes_without_a_reason(straight_road):
    world = World(straight_road)
    cars = [add(world, x, 0.0) for x in (10.0, 30.0, 50.0)]
    run(world, 20.0)
    assert all(abs(car.location[1]) < 0.3 for car in cars)


@pytest.mark.parametrize(("coming", "changes"), [(False, True), (True, False)])
def test_a_change_waits_for_who_comes_from_behind(straight_road, coming: bool, changes: bool):
    """The car loses its patience behind a crawler after 6 s; one that comes with 9 m/s is then 10 m behind it."""
    world, blinked = World(straight_road), []
    crawler, car = add(world, 145.0, 0.0, role="crawler"), add(world, 120.0, 0.0)
    crawler.constant_velocity = 3.0
    if coming:
        add(world, 80.0, 3.5, role="hero").constant_velocity = 9.0
    assert run(world, 8.0, lambda: blinked.append(bool(car.light_state & RIGHT_BLINKER))) == 0
    assert any(blinked) is changes


def test_two_that_want_the_lane_between_them_do_not_both_take_it(three_lanes):
    """Both stand behind a broken-down one from the same tick on."""
    world, blinking = World(three_lanes), []
    for y in (0.0, 7.0):
        add(world, 45.0, y, role="broken down")
    cars = [add(world, 15.0, y) for y in (0.0, 7.0)]

    def watch() -> None:
        blinking.append(sum(car.light_state & (LEFT_BLINKER | RIGHT_BLINKER) > 0 for car in cars))

    assert run(world, 25.0, watch) == 0
    assert next(count for count in blinking if count) == 1


def test_nobody_changes_into_a_lane_that_is_blocked_as_well(straight_road):
    world = World(straight_road)
    add(world, 60.0, 0.0, role="broken down")
    add(world, 60.0, 3.5, role="broken down, too")
    car = add(world, 10.0, 0.0)
    assert run(world, 30.0) == 0
    assert car.location[0] < 60.0 and abs(car.location[1]) < 0.3


def test_a_lane_that_ends_is_left_in_time(lane_drop):
    world = World(lane_drop)
    cars = [add(world, 10.0, 0.0), add(world, 20.0, 3.5), add(world, 40.0, 0.0)]
    assert run(world, 60.0) == 0
    assert all(car.location[0] > 150.0 and car.location[1] == pytest.approx(3.5, abs=0.4) for car in cars)


def test_the_same_seed_changes_the_same_lanes(straight_road):
    def drive(seed: int) -> np.ndarray:
        world = World(straight_road, seed)
        add(world, 90.0, 0.0, role="broken down")
        cars = [add(world, x, y) for x, y in ((10.0, 0.0), (25.0, 0.0), (12.0, 3.5))]
        run(world, 15.0)
        return np.array([car.location for car in cars])

    assert (drive(3) == drive(3)).all()
    assert (drive(3) != drive(4)).any()


def test_the_gap_behind_grows_with_the_speed_of_who_comes():
    needed = [lane_change.gap_behind_needed(8.0, other, urgent=False) for other in (4.0, 8.0, 12.0)]
    assert needed == [4.0 + 1.2 * 4.0, 4.0 + 1.2 * 8.0, 4.0 + 1.2 * 12.0 + 2.5 * 4.0]
    assert lane_change.gap_behind_needed(8.0, 12.0, urgent=True) == 2.0 + 4.0


@pytest.mark.parametrize(("s", "free"), [(100.0, False), (85.0, False), (60.0, True), (140.0, True)])
def test_a_car_beside_or_close_behind_forbids_a_change(straight_road, s: float, free: bool):
    me = Car(1, RIGHT, 100.0, 8.0, 2.5)
    other = Car(2, RIGHT, s, 8.0, 2.5)
    assert lane_change.is_free_behind(me, 100.0, straight_road.lanes[RIGHT], (), [me, other], False) is free


def test_a_car_on_the_lane_before_counts_as_behind(straight_road):
    """Lane 3 follows lane 1, which is 420 m long: 415 m along it is 10 m behind 5 m along lane 3."""
    me, other = Car(1, 3, 5.0, 8.0, 2.5), Car(2, RIGHT, 415.0, 8.0, 2.5)
    lanes = straight_road.lanes
    assert not lane_change.is_free_behind(me, 5.0, lanes[3], [lanes[RIGHT]], [other], False)
    assert lane_change.is_free_behind(me, 5.0, lanes[3], [], [other], False)


def test_the_way_across_begins_where_the_car_is_and_ends_in_the_lane(straight_road):
    path = build_path(straight_road.lanes, RIGHT, 50.0, (), 0.8, np.random.default_rng(0))
    at = 50.0 + path.spans[0].start
    slanted = lane_change.slanted(path, at, -3.5, 30.0)
    assert slanted.xy[int(at), 1] == pytest.approx(0.0, abs=1e-9)
    assert slanted.xy[int(at) + 15, 1] == pytest.approx(1.75, abs=1e-9)
    assert slanted.xy[int(at) + 30 :, 1] == pytest.approx(3.5)


def test_a_car_that_queues_behind_another_does_not_keep_the_junction(eight):
    """It was let in while it was still rolling; standing in the queue it must let the others pass.

    With both ways held like this, two left turners would wait for each other's followers for ever.
    """
    world = World(eight)
    for light in world.lights():
        light.frozen, light.state = True, LightColor.GREEN
    add(world, -26.0, 0.0, role="broken down")
    queueing = add(world, -44.0, 0.0)
    run(world, 8.0)
    crossing = add(world, 0.0, 20.0, yaw=-90.0)
    assert run(world, 12.0) == 0
    assert queueing.location[0] < -26.0 and crossing.location[1] < -8.0


def test_a_yield_sign_does_not_stop_who_meets_nobody(eight_with_stops):
    world = World(eight_with_stops)
    world._traffic._rules.stop_signs = frozenset()  # the same signs, as yields
    car, slowest = add(world, -40.0, 0.0), []
    run(world, 8.0, lambda: slowest.append(car.forward_speed) if car.location[0] > -25.0 else None)
    assert car.location[0] > 0.0 and min(slowest) > 2.0


def test_a_car_brakes_for_somebody_who_runs_the_red_light(eight):
    """The ego crosses at 8 m/s although its light is red; both would meet in the middle."""
    world = World(eight)
    for light in world.lights():
        light.frozen, light.state = True, LightColor.GREEN if light.sign_id == "east light" else LightColor.RED
    car = add(world, -44.0, 0.0)
    run(world, 3.5)
    eta = (-2.0 - car.location[0]) / car.forward_speed
    ego = add(world, 0.0, 8.0 * eta, yaw=-90.0, role="hero")
    ego.constant_velocity = 8.0
    ego.forward_speed = 8.0
    assert run(world, eta + 4.0) == 0


def test_traffic_sees_walkers_that_nothing_collides_with(straight_road):
    """The client's crowd switches its walkers' physics and collisions off."""
    world = World(straight_road)
    walker = world.spawn("walker.pedestrian.0001", {}, (60.0, 0.0, 1.0), (0.0, 90.0, 0.0))
    world.set_simulate_physics(walker.id, False)
    world.set_collisions(walker.id, False)
    car = add(world, 10.0, 0.0)
    run(world, 8.0)
    assert 45.0 < car.location[0] + 2.5 < 60.0 or abs(car.location[1]) > 2.0


def test_a_placed_walker_has_the_velocity_of_its_way_and_stands_on_its_feet(straight_road):
    world = World(straight_road)
    walker = world.spawn("walker.pedestrian.0001", {}, (60.0, 8.0, 1.0), (0.0, 90.0, 0.0))
    world.set_simulate_physics(walker.id, False)
    for tick in range(1, 11):
        world.place_walker(walker.id, 60.0, 8.0 + 0.07 * tick, 90.0)
        world.step(DT)
    assert walker.velocity == pytest.approx([0.0, 1.4, 0.0])
    assert walker.walked_m == pytest.approx(0.7)
    assert walker.location[2] == pytest.approx(walker.box_extent[2])
    world.place_walker(walker.id, 90.0, 8.0, 90.0)  # thirty metres in a tick is no walking
    world.step(DT)
    assert walker.velocity == pytest.approx([0.0, 0.0, 0.0]) and walker.walked_m == pytest.approx(0.7)


def test_full_throttle_of_a_stranger_from_behind_does_not_confuse_the_rules(straight_road):
    world = World(straight_road)
    car = add(world, 60.0, 0.0)
    ego = add(world, 10.0, 3.5, role="hero")
    acts.apply_control(ego, VehicleControl(throttle=1.0))
    assert run(world, 12.0) == 0
    assert abs(car.location[1]) < 0.3
