"""Drives given as places of the rear axle, and our poses of the box centre.

Waymo and nuPlan put the origin on the rear axle, our ego frame in the middle of the vehicle's box. Both frames have
the same axes, so only the origin moves: by ``ahead_m``, forward along the vehicle. The way back is exact.
"""

from __future__ import annotations

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import PLAN_STEPS, STEP_S
from autovla_core.geometry import YAW

TRACK_PERIOD_S = 0.25  # of Waymo's states
EVERY = round(STEP_S / TRACK_PERIOD_S)  # states to one step of a plan
MIN_CHORD_M = 0.15  # over 0.5 s; below it the direction of a motion is noise


def headings(points: np.ndarray) -> np.ndarray:
    """Yaw (N,) of a rear axle that starts at the origin with yaw 0 and then visits ``points`` (N, 2), evenly in time.

    A rear axle does not slip sideways, so it points where it goes. The yaw at a point is the direction of the chord
    between its neighbours, exact on an arc; at the last point the turn of the last half step is carried on. A chord
    shorter than ``MIN_CHORD_M`` keeps the yaw before it; one that points back is driven in reverse.
    """
    track = np.concatenate([np.zeros((1, 2)), np.asarray(points, float)])
    yaw = np.zeros(len(track))
    for i in range(1, len(track) - 1):
        yaw[i] = _direction(track[i + 1] - track[i - 1], yaw[i - 1])
    if len(track) > 2:
        yaw[-1] = _last_heading(track, yaw)
    return yaw[1:]


def _last_heading(track: np.ndarray, yaw: np.ndarray) -> float:
    """Yaw at the last point: the direction of the last step, turned on by half of the last turn."""
    steps = 2.0 * np.diff(track[-3:], axis=0)  # as long as the chords that the threshold is made for
    if np.hypot(*steps[1]) < MIN_CHORD_M:
        return yaw[-2]
    before, after = _direction(steps[0], yaw[-3]), _direction(steps[1], yaw[-2])
    return float(geometry.wrap_angle(after + 0.5 * geometry.wrap_angle(after - before)))


def _direction(chord: np.ndarray, before: float) -> float:
    """The yaw along ``chord`` (2,), or against it if that is nearer to the yaw ``before``."""
    if np.hypot(*chord) < MIN_CHORD_M:
        return before
    along = float(np.arctan2(chord[1], chord[0]))
    turn = float(geometry.wrap_angle(along - before))
    return along if abs(turn) <= np.pi / 2 else float(geometry.wrap_angle(along + np.pi))


def centre_from_rear(poses: np.ndarray, ahead_m: float) -> np.ndarray:
    """Poses (..., 3) of the rear axle, relative to it now, as poses of the centre relative to the centre now."""
    ahead = np.array([ahead_m, 0.0, 0.0])
    return geometry.relative(ahead, geometry.compose(poses, ahead))


def rear_from_centre(poses: np.ndarray, ahead_m: float) -> np.ndarray:
    """The way back."""
    return centre_from_rear(poses, -ahead_m)


def future_poses(points: np.ndarray, ahead_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Ten poses (10, 3) of the centre and a mask (10,) from rear axle places (N <= 20, 2) at 0.25, 0.5 ... s."""
    poses, mask = np.zeros((PLAN_STEPS, 3)), np.zeros(PLAN_STEPS, bool)
    known = np.column_stack([points, headings(points)])[EVERY - 1 :: EVERY][:PLAN_STEPS]
    poses[: len(known)] = centre_from_rear(known, ahead_m)
    mask[: len(known)] = True
    return poses, mask


def past_poses(points: np.ndarray, ahead_m: float) -> np.ndarray:
    """Past poses (H, 3) of the centre at 2 Hz, oldest first, without now, from rear axle places (N, 2) at 4 Hz.

    The last point is now. Seen from now backwards, the drive is one in reverse.
    """
    back = points[-2::-1]
    poses = np.column_stack([back, headings(back)])[EVERY - 1 :: EVERY]
    return centre_from_rear(poses[::-1], ahead_m)


def waypoints(plan: np.ndarray, ahead_m: float) -> np.ndarray:
    """Places (20, 2) of the rear axle at 0.25 ... 5 s for a plan (10, 3) of the centre; straight between its poses."""
    rear = rear_from_centre(np.asarray(plan, float), ahead_m)[:, :YAW]
    track = np.concatenate([np.zeros((1, 2)), rear])
    middle = 0.5 * (track[:-1] + track[1:])
    return np.stack([middle, rear], axis=1).reshape(-1, 2)
