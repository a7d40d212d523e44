"""Small questions about the map, its lights and its ground, each with the answer that CARLA would give."""

from __future__ import annotations

import math

import carla
import pytest


def test_the_map_is_one_of_those_that_can_be_loaded(stage, client: carla.Client) -> None:
    assert stage.map.name.rsplit("/", 1)[-1] in {name.rsplit("/", 1)[-1] for name in client.get_available_maps()}


def test_the_map_text_is_opendrive(stage) -> None:
    assert stage.map.to_opendrive().lstrip().startswith("<?xml")


def test_spawn_points_face_along_their_lane(stage) -> None:
    for point in stage.map.get_spawn_points()[::10]:
        lane = stage.map.get_waypoint(point.location).transform.rotation.yaw
        assert math.cos(math.radians(lane - point.rotation.yaw)) > 0.99


def test_the_topology_links_road_ends(stage) -> None:
    pairs = stage.map.get_topology()
    assert len(pairs) > 50 and all(a.transform.location.distance(b.transform.location) > 0.0 for a, b in pairs)


def test_waypoints_lead_on(stage) -> None:
    waypoint = stage.map.get_waypoint(stage.straight().location)
    assert waypoint.next(5.0)[0].transform.location.distance(waypoint.transform.location) == pytest.approx(5.0, abs=0.2)
    assert waypoint.previous(5.0)


def test_lights_have_landmarks(stage) -> None:
    lights = {landmark.id for landmark in stage.map.get_all_landmarks_of_type("1000001")}
    actors = stage.world.get_actors().filter("traffic.traffic_light*")
    assert {light.get_opendrive_id() for light in actors} == lights


def test_a_landmark_finds_its_light(stage) -> None:
    landmark = stage.map.get_all_landmarks_of_type("1000001")[0]
    assert stage.world.get_traffic_light(landmark).get_opendrive_id() == landmark.id


def test_a_light_knows_its_group_and_pole(stage) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    assert light.id in {other.id for other in light.get_group_traffic_lights()} and light.get_pole_index() >= 0


def test_a_light_has_stop_waypoints_on_driving_lanes(stage) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    found = light.get_stop_waypoints()
    assert found and all(waypoint.lane_type == carla.LaneType.Driving for waypoint in found)


def test_lights_of_a_junction_are_found(stage) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    junction = light.get_affected_lane_waypoints()[0].next(15.0)[0].get_junction()
    assert light.id in {other.id for other in stage.world.get_traffic_lights_in_junction(junction.id)}


def test_frozen_lights_stay(stage) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    stage.world.freeze_all_traffic_lights(True)
    try:
        light.set_state(carla.TrafficLightState.Green)
        stage.tick(600)
        assert light.get_state() == carla.TrafficLightState.Green and light.is_frozen()
    finally:
        stage.world.freeze_all_traffic_lights(False)


def test_light_times_are_kept(stage) -> None:
    light = stage.world.get_actors().filter("traffic.traffic_light*")[0]
    before = light.get_green_time()
    light.set_green_time(7.0)
    stage.tick()
    assert light.get_green_time() == pytest.approx(7.0)
    light.set_green_time(before)


def test_crosswalks_are_closed_outlines(stage) -> None:
    corners = stage.map.get_crosswalks()
    assert corners and len(corners) % 5 == 0 and corners[0].distance(corners[4]) < 1e-3


def test_ground_is_found_below(stage) -> None:
    place = stage.straight().location
    hit = stage.world.ground_projection(carla.Location(place.x, place.y, place.z + 5.0), 20.0)
    assert abs(hit.location.z - stage.map.get_waypoint(place).transform.location.z) < 0.1
    assert hit.label == carla.CityObjectLabel.Roads


def test_a_ray_meets_the_road(stage) -> None:
    place = stage.straight().location
    up, down = carla.Location(place.x, place.y, place.z + 5.0), carla.Location(place.x, place.y, place.z - 5.0)
    assert len(stage.world.cast_ray(up, down)) == 1


def test_buildings_have_boxes(stage) -> None:
    boxes = stage.world.get_level_bbs(carla.CityObjectLabel.Buildings)
    assert len(boxes) > 10 and all(box.extent.z > 1.0 for box in boxes)


def test_objects_have_names(stage) -> None:
    names = stage.world.get_names_of_all_objects()
    assert len(names) == len(set(names)) > 10
