"""What a key frame's neighbours tell: state from the past, truth from the future, and a command by a named rule.

Key frames come about every 0.5 s. Rates divide by the true time between them; the ten future poses are the next ten
key frames as they are, as every published nuScenes planner counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import PLAN_STEPS, STEP_S, Command
from training.datasets.nuscenes_index import KeyFrames

PAST = 3  # key frames before now: a clip needs them, and so does an acceleration
COMMAND_STEPS = 16  # key frames that the oracle command looks ahead: 8 s
COMMAND_M = 2.0  # sideways at their end that makes a turn
PAST_REACH_S = 4.0  # how far the "past" command carries the present turn on
GAP_S = 1.0  # key frames farther apart are no neighbours
BOX_CENTRE_M = 1.44  # ahead of the rear axle: the planning metrics' box lies 0.5 m ahead of the lidar, that 0.94 m
POINTS: dict[str, float | None] = {"centre": BOX_CENTRE_M, "rear_axle": 0.0, "lidar": None}  # None: as calibrated


@dataclass(frozen=True)
class Track:
    """Poses of K key frames as 4 x 4 matrices, and where each one's scene begins and ends."""

    global_from_ego: np.ndarray  # (K, 4, 4)
    ego_from_lidar: np.ndarray  # (K, 4, 4)
    time_s: np.ndarray  # (K,)
    first: np.ndarray  # (K,) first key frame of the scene, after the last gap
    last: np.ndarray  # (K,) last usable key frame of the scene before the next gap or broken one

    @classmethod
    def of(cls, frames: KeyFrames) -> Track:
        """The track of an index; broken key frames and gaps cut a scene."""
        count = len(frames)
        time_s = (frames.time_us - (frames.time_us[0] if count else 0)) / 1e6
        good = frames.broken == ""
        joined = np.zeros(count + 1, bool)  # joined[k]: key frame k follows k - 1 without a cut
        scene = frames.scene_of()
        step = np.diff(time_s)
        joined[1:-1] = (np.diff(scene) == 0) & good[1:] & good[:-1] & (step > 0.0) & (step <= GAP_S)
        numbers = np.arange(count)
        first = np.maximum.accumulate(np.where(joined[:-1], 0, numbers)) if count else numbers
        last = np.minimum.accumulate(np.where(joined[1:], count, numbers)[::-1])[::-1] if count else numbers
        ego = matrices(frames.ego_position, frames.ego_rotation)
        return cls(ego, matrices(frames.lidar_position, frames.lidar_rotation), time_s, first, last)


def matrices(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Transforms (N, 4, 4) from positions (N, 3) and quaternions (N, 4), w x y z, which are normalised."""
    w, x, y, z = (rotations / np.linalg.norm(rotations, axis=1, keepdims=True)).T
    out = np.zeros((len(positions), 4, 4))
    out[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1)
    out[:, 1, :3] = np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1)
    out[:, 2, :3] = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1)
    out[:, :3, 3] = positions
    out[:, 3, 3] = 1.0
    return out


def rigid_inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of one transform (4, 4)."""
    out = np.eye(4)
    out[:3, :3] = matrix[:3, :3].T
    out[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return out


def point_offset(track: Track, frame: int, point: str) -> float:
    """How far ahead of the rear axle ``point`` of ``POINTS`` lies."""
    offset = POINTS[point]
    return float(track.ego_from_lidar[frame, 0, 3]) if offset is None else offset


def poses_of(track: Track, now: int, frames: np.ndarray, offset: float) -> np.ndarray:
    """Poses (N, 3) at key frames ``frames`` in the frame at ``now``, of the point ``offset`` ahead of the rear axle."""
    relative = rigid_inverse(track.global_from_ego[now]) @ track.global_from_ego[frames]
    xy = relative[:, :2, 3] + offset * relative[:, :2, 0] - [offset, 0.0]
    return np.column_stack([xy, np.arctan2(relative[:, 1, 0], relative[:, 0, 0])])


def lidar_track(track: Track, now: int, frames: np.ndarray) -> np.ndarray:
    """The metric's truth: places (N, 2) of the lidar at ``frames`` in its own frame at ``now``, x forward, y left."""
    lidars = (track.global_from_ego[frames] @ track.ego_from_lidar[frames])[:, :, 3]
    there = lidars @ rigid_inverse(track.global_from_ego[now] @ track.ego_from_lidar[now]).T
    return np.column_stack([there[:, 1], -there[:, 0]])  # the lidar's y looks forward, its x to the right


def lidar_pose(track: Track, frame: int, offset: float) -> np.ndarray:
    """Pose (3,) of the metric's frame in the ego frame whose origin is ``offset`` ahead of the rear axle."""
    mounted = track.ego_from_lidar[frame]
    return np.array([mounted[0, 3] - offset, mounted[1, 3], np.arctan2(mounted[1, 1], mounted[0, 1])])


def future(track: Track, now: int, steps: int = PLAN_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """The next ``steps`` key frames (steps,), the last known one repeated, and which of them are known."""
    wanted = now + 1 + np.arange(steps)
    return np.minimum(wanted, track.last[now]), wanted <= track.last[now]


def usable(track: Track) -> np.ndarray:
    """Which key frames (K,) have the past that a sample needs."""
    return np.arange(len(track.first)) - track.first >= PAST


def complete(track: Track) -> np.ndarray:
    """Which key frames (K,) have all ten future ones."""
    return track.last - np.arange(len(track.last)) >= PLAN_STEPS


def state(track: Track, now: int) -> tuple[float, float]:
    """Signed speed and acceleration of the rear axle, from this key frame and the two before it."""
    frames = np.arange(now - 2, now + 1)
    moved = np.diff(track.global_from_ego[frames, :3, 3], axis=0)
    forward = np.einsum("ij,ij->i", moved, track.global_from_ego[frames[1:], :3, 0])
    seconds = np.diff(track.time_s[frames])
    speeds = np.copysign(np.linalg.norm(moved, axis=1), forward) / seconds
    return float(speeds[1]), float((speeds[1] - speeds[0]) / seconds.mean())


def oracle_command(track: Track, now: int) -> Command:
    """From where the car will really be in 8 s (or at the end of the scene): the official preprocessing's rule."""
    frames, known = future(track, now, COMMAND_STEPS)
    if not known[0]:
        return Command.STRAIGHT
    return _side(lidar_track(track, now, frames[-1:])[0, 1])


def past_command(track: Track, now: int) -> Command:
    """From the past alone: where the present speed and turn rate, kept for 4 s, would lead."""
    speed, _ = state(track, now)
    before = poses_of(track, now, np.array([now - 1]), 0.0)[0]
    rate = -before[2] / (track.time_s[now] - track.time_s[now - 1])
    angle = rate * PAST_REACH_S
    sideways = speed * PAST_REACH_S * (angle / 2.0 if abs(angle) < 1e-6 else (1.0 - np.cos(angle)) / angle)
    return _side(sideways)


def no_command(track: Track, now: int) -> Command:
    """Keep forward, always: nothing of the route is told."""
    return Command.FOLLOW


COMMANDS: dict[str, Callable[[Track, int], Command]] = {
    "oracle": oracle_command,
    "past": past_command,
    "none": no_command,
}


def _side(left_m: float) -> Command:
    if abs(left_m) < COMMAND_M:
        return Command.STRAIGHT
    return Command.LEFT if left_m > 0 else Command.RIGHT


STOPPED, STEADY, LANE_M, TURN_M = 0.3, 0.8, 2.0, 4.0  # m/s, m/s, m, m


def meta_action(poses: np.ndarray, speed: float) -> str:
    """The driven path (10, 3) in words, the last part of a thought."""
    end = float(np.linalg.norm(np.diff(poses[-2:, :2], axis=0))) / STEP_S
    if np.linalg.norm(poses[-1, :2]) < STOPPED * STEP_S * PLAN_STEPS:
        return "stop" if speed > STOPPED else "remain stopped"
    side = "left" if poses[-1, geometry.Y] > 0 else "right"
    sideways = np.abs(poses[:, geometry.Y])
    way = "keep forward"
    if sideways.max() >= LANE_M:
        way = f"turn {side}" if sideways[-1] > TURN_M else f"change lane to {side}"
    if end < STOPPED:
        return f"{way} and decelerate to a stop"
    change = end - speed
    pace = "at a constant speed" if abs(change) < STEADY else "and accelerate" if change > 0 else "and decelerate"
    return f"{way} {pace}"
