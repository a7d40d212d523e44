"""The real client: version, maps, settings, time, weather, reload."""

from __future__ import annotations

import time
from collections.abc import Callable

import carla
import numpy as np
import pytest


def test_the_server_speaks_the_version_of_the_client(client: carla.Client) -> None:
    assert client.get_server_version() == client.get_client_version() == "0.9.16"


def test_the_town_is_among_the_maps(client: carla.Client, world: carla.World) -> None:
    assert world.get_map().name in client.get_available_maps()
    assert world.get_map().name == "Carla/Maps/Havenbrook"


def test_every_spawn_point_lies_on_a_driving_lane(world: carla.World) -> None:
    world_map = world.get_map()
    points = world_map.get_spawn_points()
    assert len(points) > 50
    for point in points:
        waypoint = world_map.get_waypoint(point.location)
        assert waypoint.transform.location.distance(point.location) < 1.0
        assert waypoint.lane_type == carla.LaneType.Driving


def test_settings_are_kept(world: carla.World, synchronous: Callable[..., None]) -> None:
    synchronous(world, 0.1)
    settings = world.get_settings()
    assert settings.synchronous_mode
    assert settings.fixed_delta_seconds == pytest.approx(0.1)
    assert settings.max_substeps == 10
    synchronous(world)


def test_each_tick_is_one_frame(world: carla.World) -> None:
    first = world.get_snapshot().frame
    assert [world.tick() for _ in range(20)] == list(range(first + 1, first + 21))


def test_the_snapshot_after_a_tick_is_that_tick(world: carla.World) -> None:
    for _ in range(10):
        assert world.tick() == world.get_snapshot().frame


def test_delta_is_the_single_precision_image_of_the_setting(world: carla.World) -> None:
    world.tick()
    assert world.get_snapshot().timestamp.delta_seconds == float(np.float32(0.05))


def test_elapsed_time_adds_up(world: carla.World) -> None:
    start = world.get_snapshot().timestamp.elapsed_seconds
    for _ in range(40):
        world.tick()
    assert world.get_snapshot().timestamp.elapsed_seconds - start == pytest.approx(2.0)


def test_on_tick_callbacks_see_every_tick(world: carla.World) -> None:
    seen: list[int] = []
    number = world.on_tick(lambda snapshot: seen.append(snapshot.frame))
    ticked = [world.tick() for _ in range(10)]
    deadline = time.monotonic() + 5.0
    while len(seen) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    world.remove_on_tick(number)
    assert seen == ticked


def test_a_synchronous_world_stands_still_between_ticks(world: carla.World) -> None:
    before = world.tick()
    time.sleep(0.2)
    assert world.get_snapshot().frame == before
    assert world.tick() == before + 1


def test_an_asynchronous_world_ticks_by_itself_in_real_time(
    world: carla.World, synchronous: Callable[..., None]
) -> None:
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = False, None
    world.apply_settings(settings)
    first, began = world.wait_for_tick(), time.monotonic()
    while time.monotonic() - began < 1.0:
        last = world.wait_for_tick()
    elapsed = last.timestamp.elapsed_seconds - first.timestamp.elapsed_seconds
    assert elapsed == pytest.approx(time.monotonic() - began, abs=0.35)
    assert world.tick() > last.frame, "a tick call does no harm"
    synchronous(world)


def test_weather_is_what_was_set(world: carla.World) -> None:
    world.set_weather(carla.WeatherParameters.HardRainSunset)
    world.tick()
    got, wanted = world.get_weather(), carla.WeatherParameters.HardRainSunset
    assert got.precipitation == pytest.approx(wanted.precipitation)
    assert got.sun_altitude_angle == pytest.approx(wanted.sun_altitude_angle)
    assert got.wetness == pytest.approx(wanted.wetness)


def test_the_spectator_goes_where_it_is_put(world: carla.World) -> None:
    spectator = world.get_spectator()
    spectator.set_transform(carla.Transform(carla.Location(5.0, 6.0, 70.0), carla.Rotation(-45.0, 30.0, 0.0)))
    world.tick()
    transform = spectator.get_transform()
    assert spectator.type_id == "spectator"
    assert transform.location.distance(carla.Location(5.0, 6.0, 70.0)) < 1e-3
    assert transform.rotation.yaw == pytest.approx(30.0, abs=1e-3)


def test_a_second_client_sees_the_same_world(server, world: carla.World) -> None:
    other = server.client().get_world()
    assert other.id == world.id
    tick = world.tick()
    deadline = time.monotonic() + 5.0
    while other.get_snapshot().frame < tick and time.monotonic() < deadline:
        time.sleep(0.005)
    assert other.get_snapshot().frame == tick
    assert other.tick() == tick + 1, "either may tick"


def test_a_reload_starts_a_new_episode_and_keeps_the_settings_if_asked(
    client: carla.Client, stage, synchronous: Callable[..., None]
) -> None:
    stage.car()
    old = stage.world.id
    world = client.reload_world(False)
    assert world.id != old
    assert world.get_settings().synchronous_mode
    assert not world.get_actors().filter("vehicle.*")
    assert world.get_snapshot().timestamp.elapsed_seconds < 1.0
    assert len(world.get_map().get_spawn_points()) > 50


def test_a_reload_resets_the_settings_by_default(client: carla.Client, world: carla.World) -> None:
    again = client.load_world("Havenbrook")
    assert again.id != world.id
    assert not again.get_settings().synchronous_mode
    assert again.wait_for_tick().frame > 0


@pytest.mark.parametrize("name", ["Town01", "Carla/Maps/Nowhere"])
def test_an_unknown_map_is_an_error_that_names_it(client: carla.Client, world: carla.World, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"'{name}' not found"):
        client.load_world(name)
    assert world.tick() > 0, "the world goes on"


def test_an_opendrive_text_becomes_a_world(client: carla.Client, world: carla.World) -> None:
    xodr = world.get_map().to_opendrive()
    uploaded = client.generate_opendrive_world(xodr, carla.OpendriveGenerationParameters())
    assert uploaded.get_map().name == "Carla/Maps/OpenDriveMap"
    assert len(uploaded.get_map().get_spawn_points()) > 50
    client.load_world("Havenbrook")


def test_environment_objects_have_boxes_of_their_tag(world: carla.World) -> None:
    buildings = world.get_environment_objects(carla.CityObjectLabel.Buildings)
    assert len(buildings) > 10
    assert all(building.bounding_box.extent.z > 1.0 for building in buildings)
    assert len(world.get_level_bbs(carla.CityObjectLabel.Buildings)) == len(buildings)
    assert len(world.get_names_of_all_objects()) >= len(buildings)


def test_a_point_projects_onto_the_road_below(world: carla.World) -> None:
    point = world.get_map().get_spawn_points()[0].location
    found = world.ground_projection(carla.Location(point.x, point.y, point.z + 10.0), 100.0)
    road = world.get_map().get_waypoint(point).transform.location
    assert found.label == carla.CityObjectLabel.Roads
    assert found.location.z == pytest.approx(road.z, abs=0.05)


def test_debug_drawing_and_street_lights_do_no_harm(world: carla.World) -> None:
    world.debug.draw_point(carla.Location(1.0, 2.0, 3.0))
    world.debug.draw_string(carla.Location(), "hello", life_time=1.0)
    lights = world.get_lightmanager()
    assert not any(light.is_on for light in lights.get_all_lights()), "by day"
    for follows_the_sun in (False, True):
        lights.set_day_night_cycle(follows_the_sun)
        assert world.tick() > 0


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("unload_map_layer", lambda client, world: world.unload_map_layer(carla.MapLayer.Buildings)),
        ("load_map_layer", lambda client, world: world.load_map_layer(carla.MapLayer.Buildings)),
    ],
)
def test_what_minicarla_lacks_is_an_error_that_says_so(client: carla.Client, world: carla.World, name, call) -> None:
    with pytest.raises(RuntimeError, match=f"{name} is not in minicarla"):
        call(client, world)
    assert world.tick() > 0
