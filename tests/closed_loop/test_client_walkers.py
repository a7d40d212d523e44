"""The real client's walkers plan their own ways on the mesh that the server cuts."""

from __future__ import annotations

import random
from collections.abc import Callable

import carla
import pytest

COUNT = 50


class Crowd:
    """Fifty walkers and their minds, on a server of their own."""

    def __init__(self, world: carla.World, cross_factor: float) -> None:
        self.world, rng = world, random.Random(1)
        world.set_pedestrians_seed(1)
        world.set_pedestrians_cross_factor(cross_factor)
        library = world.get_blueprint_library()
        bodies, self.walkers = library.filter("walker.pedestrian.*"), []
        while len(self.walkers) < COUNT:
            place = carla.Transform(world.get_random_location_from_navigation())
            walker = world.try_spawn_actor(rng.choice(bodies), place)
            self.walkers += [walker] if walker is not None else []
        world.tick()
        mind = library.find("controller.ai.walker")
        self.minds = [world.spawn_actor(mind, carla.Transform(), walker) for walker in self.walkers]
        world.tick()
        self.born = [walker.get_location() for walker in self.walkers]

    def walk(self, ticks: int, speed: float = 1.4) -> list[list[carla.Location]]:
        """Send everybody somewhere; where each was, every second."""
        for mind in self.minds:
            mind.start()
            mind.go_to_location(self.world.get_random_location_from_navigation())
            mind.set_max_speed(speed)
        seen = []
        for tick in range(ticks):
            self.world.tick()
            if tick % 20 == 19:
                seen.append([walker.get_location() for walker in self.walkers])
        return seen


@pytest.fixture(scope="module")
def crowd(start_minicarla: Callable) -> Crowd:
    client = start_minicarla().client()
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    return Crowd(world, cross_factor=0.0)


@pytest.fixture(scope="module")
def seen(crowd: Crowd) -> list[list[carla.Location]]:
    """Twenty seconds of fifty walkers, one list a second."""
    return crowd.walk(400)


def test_random_places_lie_on_the_ground_where_walkers_may_be(crowd: Crowd) -> None:
    town = crowd.world.get_map()
    places = [crowd.world.get_random_location_from_navigation() for _ in range(50)]
    assert len({(place.x, place.y) for place in places}) == 50
    for place in places:
        beside = town.get_waypoint(place, lane_type=carla.LaneType.Any)
        assert beside.transform.location.distance(place) < 6.0


def test_fifty_walkers_walk(crowd: Crowd, seen: list) -> None:
    lengths = [sum(a[i].distance(b[i]) for a, b in zip(seen, seen[1:])) for i in range(COUNT)]
    assert sum(length > 12.0 for length in lengths) > 0.8 * COUNT


def test_their_velocity_is_that_of_their_way_and_not_above_what_was_set(crowd: Crowd, seen: list) -> None:
    speeds = [walker.get_velocity().length() for walker in crowd.walkers]
    assert max(speeds) < 1.6 and sum(speed > 1.0 for speed in speeds) > COUNT / 2


def test_they_keep_off_the_carriageway_unless_they_cross_it(crowd: Crowd, seen: list) -> None:
    """With a cross factor of 0 only crosswalks, which lie in junctions, lead over driving lanes."""
    town, on_road = crowd.world.get_map(), 0
    for places in seen:
        for place in places:
            lane = town.get_waypoint(place, project_to_road=False, lane_type=carla.LaneType.Driving)
            on_road += lane is not None and not lane.is_junction
    assert on_road <= 0.03 * COUNT * len(seen)


def test_they_stand_on_their_feet(crowd: Crowd, seen: list) -> None:
    for walker in crowd.walkers:
        box, place = walker.bounding_box, walker.get_location()
        ground = crowd.world.get_map().get_waypoint(place, lane_type=carla.LaneType.Any).transform.location.z
        assert abs(place.z - box.extent.z - ground) < 0.5


def test_their_physics_are_off_so_that_only_the_crowd_moves_them(crowd: Crowd, seen: list) -> None:
    """Told to jump, which would take them up 0.2 m in the first tick, they stay on the ground."""
    before = [walker.get_location().z for walker in crowd.walkers]
    for walker in crowd.walkers:
        walker.apply_control(carla.WalkerControl(carla.Vector3D(), 0.0, True))
    crowd.world.tick()
    assert all(abs(walker.get_location().z - z) < 0.05 for walker, z in zip(crowd.walkers, before))


def test_their_collisions_are_off_so_that_others_may_be_born_where_they_are(crowd: Crowd, seen: list) -> None:
    body = crowd.world.get_blueprint_library().find("walker.pedestrian.0001")
    others = [crowd.world.try_spawn_actor(body, walker.get_transform()) for walker in crowd.walkers[:10]]
    assert all(other is not None for other in others)
    assert all(crowd.world.try_spawn_actor(body, walker.get_transform()) is None for walker in crowd.walkers[:10])
    for other in others:
        other.destroy()


def test_a_new_speed_is_taken(crowd: Crowd, seen: list) -> None:
    for mind in crowd.minds:
        mind.go_to_location(crowd.world.get_random_location_from_navigation())
        mind.set_max_speed(2.5)
    for _ in range(60):
        crowd.world.tick()
    speeds = [walker.get_velocity().length() for walker in crowd.walkers]
    assert sum(speed > 2.0 for speed in speeds) > COUNT / 2


def test_who_is_stopped_stands_and_its_speed_is_zero(crowd: Crowd, seen: list) -> None:
    """The last test of this crowd."""
    for mind in crowd.minds:
        mind.stop()
    crowd.world.tick()
    before = [walker.get_location() for walker in crowd.walkers]
    for _ in range(5):
        crowd.world.tick()
    assert all(walker.get_location().distance(place) < 1e-3 for walker, place in zip(crowd.walkers, before))
    assert all(walker.get_velocity().length() < 1e-3 for walker in crowd.walkers)


def test_a_file_that_was_not_named_is_not_served(server) -> None:
    client = server.client()
    with pytest.raises(RuntimeError, match="is not served"):
        client.request_file("../../etc/passwd")
    assert client.get_required_files("Nav", False)[0].startswith("minicarla/")
    assert client.get_required_files("", False) == []
