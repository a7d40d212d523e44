"""Motions out of route logs, Bench2Drive clips and npz files; each fixture is written here in its true layout."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core import geometry
from autovla_core.action import kinematics
from autovla_core.action.codebook import Codebook
from autovla_core.errors import CodebookError, LogError
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from training import build_codebook
from training.codebooks import sources, table
from training.datasets import bench2drive_files

SPEED, YAW_RATE = 6.0, 0.3  # m/s, rad/s: a left circle of 20 m


def circle(times: np.ndarray) -> np.ndarray:
    """World poses (T, 3) of a left turn that starts at (100, 50), heading along +y."""
    radius = SPEED / YAW_RATE
    yaw = np.pi / 2 + YAW_RATE * times
    x, y = 100.0 + radius * (np.sin(yaw) - 1.0), 50.0 - radius * np.cos(yaw)
    return np.stack([x, y, geometry.wrap_angle(yaw)], axis=1)


def expect_circle(motions: np.ndarray) -> None:
    assert np.allclose(kinematics.speeds(motions), SPEED, atol=0.01)
    assert np.allclose(kinematics.curvatures(motions), YAW_RATE / SPEED, atol=0.001)
    assert np.allclose(kinematics.slips(motions), 0.0, atol=0.002)


def write_clip(folder: Path, numbers: list[int]) -> Path:
    """A Bench2Drive clip: CARLA's left hand and degrees, the ego's box 0.2 m ahead of its actor."""
    (folder / "anno").mkdir(parents=True)
    for number in numbers:
        (x, y, yaw), *_ = circle(np.array([0.1 * number]))
        actor = [x - 0.2 * np.cos(yaw), -(y - 0.2 * np.sin(yaw)), 0.03]
        ego = {
            "class": "ego_vehicle",
            "location": actor,
            "center": [x, -y, 0.75],
            "rotation": [0.1, -0.2, -np.degrees(yaw)],
            "extent": [2.45, 0.92, 0.75],
        }
        document = {"x": 0.0, "y": 0.0, "theta": float("nan"), "bounding_boxes": [{"class": "walker"}, ego]}
        (folder / "anno" / f"{number:05d}.json.gz").write_bytes(gzip.compress(json.dumps(document).encode()))
    return folder


def test_a_trajectory_gives_motions_and_plans_at_every_phase() -> None:
    poses = circle(0.1 * np.arange(61))
    driving = sources.from_trajectory(poses, 0.1)
    assert driving.motions.shape == (56, 3)  # 61 poses, five apart
    assert driving.plans.shape == (11, 10, 3)  # 61 - 50
    expect_circle(driving.motions)
    assert np.allclose(driving.plans[3, 9], geometry.relative(poses[3], poses[53]))


def test_a_period_that_does_not_fit_half_a_second_and_an_unknown_pose_are_named() -> None:
    with pytest.raises(CodebookError, match="multiple"):
        sources.from_trajectory(np.zeros((20, 3)), 0.3)
    with pytest.raises(CodebookError, match="finite"):
        sources.from_trajectory(np.full((20, 3), np.nan), 0.1)
    assert len(sources.from_trajectory(np.zeros((3, 3)), 0.1).motions) == 0


def test_bench2drive_clips_are_read_right_handed_at_the_box_centre(tmp_path: Path) -> None:
    write_clip(tmp_path / "base" / "Turn_Town12_Route1_Weather0", list(range(60)))
    driving = sources.bench2drive_clips(tmp_path)
    assert driving.plans.shape == (10, 10, 3)
    expect_circle(driving.motions)


def test_a_missing_frame_cuts_a_clip_in_two(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip", [*range(10), *range(12, 30)])
    assert [len(d) for d in bench2drive_files.ego_drives(clip)] == [10, 18]
    assert sources.bench2drive_clips(tmp_path).motions.shape == (5 + 13, 3)


def test_broken_annotations_are_named_by_their_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip", list(range(3)))
    file = clip / "anno" / "00001.json.gz"
    whole = file.read_bytes()
    without_ego = gzip.compress(json.dumps({"bounding_boxes": [{"class": "vehicle"}]}).encode())
    for data in (b"", whole[:50], b"no gzip at all", gzip.compress(b"{"), gzip.compress(b"[]"), without_ego):
        file.write_bytes(data)
        with pytest.raises(CodebookError, match="00001.json.gz"):
            sources.bench2drive_clips(tmp_path)
    with pytest.raises(CodebookError, match="unpack"):
        sources.bench2drive_clips(tmp_path / "clip" / "anno" / "nothing")


def test_a_box_centre_in_another_frame_is_noticed(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip", [0])
    file = clip / "anno" / "00000.json.gz"
    document = json.loads(gzip.decompress(file.read_bytes()))
    document["bounding_boxes"][1]["center"] = [0.2, 0.0, 0.7]
    file.write_bytes(gzip.compress(json.dumps(document).encode()))
    with pytest.raises(CodebookError, match="not near its location"):
        sources.bench2drive_clips(clip)


def write_log(folder: Path) -> Path:
    poses = circle(0.05 * np.arange(161))
    with RouteWriter(folder, RouteMeta(town="Nowhere", route_id="r", seed=0)) as writer:
        for i, (x, y, yaw) in enumerate(poses):
            writer.tick(Tick(0.05 * i, x, y, 0.0, yaw, SPEED, 0.0, YAW_RATE))
        writer.plan(0, np.zeros((10, 3)))
    return folder


def test_route_logs_give_what_was_driven_and_what_was_planned(tmp_path: Path) -> None:
    write_log(tmp_path / "route_0")
    driven = sources.route_logs(tmp_path)
    expect_circle(driven.motions)
    assert driven.plans.shape == (31, 10, 3)  # 81 phases 0.1 s apart, less five seconds
    assert not sources.planned(tmp_path).plans.any()
    with pytest.raises(LogError):
        sources.route_logs(tmp_path / "nothing")


def test_npz_files_hold_plans_or_trajectories(tmp_path: Path) -> None:
    plans = sources.from_trajectory(circle(0.5 * np.arange(20)), 0.5).plans
    sources.save_plans(tmp_path / "plans.npz", plans)
    assert np.allclose(sources.npz_file(tmp_path / "plans.npz").plans, plans, atol=1e-5)
    drives = np.stack([circle(0.25 * np.arange(40)), circle(0.25 * np.arange(40))])
    drives[1, 30:] = np.nan  # its future is not known
    np.savez(tmp_path / "drives.npz", trajectories=drives, period_s=0.25)
    driving = sources.npz_file(tmp_path / "drives.npz")
    expect_circle(driving.motions)
    assert len(driving.motions) == 38 + 28
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("other.npz", "none.npz"):
        with pytest.raises(CodebookError, match=name):
            sources.npz_file(tmp_path / name)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["build_codebook", *map(str, arguments)])
    return build_codebook.main()


def test_the_program_builds_from_clips_drops_glitches_and_says_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "clips" / "a", list(range(60)))
    glitch = circle(0.5 * np.arange(30))[None].copy()
    glitch[0, 15, 0] += 40.0  # a tracker jumps
    np.savez(tmp_path / "drives.npz", trajectories=glitch, period_s=0.5)
    out = tmp_path / "book.npz"
    sources_given = ("--bench2drive", tmp_path / "clips", "--npz", tmp_path / "drives.npz")
    size = ("--method", "kdisk", "--size", 64, "--plans", 50, "--length", 5.2, "--width", 2.0)
    assert run(monkeypatch, "--out", out, *sources_given, *size) == 0
    book = Codebook.load(out)
    assert 60 <= len(book) <= 64 and book.length == 5.2
    found = book.provenance["sources"]
    assert found["npz_1"]["glitches"] == 2 and found["bench2drive_0"]["glitches"] == 0
    assert len(found["npz_1"]["sha256"]) == 64
    assert kinematics.feasible(book.motions).all()


def test_the_program_names_what_is_wrong_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "book.npz"
    assert run(monkeypatch, "--out", out, "--npz", tmp_path / "none.npz", "--plans", 10) == 1
    assert run(monkeypatch, "--out", out, "--plans", 10, "--size", 2048) == 1  # too few to make as many
    assert run(monkeypatch, "--out", out, "--plans", 10, "--length", -1) == 1
    errors = capsys.readouterr().err
    assert "none.npz" in errors and "cannot make" in errors and "positive" in errors
    assert not out.exists()


def test_the_program_writes_plans_for_inspection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "clips" / "a", list(range(60)))
    out = tmp_path / "plans.npz"
    assert run(monkeypatch, "--plans-out", out, "--bench2drive", tmp_path / "clips", "--plans", 0) == 0
    assert sources.npz_file(out).plans.shape == (10, 10, 3)


def test_the_table_of_the_docs_has_a_line_for_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "held_out"):
        write_log(tmp_path / part / "route_0")
    monkeypatch.setattr(table, "MADE_UP_PLANS", 300)
    monkeypatch.setattr(table, "MADE_UP_JUDGED", 50)
    table.print_table(tmp_path / "train", tmp_path / "held_out", [64])
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [cells[1].strip() for cells in lines] == ["method", "shipped", *table.ORDERS]
    assert all(len(cells) == 10 for cells in lines)
