"""The real client: what the sensors say, and when."""

from __future__ import annotations

import math

import carla
import numpy as np
import pytest

from autovla_core import frames

SIZE = {"image_size_x": 96, "image_size_y": 64, "fov": 90}
HOOD = carla.Transform(carla.Location(x=1.5, z=2.0))
CAMERAS = ("rgb", "depth", "semantic_segmentation", "instance_segmentation")


def pixels(image: carla.Image) -> np.ndarray:
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)


@pytest.mark.parametrize("kind", CAMERAS)
def test_a_camera_gives_exactly_one_image_for_every_tick(stage, kind: str) -> None:
    camera = stage.sensor(f"sensor.camera.{kind}", stage.car(), HOOD, **SIZE)
    for _ in range(10):
        tick, image = stage.tick(), camera.get()
        assert (image.frame, image.width, image.height) == (tick, 96, 64)
        assert image.timestamp == stage.world.get_snapshot().timestamp.elapsed_seconds
        assert camera.silent(0.0)


def test_three_cameras_gnss_and_imu_all_answer_every_tick(stage) -> None:
    vehicle = stage.car()
    listeners = [stage.sensor("sensor.camera.rgb", vehicle, HOOD, **SIZE) for _ in range(3)]
    listeners += [stage.sensor(f"sensor.other.{name}", vehicle) for name in ("gnss", "imu")]
    for _ in range(10):
        tick = stage.tick()
        assert [listener.get().frame for listener in listeners] == [tick] * 5


def test_a_picture_is_no_single_colour_and_is_opaque(stage) -> None:
    camera = stage.sensor("sensor.camera.rgb", stage.car(), HOOD, **SIZE)
    stage.tick()
    picture = pixels(camera.get())
    assert picture[..., :3].std() > 10.0
    assert (picture[..., 3] == 255).all()


def test_an_image_carries_the_pose_and_fov_of_its_camera(stage) -> None:
    vehicle = stage.car()
    camera = stage.sensor("sensor.camera.rgb", vehicle, HOOD, **SIZE)
    stage.tick()
    image = camera.get()
    assert image.fov == 90.0
    hood = vehicle.get_transform().transform(carla.Location(1.5, 0.0, 2.0))  # transform() changes its argument
    assert image.transform.location.distance(hood) < 1e-3


def test_depth_of_the_ground_is_the_distance_that_geometry_gives(stage) -> None:
    vehicle = stage.car()
    down = carla.Transform(carla.Location(z=10.0), carla.Rotation(pitch=-90.0))
    camera = stage.sensor(
        "sensor.camera.depth", vehicle, carla.Transform(down.location + carla.Location(x=8.0), down.rotation), **SIZE
    )
    stage.tick()
    image = camera.get()
    blue, green, red = (pixels(image)[32, 48, channel].astype(float) for channel in range(3))
    metres = 1000.0 * (red + 256.0 * green + 65536.0 * blue) / (2**24 - 1)
    place = image.transform.location
    road = stage.map.get_waypoint(place).transform.location
    assert metres == pytest.approx(place.z - road.z, abs=0.15)


def test_semantics_ahead_of_a_car_on_a_road_are_road(stage) -> None:
    camera = stage.sensor("sensor.camera.semantic_segmentation", stage.car(), HOOD, **SIZE)
    stage.tick()
    image = camera.get()
    tags = pixels(image)[..., 2]
    assert (tags[40:56, 40:56] == 1).mean() > 0.5, "road below the horizon"
    assert set(np.unique(tags)) <= set(range(29))
    image.convert(carla.ColorConverter.CityScapesPalette)


def test_instances_of_two_cars_differ(stage) -> None:
    vehicle, place = stage.car(), stage.straight()
    forward = place.get_forward_vector()
    camera = stage.sensor("sensor.camera.instance_segmentation", vehicle, HOOD, **SIZE)
    found = []
    for distance in (12.0, 24.0):
        ahead = carla.Transform(
            place.location + carla.Location(forward.x * distance, forward.y * distance, 0.0), place.rotation
        )
        other = stage.spawn("vehicle.tesla.model3", ahead)
        stage.tick()
        picture = pixels(camera.get())
        cars = picture[picture[..., 2] == 14].astype(int)
        ids, counts = np.unique(cars[:, 1] + 256 * cars[:, 0], return_counts=True)
        found.append(int(ids[counts.argmax()]))
        other.destroy()
    assert found[0] != found[1]


def test_a_camera_that_nobody_hears_costs_nothing_and_wakes_up_when_asked(stage) -> None:
    vehicle = stage.car()
    silent = stage.spawn("sensor.camera.rgb", HOOD, vehicle, **SIZE)
    stage.tick(3)
    listener = stage.sensor("sensor.camera.rgb", vehicle, HOOD, **SIZE)
    tick = stage.tick()
    assert listener.get().frame == tick
    assert not silent.is_listening()


def test_a_stopped_sensor_falls_silent_and_can_start_again(stage) -> None:
    listener = stage.sensor("sensor.other.imu", stage.car())
    stage.tick()
    listener.get()
    listener.sensor.stop()
    stage.tick(3)
    again: list[int] = []
    listener.sensor.listen(lambda data: again.append(data.frame))
    tick = stage.tick()
    stage.tick(2)
    assert again[:1] == [tick]


@pytest.mark.parametrize(("interval", "every"), [(0.0, 1), (0.1, 2), (0.2, 4)])
def test_a_sensor_fires_at_its_own_interval(stage, interval: float, every: int) -> None:
    listener = stage.sensor("sensor.other.imu", stage.car(), sensor_tick=interval)
    ticks = [stage.tick() for _ in range(12)]
    seen = [listener.get().frame for _ in range(12 // every)]
    assert seen == ticks[::every]
    assert listener.silent(0.05)


@pytest.mark.parametrize("attributes", [{"image_size_x": 0}, {"image_size_y": 100000}, {"fov": 180.0}])
def test_an_impossible_camera_is_refused_in_words(stage, attributes: dict) -> None:
    vehicle = stage.car()
    with pytest.raises(RuntimeError, match="image_size_x"):
        stage.spawn("sensor.camera.rgb", HOOD, vehicle, **attributes)
    assert stage.tick() > 0


# ------------------------------------------------------------------------------ gnss, imu


def test_gnss_is_the_projection_that_agents_assume(stage) -> None:
    vehicle = stage.car()
    gnss = stage.sensor("sensor.other.gnss", vehicle)
    stage.tick()
    fix, place = gnss.get(), vehicle.get_location()
    assert fix.altitude == pytest.approx(place.z, abs=1e-3)
    assert frames.xy_from_gnss(fix.latitude, fix.longitude) == pytest.approx([place.x, -place.y], abs=0.01)


def test_latitude_falls_as_carlas_y_grows(stage) -> None:
    vehicle = stage.car()
    north = stage.sensor("sensor.other.gnss", vehicle)
    other = stage.car(stage.straight(number=5))
    south = stage.sensor("sensor.other.gnss", other)
    stage.tick()
    dy = other.get_location().y - vehicle.get_location().y
    assert (south.get().latitude - north.get().latitude) * dy < 0.0


def test_gnss_noise_is_seeded_and_has_the_size_asked_for(stage) -> None:
    vehicle = stage.car()
    noise = {"noise_lat_stddev": 5e-6, "noise_lon_stddev": 5e-6, "noise_lat_bias": 1e-5, "noise_seed": 7}
    first, second = (stage.sensor("sensor.other.gnss", vehicle, **noise) for _ in range(2))
    clean = stage.sensor("sensor.other.gnss", vehicle)
    errors = []
    for _ in range(60):
        stage.tick()
        a, b, truth = first.get(), second.get(), clean.get()
        assert (a.latitude, a.longitude) == (b.latitude, b.longitude)
        errors.append((a.latitude - truth.latitude, a.longitude - truth.longitude))
    mean, spread = np.mean(errors, axis=0), np.std(errors, axis=0)
    assert mean == pytest.approx([1e-5, 0.0], abs=3e-6)
    assert spread == pytest.approx([5e-6, 5e-6], rel=0.4)


def test_the_imu_of_a_standing_car_feels_gravity_and_knows_north(stage) -> None:
    vehicle = stage.car()
    imu = stage.sensor("sensor.other.imu", vehicle)
    stage.tick(5)
    said = [imu.get() for _ in range(5)][-1]
    assert said.accelerometer.z == pytest.approx(9.81, abs=0.05)
    assert abs(said.accelerometer.x) < 0.1
    assert said.gyroscope.z == pytest.approx(0.0, abs=1e-3)
    yaw_deg = vehicle.get_transform().rotation.yaw
    difference = frames.yaw_from_compass(said.compass) - frames.yaw_from_carla(yaw_deg)
    assert math.cos(difference) == pytest.approx(1.0, abs=1e-6)


def test_the_imu_of_a_turning_car_agrees_with_the_snapshot(stage) -> None:
    vehicle = stage.car()
    imu = stage.sensor("sensor.other.imu", vehicle)
    vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=0.5))
    for _ in range(30):
        stage.tick()
        said = imu.get()
    assert said.gyroscope.z > 0.05, "positive turns right"
    assert said.gyroscope.z == pytest.approx(math.radians(vehicle.get_angular_velocity().z), abs=1e-3)
    assert said.accelerometer.y > 0.3, "pressed to the right by a right turn's centripetal acceleration"


def test_the_imu_feels_the_throttle(stage) -> None:
    vehicle = stage.car()
    imu = stage.sensor("sensor.other.imu", vehicle)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    for _ in range(15):
        stage.tick()
        said = imu.get()
    acceleration = vehicle.get_acceleration().length()
    assert said.accelerometer.x == pytest.approx(acceleration, abs=0.6)
    assert acceleration > 1.0


# ------------------------------------------------------------------------------ contacts, lanes


def test_a_crash_is_reported_with_the_other_and_stops_the_car(stage) -> None:
    place = stage.straight()
    vehicle = stage.car(place)
    crash = stage.sensor("sensor.other.collision", vehicle)
    forward = place.get_forward_vector()
    wall = carla.Transform(place.location + carla.Location(forward.x * 15.0, forward.y * 15.0, 0.2), place.rotation)
    other = stage.spawn("vehicle.carlamotors.firetruck", wall)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    stage.tick(60)
    event = crash.get()
    assert event.actor.id == vehicle.id
    assert event.other_actor.id == other.id
    assert event.normal_impulse.length() > 100.0
    assert event.frame <= stage.world.get_snapshot().frame
    assert vehicle.get_velocity().length() < 5.0


def test_no_crash_no_event(stage) -> None:
    vehicle = stage.car()
    crash = stage.sensor("sensor.other.collision", vehicle)
    vehicle.apply_control(carla.VehicleControl(throttle=0.5))
    stage.tick(40)
    assert crash.silent()


def test_hitting_a_building_is_a_collision_with_static_scenery(stage) -> None:
    vehicle = stage.car()
    crash = stage.sensor("sensor.other.collision", vehicle)
    house = stage.world.get_environment_objects(carla.CityObjectLabel.Buildings)[0]
    center, extent = house.bounding_box.location, house.bounding_box.extent
    yaw = house.transform.rotation.yaw
    heading = carla.Rotation(yaw=yaw).get_forward_vector()
    back = extent.x + 4.0
    start = carla.Location(center.x - heading.x * back, center.y - heading.y * back, house.transform.location.z + 0.5)
    vehicle.set_transform(carla.Transform(start, carla.Rotation(yaw=yaw)))
    vehicle.set_target_velocity(carla.Vector3D(heading.x * 8.0, heading.y * 8.0, 0.0))
    stage.tick(20)
    assert crash.get().other_actor.type_id.startswith("static.")


def test_crossing_a_line_is_noticed_by_the_clients_lane_sensor(stage) -> None:
    vehicle = stage.car()
    lane = stage.sensor("sensor.other.lane_invasion", vehicle)
    vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=-0.2))
    stage.tick(50)
    event = lane.get()
    assert event.crossed_lane_markings
    assert event.frame <= stage.world.get_snapshot().frame
