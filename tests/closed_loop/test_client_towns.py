"""The real client in every town: maps, lights, signs, landmarks, and CARLA's names for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import carla
import pytest

TOWNS = ("Pennyfield", "Ironmere", "Rowanfold", "Kestrelway", "Fellside")
SIGNALS = {"traffic.traffic_light": "1000001", "traffic.stop": "206", "traffic.yield": "205"}


@pytest.fixture(scope="module")
def roaming(start_minicarla: Callable) -> object:
    """A server that takes CARLA's names for towns."""
    return start_minicarla("--town", "Town02", "--town-aliases", "--traffic", "6", "--seed", "1")


@pytest.fixture(scope="module", params=TOWNS)
def town_world(roaming, request: pytest.FixtureRequest) -> carla.World:
    """Each town in turn, ticked by the tests."""
    client = roaming.client()
    client.set_timeout(120.0)  # loading takes two seconds of processor time; the machine may be busy
    world = client.load_world(request.param)
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    world.tick()
    return world


@pytest.fixture
def stage(town_world: carla.World, make_stage: Callable) -> Iterator:
    stage = make_stage(town_world)
    yield stage
    stage.clear()


def test_the_map_has_the_towns_name_and_no_lane_ends(stage) -> None:
    assert stage.map.name.split("/")[-1] in TOWNS
    for waypoint, _ in stage.map.get_topology():
        for _ in range(10):
            (waypoint, *_) = waypoint.next(8.0)  # raises when the lane ends


def test_every_spawn_point_takes_a_car(stage) -> None:
    points = stage.map.get_spawn_points()
    assert len(points) > 60
    for point in points[:: len(points) // 6]:
        waypoint = stage.map.get_waypoint(point.location)
        assert waypoint.lane_type == carla.LaneType.Driving
        assert waypoint.transform.location.distance(point.location) < 1.0
    free = [stage.world.try_spawn_actor(stage.blueprint("vehicle.lincoln.mkz_2020"), point) for point in points[::20]]
    cars = [car for car in free if car is not None]
    assert len(cars) > len(free) // 2
    stage.tick(20)
    for car in cars:
        ground = stage.map.get_waypoint(car.get_location()).transform.location.z
        assert car.get_location().z == pytest.approx(ground, abs=0.12)
        car.destroy()
    stage.tick()


def test_lights_know_their_lanes_their_lines_and_their_group(stage) -> None:
    for light in stage.world.get_actors().filter("traffic.traffic_light*"):
        stops = light.get_stop_waypoints()
        assert light.get_affected_lane_waypoints() and stops, light.get_opendrive_id()
        assert not any(waypoint.is_junction for waypoint in stops)
        junctions = {w.next(14.0)[0].get_junction().id for w in stops}
        (junction,) = junctions
        together = {found.id for found in stage.world.get_traffic_lights_in_junction(junction)}
        assert light.id in together == {member.id for member in light.get_group_traffic_lights()}


def test_signals_are_actors_and_landmarks_at_the_same_time(stage) -> None:
    for kind, number in SIGNALS.items():
        actors = stage.world.get_actors().filter(kind)
        marks = {mark.id for mark in stage.map.get_all_landmarks_of_type(number)}
        assert len(actors) == len(marks)
        for actor in actors:
            center = actor.get_transform().transform(actor.trigger_volume.location)
            waypoint = stage.map.get_waypoint(center)
            found = {mark.id for mark in waypoint.get_landmarks_of_type(12.0, number)}
            assert len(found) == 1 and found <= marks


def test_the_servers_cars_move(stage) -> None:
    cars = stage.world.get_actors().filter("vehicle.*")
    assert len(cars) == 6
    before = {car.id: car.get_location() for car in cars}
    stage.tick(100)
    moved = [car.get_location().distance(before[car.id]) for car in cars]
    assert sum(metres > 5.0 for metres in moved) >= 3


def test_a_name_of_carlas_loads_the_nearest_town_and_the_log_says_so(roaming) -> None:
    client = roaming.client()
    client.set_timeout(120.0)
    assert client.load_world("Town04").get_map().name == "Carla/Maps/Kestrelway"
    assert "Town02 was asked for and is NOT here; loading Pennyfield" in roaming.log()
    assert "Town04 was asked for and is NOT here; loading Kestrelway" in roaming.log()
    assert "Carla/Maps/Town04" not in client.get_available_maps()
    with pytest.raises(RuntimeError, match="Map 'Town16' not found"):
        client.load_world("Town16")
