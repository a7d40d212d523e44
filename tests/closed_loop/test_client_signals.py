"""The real client: traffic lights, signs and their landmarks."""

from __future__ import annotations

import carla
import pytest

STATES = carla.TrafficLightState


@pytest.fixture
def lights(stage) -> list[carla.TrafficLight]:
    stage.tick()
    return list(stage.world.get_actors().filter("traffic.traffic_light*"))


@pytest.fixture
def light(lights: list[carla.TrafficLight]) -> carla.TrafficLight:
    return lights[0]


def test_lights_take_turns(stage, light: carla.TrafficLight) -> None:
    group = light.get_group_traffic_lights()
    for member in group:
        member.set_green_time(1.0)
        member.set_yellow_time(0.5)
        member.set_red_time(0.5)
    seen = set()
    for _ in range(240):
        stage.tick()
        states = [member.get_state() for member in group]
        moving = {STATES.Green, STATES.Yellow} & set(states)
        assert len(moving) <= 1, "green for one while another is still yellow"
        seen |= {(member.id, state) for member, state in zip(group, states)}
    assert {state for _, state in seen} == {STATES.Red, STATES.Yellow, STATES.Green}
    assert {number for number, state in seen if state == STATES.Green} == {member.id for member in group}
    for member in group:
        member.set_green_time(10.0)
        member.set_yellow_time(3.0)
        member.set_red_time(2.0)


@pytest.mark.parametrize("state", [STATES.Red, STATES.Yellow, STATES.Green, STATES.Off])
def test_a_frozen_light_keeps_the_state_it_was_given(stage, light: carla.TrafficLight, state) -> None:
    stage.world.freeze_all_traffic_lights(True)
    light.set_state(state)
    stage.tick(100)
    assert light.get_state() == state
    assert light.is_frozen()
    stage.world.freeze_all_traffic_lights(False)
    stage.tick()
    assert not light.is_frozen()


def test_times_are_kept(stage, light: carla.TrafficLight) -> None:
    light.set_green_time(7.0)
    light.set_yellow_time(2.5)
    light.set_red_time(1.5)
    stage.tick()
    assert (light.get_green_time(), light.get_yellow_time(), light.get_red_time()) == (7.0, 2.5, 1.5)
    light.set_green_time(10.0)
    light.set_yellow_time(3.0)
    light.set_red_time(2.0)


def test_every_light_is_found_by_its_landmark_and_its_opendrive_id(stage, lights: list[carla.TrafficLight]) -> None:
    landmarks = stage.map.get_all_landmarks_of_type("1000001")
    assert {landmark.id for landmark in landmarks} == {light.get_opendrive_id() for light in lights}
    for landmark in landmarks:
        assert stage.world.get_traffic_light(landmark).get_opendrive_id() == landmark.id
        assert stage.world.get_traffic_light_from_opendrive_id(landmark.id) is not None


def test_every_light_governs_lanes_and_has_stop_waypoints_before_its_junction(
    lights: list[carla.TrafficLight],
) -> None:
    for light in lights:
        affected, stops = light.get_affected_lane_waypoints(), light.get_stop_waypoints()
        assert affected and stops, light.get_opendrive_id()
        assert not any(waypoint.is_junction for waypoint in stops)
        assert all(waypoint.next(12.0)[0].is_junction for waypoint in stops)


def test_the_trigger_volume_lies_on_the_approach(stage, lights: list[carla.TrafficLight]) -> None:
    for light in lights:
        center = light.get_transform().transform(light.trigger_volume.location)
        waypoint = stage.map.get_waypoint(center)
        assert (
            waypoint.transform.location.distance(carla.Location(center.x, center.y, waypoint.transform.location.z))
            < 6.0
        )
        assert light.trigger_volume.extent.x >= 1.5


def test_light_boxes_hang_above_the_road(light: carla.TrafficLight) -> None:
    boxes = light.get_light_boxes()
    assert len(boxes) >= 3
    assert all(box.location.z > light.get_location().z + 2.0 for box in boxes)


def test_the_lights_of_a_junction_are_one_group(stage, light: carla.TrafficLight) -> None:
    waypoint = light.get_stop_waypoints()[0].next(12.0)[0]
    junction = waypoint.get_junction()
    together = {found.id for found in stage.world.get_traffic_lights_in_junction(junction.id)}
    assert together == {member.id for member in light.get_group_traffic_lights()}


def test_a_car_in_the_trigger_volume_is_at_the_light(stage, light: carla.TrafficLight) -> None:
    stage.world.freeze_all_traffic_lights(True)
    light.set_state(STATES.Red)
    place = light.get_stop_waypoints()[0].transform
    place.location.z += 0.3
    vehicle = stage.car(place)
    assert vehicle.is_at_traffic_light()
    assert vehicle.get_traffic_light().id == light.id
    assert vehicle.get_traffic_light_state() == STATES.Red
    stage.world.freeze_all_traffic_lights(False)


def test_a_car_elsewhere_is_at_no_light(stage) -> None:
    vehicle = stage.car()
    assert not vehicle.is_at_traffic_light()
    assert vehicle.get_traffic_light_state() == STATES.Green


def test_stop_signs_and_speed_limits_are_actors(stage) -> None:
    stage.tick()
    stops = stage.world.get_actors().filter("traffic.stop")
    assert stops
    assert all(sign.trigger_volume.extent.x > 0.5 for sign in stops)
    assert stage.world.get_actors().filter("traffic.speed_limit.*")
