"""L2 and collision on cases that can be worked out by hand: constant velocity, standing still, a shifted truth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from autovla_core.scoring import open_loop
from autovla_core.scoring.open_loop import Case, scores
from training.datasets import nuscenes
from training.open_loop_planners import BASELINES, STOPPED
from training.open_loop_results import without_a_plan

STRAIGHT = np.outer(np.arange(1, 11), [4.0, 0.0])  # 8 m/s
ALL = np.ones(10, bool)
EMPTY = [np.zeros((0, 5))] * 6


def box(x: float, y: float, yaw: float = 0.0, length: float = 4.0, width: float = 2.0) -> np.ndarray:
    return np.array([[x, y, yaw, length, width]])


def test_the_truth_itself_scores_nothing() -> None:
    found = scores(STRAIGHT, Case(STRAIGHT, ALL, [box(12.0, 0.0)] * 6, EMPTY))
    assert set(found.values()) == {0.0}  # where the truth's own box collides, no step counts


def test_a_shifted_truth_is_off_by_the_shift_at_every_step() -> None:
    found = scores(STRAIGHT + [0.6, -0.8], Case(STRAIGHT, ALL))
    assert set(found) == {f"l2_{p}_{h}" for p in ("uniad", "stp3") for h in ("1s", "2s", "3s", "avg")}
    assert all(value == pytest.approx(1.0) for value in found.values())


def test_standing_still_beside_a_drive_at_8_m_s() -> None:
    found = scores(STOPPED[:, :2], Case(STRAIGHT, ALL))
    assert [found[f"l2_uniad_{h}"] for h in ("1s", "2s", "3s")] == [8.0, 16.0, 24.0]  # 8 m/s times the horizon
    # the means of 4, 8 | 4, 8, 12, 16 | 4, 8, ..., 24
    assert [found[f"l2_stp3_{h}"] for h in ("1s", "2s", "3s")] == [6.0, 10.0, 14.0]
    assert (found["l2_uniad_avg"], found["l2_stp3_avg"]) == (16.0, 10.0)  # the published fourth column


def test_steps_without_truth_add_nothing_and_are_counted_all_the_same() -> None:
    mask = np.arange(10) < 3
    found = scores(STRAIGHT + [1.0, 0.0], Case(STRAIGHT, mask, EMPTY, EMPTY))
    assert [found[f"l2_uniad_{h}"] for h in ("1s", "2s", "3s")] == [1.0, 0.0, 0.0]
    assert [found[f"l2_stp3_{h}"] for h in ("1s", "2s", "3s")] == [1.0, 0.75, 0.5]  # 2 of 2, 3 of 4, 3 of 6
    assert math.isnan(found["l2_vad_1s"])  # VAD leaves samples without a whole future out
    known = open_loop.displacement(STRAIGHT + [1.0, 0.0], Case(STRAIGHT, mask))
    assert known["ade_known_3s"] == 1.0 and known["fde_known"] == 1.0  # over what is known
    nothing = open_loop.displacement(STRAIGHT, Case(STRAIGHT, np.zeros(10, bool)))
    assert all(math.isnan(value) for value in nothing.values())


def test_the_ego_covers_eight_by_four_cells_half_a_metre_ahead() -> None:
    # along: 0.5 +- 2.042 m, so rows from (-1.542 + 49.75) / 0.5 = 96.4 to (2.542 + 49.75) / 0.5 = 104.6: 97 to 104
    # across: +-0.925 m, so columns from 97.65 to 101.35: 98 to 101
    cells = open_loop.ego_cells()
    assert len(cells) == 32
    assert (cells.min(0).tolist(), cells.max(0).tolist()) == ([97, 98], [104, 101])


def test_an_obstacle_grows_to_whole_cells() -> None:
    # 4 x 2 m at (10, 0): rows from (8 + 50) / 0.5 = 116 to (12 + 50) / 0.5 = 124, columns from 98 to 102, ends included
    grid = open_loop.occupancy(box(10.0, 0.0))
    rows, columns = np.nonzero(grid)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (116, 124, 98, 102)
    assert grid.sum() == 9 * 5  # 4.5 x 2.5 m instead of 4 x 2
    left = np.nonzero(open_loop.occupancy(box(10.0, 5.0)))[1]
    assert left.max() < 98  # y left is a smaller column
    turned = open_loop.occupancy(box(10.0, 0.0, math.pi / 2))
    assert turned.sum() == grid.sum() and np.nonzero(turned)[0].min() == 118


@pytest.mark.parametrize(("yaw", "cells"), [(math.pi / 4, 41), (-math.pi / 4, 41)])
def test_a_turned_square_is_filled_with_its_outline(yaw: float, cells: int) -> None:
    # side 4.5 m at 45 degrees: corners 3.18 m away, rounded to 6 cells: a diamond of 6 * 7 * 2 + 1 = 85 cells
    grid = open_loop.occupancy(box(0.0, 0.0, yaw, 4.5, 4.5))
    assert grid.sum() == 85
    small = open_loop.occupancy(box(0.0, 0.0, yaw, 2.9, 2.9))  # corners 2.05 m away, 4 cells: 4 * 5 * 2 + 1
    assert small.sum() == cells


def test_a_plan_that_drives_on_hits_the_car_for_which_the_truth_braked() -> None:
    truth = np.outer([2.0, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5], [1.0, 0.0])
    vehicles = [box(14.0, 0.0)] * 6  # rows (12 + 50) / 0.5 = 124 to 132
    # at 4, 8, 12, 16, 20, 24 m the ego's rows are 97..104 + 8, 16, 24, 32, 40, 48: 121..128 and 129..136 touch them
    hits = open_loop.collisions(STRAIGHT, Case(truth, ALL, vehicles), vehicles)
    assert hits.tolist() == [False, False, True, True, False, False]
    found = scores(STRAIGHT, Case(truth, ALL, vehicles, EMPTY))
    assert [found[f"collision_uniad_{h}"] for h in ("1s", "2s", "3s")] == [0.0, 1.0, 0.0]
    assert [found[f"collision_stp3_{h}"] for h in ("1s", "2s", "3s")] == [0.0, 0.5, pytest.approx(2 / 6)]


def test_a_step_is_left_out_when_the_truth_collides_or_is_not_known() -> None:
    vehicles = [box(14.0, 0.0)] * 6
    plan = np.tile([12.0, 0.0], (10, 1))
    truth = STRAIGHT.copy()  # its own box touches the car at 1.5 and 2 s
    hits = open_loop.collisions(plan, Case(truth, ALL, vehicles), vehicles)
    assert hits.tolist() == [True, True, False, False, True, True]
    mask = np.arange(10) < 5
    assert open_loop.collisions(plan, Case(truth, mask, vehicles), vehicles).tolist() == [
        True,
        True,
        *[False] * 2,
        True,
        False,
    ]


def test_pedestrians_are_obstacles_for_vad_alone() -> None:
    truth = np.zeros((10, 2))
    walkers = [box(10.0, 0.0, 0.0, 0.8, 0.8)] * 6
    # rows (9.6 + 50) / 0.5 = 119.2 to (10.4 + 50) / 0.5 = 120.8, rounded 119 to 121; the ego's are 113..120 at 8 m and
    # 121..128 at 12 m: two of six steps
    found = scores(STRAIGHT, Case(truth, ALL, EMPTY, walkers))
    assert found["collision_stp3_3s"] == 0.0 and found["collision_vad_3s"] == pytest.approx(2 / 6)


def test_left_and_right_are_alike_but_for_the_cells() -> None:
    """A mirrored world gives the same L2; collisions on the grid may differ by a cell, far ones not."""
    plan, truth = STRAIGHT + [0.0, 3.0], STRAIGHT
    mirror = np.array([1.0, -1.0])
    for y in (3.0, -3.0):
        vehicles = [box(4.0 * k, y) for k in range(1, 7)]
        case = Case(truth, ALL, vehicles, EMPTY)
        found = scores(plan * (mirror if y < 0 else 1.0), case)
        assert found["collision_stp3_3s"] == 1.0 and found["l2_uniad_3s"] == 3.0


def test_what_lies_off_the_grid_neither_crashes_nor_counts() -> None:
    far = np.outer(np.arange(1, 11), [30.0, 0.0])
    case = Case(far, ALL, [box(80.0, 0.0)] * 6, EMPTY)
    assert scores(far + [0.0, 1.0], case)["collision_stp3_3s"] == 0.0
    assert open_loop.occupancy(box(49.5, 0.0)).any() and not open_loop.occupancy(box(60.0, 0.0)).any()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="plan is"):
        scores(STRAIGHT[:5], Case(STRAIGHT, ALL))
    with pytest.raises(ValueError, match="truth is"):
        scores(STRAIGHT, Case(np.full((10, 2), np.nan), ALL))
    with pytest.raises(ValueError, match="mask is"):
        scores(STRAIGHT, Case(STRAIGHT, ALL[:6]))
    with pytest.raises(ValueError, match="obstacles of 2 steps"):
        scores(STRAIGHT, Case(STRAIGHT, ALL, EMPTY[:2]))


def test_a_sample_without_a_plan_is_the_worst_case_not_a_gap() -> None:
    found = without_a_plan(scores(STOPPED[:, :2], Case(STRAIGHT, ALL, EMPTY, EMPTY)))
    assert found["l2_uniad_3s"] == 24.0 and found["collision_uniad_3s"] == 1.0
    short = scores(STOPPED[:, :2], Case(STRAIGHT, np.zeros(10, bool), EMPTY, EMPTY))
    assert math.isnan(without_a_plan(short)["collision_vad_1s"])  # VAD does not have this sample at all


def test_constant_velocity_on_the_scene_that_brakes(root: Path, index: Path) -> None:
    """scene-0916 at 3 s: 8 m/s, then 4 m/s2 to a standstill after 8 m, behind a car whose rear is at 35.75 m."""
    reader = nuscenes.open_split(root, index, "mini_val")
    sample = next(s for i, s in enumerate(reader) if s.scene == "scene-0916" and i >= 17 + 3)  # key frame 6
    assert sample.speed == pytest.approx(8.0)
    found = nuscenes.score(BASELINES["constant_velocity"](sample), sample)
    # 8 t against 8 t - 2 t^2 up to 2 s, then 8: off by 0.5, 2, 4.5, 8, 12, 16 m
    assert [found[f"l2_uniad_{h}"] for h in ("1s", "2s", "3s")] == pytest.approx([2.0, 8.0, 16.0])
    assert [found[f"l2_stp3_{h}"] for h in ("1s", "2s", "3s")] == pytest.approx([2.5 / 2, 15.0 / 4, 43.0 / 6])
    # the car's rear is 35.75 - 24.94 = 10.81 m ahead of the lidar, its front 15.31 m: rows 122 to 131.
    # the ego's rows are 97..104 plus 8, 16, 24 ...: 113..120, then 121..128 and 129..136, which touch, then beyond
    assert [found[f"collision_uniad_{h}"] for h in ("1s", "2s", "3s")] == [0.0, 1.0, 0.0]
    assert [found[f"collision_stp3_{h}"] for h in ("1s", "2s", "3s")] == pytest.approx([0.0, 2 / 4, 2 / 6])
    perfect = nuscenes.score(sample.poses, sample)
    assert all(value == pytest.approx(0.0, abs=1e-9) for value in perfect.values())


def test_a_plan_of_the_box_centre_is_judged_where_the_lidar_would_be(root: Path, index: Path) -> None:
    """On an arc the two points drive different lengths; whichever point the poses are of, the score is the same."""
    for point in ("centre", "rear_axle", "lidar"):
        sample = nuscenes.open_split(root, index, "mini_train", point=point)[10]
        found = nuscenes.score(sample.poses, sample)
        assert found["l2_uniad_3s"] == pytest.approx(0.0, abs=1e-9), point


def test_rules_that_plan_without_a_model(root: Path, index: Path) -> None:
    reader = nuscenes.open_split(root, index, "mini_train", point="rear_axle")
    arc = next(sample for sample in reader if sample.scene == "scene-0553")
    turn = BASELINES["constant_turn"](arc)
    assert np.allclose(turn, arc.poses, atol=1e-6)  # the rear axle's chords of 0.5 s are the drive's own
    assert np.allclose(BASELINES["truth"](arc), arc.poses)
    assert BASELINES["constant_velocity"](arc)[-1] == pytest.approx([5.0 * arc.speed, 0.0, 0.0])
    assert not BASELINES["stopped"](arc).any()
