"""Small questions about vehicles, walkers and props, each with the answer that CARLA would give."""

from __future__ import annotations

import carla
import pytest

MKZ = "vehicle.lincoln.mkz_2020"


def ahead(actor: carla.Actor) -> tuple[float, float, float]:
    vector = actor.get_transform().get_forward_vector()
    return vector.x, vector.y, vector.z


def test_a_speed_limit_is_told(stage) -> None:
    assert stage.car().get_speed_limit() in (30.0, 40.0, 50.0, 60.0, 90.0)


def test_a_cars_box_is_around_its_middle(stage) -> None:
    box = stage.car().bounding_box
    assert box.location.z == pytest.approx(box.extent.z, abs=0.05) and 2.0 < box.extent.x < 3.0


def test_a_box_contains_the_middle(stage) -> None:
    car = stage.car()
    pose = car.get_transform()
    assert car.bounding_box.contains(pose.transform(carla.Location(z=0.5)), pose)
    assert not car.bounding_box.contains(pose.transform(carla.Location(x=9.0)), pose)


def test_acceleration_points_forward(stage) -> None:
    car = stage.car()
    car.apply_control(carla.VehicleControl(throttle=1.0))
    stage.tick(10)
    forward, push = car.get_transform().get_forward_vector(), car.get_acceleration()
    assert forward.x * push.x + forward.y * push.y > 2.0


def test_a_hand_brake_stops(stage) -> None:
    car = stage.car()
    car.set_target_velocity(carla.Vector3D(*(6.0 * c for c in ahead(car))))
    car.apply_control(carla.VehicleControl(hand_brake=True))
    stage.tick(60)
    assert car.get_velocity().length() < 0.1


def test_an_impulse_pushes(stage) -> None:
    car = stage.car()
    mass = car.get_physics_control().mass
    car.add_impulse(carla.Vector3D(*(5.0 * mass * c for c in ahead(car))))
    stage.tick(2)
    assert car.get_velocity().length() == pytest.approx(5.0, abs=0.4)


def test_physics_has_gears_and_curves(stage) -> None:
    physics = stage.car().get_physics_control()
    assert physics.forward_gears and physics.torque_curve and physics.steering_curve and physics.max_rpm > 1000


def test_semantic_tags_are_those_of_the_release(stage) -> None:
    assert stage.car().semantic_tags == [14]


def test_attributes_come_back(stage) -> None:
    car = stage.car(role_name="someone", color="10,20,30")
    assert car.attributes["role_name"] == "someone" and car.attributes["color"] == "10,20,30"


def test_doors_do_no_harm(stage) -> None:
    car = stage.car()
    car.open_door(carla.VehicleDoor.All)
    car.close_door(carla.VehicleDoor.All)
    assert stage.tick() > 0


def test_wheels_steer(stage) -> None:
    car = stage.car()
    car.apply_control(carla.VehicleControl(steer=0.5))
    stage.tick(10)
    assert car.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel) > 5.0
    assert car.get_wheel_steer_angle(carla.VehicleWheelLocation.BL_Wheel) == 0.0


def test_a_walker_stops_when_told(stage) -> None:
    walker = stage.spawn("walker.pedestrian.0001", carla.Transform(stage.straight().location + carla.Location(z=1.0)))
    walker.apply_control(carla.WalkerControl(carla.Vector3D(1.0, 0.0, 0.0), 2.0))
    stage.tick(20)
    assert walker.get_velocity().length() == pytest.approx(2.0, abs=0.1)
    assert walker.get_control().speed == pytest.approx(2.0)
    walker.apply_control(carla.WalkerControl())
    stage.tick(5)
    assert walker.get_velocity().length() < 0.1


def test_bones_are_refused_in_words(stage) -> None:
    walker = stage.spawn("walker.pedestrian.0001", carla.Transform(stage.straight().location + carla.Location(z=1.0)))
    stage.tick()
    with pytest.raises(RuntimeError, match="not in minicarla"):
        walker.get_bones()


def test_a_prop_stands(stage) -> None:
    place = stage.straight()
    prop = stage.spawn("static.prop.trafficcone01", place)
    stage.tick(2)
    assert prop.get_location().distance(place.location) < 1.0
