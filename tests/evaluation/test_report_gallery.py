"""The seconds before a fault are found in a route log or a film, or the report says why not."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest

from autovla_core.errors import LogError
from autovla_core.evaluation.report.collect import Drive, Fault, RunResults
from autovla_core.evaluation.report.film import read_seconds, seconds_of
from autovla_core.evaluation.report.gallery import Media, filmed, moment, read_logs, read_plans, scenes_of, shares
from autovla_core.evaluation.report.page import page
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from autovla_core.view.video import VideoWriter

LIGHT = Fault("red_light", "Agent ran a red light 4 at (x=60.0, y=2.0, z=0.0)")
FAR = Fault("red_light", "Agent ran a red light 4 at (x=60.0, y=90.0, z=0.0)")
LANES = Fault("outside_route_lanes", "Agent went outside its route lanes for about 1.8 meters (0.57% of the ...)")
BLOCKED = Fault("vehicle_blocked", "Agent got blocked at (x=0.0, y=0.0, z=0.0)")


def picture(shade: int) -> np.ndarray:
    return np.full((64, 96, 3), shade, np.uint8)


def drive(*faults: Fault, route: str = "7", seconds: float = 10.0) -> Drive:
    return Drive(route, 0, 3, "Havenbrook", "Completed", 70.0, 100.0, 0.7, faults, 100.0, seconds, 1.0)


def run_of(*drives: Drive) -> RunResults:
    return RunResults("a", "a.json", "0" * 64, drives, len(drives))


def log_at(folder: Path) -> Path:
    """10 s straight on at 10 m/s, 2 m to the right of the axis: 2.0 in CARLA's y, -2.0 in ours."""
    rig = {"front": {"id": "front", "width": 96, "height": 64}}
    writer = RouteWriter(folder, RouteMeta("Havenbrook", "7", 3, rig=rig))
    for i in range(200):
        number = writer.tick(Tick(0.05 * i, 0.5 * i, -2.0, 0.0, 0.0, 10.0, 0.0, 0.0))
        if i % 5 == 0:
            writer.image("front", number, picture(i))
    writer.close({})
    return folder


def shades(data: bytes) -> list[float]:
    with av.open(io.BytesIO(data)) as container:
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]


def test_a_log_tells_when_the_ego_passed_the_place(tmp_path):
    log = RouteLog(log_at(tmp_path / "log"))
    assert moment(LIGHT, drive(), log) == pytest.approx(6.0)  # 60 m at 10 m/s
    assert moment(FAR, drive(), log) is None  # 92 m away: another drive
    assert moment(LIGHT, drive(), None) is None and moment(LANES, drive(), log) is None
    assert moment(BLOCKED, drive(seconds=9.5), None) == 9.5  # ends the drive


def test_a_record_that_says_when_is_believed_before_any_log(tmp_path):
    log = RouteLog(log_at(tmp_path / "log"))
    assert moment(Fault("red_light", LIGHT.message, 3.25), drive(), log) == 3.25
    assert moment(Fault("outside_route_lanes", LANES.message, 4.5), drive(), None) == 4.5


def test_plans_that_failed_are_counted_and_kept_out_of_the_shares(tmp_path):
    folder = log_at(tmp_path / "log")
    rows = [
        {"observed_at_s": 5.5, "mode": "slow", "timings_ms": {"model": 60.0, "vision": 20.0}},
        {"observed_at_s": 6.0, "failure": "ActionDecodeError: nine tokens"},
    ]
    (folder / "plans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    media, run = read_logs([folder]), run_of(drive(LIGHT))
    (scene,) = scenes_of(run, media)
    assert (scene.note.mode, scene.note.thought) == ("failed", "ActionDecodeError: nine tokens")
    text = page("t", [run], [scene], {"a": list(media.plans.values())})
    assert "1 plan in 1 drive (1 further plan failed)" in text and "longest 80 ms" in text


def test_a_log_without_images_says_so(tmp_path):
    writer = RouteWriter(tmp_path / "log", RouteMeta("Havenbrook", "7", 3))
    for i in range(200):
        writer.tick(Tick(0.05 * i, 0.5 * i, -2.0, 0.0, 0.0, 10.0, 0.0, 0.0))
    writer.close({})
    (scene,) = scenes_of(run_of(drive(LIGHT)), read_logs([tmp_path / "log"]))
    assert scene.clip == b"" and "holds no images" in scene.trouble


def test_the_clip_shows_the_four_seconds_before_and_half_a_second_after(tmp_path):
    media = read_logs([log_at(tmp_path / "log")])
    (scene,) = scenes_of(run_of(drive(LIGHT)), media)
    seen = shades(scene.clip)
    assert len(seen) == 19  # 2.0 to 6.5 s, one image each 0.25 s
    assert seen[0] == pytest.approx(40, abs=4) and seen[-1] == pytest.approx(130, abs=4)  # shades are tick numbers
    assert scene.poster[:2] == b"\xff\xd8" and shades(scene.poster)[0] == pytest.approx(120, abs=4)


def test_a_clip_runs_at_the_pace_of_its_log_and_stops_at_the_last_image_before_the_fault(tmp_path):
    """An image every 0.5 s and one of them lost; shades are tick numbers."""
    rig = {"front": {"id": "front", "width": 96, "height": 64}}
    writer = RouteWriter(tmp_path / "log", RouteMeta("Havenbrook", "7", 3, rig=rig))
    for i in range(200):
        number = writer.tick(Tick(0.05 * i, 0.5 * i, -2.0, 0.0, 0.0, 10.0, 0.0, 0.0))
        if i % 10 == 0 and i != 120:
            writer.image("front", number, picture(i))
    writer.close({})
    (scene,) = scenes_of(run_of(drive(Fault("red_light", "", 6.2))), read_logs([tmp_path / "log"]))
    with av.open(io.BytesIO(scene.clip)) as container:
        assert container.streams.video[0].average_rate == 2
    assert len(shades(scene.clip)) == 8  # 2.5 to 6.5 s without 6.0
    assert shades(scene.poster)[0] == pytest.approx(110, abs=4)


def test_faults_without_a_moment_say_so_and_drives_without_media_are_left_out(tmp_path):
    media = read_logs([log_at(tmp_path / "log")])
    (scene,) = scenes_of(run_of(drive(LIGHT, route="8"), drive(LANES)), media)
    assert scene.fault is LANES and scene.clip == b"" and "does not tell" in scene.trouble
    assert len(scenes_of(run_of(drive(LIGHT, LIGHT, LIGHT)), media, limit=2)) == 2


def test_places_in_the_gallery_are_dealt_in_turn_so_that_no_run_takes_all():
    assert shares([100, 100], 24) == [12, 12]
    assert shares([100, 2, 100], 7) == [3, 2, 2]  # 1 1 1, 1 1 1, 1: the second has no more
    assert shares([3, 0, 1], 24) == [3, 0, 1] and shares([5, 5], 0) == [0, 0] and shares([], 9) == []


def test_driving_slowly_takes_no_place_in_the_gallery():
    slow = Fault("min_speed_infractions", "Average speed is 40% of the surrounding traffic's one")
    assert filmed(run_of(drive(slow, LIGHT, slow)), Media(films={("7", 3): Path("f.mp4")})) == [
        (drive(slow, LIGHT, slow), LIGHT)
    ]


def test_the_page_says_how_many_faults_it_does_not_show(tmp_path):
    media = read_logs([log_at(tmp_path / "log")])
    run = run_of(drive(LIGHT, LANES, BLOCKED))
    some = page("t", [run], scenes_of(run, media, limit=2), filmed=3)
    assert "2 of 3 faults are shown, the first ones of each run (2 of a); --clips shows more." in some
    assert "faults are shown" not in page("t", [run], scenes_of(run, media), filmed=3)


def test_a_film_alone_serves_for_what_ended_the_drive(tmp_path):
    with VideoWriter(tmp_path / "f.mp4", (640, 360), 10) as film:
        for i in range(100):
            film.write(np.full((360, 640, 3), 2 * i, np.uint8))
    assert seconds_of(tmp_path / "f.mp4") == pytest.approx(10.0)
    media = Media(films={("7", 3): tmp_path / "f.mp4"})
    ended, passed = scenes_of(run_of(drive(BLOCKED, LIGHT)), media)
    assert shades(ended.clip)[0] == pytest.approx(2 * 60, abs=5)  # film second 6 of 10
    assert passed.clip == b""
    images, times = read_seconds(tmp_path / "f.mp4", 2.0, 3.0)
    assert (
        times == pytest.approx(np.arange(20, 31) / 10.0) and len(images) == 11 and images[0].shape == (224, 400, 3)
    )  # scaled to 400 px
    (tmp_path / "bad.mp4").write_bytes(b"nonsense")
    with pytest.raises(LogError, match="cannot read the film"):
        seconds_of(tmp_path / "bad.mp4")


def test_what_the_planner_thought_stands_beside_the_fault(tmp_path):
    folder = log_at(tmp_path / "log")
    rows = [
        {"observed_at_s": t, "mode": "slow", "thought": f"at {t}", "timings_ms": {"total": 90.0}}
        for t in (5.5, 6.0, 6.5)
    ]
    whole = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "plans.jsonl").write_text(whole + '{"observed_at_s": 7')  # power went while writing
    media = read_logs([folder])
    run = run_of(drive(LIGHT))
    (scene,) = scenes_of(run, media)
    assert (scene.note.thought, scene.note.latency_ms) == ("at 6.0", 90.0) and media.torn == 1
    text = page("t", [run], [scene], {"a": list(media.plans.values())})
    assert "slow, 6.0 s: at 6.0" in text and "data:video/mp4;base64," in text and "histogram of 3 values" in text
    (folder / "plans.jsonl").write_text("{}\n" + whole)
    with pytest.raises(LogError, match="plans.jsonl:1 is not a plan"):
        read_plans(folder / "plans.jsonl")


def test_two_logs_of_one_drive_are_refused(tmp_path):
    with pytest.raises(LogError, match="both hold route 7 with seed 3"):
        read_logs([log_at(tmp_path / "a"), log_at(tmp_path / "b")])
