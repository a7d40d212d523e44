"""The recorder: what was driven is driven again, damaged and foreign files are refused, questions get answers."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autovla_core.minicarla.handlers import recordings as calls
from autovla_core.minicarla.recorder import log_file, reports
from autovla_core.minicarla.recorder.frames import COLUMNS, Birth, Frame, pack
from autovla_core.minicarla.recorder.log_file import Reader, RecordingError, Writer
from autovla_core.minicarla.recorder.recordings import Recordings
from autovla_core.minicarla.recorder.replayer import ReplayOptions
from autovla_core.minicarla.world import acts
from autovla_core.minicarla.world.actor import LightColor, VehicleControl, WalkerControl
from autovla_core.minicarla.world.world import World
from tests.minicarla.drives import DT, MKZ, add

PRECISION_M = 1e-4  # single precision within a kilometre


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    return Recordings(tmp_path / "served")


def tick(recordings: Recordings, world: World, count: int = 1, watch: Callable[[], None] = lambda: None) -> None:
    for _ in range(count):
        recordings.advance_replay(world, DT)
        world.step(DT)
        recordings.record(world)
        watch()


def placed(world: World, type_start: str = "vehicle.") -> np.ndarray:
    """(n, 9) location, rotation and velocity of the actors of a kind, in order of their ids."""
    actors = [a for a in world.actors.values() if a.type_id.startswith(type_start)]
    return np.array([np.concatenate([a.location, a.rotation, a.velocity]) for a in actors])


def drive_and_record(recordings: Recordings, world: World, ticks: int = 60) -> tuple[list, list]:
    """Two cars and a walker; return what was where after every tick, and take everybody away."""
    actors = [add(world, -40.0, 0.0), add(world, 20.0, 0.0)]
    walker = world.spawn("walker.pedestrian.0001", {}, (-20.0, 20.0, 1.0), (0.0, 0.0, 0.0))
    walker.control = WalkerControl((0.0, 1.0, 0.0), 1.3)
    tick(recordings, world, 20)
    recordings.start(world, "drive")
    cars, walkers = [placed(world)], [placed(world, "walker.")]
    tick(recordings, world, ticks, lambda: (cars.append(placed(world)), walkers.append(placed(world, "walker."))))
    recordings.stop()
    for actor in [*actors, walker]:
        world.destroy(actor.id)
    return cars, walkers


def test_a_replay_equals_the_drive_to_the_recorded_precision(eight, recordings):
    world = World(eight)
    cars, walkers = drive_and_record(recordings, world)
    recordings.replay(world, "drive", ReplayOptions())
    again, walked = [], []
    tick(recordings, world, len(cars), lambda: (again.append(placed(world)), walked.append(placed(world, "walker."))))
    assert np.abs(np.array(again) - np.array(cars)).max() < PRECISION_M
    assert np.abs(np.array(walked)[2:] - np.array(walkers)[2:])[:, :, :6].max() < PRECISION_M
    assert np.array(walked)[5:, 0, 6:8] == pytest.approx(np.array(walkers)[5:, 0, 6:8], abs=0.01)


def test_at_its_end_the_actors_stay_and_drive_on_by_themselves(eight, recordings):
    world = World(eight)
    cars, _ = drive_and_record(recordings, world)
    recordings.replay(world, "drive", ReplayOptions())
    tick(recordings, world, len(cars) + 1)
    left = [a for a in world.actors.values() if a.type_id == MKZ]
    assert len(left) == 2 and all(a.simulate_physics for a in left)
    for actor in left:
        acts.apply_control(actor, VehicleControl(brake=1.0))
    tick(recordings, world, 100)
    assert all(abs(a.forward_speed) < 0.1 for a in left)


def test_a_stopped_replay_may_take_its_actors_with_it(eight, recordings):
    world = World(eight)
    drive_and_record(recordings, world)
    recordings.replay(world, "drive", ReplayOptions())
    tick(recordings, world, 5)
    assert len(placed(world)) == 2
    recordings.stop_replay(world, keep_actors=False)
    tick(recordings, world, 1)
    assert len(placed(world)) == 0


def test_the_time_factor_and_the_start_choose_the_moment(eight, recordings):
    """From 1 s on at double speed the third tick shows 1.2 s; half a tick further lies half way to the next place."""
    world = World(eight)
    cars, _ = drive_and_record(recordings, world)
    recordings.time_factor = 2.0
    recordings.replay(world, "drive", ReplayOptions(start_s=1.0))
    tick(recordings, world, 3)
    assert placed(world)[:, :3] == pytest.approx(cars[24][:, :3], abs=PRECISION_M)
    recordings.time_factor = 0.5
    tick(recordings, world, 1)
    assert placed(world)[:, :2] == pytest.approx((cars[24] + cars[25])[:, :2] / 2, abs=PRECISION_M)


def test_a_duration_ends_the_replay(eight, recordings):
    world = World(eight)
    drive_and_record(recordings, world)
    recordings.replay(world, "drive", ReplayOptions(duration_s=0.5))
    tick(recordings, world, 12)
    assert all(a.simulate_physics for a in world.actors.values() if a.type_id == MKZ)


def test_births_and_deaths_happen_again_and_the_hero_may_be_left_out(eight, recordings):
    world = World(eight)
    recordings.start(world, "lives.log")
    tick(recordings, world, 10)
    hero = add(world, -40.0, 0.0, role="hero")
    tick(recordings, world, 10)
    other = add(world, 30.0, 0.0, role="other")
    world.destroy(hero.id)
    tick(recordings, world, 10)
    recordings.stop()
    world.destroy(other.id)
    for ignore, expected in ((False, [0, 1, 1]), (True, [0, 0, 1])):
        recordings.ignore_hero, seen = ignore, []
        recordings.replay(world, "lives.log", ReplayOptions())
        for _ in range(3):
            tick(recordings, world, 8)
            seen.append(len(placed(world)))
        recordings.stop_replay(world, keep_actors=False)
        assert seen == expected


def test_the_lights_show_what_they_showed_and_run_on_afterwards(eight, recordings):
    world = World(eight)
    recordings.start(world, "lights")
    shown = [[light.state for light in world.lights()]]
    tick(recordings, world, 400, lambda: shown.append([light.state for light in world.lights()]))
    recordings.stop()
    assert len({tuple(states) for states in shown}) > 2
    for light in world.lights():
        light.state = LightColor.OFF
    recordings.replay(world, "lights", ReplayOptions())
    again: list = []
    tick(recordings, world, 401, lambda: again.append([light.state for light in world.lights()]))
    assert again == shown
    tick(recordings, world, 2)
    assert not any(light.frozen for light in world.lights())


def test_the_spectator_follows_who_was_asked_for(eight, recordings):
    world = World(eight)
    drive_and_record(recordings, world)
    with recordings.reader("drive") as reader:
        first = reports.frames.unpack(next(reader.chunks()))
    recordings.replay(world, "drive", ReplayOptions(follow=int(first.ids[0])))
    tick(recordings, world, 5)
    spectator, followed = world.actor(world.spectator_id), placed(world)[0]
    assert np.hypot(*(spectator.location[:2] - followed[:2])) == pytest.approx(8.0, abs=0.5)
    assert spectator.location[2] > 3.0


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a" * 300, "nul\x00", "sub/../../outside"])
def test_no_file_outside_of_the_served_folder_is_touched(eight, recordings, name):
    world = World(eight)
    for call in (lambda: recordings.start(world, name), lambda: recordings.reader(name)):
        with pytest.raises(RecordingError):
            call()
    assert not list(recordings.folder.parent.rglob("*.part"))


@pytest.mark.parametrize("name", ["link.log", "link"])
def test_a_link_out_of_the_folder_is_not_followed(eight, recordings, tmp_path, name):
    recordings.folder.mkdir()
    (tmp_path / "secret.log").write_text("secret")
    (recordings.folder / "link.log").symlink_to(tmp_path / "secret.log")
    for call in (lambda: recordings.reader(name), lambda: recordings.start(World(eight), name)):
        with pytest.raises(RecordingError, match="outside"):
            call()


def test_a_foreign_file_a_missing_one_and_another_town_are_named(eight, straight_road, recordings):
    world = World(eight)
    drive_and_record(recordings, world, 5)
    (recordings.folder / "carla.log").write_bytes(b"\x01\x00CARLA_RECORDER" + bytes(100))
    with pytest.raises(RecordingError, match="not a recording of minicarla"):
        recordings.reader("carla.log")
    with pytest.raises(RecordingError, match=r"no recording 'gone\.log'"):
        recordings.replay(world, "gone", ReplayOptions())
    with pytest.raises(RecordingError, match="was recorded in Eight; the world is Straight"):
        recordings.replay(World(straight_road), "drive", ReplayOptions())


def test_a_torn_recording_is_read_as_far_as_it_goes(eight, recordings):
    drive_and_record(recordings, World(eight), 30)
    path = recordings.folder / "drive.log"
    whole = path.read_bytes()
    counts = []
    for size in (len(whole), len(whole) - 7, len(whole) // 2):
        path.write_bytes(whole[:size])
        with Reader(path) as reader:
            counts.append(sum(1 for _ in reader.chunks()))
    assert counts[0] == 31 and counts[1] == 30 and 5 < counts[2] < 30


def test_random_damage_never_does_more_than_end_a_recording(eight, recordings):
    drive_and_record(recordings, World(eight), 10)
    path, rng = recordings.folder / "drive.log", np.random.default_rng(5)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(200):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=3)] = rng.integers(256, size=3)
        path.write_bytes(damaged.tobytes())
        try:
            with Reader(path) as reader:
                reports.file_info(reader, show_all=True)
        except RecordingError:
            continue


def test_a_recording_has_its_name_only_when_it_is_whole(eight, recordings):
    world = World(eight)
    path = recordings.start(world, "half")
    tick(recordings, world, 3)
    assert not path.exists() and path.with_name("half.log.part").exists()
    recordings.forget()
    assert path.exists() and not path.with_name("half.log.part").exists()


def test_a_recording_that_grows_too_long_ends(eight, recordings, monkeypatch, caplog):
    monkeypatch.setattr(log_file, "MOST_FILE_BYTES", 2000)
    world = World(eight)
    add(world, -40.0, 0.0)
    path = recordings.start(world, "long")
    tick(recordings, world, 100)
    assert path.exists() and path.stat().st_size < 3000 and "and ends" in caplog.text


@pytest.fixture
def full_disk(recordings: Recordings) -> str:
    """The name of a recording for which there is no room."""
    recordings.folder.mkdir()
    (recordings.folder / "full.log.part").symlink_to("/dev/full")
    return "full"


def test_a_full_disk_ends_the_recording_and_holds_up_no_tick(eight, recordings, full_disk, caplog):
    world = World(eight)
    add(world, -40.0, 0.0)
    recordings.start(world, full_disk)
    tick(recordings, world, 200)
    assert f"cannot go on recording to {recordings.folder / 'full.log'}: {os.strerror(errno.ENOSPC)}" in caplog.text
    path = recordings.start(world, "next")
    recordings.stop()
    assert path.exists() and not (recordings.folder / "full.log").exists()


def test_a_recording_that_cannot_be_finished_is_told_once_and_over(eight, recordings, full_disk):
    recordings.start(World(eight), full_disk)
    with pytest.raises(RecordingError, match="cannot finish"):
        recordings.stop()
    recordings.stop()


def test_a_full_disk_does_not_hold_up_another_world_or_the_end_of_the_server(eight, recordings, full_disk, caplog):
    recordings.start(World(eight), full_disk)
    recordings.forget()
    assert "cannot finish" in caplog.text


def test_the_questions_about_a_recording_are_answered(eight, recordings):
    """The hero drives 14 m against a standing car at 5 m/s; the standing one has not moved for two seconds before."""
    world = World(eight)
    standing, hero = add(world, -15.0, 0.0, role="other"), add(world, -40.0, 0.0, role="hero")
    tick(recordings, world, 20)
    recordings.start(world, "crash")
    tick(recordings, world, 40)
    hero.constant_velocity = 5.0
    tick(recordings, world, 100)
    recordings.stop()
    with recordings.reader("crash") as reader:
        info = reports.file_info(reader, show_all=False)
    assert "Map: Eight" in info and f"Create {hero.id}: {MKZ} (hero)" in info and "Duration: 7.00 seconds" in info
    with recordings.reader("crash") as reader:
        hits = reports.collisions(reader, "h", "v")
    assert f"{hero.id} {MKZ}" in hits and f"{standing.id} {MKZ}" in hits
    with recordings.reader("crash") as reader:
        assert "0 collisions" in reports.collisions(reader, "w", "a")
    with recordings.reader("crash") as reader:
        blocked = reports.blocked(reader, 3.0, 100.0)
    assert f"{standing.id} {MKZ}" in blocked and f"{hero.id} {MKZ}" not in blocked


def told(path: Path, *ticks: Frame) -> Reader:
    writer = Writer(path, {"town": "Eight"})
    for frame in ticks:
        writer.write(pack(frame))
    writer.close()
    return Reader(path)


def second(number: int, ids: list[int], births: tuple = (), deaths: tuple = (), contacts: tuple = ()) -> Frame:
    """Everybody stands at the origin."""
    states = np.zeros((len(ids), COLUMNS), np.float32)
    return Frame(number, float(number), births, deaths, np.array(ids, np.uint32), states, b"", contacts)


@pytest.mark.parametrize(
    ("kinds", "count"), [("aa", 2), ("vv", 1), ("hv", 1), ("vh", 1), ("va", 2), ("wa", 1), ("hw", 1), ("wv", 1)]
)
def test_a_crash_is_told_once_though_both_sides_record_it(tmp_path, kinds, count):
    """The hero, which is a vehicle too, touches another vehicle and a walker."""
    births = Birth(1, MKZ, {"role_name": "hero"}), Birth(2, MKZ, {}), Birth(3, "walker.pedestrian.0001", {})
    touching = tuple((a, b, "", 1.0) for a, b in ((1, 2), (2, 1), (3, 1), (1, 3)))
    with told(tmp_path / "crash.log", second(0, [1, 2, 3], births, contacts=touching)) as reader:
        assert f"\n{count} collisions" in reports.collisions(reader, *kinds)


def test_who_dies_is_blocked_no_longer(tmp_path):
    ticks = [second(0, [1, 2], (Birth(1, MKZ, {}), Birth(2, MKZ, {}))), second(1, [1, 2])]
    ticks += [second(2, [2], deaths=(1,)), *(second(number, [2]) for number in range(3, 10))]
    with told(tmp_path / "deaths.log", *ticks) as reader:
        assert "1 times blocked" in reports.blocked(reader, 3.0, 100.0)
    with Reader(tmp_path / "deaths.log") as reader:
        assert re.search(r" 1 \S+ +2\.00\n", reports.blocked(reader, 1.0, 100.0))


@pytest.mark.parametrize(("letter", "kind"), [("a", "a"), (ord("h"), "h")])
def test_a_kind_of_actor_travels_as_a_letter_or_a_number(letter: object, kind: str):
    assert calls._kind(letter) == kind
    with pytest.raises(ValueError, match="a kind of actor"):
        calls._kind("x")
