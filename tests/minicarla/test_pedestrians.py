"""Walkers whom the server leads: they stay on the ground and on their ways, wait for cars, and repeat themselves."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from autovla_core.minicarla.simulation import Simulation, Traffic
from autovla_core.minicarla.world import saved
from autovla_core.minicarla.world.actor import Vehicle, Walker
from autovla_core.minicarla.world.navigation import Floor, Navigation
from autovla_core.minicarla.world.pedestrians import ROLE, Way, _around, _far_side, _is_clear
from autovla_core.minicarla.world.sidewalks import connect, sidewalks_of
from autovla_core.minicarla.world.town import load_town
from autovla_core.minicarla.world.world import World

TICK_S = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


def three_squares() -> Navigation:
    """A sidewalk, a crosswalk north of it and a sidewalk beyond, each 4 m by 4 m; a road beside; right-handed."""
    xy = np.array([(x, y) for y in (0.0, 4.0, 8.0, 12.0) for x in (0.0, 4.0)] + [(8.0, 4.0), (8.0, 8.0)])
    polygons = ((0, 1, 3, 2), (2, 3, 5, 4), (4, 5, 7, 6), (3, 8, 9, 5))
    return Navigation(xy, polygons, (Floor.SIDEWALK, Floor.CROSSWALK, Floor.SIDEWALK, Floor.ROAD))


def test_ways_lead_over_shared_edges_and_never_over_the_road() -> None:
    walks = connect(three_squares())
    assert walks.crossing.tolist() == [False, True, False] and walks.islands.tolist() == [0, 0, 0]
    assert walks.areas.tolist() == [16.0, 16.0, 16.0]
    assert [exit_.to for exit_ in walks.way(0, 2)] == [1, 2]
    assert walks.way(1, 1) == []
    out = walks.way(0, 2)[0]  # northwards: right is east, in CARLA's frame x 4, y -4
    assert out.right.tolist() == [4.0, -4.0] and out.left.tolist() == [0.0, -4.0]
    np.testing.assert_allclose(out.at(0.0), (3.75, -4.0))
    np.testing.assert_allclose(out.at(1.0), (0.25, -4.0))


def test_somebody_close_ahead_is_passed_on_the_right_and_nobody_else() -> None:
    east = np.array([1.0, 0.0])
    assert _around(east, np.zeros((0, 2))) == (1.0, 0.0)
    assert _around(east, np.array([(-0.8, 0.0), (0.0, 0.8)])) == (1.0, 0.0)
    x, y = _around(east, np.array([(0.8, 0.1)]))
    assert x > 0.5 and y > 0.5  # CARLA: y to the right


@pytest.mark.parametrize(("x", "speed", "clear"), [(-20.0, 10.0, False), (-20.0, 0.0, True), (20.0, 10.0, True)])
def test_one_waits_for_a_car_that_comes_but_not_for_one_that_stands_or_leaves(
    x: float, speed: float, clear: bool
) -> None:
    car = Vehicle(1, MKZ, forward_speed=speed)
    car.location[:], car.velocity[:] = (x, 3.0, 0.0), (speed, 0.0, 0.0)
    assert _is_clear(np.zeros(2), np.array([0.0, 7.0]), [car]) == clear


def test_the_far_side_is_looked_for_beyond_the_crosswalk() -> None:
    way = Way(1.0, np.array([(0.0, 0.0), (4.0, 0.0), (8.0, 0.0), (20.0, 0.0), (40.0, 0.0)]), at=1)
    assert _far_side(way).tolist() == [20.0, 0.0]


def populated(seed: int, vehicles: int = 100, walkers: int = 50) -> tuple[World, list[Walker]]:
    world = World(load_town("Havenbrook"), seed=seed)
    assert len(world.spawn_traffic(vehicles, seed)) == vehicles
    ids = world.spawn_walkers(walkers, seed)
    return world, [world.actors[actor_id] for actor_id in ids]


def track(world: World, walkers: list[Walker], ticks: int) -> np.ndarray:
    """(ticks, n, 6) places and rotations."""
    path = []
    for _ in range(ticks):
        world.step(TICK_S)
        path.append([(*walker.location, *walker.rotation) for walker in walkers])
    return np.array(path)


def test_fifty_walk_beside_a_hundred_cars_on_the_ground_and_the_same_way_each_time() -> None:
    world, walkers = populated(seed=4)
    assert len(walkers) == 50 and {walker.attributes["role_name"] for walker in walkers} == {ROLE}
    path = track(world, walkers, 300)
    soles = path[:, :, 2] - [walker.box_extent[2] for walker in walkers]
    ground = [[world.town.height(x, y) for x, y in row[:, :2]] for row in path[::50]]
    np.testing.assert_allclose(soles[::50], ground, atol=0.03)
    walks = sidewalks_of(world.town)
    floor = shapely.union_all([shapely.Polygon(corners) for corners in walks.corners])
    assert shapely.distance(floor, shapely.points(path[:, :, :2])).max() < 0.6
    steps = np.linalg.norm(np.diff(path[:, :, :2], axis=0), axis=2)
    assert steps.max() < 0.15 and np.mean([walker.walked_m > 8.0 for walker in walkers]) > 0.8  # 15 s
    again, same = populated(seed=4)
    assert track(again, same, 300).tobytes() == path.tobytes()
    cars = [[a.location.tobytes() for a in w.actors.values() if isinstance(a, Vehicle)] for w in (world, again)]
    assert cars[0] == cars[1]


def test_a_saved_crowd_goes_the_same_way_again() -> None:
    world = World(load_town("Pennyfield"), seed=2)
    ids = world.spawn_walkers(20, 2)
    track(world, [world.actors[i] for i in ids], 60)
    here = saved.save(world)
    first = track(world, [world.actors[i] for i in ids], 150)
    saved.restore(world, here)
    assert track(world, [world.actors[i] for i in ids], 150).tobytes() == first.tobytes()


def test_other_seeds_go_other_ways_and_a_town_without_sidewalks_has_nobody() -> None:
    town = load_town("Pennyfield")
    places = []
    for seed in (1, 2):
        world = World(town, seed=seed)
        places.append([world.actors[i].location.tolist() for i in world.spawn_walkers(5, seed)])
    assert places[0] != places[1] and len(places[0]) == 5
    motorway = World(load_town("Kestrelway"))
    assert motorway.spawn_walkers(5, 1) == []
    lost = motorway.spawn("walker.pedestrian.0002", {"role_name": ROLE}, (0.0, 0.0, 3.0), (0.0, 0.0, 0.0))
    track(motorway, [], 3)
    assert lost.walked_m == 0.0


def test_a_walker_of_the_role_that_a_client_spawns_is_led_too_and_others_are_not() -> None:
    world = World(load_town("Pennyfield"), seed=1)
    place = world.actors[world.spawn_walkers(1, 3)[0]].location
    led = world.spawn("walker.pedestrian.0002", {"role_name": ROLE}, place + (3.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    free = world.spawn("walker.pedestrian.0002", {}, place - (3.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    track(world, [], 60)
    assert led.walked_m > 2.0 and free.walked_m == 0.0


def test_the_server_puts_them_into_every_episode_if_it_is_told_to() -> None:
    def count(walkers: int) -> list[int]:
        simulation = Simulation("Pennyfield", 0, lambda town: None, lambda: 0.0, Traffic(0, 1, walkers))
        counts = [sum(isinstance(a, Walker) for a in simulation.world.actors.values())]
        simulation.load("", reset_settings=True)
        return [*counts, sum(isinstance(a, Walker) for a in simulation.world.actors.values())]

    assert count(6) == [6, 6] and count(0) == [0, 0]
