"""What a motion of 0.5 s says about speed, curvature and sideways force.

Shapes: motions (..., 3) are (dx, dy, dyaw) of the box centre, in the ego frame at the start. Everything is
read off the arc of constant curvature with the same end, which is what such a short drive looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core.contracts import STEP_S

STILL_M = 0.05  # a shorter motion is standing: it has no direction and no curvature


@dataclass(frozen=True)
class Limits:
    """What a passenger car can do; beyond it a motion is a glitch of the recording."""

    speed: float = 60.0  # m/s
    reverse_speed: float = 6.0  # m/s
    curvature: float = 0.25  # 1/m, of the box centre
    lateral_acceleration: float = 10.0  # m/s2
    slip: float = 0.5  # rad, between the direction of travel and the heading half-way
    yaw_still: float = 0.02  # rad, that a motion may turn beyond its curvature: rounding, and tyres that scrub


def arc_lengths(motions: np.ndarray) -> np.ndarray:
    """Metres (...) along the arc, negative when reversing."""
    motions = np.asarray(motions, float)
    half = 0.5 * motions[..., 2]
    chord = np.hypot(motions[..., 0], motions[..., 1]) / np.sinc(half / np.pi)
    ahead = motions[..., 0] * np.cos(half) + motions[..., 1] * np.sin(half)
    return np.where(ahead < 0.0, -chord, chord)


def speeds(motions: np.ndarray) -> np.ndarray:
    """Mean speed (...) m/s over the motion, negative when reversing."""
    return arc_lengths(motions) / STEP_S


def curvatures(motions: np.ndarray) -> np.ndarray:
    """1/m (...), left positive; 0 where the car stands."""
    arcs = arc_lengths(motions)
    moving = np.abs(arcs) > STILL_M
    return np.where(moving, np.asarray(motions, float)[..., 2] / np.where(moving, arcs, 1.0), 0.0)


def lateral_accelerations(motions: np.ndarray) -> np.ndarray:
    """m/s2 (...), left positive: speed times rate of turn."""
    return speeds(motions) * np.asarray(motions, float)[..., 2] / STEP_S


def slips(motions: np.ndarray) -> np.ndarray:
    """Angle (...) rad between the chord and the heading half-way; 0 where the car stands."""
    motions = np.asarray(motions, float)
    arcs = arc_lengths(motions)
    forward = np.sign(arcs)
    angle = np.arctan2(motions[..., 1] * forward, motions[..., 0] * forward) - 0.5 * motions[..., 2]
    return np.where(np.abs(arcs) > STILL_M, (angle + np.pi) % (2.0 * np.pi) - np.pi, 0.0)


def violations(motions: np.ndarray, limits: Limits | None = None) -> dict[str, np.ndarray]:
    """Which motions (...) break which limit, by name."""
    limits = limits or Limits()
    arcs, yaw = arc_lengths(motions), np.abs(np.asarray(motions, float)[..., 2])
    return {
        "too fast": arcs > limits.speed * STEP_S,
        "reverse too fast": arcs < -limits.reverse_speed * STEP_S,
        "curve too tight": yaw > limits.curvature * np.abs(arcs) + limits.yaw_still,
        "lateral acceleration": np.abs(lateral_accelerations(motions)) > limits.lateral_acceleration,
        "sideways": np.abs(slips(motions)) > limits.slip + limits.yaw_still / np.maximum(np.abs(arcs), STILL_M),
    }


def feasible(motions: np.ndarray, limits: Limits | None = None) -> np.ndarray:
    """Whether motions (...) break no limit."""
    return ~np.any(list(violations(motions, limits).values()), axis=0)
