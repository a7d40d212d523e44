"""Planar poses and angles: metres, radians, right-handed, yaw counter-clockwise.

An array of poses has a last axis ``(x, y, yaw)``. A pose ``a_from_b`` maps points given in
frame b to frame a; so ``compose(a_from_b, b_from_c)`` is ``a_from_c``.
"""

from __future__ import annotations

import numpy as np

X, Y, YAW = 0, 1, 2


def wrap_angle(angle: np.ndarray | float) -> np.ndarray | float:
    """Return the same direction in [-pi, pi)."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


def compose(a_from_b: np.ndarray, b_from_c: np.ndarray) -> np.ndarray:
    """Chain poses; both (..., 3), broadcast against each other. Yaw is wrapped."""
    a_from_b, b_from_c = np.asarray(a_from_b, float), np.asarray(b_from_c, float)
    cos, sin = np.cos(a_from_b[..., YAW]), np.sin(a_from_b[..., YAW])
    x, y = b_from_c[..., X], b_from_c[..., Y]
    return np.stack(
        [
            a_from_b[..., X] + cos * x - sin * y,
            a_from_b[..., Y] + sin * x + cos * y,
            wrap_angle(a_from_b[..., YAW] + b_from_c[..., YAW]),
        ],
        axis=-1,
    )


def invert(a_from_b: np.ndarray) -> np.ndarray:
    """Return ``b_from_a`` (..., 3)."""
    a_from_b = np.asarray(a_from_b, float)
    cos, sin = np.cos(a_from_b[..., YAW]), np.sin(a_from_b[..., YAW])
    x, y = a_from_b[..., X], a_from_b[..., Y]
    return np.stack([-cos * x - sin * y, sin * x - cos * y, wrap_angle(-a_from_b[..., YAW])], axis=-1)


def transform_points(a_from_b: np.ndarray, points_b: np.ndarray) -> np.ndarray:
    """Map points (..., 2) from frame b to frame a with one pose (3,)."""
    cos, sin = np.cos(a_from_b[YAW]), np.sin(a_from_b[YAW])
    points_b = np.asarray(points_b, float)
    x, y = points_b[..., X], points_b[..., Y]
    return np.stack([a_from_b[X] + cos * x - sin * y, a_from_b[Y] + sin * x + cos * y], axis=-1)


def relative(frame: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Express world poses (..., 3) in the frame of the world pose ``frame`` (3,)."""
    return compose(invert(frame), poses)


def arc_length(points: np.ndarray) -> np.ndarray:
    """Cumulative length (N,) along a polyline (N, 2 or more); starts at 0."""
    steps = np.linalg.norm(np.diff(points[:, :2], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])
