"""The picture of one planning time: geometry by hand, and what is drawn in which colour."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.contracts import Actor, LightState
from autovla_core.logs.truth import TrackRecorder
from autovla_core.view import log_frame
from autovla_core.view.bev import LaneStrip
from autovla_core.view.log_frame import BOUND, HIDDEN, SEEN, LogFrame, actors_at, draw, save, to_camera

SPEC = {"x": 1.0, "y": 0.5, "z": 1.5, "roll": 0.0, "pitch": 0.0, "yaw": 0.0, "width": 80, "height": 40, "fov_deg": 90.0}


def frame(**more) -> LogFrame:
    images = {"front": np.full((40, 80, 3), 60, np.uint8)}
    lanes = [LaneStrip(np.array([[0.0, 0.0], [60.0, 0.0]]), 3.5)]
    plan = np.column_stack([np.arange(1, 11) * 3.0, np.zeros(10), np.zeros(10)])
    return LogFrame(images, {"front": SPEC}, np.zeros(3), plan, ["a line", "# another"], lanes=lanes, **more)


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture[:, : log_frame.CAMERAS_WIDTH].astype(int) - color).sum(-1) < 30).sum())


def test_points_come_into_the_cameras_own_frame():
    # 10 m ahead and 2 m left of the ego: 9 m before the camera, 2.5 m to its left, 1.5 m below
    assert to_camera(np.array([10.0, 2.0, 0.0]), SPEC) == pytest.approx([9.0, -2.5, -1.5])
    # a camera that looks 90 degrees to the left sees as ahead what lies at the left
    left = {**SPEC, "x": 0.0, "y": 0.0, "z": 0.0, "yaw": -90.0}
    assert to_camera(np.array([0.0, 4.0, 1.0]), left) == pytest.approx([4.0, 0.0, 1.0])
    up = {**left, "yaw": 0.0, "pitch": 90.0}
    assert to_camera(np.array([0.0, 0.0, 3.0]), up) == pytest.approx([3.0, 0.0, 0.0])


def test_boxes_wear_the_colour_of_what_is_known_of_them():
    car = Actor(7, "vehicle", np.array([12.0, 0.0, 0.0]), 0.0, 4.0, 2.0)
    for marks, color in (({}, HIDDEN), ({"seen": frozenset({7})}, SEEN), ({"bound": 7}, BOUND)):
        drawn, without = draw(frame(actors=[car], **marks)), draw(frame(**marks))
        assert count(drawn, color) > count(without, color) + 100


def test_a_car_behind_or_beside_the_picture_is_not_drawn():
    plain = draw(frame())
    for place in ((-12.0, 0.0), (3.0, 40.0)):
        car = Actor(7, "vehicle", np.array([*place, 0.0]), 0.0, 4.0, 2.0)
        other = draw(frame(actors=[car]))
        assert np.array_equal(plain[:, : log_frame.CAMERAS_WIDTH], other[:, : log_frame.CAMERAS_WIDTH])


def test_many_words_make_the_picture_taller(tmp_path):
    tall = LogFrame(**{**vars(frame()), "lines": ["word " * 60] * 20})
    assert draw(tall).shape[0] > draw(frame()).shape[0] and draw(tall).shape[1:] == (1280, 3)
    assert save(draw(frame()), tmp_path / "new" / "a.png").stat().st_size > 1000
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.png"]


def test_the_actors_of_a_frame_come_back_from_the_tracks():
    recorder = TrackRecorder((0.9, 3.9, 1.0, 2.85))
    there = Actor(7, "bicycle", np.array([12.0, 3.0, 2.0]), -1.5, 1.8, 0.6)
    recorder.add(0.0, np.zeros(9), [], {1: LightState.RED})
    recorder.add(0.1, np.zeros(9), [there], {1: LightState.RED})
    tracks = recorder.finish()
    assert actors_at(tracks, 0) == []
    (found,) = actors_at(tracks, 1)
    assert (found.id, found.kind, found.length) == (7, "bicycle", pytest.approx(1.8))
    assert found.speed == pytest.approx(-1.5, abs=1e-5) and found.pose == pytest.approx(there.pose, abs=1e-5)
