"""Where to go: a dense polyline with a command at each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import Command
from autovla_core.errors import RouteError

SPACING_M = 1.0
_JUMP_M = 0.8  # a step this far sideways is a lane change drawn as a jump
_BLEND_M = 9.0  # on either side of such a jump


@dataclass(frozen=True)
class RoutePlan:
    """Points about 1 m apart, world frame, and what the road does there."""

    points: np.ndarray  # (N, 2) m
    commands: np.ndarray  # (N,) int, Command: turns inside junctions, FOLLOW on links
    s: np.ndarray  # (N,) m along the route
    yaw: np.ndarray  # (N,) rad, unwrapped

    @property
    def length(self) -> float:
        """Length in metres."""
        return float(self.s[-1])

    def pose_at(self, s: float) -> np.ndarray:
        """Pose (3,) on the route at ``s`` metres, world frame."""
        return np.array([np.interp(s, self.s, v) for v in (self.points[:, 0], self.points[:, 1], self.yaw)])


def from_poses(poses: np.ndarray, commands: Sequence[int] | np.ndarray) -> RoutePlan:
    """Build a route from dense or sparse poses (N, 3) in the world frame.

    Gaps are filled with cubic curves that leave and enter along the given headings, so a plan thinned to
    the junctions' ends keeps its turns; a sideways jump of a dense plan becomes a gradual lane change.

    Raises:
        RouteError: fewer than two distinct points, or values that are not finite.
    """
    poses = np.asarray(poses, float).reshape(-1, 3)
    commands = np.asarray([int(c) for c in commands])
    if len(poses) != len(commands):
        raise RouteError(f"route has {len(poses)} poses and {len(commands)} commands; expected as many")
    if not np.isfinite(poses).all():
        raise RouteError("route holds values that are not finite")
    keep = _distinct(poses)
    if len(keep) < 2:
        raise RouteError(f"route has {len(keep)} distinct points; expected at least 2")
    poses, commands = poses[keep], commands[keep]
    poses, commands = _without_jumps(poses, commands)
    return _resampled(*_filled(poses, commands))


def _distinct(poses: np.ndarray) -> list[int]:
    keep = [0]
    for index in range(1, len(poses)):
        if np.hypot(*(poses[index, :2] - poses[keep[-1], :2])) > 0.2:
            keep.append(index)
    return keep


def _without_jumps(poses: np.ndarray, commands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = np.diff(poses[:, :2], axis=0)
    normal = np.stack([-np.sin(poses[:-1, 2]), np.cos(poses[:-1, 2])], axis=1)
    sideways = np.sum(steps * normal, axis=1)
    turned = np.abs(geometry.wrap_angle(np.diff(poses[:, 2])))
    jumps = np.flatnonzero((np.abs(sideways) > _JUMP_M) & (np.hypot(*steps.T) < 6.0) & (turned < 0.35))
    s = geometry.arc_length(poses)
    keep = np.ones(len(poses), bool)
    for jump in jumps:
        keep &= (s < s[jump] - _BLEND_M) | (s > s[jump + 1] + _BLEND_M)
        commands = commands.copy()
        before = np.flatnonzero(s < s[jump] - _BLEND_M)
        if len(before):
            commands[before[-1]] = Command.CHANGE_LEFT if sideways[jump] > 0 else Command.CHANGE_RIGHT
    keep[[0, -1]] = True
    return poses[keep], commands[keep]


def _filled(poses: np.ndarray, commands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, options = [], []
    for (a, b), command in zip(zip(poses[:-1], poses[1:], strict=True), commands[:-1], strict=True):
        chord = float(np.hypot(*(b - a)[:2]))
        count = max(1, int(round(chord / (SPACING_M / 2)))) if chord > 1.6 * SPACING_M else 1
        points.append(_hermite(a, b, chord, np.arange(count) / count))
        options.append(np.full(count, command))
    points.append(poses[-1:, :2])
    options.append(commands[-1:])
    return np.concatenate(points), np.concatenate(options)


def _hermite(a: np.ndarray, b: np.ndarray, chord: float, u: np.ndarray) -> np.ndarray:
    u = u[:, None]
    t0 = chord * np.array([np.cos(a[2]), np.sin(a[2])])
    t1 = chord * np.array([np.cos(b[2]), np.sin(b[2])])
    return (
        (2 * u**3 - 3 * u**2 + 1) * a[:2]
        + (u**3 - 2 * u**2 + u) * t0
        + (3 * u**2 - 2 * u**3) * b[:2]
        + (u**3 - u**2) * t1
    )


def _resampled(points: np.ndarray, commands: np.ndarray) -> RoutePlan:
    s = geometry.arc_length(points)
    count = max(2, int(round(s[-1] / SPACING_M)) + 1)
    even = np.linspace(0.0, s[-1], count)
    points = np.stack([np.interp(even, s, points[:, k]) for k in (0, 1)], axis=1)
    commands = commands[np.clip(np.searchsorted(s, even, side="right") - 1, 0, len(s) - 1)]
    tangent = np.gradient(points, axis=0)
    yaw = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    return RoutePlan(points, commands, geometry.arc_length(points), yaw)
