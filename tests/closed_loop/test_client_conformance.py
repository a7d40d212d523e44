"""Small questions that scripts ask CARLA, each with the answer that CARLA would give. One row, one check."""

from __future__ import annotations

import math
from collections.abc import Callable

import carla
import pytest

Check = Callable[[object, carla.Client], None]
MKZ = "vehicle.lincoln.mkz_2020"


def library_has(kind: str, at_least: int) -> Check:
    def check(stage, client) -> None:
        assert len(stage.library.filter(kind)) >= at_least

    return check


def attribute_is(type_id: str, name: str, value: object) -> Check:
    """A blueprint's attribute as scripts read it."""

    def check(stage, client) -> None:
        attribute = stage.library.find(type_id).get_attribute(name)
        read = {bool: attribute.as_bool, int: attribute.as_int, float: attribute.as_float, str: attribute.as_str}
        assert read[type(value)]() == pytest.approx(value) if type(value) is float else read[type(value)]() == value

    return check


def weather_field(name: str, value: float) -> Check:
    def check(stage, client) -> None:
        weather = stage.world.get_weather()
        setattr(weather, name, value)
        stage.world.set_weather(weather)
        stage.tick()
        assert getattr(stage.world.get_weather(), name) == pytest.approx(value)

    return check


def preset(name: str) -> Check:
    def check(stage, client) -> None:
        wanted = getattr(carla.WeatherParameters, name)
        stage.world.set_weather(wanted)
        stage.tick()
        assert stage.world.get_weather() == wanted

    return check


def setting(name: str, value: object) -> Check:
    def check(stage, client) -> None:
        settings = stage.world.get_settings()
        before = getattr(settings, name)
        setattr(settings, name, value)
        stage.world.apply_settings(settings)
        try:
            assert getattr(stage.world.get_settings(), name) == value
        finally:
            setattr(settings, name, before)
            stage.world.apply_settings(settings)

    return check


def light_bit(name: str) -> Check:
    def check(stage, client) -> None:
        car, state = stage.car(), getattr(carla.VehicleLightState, name)
        car.set_light_state(carla.VehicleLightState(state))
        stage.tick()
        assert int(car.get_light_state()) == int(state)

    return check


def a_bare_name_loads_a_map(stage, client) -> None:
    assert stage.map.name.rsplit("/", 1)[-1] in {name.rsplit("/", 1)[-1] for name in client.get_available_maps()}


def the_map_text_is_opendrive(stage, client) -> None:
    assert stage.map.to_opendrive().lstrip().startswith("<?xml")


def spawn_points_face_along_their_lane(stage, client) -> None:
    for point in stage.map.get_spawn_points()[::10]:
        lane = stage.map.get_waypoint(point.location).transform.rotation.yaw
        assert math.cos(math.radians(lane - point.rotation.yaw)) > 0.99


def the_topology_links_road_ends(stage, client) -> None:
    pairs = stage.map.get_topology()
    assert len(pairs) > 50 and all(a.transform.location.distance(b.transform.location) > 0.0 for a, b in pairs)


def waypoints_lead_on(stage, client) -> None:
    waypoint = stage.map.get_waypoint(stage.straight().location)
    assert waypoint.next(5.0)[0].transform.location.distance(waypoint.transform.location) == pytest.approx(5.0, abs=0.2)
    assert waypoint.previous(5.0)


def lights_have_landmarks(stage, client) -> None:
    lights = {landmark.id for landmark in stage.map.get_all_landmarks_of_type("1000001")}
    actors = stage.world.get_actors().filter("traffic.traffic_light*")
    assert {light.get_opendrive_id() for light in actors} == lights


def a_landmark_finds_its_light(stage, client) -> None:
    landmark = stage.map.get_all_landmarks_of_type("1000001")[0]
    assert stage.world.get_traffic_light(landmark).get_opendrive_id() == landmark.id


def a_light_knows_its_group_and_pole(stage, client) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    assert light.id in {other.id for other in light.get_group_traffic_lights()} and light.get_pole_index() >= 0


def a_light_has_stop_waypoints_on_driving_lanes(stage, client) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    found = light.get_stop_waypoints()
    assert found and all(waypoint.lane_type == carla.LaneType.Driving for waypoint in found)


def lights_of_a_junction_are_found(stage, client) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    junction = light.get_affected_lane_waypoints()[0].next(15.0)[0].get_junction()
    assert light.id in {other.id for other in stage.world.get_traffic_lights_in_junction(junction.id)}


def crosswalks_are_closed_outlines(stage, client) -> None:
    corners = stage.map.get_crosswalks()
    assert corners and len(corners) % 5 == 0 and corners[0].distance(corners[4]) < 1e-3


def a_speed_limit_is_told(stage, client) -> None:
    assert stage.car().get_speed_limit() in (30.0, 40.0, 50.0, 60.0, 90.0)


def a_cars_box_is_around_its_middle(stage, client) -> None:
    box = stage.car().bounding_box
    assert box.location.z == pytest.approx(box.extent.z, abs=0.05) and 2.0 < box.extent.x < 3.0


def a_box_contains_the_middle(stage, client) -> None:
    car = stage.car()
    pose = car.get_transform()
    assert car.bounding_box.contains(pose.transform(carla.Location(z=0.5)), pose)
    assert not car.bounding_box.contains(pose.transform(carla.Location(x=9.0)), pose)


def acceleration_points_forward(stage, client) -> None:
    car = stage.car()
    car.apply_control(carla.VehicleControl(throttle=1.0))
    stage.tick(10)
    forward, push = car.get_transform().get_forward_vector(), car.get_acceleration()
    assert forward.x * push.x + forward.y * push.y > 2.0


def a_hand_brake_stops(stage, client) -> None:
    car = stage.car()
    car.set_target_velocity(carla.Vector3D(*(6.0 * c for c in _forward(car))))
    car.apply_control(carla.VehicleControl(hand_brake=True))
    stage.tick(60)
    assert car.get_velocity().length() < 0.1


def an_impulse_pushes(stage, client) -> None:
    car = stage.car()
    mass = car.get_physics_control().mass
    car.add_impulse(carla.Vector3D(*(5.0 * mass * c for c in _forward(car))))
    stage.tick(2)
    assert car.get_velocity().length() == pytest.approx(5.0, abs=0.4)


def physics_has_gears_and_curves(stage, client) -> None:
    physics = stage.car().get_physics_control()
    assert physics.forward_gears and physics.torque_curve and physics.steering_curve and physics.max_rpm > 1000


def the_snapshot_lists_everybody(stage, client) -> None:
    car = stage.car()
    snapshot = stage.world.get_snapshot()
    assert snapshot.has_actor(car.id) and snapshot.find(car.id).get_transform() == car.get_transform()
    assert len(snapshot) == len(stage.world.get_actors())


def timestamps_agree(stage, client) -> None:
    stamp = stage.world.get_snapshot().timestamp
    frame = stage.tick()
    assert stage.world.get_snapshot().timestamp.frame == frame == stamp.frame + 1


def a_callback_may_be_removed(stage, client) -> None:
    seen: list[int] = []
    number = stage.world.on_tick(lambda snapshot: seen.append(snapshot.frame))
    stage.tick(2)
    stage.world.remove_on_tick(number)
    count = len(seen)
    stage.tick(3)
    assert count >= 1 and len(seen) <= count + 1


def try_spawn_gives_none_where_there_is_no_room(stage, client) -> None:
    car = stage.car()
    assert stage.world.try_spawn_actor(stage.blueprint(MKZ), car.get_transform()) is None


def actors_are_found_by_id_and_filter(stage, client) -> None:
    car = stage.car()
    assert stage.world.get_actor(car.id).type_id == MKZ
    assert car.id in {actor.id for actor in stage.world.get_actors().filter("vehicle.lincoln.*")}
    assert [actor.id for actor in stage.world.get_actors([car.id])] == [car.id]


def an_unknown_id_is_nobody(stage, client) -> None:
    assert stage.world.get_actor(10**8) is None


def attributes_come_back(stage, client) -> None:
    car = stage.car(role_name="someone", color="10,20,30")
    assert car.attributes["role_name"] == "someone" and car.attributes["color"] == "10,20,30"


def semantic_tags_are_those_of_the_release(stage, client) -> None:
    assert stage.car().semantic_tags == [14]


def a_prop_stands(stage, client) -> None:
    place = stage.straight()
    prop = stage.spawn("static.prop.trafficcone01", place)
    stage.tick(2)
    assert prop.get_location().distance(place.location) < 1.0


def a_sensor_without_a_parent_stands_free(stage, client) -> None:
    camera = stage.spawn("sensor.camera.rgb", carla.Transform(carla.Location(z=20.0)), image_size_x=32, image_size_y=32)
    stage.tick()
    assert camera.parent is None and camera.get_location().z == pytest.approx(20.0)


def a_listening_sensor_says_so(stage, client) -> None:
    sensor = stage.spawn("sensor.other.gnss", carla.Transform(), stage.car())
    assert not sensor.is_listening()
    sensor.listen(lambda data: None)
    assert sensor.is_listening()
    sensor.stop()
    assert not sensor.is_listening()


def the_gravity_of_the_imu_is_told(stage, client) -> None:
    before = stage.world.get_imui_sensor_gravity()
    assert before == pytest.approx(9.81, abs=0.01)


def ground_is_found_below(stage, client) -> None:
    place = stage.straight().location
    hit = stage.world.ground_projection(carla.Location(place.x, place.y, place.z + 5.0), 20.0)
    assert abs(hit.location.z - stage.map.get_waypoint(place).transform.location.z) < 0.1
    assert hit.label == carla.CityObjectLabel.Roads


def a_ray_meets_the_road(stage, client) -> None:
    place = stage.straight().location
    up, down = carla.Location(place.x, place.y, place.z + 5.0), carla.Location(place.x, place.y, place.z - 5.0)
    assert len(stage.world.cast_ray(up, down)) == 1


def buildings_have_boxes(stage, client) -> None:
    boxes = stage.world.get_level_bbs(carla.CityObjectLabel.Buildings)
    assert len(boxes) > 10 and all(box.extent.z > 1.0 for box in boxes)


def objects_have_names(stage, client) -> None:
    names = stage.world.get_names_of_all_objects()
    assert len(names) == len(set(names)) > 10


def a_batch_without_waiting_is_done_at_the_tick(stage, client) -> None:
    car = stage.car()
    client.apply_batch([carla.command.ApplyVehicleControl(car.id, carla.VehicleControl(throttle=1.0))])
    stage.tick(20)
    assert car.get_velocity().length() > 1.0


def doors_do_no_harm(stage, client) -> None:
    car = stage.car()
    car.open_door(carla.VehicleDoor.All)
    car.close_door(carla.VehicleDoor.All)
    assert stage.tick() > 0


def wheels_steer(stage, client) -> None:
    car = stage.car()
    car.apply_control(carla.VehicleControl(steer=0.5))
    stage.tick(10)
    assert car.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel) > 5.0
    assert car.get_wheel_steer_angle(carla.VehicleWheelLocation.BL_Wheel) == 0.0


def bones_are_refused_in_words(stage, client) -> None:
    walker = stage.spawn("walker.pedestrian.0001", carla.Transform(stage.straight().location + carla.Location(z=1.0)))
    stage.tick()
    with pytest.raises(RuntimeError, match="not in minicarla"):
        walker.get_bones()


def a_walker_stops_when_told(stage, client) -> None:
    walker = stage.spawn("walker.pedestrian.0001", carla.Transform(stage.straight().location + carla.Location(z=1.0)))
    walker.apply_control(carla.WalkerControl(carla.Vector3D(1.0, 0.0, 0.0), 2.0))
    stage.tick(20)
    assert walker.get_velocity().length() == pytest.approx(2.0, abs=0.1)
    assert walker.get_control().speed == pytest.approx(2.0)
    walker.apply_control(carla.WalkerControl())
    stage.tick(5)
    assert walker.get_velocity().length() < 0.1


def frozen_lights_stay(stage, client) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    stage.world.freeze_all_traffic_lights(True)
    try:
        light.set_state(carla.TrafficLightState.Green)
        stage.tick(600)
        assert light.get_state() == carla.TrafficLightState.Green and light.is_frozen()
    finally:
        stage.world.freeze_all_traffic_lights(False)


def light_times_are_kept(stage, client) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    before = light.get_green_time()
    light.set_green_time(7.0)
    stage.tick()
    assert light.get_green_time() == pytest.approx(7.0)
    light.set_green_time(before)


CHECKS: dict[str, Check] = {
    "at least 20 vehicles": library_has("vehicle.*", 20),
    "at least 2 motorbikes": library_has("vehicle.kawasaki.*", 1),
    "at least 10 walkers": library_has("walker.pedestrian.*", 10),
    "at least 10 sensors": library_has("sensor.*", 10),
    "at least 5 props": library_has("static.prop.*", 5),
    "the walkers' mind": library_has("controller.ai.walker", 1),
    "a car has four wheels": attribute_is(MKZ, "number_of_wheels", 4),
    "a motorbike has two": attribute_is("vehicle.kawasaki.ninja", "number_of_wheels", 2),
    "a car is a car": attribute_is(MKZ, "base_type", "car"),
    "a bicycle is a bicycle": attribute_is("vehicle.diamondback.century", "base_type", "bicycle"),
    "its generation": attribute_is(MKZ, "generation", 2),
    "lights or none": attribute_is(MKZ, "has_lights", True),
    "role of a vehicle": attribute_is(MKZ, "role_name", "autopilot"),
    "sticky control": attribute_is(MKZ, "sticky_control", True),
    "role of a walker": attribute_is("walker.pedestrian.0001", "role_name", "pedestrian"),
    "width of a picture": attribute_is("sensor.camera.rgb", "image_size_x", 800),
    "field of view": attribute_is("sensor.camera.rgb", "fov", 90.0),
    "gamma": attribute_is("sensor.camera.rgb", "gamma", 2.2),
    "channels of a lidar": attribute_is("sensor.lidar.ray_cast", "channels", 32),
    "points of a radar": attribute_is("sensor.other.radar", "points_per_second", 1500),
    "cloudiness": weather_field("cloudiness", 33.0),
    "precipitation": weather_field("precipitation", 44.0),
    "deposits": weather_field("precipitation_deposits", 55.0),
    "wind": weather_field("wind_intensity", 12.0),
    "sun azimuth": weather_field("sun_azimuth_angle", 120.0),
    "sun altitude": weather_field("sun_altitude_angle", -10.0),
    "fog density": weather_field("fog_density", 20.0),
    "fog distance": weather_field("fog_distance", 5.0),
    "wetness": weather_field("wetness", 80.0),
    "dust storm": weather_field("dust_storm", 3.0),
    **{f"preset {name}": preset(name) for name in ("ClearNoon", "HardRainSunset", "WetCloudyNight", "SoftRainNoon")},
    "no rendering": setting("no_rendering_mode", True),
    "substeps": setting("max_substeps", 5),
    "culling distance": setting("max_culling_distance", 50.0),
    "deterministic ragdolls": setting("deterministic_ragdolls", False),
    **{f"light {name}": light_bit(name) for name in ("Position", "LowBeam", "Brake", "RightBlinker", "Reverse", "Fog")},
    **{
        check.__name__.replace("_", " "): check
        for check in (
            a_bare_name_loads_a_map,
            the_map_text_is_opendrive,
            spawn_points_face_along_their_lane,
            the_topology_links_road_ends,
            waypoints_lead_on,
            lights_have_landmarks,
            a_landmark_finds_its_light,
            a_light_knows_its_group_and_pole,
            a_light_has_stop_waypoints_on_driving_lanes,
            lights_of_a_junction_are_found,
            crosswalks_are_closed_outlines,
            a_speed_limit_is_told,
            a_cars_box_is_around_its_middle,
            a_box_contains_the_middle,
            acceleration_points_forward,
            a_hand_brake_stops,
            an_impulse_pushes,
            physics_has_gears_and_curves,
            the_snapshot_lists_everybody,
            timestamps_agree,
            a_callback_may_be_removed,
            try_spawn_gives_none_where_there_is_no_room,
            actors_are_found_by_id_and_filter,
            an_unknown_id_is_nobody,
            attributes_come_back,
            semantic_tags_are_those_of_the_release,
            a_prop_stands,
            a_sensor_without_a_parent_stands_free,
            a_listening_sensor_says_so,
            the_gravity_of_the_imu_is_told,
            ground_is_found_below,
            a_ray_meets_the_road,
            buildings_have_boxes,
            objects_have_names,
            a_batch_without_waiting_is_done_at_the_tick,
            doors_do_no_harm,
            wheels_steer,
            bones_are_refused_in_words,
            a_walker_stops_when_told,
            frozen_lights_stay,
            light_times_are_kept,
        )
    },
}


def _forward(actor: carla.Actor) -> tuple[float, float, float]:
    vector = actor.get_transform().get_forward_vector()
    return vector.x, vector.y, vector.z


@pytest.mark.parametrize("name", CHECKS)
def test_the_answer_is_that_of_carla(stage, client: carla.Client, name: str) -> None:
    CHECKS[name](stage, client)
