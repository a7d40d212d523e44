"""Ackermann control, gravity, forces and telemetry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.minicarla.world import acts, saved
from autovla_core.minicarla.world.actor import AckermannGains, AckermannTarget, Vehicle, VehicleControl
from autovla_core.minicarla.world.telemetry import telemetry
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.world import World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


@pytest.fixture
def world(eight: Town) -> World:
    return World(eight)


def car(world: World, height: float = 0.0) -> Vehicle:
    vehicle = world.spawn(MKZ, {}, (-300.0, 100.0, height), (0.0, 0.0, 0.0))
    world.step(DT)
    return vehicle


def run(world: World, seconds: float) -> None:
    for _ in range(round(seconds / DT)):
        world.step(DT)


@pytest.mark.parametrize("speed", [3.0, 8.0, 15.0, 25.0, -3.0])
def test_a_wanted_speed_is_reached_and_held(world: World, speed: float) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(speed=speed))
    run(world, 12.0)
    for _ in range(100):
        world.step(DT)
        assert vehicle.forward_speed == pytest.approx(speed, rel=0.02)
    assert vehicle.control.brake == 0.0 and 0.0 < vehicle.control.throttle < 0.6


def test_the_wanted_acceleration_is_not_exceeded(world: World) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(speed=15.0, acceleration=1.0))
    run(world, 2.0)
    before = vehicle.forward_speed
    run(world, 5.0)
    assert (vehicle.forward_speed - before) / 5.0 == pytest.approx(1.0, abs=0.1)


def test_a_vehicle_stops_before_it_goes_the_other_way(world: World) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(speed=8.0))
    run(world, 5.0)
    acts.apply_ackermann(vehicle, AckermannTarget(speed=-4.0))
    for _ in range(400):
        world.step(DT)
        assert not vehicle.control.reverse or vehicle.forward_speed < 0.2
    assert vehicle.forward_speed == pytest.approx(-4.0, abs=0.1)
    acts.apply_ackermann(vehicle, AckermannTarget())
    run(world, 10.0)
    assert vehicle.forward_speed == pytest.approx(0.0, abs=0.01) and vehicle.control.brake == 1.0


@pytest.mark.parametrize("angle", [0.2, -0.2])
def test_the_wheels_turn_by_the_wanted_angle_and_as_fast_as_wanted(world: World, angle: float) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(steer=angle, steer_speed=0.1, speed=4.0))
    run(world, 1.0)
    assert abs(vehicle.wheel_angle_deg) == pytest.approx(math.degrees(0.1), abs=0.5)
    run(world, 4.0)
    assert vehicle.wheel_angle_deg == pytest.approx(math.degrees(angle), abs=0.1)


def test_an_ordinary_control_ends_ackermann_control(world: World) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(speed=8.0))
    run(world, 1.0)
    acts.apply_control(vehicle, VehicleControl(brake=1.0))
    run(world, 3.0)
    assert vehicle.forward_speed == pytest.approx(0.0, abs=1e-3) and vehicle.ackermann is None


def test_gains_change_how_fast_a_speed_is_reached(world: World) -> None:
    reached = []
    for gains in (AckermannGains(), AckermannGains(speed_kp=0.02)):
        vehicle = car(world)
        vehicle.ackermann_gains = gains
        acts.apply_ackermann(vehicle, AckermannTarget(speed=8.0))
        run(world, 2.0)
        reached.append(vehicle.forward_speed)
        world.destroy(vehicle.id)
    assert reached[1] < 0.5 * reached[0]


def test_the_loops_are_part_of_a_saved_state(world: World) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(steer=0.1, steer_speed=0.05, speed=8.0))
    run(world, 1.0)
    state, futures = saved.save(world), []
    for _ in range(2):
        run(world, 2.0)
        again = world.vehicle(vehicle.id)
        futures.append((again.location.tobytes(), again.ackermann))
        saved.restore(world, state)
    assert futures[0] == futures[1]


def test_without_gravity_a_car_in_the_air_stays_there(world: World) -> None:
    floating = world.spawn(MKZ, {}, (-300.0, 100.0, 5.0), (0.0, 0.0, 0.0))
    falling = world.spawn(MKZ, {}, (-300.0, 150.0, 5.0), (0.0, 0.0, 0.0))
    floating.has_gravity = False
    run(world, 3.0)
    assert floating.location[2] == pytest.approx(5.0) and falling.location[2] == pytest.approx(0.0, abs=0.01)
    floating.has_gravity = True
    run(world, 3.0)
    assert floating.location[2] == pytest.approx(0.0, abs=0.01)


def test_telemetry_knows_speed_engine_and_loads(world: World) -> None:
    vehicle = car(world)
    acts.apply_ackermann(vehicle, AckermannTarget(speed=10.0))
    run(world, 10.0)
    speed, steer, throttle, brake, rpm, gear, drag, wheels = telemetry(vehicle)
    assert speed == pytest.approx(10.0, abs=0.1) and (steer, brake) == (0.0, 0.0) and throttle > 0.0
    ratio = vehicle.physics["forward_gears"][gear - 1]["ratio"] * 4.0
    assert rpm == pytest.approx(speed / 0.355 * 60 / (2 * math.pi) * ratio, rel=1e-6)
    assert drag == pytest.approx(0.24) and [len(wheel) for wheel in wheels] == [11] * 4
    assert np.sum([wheel[4] for wheel in wheels]) == pytest.approx(1845.0 * 9.81)
