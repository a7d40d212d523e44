"""Boxes that meet stop each other, and the blow is reported."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.minicarla.world import acts
from autovla_core.minicarla.world import collision as c
from autovla_core.minicarla.world.actor import VehicleControl, WalkerControl
from autovla_core.minicarla.world.world import SpawnError, World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"
WALL_X = -200.0  # of the figure of eight


def body(x: float, y: float, yaw_deg: float = 0.0, hx: float = 2.0, hy: float = 1.0) -> np.ndarray:
    row = np.zeros(c.BODY_COLUMNS)
    row[[c.CX, c.CY, c.CZ, c.HX, c.HY, c.HZ]] = x, y, 0.7, hx, hy, 0.7
    row[c.HEADING], row[c.INVERSE_MASS] = math.radians(yaw_deg), 1.0 / 1500.0
    return row


def spawn(world: World, x: float, y: float, yaw: float = 0.0, type_id: str = MKZ, z: float = 0.0):
    return world.spawn(type_id, {}, (x, y, z), (0.0, yaw, 0.0))


def drive(world: World, ticks: int) -> list:
    contacts = []
    for _ in range(ticks):
        world.step(DT)
        contacts += world.contacts
    return contacts


@pytest.mark.parametrize(
    "other, touching",
    [
        (body(3.9, 0.0), True),
        (body(4.1, 0.0), False),
        (body(2.9, 0.0, 90.0), True),
        (body(3.1, 0.0, 90.0), False),
        (body(3.5, 2.5, 45.0), False),  # its bounding circle reaches the other, its box does not
        (body(3.4, 1.4, 45.0), True),
    ],
)
def test_overlap_follows_the_boxes_not_their_circles(other, touching):
    assert c.overlap(body(0.0, 0.0), other) is touching
    assert c.overlap(other, body(0.0, 0.0)) is touching


def test_a_car_under_a_bridge_touches_nothing():
    bridge = body(0.0, 0.0, hx=10.0, hy=10.0)
    bridge[c.CZ] = 6.0
    assert not c.overlap(body(0.0, 0.0), bridge)


def test_a_wall_stops_a_car_and_pushes_against_its_motion(eight):
    world = World(eight)
    car = spawn(world, WALL_X + 20.0, 0.0, 180.0)
    world.step(DT)
    acts.set_target_velocity(car, (-10.0, 0.0, 0.0))
    contacts = drive(world, 60)
    assert car.location[0] - car.box_extent[0] > WALL_X + 0.5 - 0.01
    assert abs(car.forward_speed) < 1.0
    first = contacts[0]
    assert (first.actor_id, first.other_id, first.other_type_id) == (car.id, 0, "static.wall")
    assert first.impulse[0] == pytest.approx(1845.0 * 10.0, rel=0.3)


def test_a_car_does_not_creep_through_a_wall_under_full_throttle(eight):
    world = World(eight)
    car = spawn(world, WALL_X + 5.0, 0.0, 180.0)
    acts.apply_control(car, VehicleControl(throttle=1.0))
    drive(world, 200)
    assert car.location[0] > WALL_X + car.box_extent[0]


def test_momentum_survives_a_rear_end_crash(eight):
    world = World(eight)
    behind, ahead = spawn(world, -150.0, 50.0), spawn(world, -143.0, 50.0)
    world.step(DT)
    acts.set_target_velocity(behind, (8.0, 0.0, 0.0))
    contacts, before = [], 8.0
    while not contacts:
        before = behind.forward_speed
        contacts = drive(world, 1)
    assert behind.forward_speed + ahead.forward_speed == pytest.approx(before, abs=0.15)
    assert ahead.forward_speed > behind.forward_speed > 0.0


def test_both_partners_report_opposite_impulses(eight):
    world = World(eight)
    one, other = spawn(world, -150.0, 50.0), spawn(world, -143.0, 50.5)
    world.step(DT)
    acts.set_target_velocity(one, (12.0, 0.0, 0.0))
    contacts = drive(world, 8)
    mine = next(k for k in contacts if k.actor_id == one.id)
    theirs = next(k for k in contacts if k.actor_id == other.id)
    assert (mine.other_id, theirs.other_id) == (other.id, one.id)
    assert mine.impulse == pytest.approx(-theirs.impulse)
    assert mine.impulse[0] < 0.0 < theirs.impulse[0]


def test_a_crash_pulls_the_boxes_apart(eight):
    world = World(eight)
    one, other = spawn(world, -150.0, 50.0), spawn(world, -143.0, 50.8, 20.0)
    world.step(DT)
    acts.set_target_velocity(one, (15.0, 0.0, 0.0))
    drive(world, 40)
    bodies = [world._fleet.body_of(v, v.location, float(v.rotation[1])) for v in (one, other)]
    for row in bodies:
        row[c.HX : c.HY + 1] -= 0.05
    assert not c.overlap(*bodies)


def test_a_walker_is_thrown_and_hardly_slows_the_car(eight):
    world = World(eight)
    car = spawn(world, -150.0, 50.0)
    walker = world.spawn("walker.pedestrian.0001", {}, (-140.0, 50.0, 0.93), (0.0, 0.0, 0.0))
    world.step(DT)
    acts.set_target_velocity(car, (10.0, 0.0, 0.0))
    contacts = drive(world, 30)
    assert {k.other_id for k in contacts if k.actor_id == car.id} == {walker.id}
    assert walker.location[0] > -138.0
    assert car.forward_speed > 7.0


def test_a_thrown_walker_walks_again(eight):
    world = World(eight)
    car = spawn(world, -150.0, 50.0)
    walker = world.spawn("walker.pedestrian.0001", {}, (-144.0, 50.0, 0.93), (0.0, 0.0, 0.0))
    world.step(DT)
    acts.set_target_velocity(car, (6.0, 0.0, 0.0))
    acts.apply_control(car, VehicleControl(brake=1.0))
    drive(world, 80)
    assert not walker.thrown
    walker.control = WalkerControl((0.0, 1.0, 0.0), 1.5)
    start = walker.location.copy()
    drive(world, 40)
    assert walker.location - start == pytest.approx([0.0, 3.0, 0.0], abs=1e-6)


def test_nothing_spawns_into_something_else(eight):
    world = World(eight)
    spawn(world, -150.0, 50.0)
    with pytest.raises(SpawnError, match="Spawn failed because of collision at spawn position"):
        spawn(world, -147.0, 50.5)
    with pytest.raises(SpawnError, match="collision at spawn position"):
        spawn(world, WALL_X, 10.0)
    spawn(world, -144.0, 50.0)


def test_switched_off_collisions_let_cars_pass(eight):
    world = World(eight)
    one, other = spawn(world, -150.0, 50.0), spawn(world, -143.0, 50.0)
    world.set_collisions(other.id, False)
    world.step(DT)
    acts.set_target_velocity(one, (15.0, 0.0, 0.0))
    assert drive(world, 20) == []
    assert one.location[0] > other.location[0]


def test_a_car_drives_over_dirt_on_the_road(eight):
    world = World(eight)
    car = spawn(world, -150.0, 50.0)
    dirt = world.spawn("static.prop.dirtdebris01", {}, (-144.0, 50.0, 0.0), (0.0, 90.0, 0.0))
    world.step(DT)
    acts.set_target_velocity(car, (12.0, 0.0, 0.0))
    assert drive(world, 30) == []
    assert car.location[0] > dirt.location[0]


def test_a_prop_stops_a_car_and_is_named(eight):
    world = World(eight)
    car = spawn(world, -150.0, 50.0)
    prop = world.spawn("static.prop.streetbarrier", {}, (-140.0, 50.0, 0.0), (0.0, 90.0, 0.0))
    world.step(DT)
    acts.set_target_velocity(car, (6.0, 0.0, 0.0))
    contacts = drive(world, 40)
    assert contacts[0].other_id == prop.id and contacts[0].other_type_id == prop.type_id
    assert prop.location.tolist() == [-140.0, 50.0, 0.0]
    assert car.location[0] < prop.location[0]
