"""The real client records, replays and asks about recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import carla
import pytest

TICKS = 60


class Studio:
    """A server with a folder for recordings, and one recording in it: a hero that drives, a car that stands."""

    def __init__(self, start: Callable, folder: Path) -> None:
        self.folder = folder
        self.client = start("--recordings", str(folder)).client()
        self.world = self.client.get_world()
        settings = self.world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
        self.world.apply_settings(settings)
        library, points = self.world.get_blueprint_library(), self.world.get_map().get_spawn_points()
        hero = library.find("vehicle.lincoln.mkz_2020")
        hero.set_attribute("role_name", "hero")
        cars = [
            self.world.spawn_actor(hero, points[0]),
            self.world.spawn_actor(library.find("vehicle.audi.tt"), points[40]),
        ]
        self.hero_id = cars[0].id
        self.answer = self.client.start_recorder("drive.log")
        self.way = []
        for _ in range(TICKS):
            cars[0].apply_control(carla.VehicleControl(throttle=0.5, steer=0.02))
            self.world.tick()
            self.way.append([car.get_transform() for car in cars])
        self.client.stop_recorder()
        self.world.tick()
        for car in cars:
            car.destroy()
        self.world.tick()

    def cars(self) -> list[carla.Actor]:
        return list(self.world.get_actors().filter("vehicle.*"))


@pytest.fixture(scope="module")
def studio(start_minicarla: Callable, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(start_minicarla, tmp_path_factory.mktemp("recordings"))


def test_recording_says_where_and_leaves_one_whole_file(studio: Studio) -> None:
    assert str(studio.folder) in studio.answer
    assert [path.name for path in studio.folder.iterdir()] == ["drive.log"]


def test_a_replay_drives_the_same_way(studio: Studio) -> None:
    assert "Replaying" in studio.client.replay_file("drive.log", 0.0, 0.0, 0)
    studio.world.tick()  # the recording's first moment is before its first tick
    for number in range(TICKS):
        studio.world.tick()
        found = {car.type_id: car.get_transform() for car in studio.cars()}
        for type_id, wanted in zip(("vehicle.lincoln.mkz_2020", "vehicle.audi.tt"), studio.way[number]):
            assert found[type_id].location.distance(wanted.location) < 1e-3
            assert abs(found[type_id].rotation.yaw - wanted.rotation.yaw) < 1e-2
    studio.client.stop_replayer(False)
    studio.world.tick()
    assert studio.cars() == []


def test_a_replay_at_double_speed_is_over_in_half_the_time(studio: Studio) -> None:
    studio.client.set_replayer_time_factor(2.0)
    studio.client.replay_file("drive.log", 0.0, 0.0, 0)
    for _ in range(TICKS // 2 + 1):
        studio.world.tick()
    (hero,) = (car for car in studio.cars() if car.attributes["role_name"] == "hero")
    assert hero.get_location().distance(studio.way[-1][0].location) < 1e-3
    studio.client.set_replayer_time_factor(1.0)
    studio.client.stop_replayer(False)
    studio.world.tick()


def test_the_hero_may_be_left_out(studio: Studio) -> None:
    studio.client.set_replayer_ignore_hero(True)
    studio.client.replay_file("drive.log", 1.0, 0.0, 0)
    studio.world.tick()
    assert [car.type_id for car in studio.cars()] == ["vehicle.audi.tt"]
    studio.client.set_replayer_ignore_hero(False)
    studio.client.stop_replayer(False)
    studio.world.tick()


def test_a_start_before_the_end_is_counted_from_the_end(studio: Studio) -> None:
    studio.client.replay_file("drive.log", -1.0, 0.0, 0)
    studio.world.tick()
    (hero,) = (car for car in studio.cars() if car.attributes["role_name"] == "hero")
    assert hero.get_location().distance(studio.way[TICKS - 21][0].location) < 1e-3
    studio.client.stop_replayer(False)
    studio.world.tick()


def test_the_file_tells_what_is_in_it(studio: Studio) -> None:
    told = studio.client.show_recorder_file_info("drive.log", False)
    assert "Map: Havenbrook" in told and "Frames: 61" in told and "Duration: 3.00 seconds" in told
    assert f"Create {studio.hero_id}: vehicle.lincoln.mkz_2020 (hero)" in told


def test_nobody_collided_and_one_stood_still(studio: Studio) -> None:
    assert "0 collisions" in studio.client.show_recorder_collisions("drive.log", "a", "a")
    told = studio.client.show_recorder_actors_blocked("drive.log", 2.0, 100.0)
    assert "vehicle.audi.tt" in told and "vehicle.lincoln" not in told


@pytest.mark.parametrize("name", ["../../etc/passwd", "/tmp/elsewhere.log", "none.log"])
def test_a_foreign_or_missing_file_is_an_error_with_words(studio: Studio, name: str) -> None:
    with pytest.raises(RuntimeError, match="recording"):
        studio.client.replay_file(name, 0.0, 0.0, 0)
    assert studio.world.tick() > 0
