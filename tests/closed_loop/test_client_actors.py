"""The real client: actors are spawned, driven, pushed, batched and destroyed."""

from __future__ import annotations

import math

import carla
import pytest

SOME_VEHICLES = [
    "vehicle.lincoln.mkz_2020",
    "vehicle.mercedes.sprinter",
    "vehicle.carlamotors.european_hgv",
    "vehicle.mitsubishi.fusorosa",
    "vehicle.kawasaki.ninja",
    "vehicle.diamondback.century",
]
COMMANDS = carla.command


def speed(actor: carla.Actor) -> float:
    return actor.get_velocity().length()


def forward_distance(actor: carla.Actor, start: carla.Transform) -> float:
    moved = actor.get_location() - start.location
    forward = start.get_forward_vector()
    return moved.x * forward.x + moved.y * forward.y


def test_the_library_has_attributes_that_scripts_filter_on(stage) -> None:
    cars = [b for b in stage.library.filter("vehicle.*") if b.get_attribute("base_type") == "car"]
    assert len(cars) > 10
    assert all(int(b.get_attribute("number_of_wheels")) == 4 for b in cars)
    assert stage.library.find("sensor.camera.rgb").has_attribute("sensor_tick")
    assert stage.library.filter("walker.pedestrian.*")[0].get_attribute("speed").recommended_values[0] == "0.0"


@pytest.mark.parametrize("type_id", SOME_VEHICLES)
def test_a_vehicle_stands_where_it_was_spawned(stage, type_id: str) -> None:
    place = stage.straight()
    vehicle = stage.spawn(type_id, place, role_name="hero")
    stage.tick(20)
    assert vehicle.get_location().distance(place.location) < 0.7
    road = stage.map.get_waypoint(place.location).transform.location
    assert vehicle.get_location().z == pytest.approx(road.z, abs=0.05)
    assert vehicle.attributes["role_name"] == "hero"
    assert vehicle.type_id == type_id
    assert speed(vehicle) < 0.05


def test_the_ego_has_the_box_that_its_tracker_was_fitted_to(stage) -> None:
    box = stage.car().bounding_box
    assert (box.extent.x, box.extent.y, box.extent.z) == pytest.approx((2.446, 0.918, 0.755), abs=1e-3)
    assert box.location.z == pytest.approx(0.755, abs=1e-3)


def test_two_vehicles_cannot_be_spawned_in_one_place(stage) -> None:
    stage.spawn("vehicle.audi.tt", stage.straight())
    with pytest.raises(RuntimeError, match="Spawn failed because of collision at spawn position"):
        stage.spawn("vehicle.audi.tt", stage.straight())
    assert stage.world.try_spawn_actor(stage.library.find("vehicle.audi.tt"), stage.straight()) is None


def test_what_was_spawned_is_listed_after_the_next_tick_and_gone_after_destruction(stage) -> None:
    vehicle = stage.car()
    assert stage.world.get_actors().find(vehicle.id).type_id == vehicle.type_id
    assert stage.world.get_snapshot().has_actor(vehicle.id)
    assert vehicle.destroy()
    stage.tick()
    assert not stage.world.get_snapshot().has_actor(vehicle.id)
    assert stage.world.get_actors().find(vehicle.id) is None


def test_destroying_twice_fails_in_words(stage, client: carla.Client) -> None:
    (answer,) = client.apply_batch_sync([COMMANDS.DestroyActor(10**6)], False)
    assert answer.error == "unable to destroy actor: not found"


def test_an_attached_actor_follows_its_parent(stage) -> None:
    vehicle = stage.car()
    offset = carla.Transform(carla.Location(1.0, 0.5, 2.0), carla.Rotation(yaw=90.0))
    camera = stage.spawn("sensor.other.imu", offset, vehicle)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0, steer=0.3))
    stage.tick(30)
    assert camera.parent.id == vehicle.id
    expected = vehicle.get_transform().transform(carla.Location(1.0, 0.5, 2.0))
    assert camera.get_location().distance(expected) < 1e-3
    turned = camera.get_transform().rotation.yaw - vehicle.get_transform().rotation.yaw
    assert (turned - 90.0 + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.5)


def test_attaching_to_nobody_is_an_error(stage) -> None:
    vehicle = stage.car()
    stage.world.get_actors()
    vehicle.destroy()
    with pytest.raises(RuntimeError, match="unable to attach actor: parent actor not found"):
        stage.spawn("sensor.other.imu", carla.Transform(), vehicle)


# ------------------------------------------------------------------------------ motion


def test_throttle_moves_the_car_and_the_snapshot_says_which_pedals(stage) -> None:
    vehicle = stage.car()
    start = vehicle.get_transform()
    vehicle.apply_control(carla.VehicleControl(throttle=0.75, steer=0.0))
    stage.tick(40)
    assert vehicle.get_control().throttle == pytest.approx(0.75)
    assert 5.0 < speed(vehicle) < 20.0
    assert forward_distance(vehicle, start) > 4.0
    assert vehicle.get_acceleration().length() > 0.5


def test_the_brake_stops_the_car(stage) -> None:
    vehicle = stage.car()
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    stage.tick(40)
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    stage.tick(60)
    assert speed(vehicle) < 0.1


def test_reverse_drives_backwards(stage) -> None:
    vehicle = stage.car()
    start = vehicle.get_transform()
    vehicle.apply_control(carla.VehicleControl(throttle=0.5, reverse=True))
    stage.tick(30)
    assert forward_distance(vehicle, start) < -0.5


@pytest.mark.parametrize("steer", [-0.4, 0.4])
def test_steering_right_is_positive_for_wheel_yaw_and_rate(stage, steer: float) -> None:
    vehicle = stage.car()
    start_yaw = vehicle.get_transform().rotation.yaw
    vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=steer))
    stage.tick(20)
    turned = (vehicle.get_transform().rotation.yaw - start_yaw + 180.0) % 360.0 - 180.0
    assert math.copysign(1.0, turned) == math.copysign(1.0, steer)
    assert vehicle.get_angular_velocity().z * steer > 0.0
    assert vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel) * steer > 0.0


def test_the_same_controls_drive_the_same_way_twice(stage) -> None:
    def drive() -> list[tuple[float, ...]]:
        vehicle = stage.spawn("vehicle.lincoln.mkz_2020", stage.straight())
        track = []
        for i in range(40):
            vehicle.apply_control(carla.VehicleControl(throttle=0.7, steer=0.2 * math.sin(i / 5.0)))
            stage.tick()
            place = vehicle.get_transform()
            track.append((place.location.x, place.location.y, place.rotation.yaw))
        vehicle.destroy()
        stage.tick()
        return track

    assert drive() == drive()


def test_a_heavier_car_is_slower_off_the_line(stage) -> None:
    def speed_after_two_seconds(mass_factor: float) -> float:
        vehicle = stage.car()
        control = vehicle.get_physics_control()
        control.mass *= mass_factor
        vehicle.apply_physics_control(control)
        stage.tick()
        assert vehicle.get_physics_control().mass == pytest.approx(1845.0 * mass_factor)
        vehicle.apply_control(carla.VehicleControl(throttle=1.0))
        stage.tick(40)
        reached = speed(vehicle)
        vehicle.destroy()
        stage.tick()
        return reached

    assert speed_after_two_seconds(3.0) < 0.6 * speed_after_two_seconds(1.0)


def test_physics_control_has_four_wheels_in_world_centimetres(stage) -> None:
    vehicle = stage.car()
    control = vehicle.get_physics_control()
    assert len(control.wheels) == 4
    assert control.wheels[0].max_steer_angle == pytest.approx(70.0, abs=0.1)
    middle = sum(wheel.position.x for wheel in control.wheels) / 400.0
    assert middle == pytest.approx(vehicle.get_location().x, abs=0.5)
    assert len(control.forward_gears) >= 4
    assert control.torque_curve


def test_a_transform_and_a_velocity_are_taken_over(stage) -> None:
    vehicle = stage.car()
    place = stage.straight(number=1)
    vehicle.set_transform(place)
    forward = place.get_forward_vector()
    vehicle.set_target_velocity(carla.Vector3D(6.0 * forward.x, 6.0 * forward.y, 0.0))
    stage.tick()
    assert vehicle.get_location().distance(place.location) < 0.8
    assert speed(vehicle) == pytest.approx(6.0, abs=0.8)


def test_a_constant_velocity_is_held_until_it_is_switched_off(stage) -> None:
    vehicle = stage.car()
    vehicle.enable_constant_velocity(carla.Vector3D(5.0, 0.0, 0.0))
    stage.tick(40)
    assert speed(vehicle) == pytest.approx(5.0, abs=0.2)
    vehicle.disable_constant_velocity()
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    stage.tick(40)
    assert speed(vehicle) < 0.1


def test_without_physics_a_car_stays_where_it_is_put(stage) -> None:
    vehicle = stage.car()
    vehicle.set_simulate_physics(False)
    place = vehicle.get_transform()
    place.location.z += 5.0
    vehicle.set_transform(place)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    stage.tick(20)
    assert vehicle.get_location().distance(place.location) < 1e-3


def test_vehicle_lights_are_kept(stage) -> None:
    vehicle = stage.car()
    lamps = carla.VehicleLightState(carla.VehicleLightState.Brake | carla.VehicleLightState.LowBeam)
    vehicle.set_light_state(lamps)
    stage.tick()
    assert vehicle.get_light_state() == lamps
    assert stage.world.get_vehicles_light_states()[vehicle.id] == lamps


def test_the_speed_limit_is_that_of_the_road(stage) -> None:
    vehicle = stage.car()
    stage.tick(12)
    assert vehicle.get_speed_limit() in (30.0, 40.0, 50.0, 60.0, 90.0)


def test_a_walker_walks_where_it_is_told(stage) -> None:
    place = stage.straight()
    place.location.z += 1.0
    walker = stage.spawn("walker.pedestrian.0001", place)
    stage.tick(20)
    start = walker.get_location()
    walker.apply_control(carla.WalkerControl(carla.Vector3D(1.0, 0.0, 0.0), 1.5))
    stage.tick(40)
    moved = walker.get_location() - start
    assert moved.x == pytest.approx(3.0, abs=0.3)
    assert abs(moved.y) < 0.1
    assert walker.get_control().speed == pytest.approx(1.5)


# ------------------------------------------------------------------------------ batches


def test_a_batch_spawns_and_runs_what_follows(stage, client: carla.Client) -> None:
    blueprint = stage.blueprint("vehicle.audi.tt", role_name="batch")
    lamps = COMMANDS.SetVehicleLightState(COMMANDS.FutureActor, carla.VehicleLightState.Position)
    places = [stage.straight(number=i) for i in (0, 1)]
    answers = client.apply_batch_sync(
        [COMMANDS.SpawnActor(blueprint, place).then(lamps) for place in (*places, places[0])], True
    )
    errors = [answer.error for answer in answers]
    assert errors[:2] == ["", ""]
    assert errors[2] == "Spawn failed because of collision at spawn position"
    spawned = [stage.world.get_actor(answer.actor_id) for answer in answers[:2]]
    assert [int(actor.get_light_state()) for actor in spawned] == [1, 1]
    gone = client.apply_batch_sync([COMMANDS.DestroyActor(actor.id) for actor in spawned], True)
    assert [answer.error for answer in gone] == ["", ""]
    stage.tick()
    assert not stage.world.get_actors().filter("vehicle.*")


@pytest.mark.parametrize(
    "command",
    [
        lambda i: COMMANDS.ApplyVehicleControl(i, carla.VehicleControl(throttle=0.5)),
        lambda i: COMMANDS.ApplyTargetVelocity(i, carla.Vector3D(1.0, 0.0, 0.0)),
        lambda i: COMMANDS.ApplyTargetAngularVelocity(i, carla.Vector3D()),
        lambda i: COMMANDS.ApplyImpulse(i, carla.Vector3D(100.0, 0.0, 0.0)),
        lambda i: COMMANDS.SetSimulatePhysics(i, True),
        lambda i: COMMANDS.SetVehicleLightState(i, carla.VehicleLightState.Brake),
    ],
)
def test_a_command_answers_with_its_actor(stage, client: carla.Client, command) -> None:
    vehicle = stage.car()
    (answer,) = client.apply_batch_sync([command(vehicle.id)], False)
    assert (answer.error, answer.actor_id) == ("", vehicle.id)


def test_a_batch_of_transforms_and_physics_is_applied(stage, client: carla.Client) -> None:
    vehicle = stage.car()
    control = vehicle.get_physics_control()
    control.mass = 2500.0
    place = stage.straight(number=1)
    answers = client.apply_batch_sync(
        [COMMANDS.ApplyTransform(vehicle.id, place), COMMANDS.ApplyVehiclePhysicsControl(vehicle.id, control)], True
    )
    assert [answer.error for answer in answers] == ["", ""]
    assert vehicle.get_location().distance(place.location) < 0.8
    assert vehicle.get_physics_control().mass == pytest.approx(2500.0)


def test_a_command_that_minicarla_lacks_is_an_error_of_its_own(stage, client: carla.Client) -> None:
    vehicle = stage.car()
    answers = client.apply_batch_sync(
        [
            COMMANDS.ApplyTorque(vehicle.id, carla.Vector3D()),
            COMMANDS.ApplyVehicleControl(vehicle.id, carla.VehicleControl()),
        ],
        False,
    )
    assert "ApplyTorque is not in minicarla" in answers[0].error
    assert answers[1].error == ""


def test_walker_commands_place_and_drive_walkers(stage, client: carla.Client) -> None:
    place = stage.straight()
    place.location.z += 1.0
    walker = stage.spawn("walker.pedestrian.0002", place)
    there = carla.Transform(place.location + carla.Location(x=2.0))
    answers = client.apply_batch_sync(
        [
            COMMANDS.ApplyWalkerControl(walker.id, carla.WalkerControl(carla.Vector3D(0.0, 1.0, 0.0), 1.0)),
            COMMANDS.ApplyWalkerState(walker.id, there, 0.0),
        ],
        True,
    )
    assert [answer.error for answer in answers] == ["", ""]
    assert abs(walker.get_location().x - there.location.x) < 0.2


def test_the_servers_own_traffic_drives_without_a_traffic_manager(stage) -> None:
    vehicle = stage.spawn("vehicle.audi.tt", stage.straight(), role_name="minicarla_traffic")
    start = stage.straight()
    stage.tick(60)
    assert vehicle.get_location().distance(start.location) > 5.0
    waypoint = stage.map.get_waypoint(vehicle.get_location())
    assert waypoint.transform.location.distance(vehicle.get_location()) < 1.0
