"""Poses in CARLA's convention: location (3,) m and rotation (pitch, yaw, roll) in degrees, left-handed.

Positive pitch lifts the nose, positive yaw turns right, positive roll lowers the right side.
"""

from __future__ import annotations

import math

import numpy as np

Pose = tuple[np.ndarray, np.ndarray]  # location, rotation


def rotation_matrix(rotation: np.ndarray) -> np.ndarray:
    """Return world_from_local (3, 3); its columns are the forward, right and up vectors."""
    pitch, yaw, roll = (math.radians(angle) for angle in rotation)
    cp, sp, cy, sy, cr, sr = (
        math.cos(pitch),
        math.sin(pitch),
        math.cos(yaw),
        math.sin(yaw),
        math.cos(roll),
        math.sin(roll),
    )
    return np.array(
        [
            [cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr],
            [cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr],
            [sp, -cp * sr, cp * cr],
        ]
    )


def rotation_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Return (pitch, yaw, roll) in degrees of a world_from_local (3, 3)."""
    m = matrix.tolist()
    pitch = math.asin(min(1.0, max(-1.0, m[2][0])))
    if abs(m[2][0]) > 0.999999:  # looking straight up or down: yaw and roll are one, call it yaw
        return np.array([math.degrees(pitch), math.degrees(math.atan2(-m[0][1], m[1][1])), 0.0])
    yaw, roll = math.atan2(m[1][0], m[0][0]), math.atan2(-m[2][1], m[2][2])
    return np.array([math.degrees(pitch), math.degrees(yaw), math.degrees(roll)])


def compose(world_from_parent: Pose, parent_from_child: Pose) -> Pose:
    """Return world_from_child."""
    turn = rotation_matrix(world_from_parent[1])
    location = world_from_parent[0] + turn @ parent_from_child[0]
    return location, rotation_from_matrix(turn @ rotation_matrix(parent_from_child[1]))


def relative(world_from_parent: Pose, world_from_child: Pose) -> Pose:
    """Return parent_from_child."""
    turn = rotation_matrix(world_from_parent[1]).T
    location = turn @ (world_from_child[0] - world_from_parent[0])
    return location, rotation_from_matrix(turn @ rotation_matrix(world_from_child[1]))


def wrap_deg(angle: float) -> float:
    """Return the same angle in [-180, 180)."""
    return (angle + 180.0) % 360.0 - 180.0
