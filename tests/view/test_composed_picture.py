"""The picture of a drive: what is drawn is where it should be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.contracts import Actor, Command, Control
from autovla_core.view import hud, overlay
from autovla_core.view.bev import ACTORS, EGO, ROAD, BirdsEye, Lamp, LaneStrip
from autovla_core.view.hud import Lens, View
from autovla_core.view.paint import font

LENS = Lens(x=0.0, z=2.0, fov_deg=90.0)


def bird() -> BirdsEye:
    x = np.arange(-100.0, 200.0)
    return BirdsEye([LaneStrip(np.stack([x, 0 * x + y], 1), 3.5) for y in (0.0, 3.5)])


def view(**more) -> View:
    camera = np.full((252, 448, 3), 90, np.uint8)
    base = View(1.0, np.zeros(3), 8.0, 11.0, Command.LEFT, Control(0.2, 0.5, 0.0), camera, LENS, 50.0, 200.0)
    return dataclasses.replace(base, **more)


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - color).max(-1) <= 3).sum())


def test_a_point_straight_ahead_lies_on_the_vertical_middle_below_the_horizon():
    pixels = hud.project(np.array([[10.0, 0.0, 0.0], [10.0, 2.0, 0.0], [-5.0, 0.0, 0.0]]), LENS, (800, 400))
    assert pixels[0] == pytest.approx([400.0, 280.0]), "f = 400 px: 400 * 2 m / 10 m below the middle"
    assert pixels[1] == pytest.approx([320.0, 280.0]), "left of the ego is left in the picture"
    assert np.isnan(pixels[2]).all(), "behind the camera"


def test_a_camera_that_looks_down_lifts_the_horizon():
    far = np.array([[1e6, 0.0, 0.0]])
    down = hud.project(far, dataclasses.replace(LENS, pitch_deg=-10.0), (800, 400))[0]
    assert down[1] == pytest.approx(200 - 400 * np.tan(np.radians(10.0)), abs=0.1)


def test_the_picture_has_one_size_and_shows_the_plan_in_the_camera():
    plain = hud.compose(view(), bird())
    plan = np.stack([np.linspace(2, 40, 11), np.zeros(11), np.zeros(11)], 1)
    planned = hud.compose(view(plan=plan), bird())
    assert plain.shape == planned.shape == (720, 1280, 3) and plain.dtype == np.uint8
    changed = np.abs(plain[:504, :896].astype(int) - planned[:504, :896]).sum(-1) > 0
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 250, "nothing is painted above the horizon"
    assert abs(columns.mean() - 448) < 10


def test_the_plan_stays_where_it_was_made_while_the_ego_drives_on():
    plan = np.stack([np.linspace(0, 40, 11), np.full(11, 3.0), np.zeros(11)], 1)
    away = hud.compose(view(pose=np.array([0.0, 3.0, 0.0]), plan=plan), bird())[:504, :896]
    plain = hud.compose(view(pose=np.array([0.0, 3.0, 0.0])), bird())[:504, :896]
    columns = np.nonzero(np.abs(away.astype(int) - plain).sum(-1))[1]
    assert abs(columns.mean() - 448) < 10


def test_from_above_the_ego_looks_up_and_a_leader_is_above_it():
    leader = Actor(1, "vehicle", np.array([0.0, 20.0, np.pi / 2]), 0.0, 4.5, 2.0)
    picture = bird().draw(np.array([0.0, 0.0, np.pi / 2]), [leader])
    rows, columns = np.nonzero((picture == EGO).all(-1))
    other_rows, other_columns = np.nonzero((picture == ACTORS["vehicle"]).all(-1))
    assert other_rows.mean() == pytest.approx(rows.mean() - 20 * 6, abs=4)
    assert other_columns.mean() == pytest.approx(columns.mean(), abs=2)


def test_the_street_turns_with_the_ego():
    along = bird().draw(np.array([0.0, 0.0, 0.0]))
    across = bird().draw(np.array([0.0, 0.0, np.pi / 2]))
    assert count(along[:300, 185:200], ROAD) > 3000 > 500 > count(across[:300, 185:200], ROAD)


def test_lamps_show_their_colour_and_unlit_ones_nothing():
    lamps = [Lamp(np.array([10.0, -3.0]), "red"), Lamp(np.array([10.0, 6.0]), "off")]
    picture = bird().draw(np.zeros(3), lamps=lamps)
    assert count(picture, (255, 60, 50)) > 60
    assert count(picture[:, 192:], (255, 60, 50)) > 60, "right of the lane is right in the picture"


def test_the_model_view_takes_the_large_place_on_demand():
    clip = np.full((4, 112, 224, 3), 200, np.uint8)
    large, small = hud.compose(view(clip=clip), bird()), hud.compose(view(clip=clip), bird(), camera_large=False)
    assert large[250, 448, 0] == 90 and small[250, 448, 0] == 200


def test_the_same_view_gives_the_same_bytes():
    full = view(tokens=range(10), infractions=["Agent ran a red light"], notes=["PAUSED"], title="demo")
    assert hud.compose(full, bird()).tobytes() == hud.compose(full, bird()).tobytes()


def test_other_plans_are_lines_in_the_camera_and_from_above():
    ahead = np.stack([np.linspace(2, 40, 11), np.linspace(0, 3, 11), np.zeros(11)], 1)
    plain, fan = hud.compose(view(), bird()), hud.compose(view(fan=[ahead]), bird())
    for region in (np.s_[:504, :896], np.s_[:, 896:]):
        changed = np.abs(plain[region].astype(int) - fan[region]).sum(-1) > 0
        assert 50 < changed.sum() < 4000, "a line, no area"


def test_a_token_that_is_more_probable_has_a_longer_bar():
    picture = hud.compose(view(tokens=[1, 2], probabilities=[1.0, 0.25]), bird())
    green = (picture[572:577, 300:420] == (90, 235, 140)).all(-1).any(0)
    assert green[:56].sum() == 53 and green[58:].sum() == 14


def test_side_cameras_lie_in_the_corners_but_not_over_the_models_images():
    sides = [np.full((126, 224, 3), grey, np.uint8) for grey in (150, 210)]
    picture = hud.compose(view(sides=sides), bird())
    assert picture[100, 100, 0] == 150 and picture[100, 800, 0] == 210
    clip = np.full((4, 112, 224, 3), 30, np.uint8)
    assert hud.compose(view(sides=sides, clip=clip), bird(), camera_large=False)[100, 100, 0] == 30


def test_a_long_thought_shows_its_end_and_no_line_leaves_the_picture():
    lines = overlay.wrapped("one two three\n### Intention\n" + "word " * 200, 872)
    assert lines[:2] == ["one two three", "### Intention"]
    assert all(font(16).getlength(line) <= 872 for line in lines)
    assert " ".join(lines[2:]).split() == ["word"] * 200
    shaded = hud.compose(view(thought="word " * 400), bird())
    assert (shaded[300:370, 890] == 90).all() and (shaded[400:500, 890] < 60).all(), "six lines from below"


def test_the_keys_and_what_is_typed_can_be_read_over_the_street():
    plain = hud.compose(view(), bird())
    helped = hud.compose(view(help=[("q", "quit"), ("h", "this list")], typing="turn le"), bird())
    changed = np.abs(plain.astype(int) - helped).sum(-1) > 0
    assert changed[250, 300] and changed[490, 20] and not changed[100, 100] and not changed[504:].any()
