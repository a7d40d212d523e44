"""Bench2Drive's layout: read from a miniature written by hand, and from our own logs through the exporter."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autovla_core import geometry
from autovla_core.contracts import Actor, Command, LightState
from autovla_core.errors import LogError
from autovla_core.logs import route_map, truth
from autovla_core.logs.bench2drive_anno import Annotator
from autovla_core.logs.bench2drive_export import clip_name, export
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.route_map import LaneRecord
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.truth import TrackRecorder
from autovla_core.logs.writer import RouteWriter
from training.datasets import bench2drive, registry
from training.datasets.sample import DatasetError

FRAMES, SPEED, RATE = 80, 6.0, -0.2  # CARLA: turning left, yaw falls


def ego_at(frame: int) -> tuple[np.ndarray, float]:
    """CARLA's place (x, y) and yaw in degrees of the box centre on a circle of 30 m to the left."""
    angle = RATE * 0.1 * frame
    return np.array([30.0 * np.sin(-angle), -30.0 * (1 - np.cos(angle))]), float(np.degrees(angle))


def annotation(frame: int, **changes) -> dict:
    (x, y), yaw = ego_at(frame)
    box = {"class": "ego_vehicle", "location": [x, y, 0.0], "center": [x, y, 0.7], "rotation": [0.0, 0.0, yaw]}
    car = {"class": "vehicle", "location": [0.0, 0.0, 0.0], "center": [0, 0, 0], "rotation": [0, 0, 0]}
    commands = {"command_near": 4 if frame < 30 else 1, "command_far": 1}
    return {"x": 0.0, "y": 0.0, "speed": SPEED + 0.1 * frame, "bounding_boxes": [box, car], **commands, **changes}


def write_clip(root: Path, name: str = "Accident_Town03_Route101_Weather23", frames: int = FRAMES, **changes) -> Path:
    clip = root / name
    (clip / "anno").mkdir(parents=True)
    (clip / "camera" / "rgb_front").mkdir(parents=True)
    for frame in range(frames):
        text = json.dumps(annotation(frame, **changes))
        (clip / "anno" / f"{frame:05d}.json.gz").write_bytes(gzip.compress(text.encode()))
        Image.new("RGB", (32, 18), (frame, 0, 0)).save(clip / "camera" / "rgb_front" / f"{frame:05d}.jpg", quality=95)
    return clip


def opened(root: Path, out: Path, split: str = "all", **options: str) -> bench2drive.Bench2Drive:
    registry.prepare("bench2drive", root, out, split)
    return registry.open_split("bench2drive", root, out, split, options=options)


def test_a_sample_is_the_drive_in_our_frame(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    reader = opened(tmp_path / "data", tmp_path / "index")
    assert [reader[i].id[-5:] for i in range(3)] == ["00015", "00020", "00025"]
    sample = reader[0]
    # on a circle of 30 m to the left at 0.2 rad/s: after 0.5 s 0.1 rad, 30 sin 0.1 ahead and 30 (1 - cos 0.1) left
    angle = 0.1 * np.arange(1, 11)
    truth_poses = np.column_stack([30 * np.sin(angle), 30 * (1 - np.cos(angle)), angle])
    assert sample.poses == pytest.approx(truth_poses, abs=1e-9) and sample.mask.all()
    assert sample.history[-1] == pytest.approx([30 * np.sin(-0.1), 30 * (1 - np.cos(0.1)), -0.1], abs=1e-9)
    assert sample.speed == pytest.approx(7.5) and sample.acceleration == pytest.approx(1.0)
    assert [image.path.stem for image in sample.images["front"]] == ["00000", "00005", "00010", "00015"]
    assert sample.images["front"][3].read()[0, 0, 0] == pytest.approx(15, abs=3)


def test_the_command_is_that_of_the_chosen_waypoint(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    reader = opened(tmp_path / "data", tmp_path / "index")
    assert [reader[i].command for i in (2, 3)] == [Command.FOLLOW, Command.LEFT]
    assert opened(tmp_path / "data", tmp_path / "index", command="far")[0].command is Command.LEFT
    with pytest.raises(DatasetError, match="near, far"):
        opened(tmp_path / "data", tmp_path / "index", command="middle")


def test_the_future_ends_with_the_clip_and_is_never_in_the_input(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", frames=41)
    write_clip(tmp_path / "b", frames=80)
    short, long = opened(tmp_path / "a", tmp_path / "ia"), opened(tmp_path / "b", tmp_path / "ib")
    for i in range(len(short)):
        one, other = short[i], long[i]
        assert (one.speed, one.acceleration, one.command) == (other.speed, other.acceleration, other.command)
        assert np.array_equal(one.history, other.history)
        assert all(int(image.path.stem) <= int(one.id[-5:]) for image in one.images["front"])
        known = int((40 - int(one.id[-5:])) // 5)
        assert one.mask.tolist() == [True] * known + [False] * (10 - known)
        assert np.array_equal(one.poses[:known], other.poses[:known])


def test_a_speed_that_is_not_told_comes_from_the_drive(tmp_path: Path) -> None:
    write_clip(tmp_path / "data", speed=None)
    # 30 m at 0.2 rad/s are 6 m/s; the chord against the heading at its end is cos(0.01) of that
    assert opened(tmp_path / "data", tmp_path / "index")[0].speed == pytest.approx(6.0, abs=0.01)


def test_a_missing_frame_cuts_the_clip_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "data")
    broken = clip / "anno" / "00040.json.gz"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"00040.json.gz is no Bench2Drive annotation"):
        registry.prepare("bench2drive", tmp_path / "data", tmp_path / "index", "all")
    counts = registry.prepare("bench2drive", tmp_path / "data", tmp_path / "index", "all", skip_broken=True)
    assert counts["broken"] == 1
    with pytest.raises(DatasetError, match="--skip-broken"):
        registry.open_split("bench2drive", tmp_path / "data", tmp_path / "index", "all")
    reader = registry.open_split("bench2drive", tmp_path / "data", tmp_path / "index", "all", skip_broken=True)
    numbers = [int(reader[i].id[-5:]) for i in range(len(reader))]
    assert 35 in numbers and not any(40 <= n < 56 for n in numbers) and max(numbers) > 56
    assert reader[numbers.index(35)].mask.tolist() == [False] * 10


def test_clips_of_one_name_in_two_roots_share_an_index_folder_but_no_index(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", frames=20)
    write_clip(tmp_path / "b", frames=20, speed=3.0)
    assert opened(tmp_path / "a", tmp_path / "index")[0].speed == pytest.approx(7.5)
    with pytest.raises(DatasetError, match="is not prepared"):
        registry.open_split("bench2drive", tmp_path / "b", tmp_path / "index", "all")
    assert opened(tmp_path / "b", tmp_path / "index")[0].speed == 3.0


def test_a_clip_that_got_more_annotations_is_read_again(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "data", frames=21)
    last = clip / "anno" / "00020.json.gz"
    whole = last.read_bytes()
    last.unlink()
    assert len(opened(tmp_path / "data", tmp_path / "index")) == 1
    last.write_bytes(whole)
    assert len(opened(tmp_path / "data", tmp_path / "index")) == 2


def test_a_mended_annotation_is_read_again(tmp_path: Path) -> None:
    broken = write_clip(tmp_path / "data") / "anno" / "00040.json.gz"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    assert registry.prepare("bench2drive", tmp_path / "data", tmp_path / "index", "all", skip_broken=True)["broken"]
    broken.write_bytes(whole)
    assert opened(tmp_path / "data", tmp_path / "index").broken == []


def test_what_a_killed_export_left_is_no_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "data", "whole", frames=20)
    write_clip(tmp_path / "data", ".whole.partial", frames=3)
    assert [clip.name for clip in bench2drive.clips_of(tmp_path / "data", "all")] == ["whole"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounding_boxes": []}, "with an ego"),
        ({"speed": 300.0}, "expected m/s"),
        ({"command_near": 77}, "77"),
    ],
)
def test_annotations_that_cannot_be_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    write_clip(tmp_path / "data", frames=1, **changes)
    with pytest.raises(DatasetError, match=message):
        registry.prepare("bench2drive", tmp_path / "data", tmp_path / "index", "all")


def test_splits_come_from_the_split_file_and_val_is_guarded(tmp_path: Path) -> None:
    names = [f"Scenario_Town01_Route{i}_Weather0" for i in range(3)]
    for name in names:
        write_clip(tmp_path / "data", name, frames=20)
    (tmp_path / "data" / "splits.json").write_text(json.dumps({"train": names[:2], "val": [f"v1/{names[2]}"]}))
    assert {s.scene for s in opened(tmp_path / "data", tmp_path / "i", "train")} == set(names[:2])
    assert {s.scene for s in opened(tmp_path / "data", tmp_path / "i", "val")} == {names[2]}
    with pytest.raises(DatasetError, match="no split 'test'"):
        bench2drive.clips_of(tmp_path / "data", "test")
    for split in ("val", "all"):  # all holds val
        with pytest.raises(DatasetError, match="i-know"):
            registry.refuse_held_out("bench2drive", split, False)
    registry.refuse_held_out("bench2drive", "train", False)


def test_a_clip_without_an_index_and_an_empty_root_say_what_to_do(tmp_path: Path) -> None:
    write_clip(tmp_path / "data", frames=20)
    with pytest.raises(DatasetError, match="training.prepare bench2drive"):
        registry.open_split("bench2drive", tmp_path / "data", tmp_path / "index", "all")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="unpack the archives"):
        bench2drive.clips_of(tmp_path / "empty", "all")


CAMERA = {"id": "front", "x": 1.3, "y": 0.2, "z": 1.6, "roll": 0.0, "pitch": 0.0, "yaw": 0.0}


def write_log(folder: Path, truthful: bool = True, speed: float = 5.0) -> Path:
    """200 ticks at 20 Hz along a road that leads to the north-west; a car ahead, a walker, a light that turns red."""
    heading = 2.0
    way = np.array([np.cos(heading), np.sin(heading)])
    rig = {"front": {**CAMERA, "width": 32, "height": 18, "fov_deg": 90.0}}
    recorder = TrackRecorder((0.9, 3.9, 1.0, 2.85))
    with RouteWriter(folder, RouteMeta("Town01", "007_12", 5, {"cloudiness": 30.0}, rig)) as writer:
        for i in range(200):
            time_s, place = 0.05 * (i + 1), 0.05 * i * speed * way
            state = {"speed": speed, "acceleration": 0.0, "yaw_rate": 0.0, "steer": 0.25, "throttle": 0.4}
            tick = writer.tick(Tick(time_s, *place, 0.3, heading, **state))
            if i % 5 == 0:
                writer.image("front", tick, np.full((18, 32, 3), i, np.uint8))
                writer.plan(tick, np.column_stack([np.arange(1, 11) * 2.5, np.zeros(10), np.zeros(10)]))
            if i % 2 == 0:
                car = Actor(31, "vehicle", np.array([*(20.0 * way), heading]), 3.0, 4.2, 1.8, "vehicle.audi.tt")
                walker = Actor(32, "walker", np.array([5.0, -5.0, 0.0]), 1.0, 0.5, 0.5)
                light = LightState.RED if i > 100 else LightState.GREEN
                recorder.add(time_s, [*place, heading, speed, 0, 0, 0, 0, 0], [car, walker], {9: light})
    if truthful:
        along = np.arange(0.0, 80.0)
        center = np.column_stack([along[:, None] * way, np.full(len(along), heading)])
        lanes = [
            LaneRecord((4, 0, -1), center[:31], np.full(31, 3.5)),
            LaneRecord((5, 0, -1), center[30:51], np.full(21, 3.5), 2, light_id=9),
        ]
        truth.write_tracks(folder, recorder.finish())
        truth.write_map(folder, route_map.build(lanes, center, np.zeros((0, 3))))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> RouteLog:
    return RouteLog(write_log(tmp_path / "logs" / "007_00012"))


def annotated(log: RouteLog, frame: int) -> dict:
    return Annotator(log, truth.read_tracks(log.folder), truth.read_map(log.folder)).frame(frame)


def test_an_annotation_is_in_carlas_frame_and_units(log: RouteLog) -> None:
    found = annotated(log, 10)  # tick 20: 5 m along 2 rad
    assert (found["x"], found["y"]) == pytest.approx((5 * np.cos(2.0), -5 * np.sin(2.0)))
    assert found["theta"] == pytest.approx(np.pi / 2 - 2.0) and found["steer"] == -0.25
    ego = found["bounding_boxes"][0]
    assert ego["class"] == "ego_vehicle" and ego["rotation"][2] == pytest.approx(-np.degrees(2.0))
    assert ego["extent"][:2] == pytest.approx([2.45, 0.9]) and ego["location"][2] == 0.3
    assert (ego["road_id"], ego["lane_id"]) == (4, -1)
    car, walker, light = found["bounding_boxes"][1:]
    assert (car["class"], walker["class"], light["class"]) == ("vehicle", "walker", "traffic_light")
    assert car["type_id"] == "vehicle.audi.tt" and car["distance"] == pytest.approx(15.0, abs=1e-4)
    assert light["state"] == 2 and light["affects_ego"] and light["distance"] == pytest.approx(25.0, abs=0.1)
    assert annotated(log, 60)["bounding_boxes"][3]["state"] == 0
    assert not annotated(log, 90)["bounding_boxes"][3]["affects_ego"]  # 45 m on, past its line


def test_matrices_map_what_they_say(log: RouteLog) -> None:
    found = annotated(log, 10)
    ego, car = found["bounding_boxes"][:2]
    seen = np.array(ego["world2ego"]) @ [*car["center"], 1.0]
    assert seen[:3] == pytest.approx([15.0, 0.0, 0.8], abs=1e-4)  # straight ahead, half its height up
    camera = found["sensors"]["CAM_FRONT"]
    assert np.array(camera["cam2ego"])[:3, 3] == pytest.approx([1.3, 0.2, 1.6])
    through = np.array(camera["world2cam"]) @ [*car["center"], 1.0]
    assert through[:3] == pytest.approx([13.7, -0.2, -0.8], abs=1e-4)
    assert camera["intrinsic"][0][0] == pytest.approx(16.0)  # 32 px at 90 degrees


def test_an_exported_log_reads_back_as_the_same_drive(log: RouteLog, tmp_path: Path) -> None:
    counts = export(log.folder, tmp_path / "out")
    # pictures at ticks 0, 5, 10 ...: those of even ticks, every second, are frames
    assert counts == {"frames": 100, "pictures": 20, "new": 1}
    clip = tmp_path / "out" / clip_name(log)
    assert clip.name == "RandomRoute_Town01_Route00712_Weather0"
    assert (clip / "camera" / "rgb_front" / "00005.jpg").read_bytes() == (
        log.folder / "camera_front" / "000010.jpg"
    ).read_bytes()
    reader = opened(tmp_path / "out", tmp_path / "index")
    for sample in (reader[0], reader[len(reader) - 1]):
        tick = 2 * int(sample.id[-5:])
        later = np.minimum(tick + 10 * np.arange(1, 11), 199)
        known = geometry.relative(log.poses[tick], log.poses[later])
        assert sample.poses[sample.mask] == pytest.approx(known[sample.mask], abs=1e-5)
        assert sample.speed == pytest.approx(5.0) and sample.command == Command.FOLLOW
    assert export(log.folder, tmp_path / "out")["new"] == 0


def test_another_drive_of_the_same_route_is_not_taken_for_the_clip_that_is_there(log: RouteLog, tmp_path: Path) -> None:
    export(log.folder, tmp_path / "out")
    other = write_log(tmp_path / "again" / "007_00012", speed=6.0)  # same town, route and seed
    with pytest.raises(LogError, match=r"Route00712_Weather0 shows another drive .*again.*--out"):
        export(other, tmp_path / "out")
    moved = log.folder.rename(tmp_path / "moved")
    assert export(moved, tmp_path / "out")["new"] == 0
    (tmp_path / "out" / clip_name(log) / "source.json").unlink()
    with pytest.raises(LogError, match="does not say which drive"):
        export(moved, tmp_path / "out")


def test_filling_gives_every_frame_a_picture_that_is_not_of_the_future(log: RouteLog, tmp_path: Path) -> None:
    assert export(log.folder, tmp_path / "out", fill=True)["pictures"] == 100
    file = tmp_path / "out" / clip_name(log) / "camera" / "rgb_front" / "00007.jpg"  # tick 14
    assert file.read_bytes() == (log.folder / "camera_front" / "000010.jpg").read_bytes()


def test_equal_logs_give_equal_bytes_and_logs_without_truth_are_named(log: RouteLog, tmp_path: Path) -> None:
    export(log.folder, tmp_path / "a")
    export(log.folder, tmp_path / "b")
    name = Path(clip_name(log)) / "anno" / "00042.json.gz"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(LogError, match="logged without truth"):
        export(write_log(tmp_path / "logs" / "bare", truthful=False), tmp_path / "a")
    assert not list((tmp_path / "a").glob(".*"))
