from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.contracts import Command
from autovla_core.errors import RouteError
from autovla_core.route.command import ANNOUNCE_M, announced, command_at
from autovla_core.route.plan import from_poses
from autovla_core.route.progress import RouteProgress

RADIUS = 10.0


def crossing() -> tuple[np.ndarray, list[int]]:
    """60 m straight, a left turn of 10 m radius as junction, 60 m straight; 1 m spacing."""
    before = [(x, 0.0, 0.0) for x in np.arange(0.0, 60.0)]
    angles = np.arange(0.0, math.pi / 2, 0.1)
    turn = [(60 + RADIUS * math.sin(a), RADIUS * (1 - math.cos(a)), a) for a in angles]
    after = [(60 + RADIUS, RADIUS + y, math.pi / 2) for y in np.arange(0.0, 60.0)]
    commands = [Command.FOLLOW] * len(before) + [Command.LEFT] * len(turn) + [Command.FOLLOW] * len(after)
    return np.array([*before, *turn, *after]), [int(c) for c in commands]


def test_points_are_a_metre_apart_and_as_long_as_the_way():
    route = from_poses(*crossing())
    assert np.diff(route.s) == pytest.approx(1.0, abs=0.03)
    assert route.length == pytest.approx(60 + 59 + RADIUS * math.pi / 2, abs=0.5)


def test_doubled_points_at_the_joints_of_legs_do_not_matter():
    poses, commands = crossing()
    doubled = from_poses(np.repeat(poses, 2, axis=0), np.repeat(commands, 2))
    assert doubled.points == pytest.approx(from_poses(poses, commands).points)


def test_a_route_thinned_to_the_junctions_ends_keeps_its_turn():
    poses, commands = crossing()
    ends = [0, commands.index(Command.LEFT), len(commands) - 1 - commands[::-1].index(Command.LEFT) + 1, len(poses) - 1]
    thin = from_poses(poses[ends], [commands[i] for i in ends])
    dense = from_poses(poses, commands)
    away = [np.min(np.hypot(*(thin.points - p).T)) for p in dense.points]
    assert max(away) < 0.7
    assert command_at(thin, 65.0) == Command.LEFT


def test_a_sideways_jump_becomes_a_gradual_lane_change():
    xs = np.arange(0.0, 60.0)
    poses = np.stack([xs, np.where(xs < 30, 0.0, -3.5), 0 * xs], axis=1)
    route = from_poses(poses, [Command.FOLLOW] * len(poses))
    assert np.abs(np.diff(route.yaw)).max() < 0.15
    assert Command.CHANGE_RIGHT in route.commands


def test_a_turn_is_announced_ahead_and_until_its_end():
    route = from_poses(*crossing())
    assert command_at(route, 60 - ANNOUNCE_M - 2) == Command.FOLLOW
    assert command_at(route, 60 - ANNOUNCE_M + 2) == Command.LEFT
    assert command_at(route, 60 + RADIUS * math.pi / 2 - 1.5) == Command.LEFT
    assert command_at(route, 60 + RADIUS * math.pi / 2 + 2) == Command.FOLLOW


def test_the_announced_table_agrees_with_the_single_question():
    route = from_poses(*crossing())
    assert announced(route).tolist() == [command_at(route, s) for s in route.s]


def test_progress_knows_place_and_side():
    progress = RouteProgress(from_poses(*crossing()))
    assert progress.update(np.array([5.3, 0.8, 0.0])) == pytest.approx(5.3, abs=0.01)
    assert progress.offset == pytest.approx(0.8, abs=0.01)
    progress.update(np.array([6.0, -0.5, 0.0]))
    assert progress.offset == pytest.approx(-0.5, abs=0.01)


def test_progress_does_not_jump_where_a_route_crosses_itself():
    angles = np.linspace(0.0, 2 * math.pi, 200)
    eight = np.stack([40 * np.sin(angles), 20 * np.sin(2 * angles)], axis=1)
    yaw = np.unwrap(np.arctan2(*np.gradient(eight, axis=0).T[::-1]))
    route = from_poses(np.column_stack([eight, yaw]), [Command.FOLLOW] * 200)
    progress, before = RouteProgress(route), 0.0
    for s in np.arange(0.0, route.length, 0.4):
        now = progress.update(route.pose_at(s))
        assert abs(now - s) < 0.5
        assert now >= before - 0.1
        before = now


def test_ahead_is_in_the_ego_frame_and_goes_straight_on_past_the_end():
    route = from_poses(*crossing())
    progress = RouteProgress(route)
    pose = np.array([10.0, 1.0, 0.0])
    progress.update(pose)
    assert progress.ahead(pose, np.array([5.0, 10.0])) == pytest.approx(np.array([[5.0, -1.0], [10.0, -1.0]]), abs=0.01)
    end = route.pose_at(route.length)
    progress.s = route.length
    assert progress.ahead(end, np.array([7.0]))[0] == pytest.approx([7.0, 0.0], abs=0.05)


@pytest.mark.parametrize("poses", [np.zeros((0, 3)), np.zeros((4, 3)), np.full((3, 3), np.nan)])
def test_a_route_that_leads_nowhere_is_refused(poses):
    with pytest.raises(RouteError):
        from_poses(poses, [4] * len(poses))
