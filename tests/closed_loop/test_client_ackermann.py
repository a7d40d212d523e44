"""The real client: Ackermann control, forces, gravity, doors, telemetry."""

from __future__ import annotations

import carla
import pytest


def test_ackermann_control_holds_a_speed(stage) -> None:
    vehicle = stage.car(stage.straight())
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(speed=6.0, acceleration=3.0))
    stage.tick(120)
    assert vehicle.get_velocity().length() == pytest.approx(6.0, abs=0.2)
    assert 0.0 < vehicle.get_control().throttle < 0.6
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    stage.tick(40)
    assert vehicle.get_velocity().length() < 0.05


def test_ackermann_gains_are_those_of_carla_and_can_be_set(stage) -> None:
    vehicle = stage.car()
    gains = vehicle.get_ackermann_controller_settings()
    found = (gains.speed_kp, gains.speed_ki, gains.speed_kd, gains.accel_kp, gains.accel_ki, gains.accel_kd)
    assert found == pytest.approx((0.15, 0.0, 0.25, 0.01, 0.0, 0.01))
    gains.speed_kp = 0.3
    vehicle.apply_ackermann_controller_settings(gains)
    assert vehicle.get_ackermann_controller_settings().speed_kp == pytest.approx(0.3)


def test_ackermann_control_and_gravity_in_a_batch(client: carla.Client, stage) -> None:
    vehicle = stage.car(stage.straight())
    command = carla.command
    answers = client.apply_batch_sync(
        [
            command.ApplyVehicleAckermannControl(vehicle.id, carla.VehicleAckermannControl(speed=5.0)),
            command.SetEnableGravity(vehicle.id, True),
            command.ApplyForce(vehicle.id, carla.Vector3D(0.0, 0.0, 0.0)),
        ]
    )
    assert [answer.error for answer in answers] == [""] * 3
    stage.tick(120)
    assert vehicle.get_velocity().length() == pytest.approx(5.0, abs=0.2)


def test_a_force_for_one_tick_is_an_impulse(stage) -> None:
    place = stage.straight()
    vehicle, forward = stage.car(place), place.get_forward_vector()
    mass = vehicle.get_physics_control().mass
    push = 4.0 * mass / 0.05  # N, for 4 m/s in one tick of 0.05 s
    vehicle.add_force(carla.Vector3D(forward.x * push, forward.y * push, 0.0))
    stage.tick()
    assert vehicle.get_velocity().length() == pytest.approx(4.0, abs=0.3)


def test_without_gravity_a_car_stays_in_the_air(stage) -> None:
    vehicle = stage.car()
    place = vehicle.get_transform()
    vehicle.set_enable_gravity(False)
    vehicle.set_transform(carla.Transform(place.location + carla.Location(z=4.0), place.rotation))
    stage.tick(20)
    assert vehicle.get_location().z == pytest.approx(place.location.z + 4.0, abs=0.01)
    vehicle.set_enable_gravity(True)
    stage.tick(40)
    assert vehicle.get_location().z == pytest.approx(place.location.z, abs=0.05)


def test_doors_are_accepted_and_telemetry_is_told(stage) -> None:
    vehicle = stage.car()
    vehicle.open_door(carla.VehicleDoor.FL)
    vehicle.close_door(carla.VehicleDoor.All)
    vehicle.apply_control(carla.VehicleControl(throttle=0.6))
    stage.tick(40)
    told = vehicle.get_telemetry_data()
    assert told.speed == pytest.approx(vehicle.get_velocity().length(), abs=0.1)
    assert told.throttle == pytest.approx(0.6) and told.engine_rpm > 800.0
    assert len(told.wheels) == 4 and told.wheels[0].tire_load > 1000.0
