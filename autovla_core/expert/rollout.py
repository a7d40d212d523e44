"""Drive a bicycle forward in the head: what the expert would do if the world stays as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.control.lateral import MAX_CURVATURE, REAR_AXLE_M
from autovla_core.expert import speed as speeds
from autovla_core.expert.path import SPACING_M, DrivePath
from autovla_core.expert.speed import Constraint, Leader, SpeedConfig

DT_S = 0.1
STEPS = 50
LAG_S = 0.1  # the tracker aims ahead of the ego, so the rollout takes the curvature a moment late
CURVATURE_RATE = 0.6  # 1/(m s)
_STANDING = 0.05  # m/s
_CREEP_M = 1.0


@dataclass(frozen=True)
class Start:
    """The ego now."""

    x: float
    y: float
    yaw: float
    speed: float
    curvature: float  # 1/m
    s: float  # m along the path
    half_length: float


@dataclass(frozen=True)
class Rollout:
    """States at 0, 0.1 ... 5.0 s."""

    poses: np.ndarray  # (51, 3) world
    speed: np.ndarray  # (51,)
    s: np.ndarray  # (51,) of the box centre along the path
    binding: Constraint | None  # what slows the ego most, at the start
    acceleration: float  # m/s2, of the first step


def drive(
    path: DrivePath, start: Start, constraints: Sequence[Constraint], cruise: float, config: SpeedConfig
) -> Rollout:
    """Roll out 5 s along the path, kept to bicycle curvature and to the constraints.

    Args:
        cruise: m/s, the wanted speed where nothing else binds.
    """
    x, y, v, s, kappa = start.x, start.y, start.speed, start.s, start.curvature
    yaw = start.yaw
    poses, vs, ss = [(x, y, start.yaw)], [v], [s]
    binding, first = None, 0.0
    for step in range(STEPS):
        front = s + start.half_length
        a, limiter = _acceleration(path, constraints, s, front, v, step * DT_S, cruise, config)
        if step == 0:
            binding, first = limiter, a
        new_v = max(0.0, v + a * DT_S)
        if new_v < _STANDING and limiter is not None:
            new_v = 0.0
        moved = 0.5 * (v + new_v) * DT_S
        kappa = _steered(path, x, y, yaw, kappa, s, v)
        course = yaw + math.asin(REAR_AXLE_M * kappa) + 0.5 * kappa * moved  # the body lags the course in a turn
        x += moved * math.cos(course)
        y += moved * math.sin(course)
        yaw += kappa * moved
        s = _advanced(path, x, y, s, moved)
        v = new_v
        poses.append((x, y, yaw))
        vs.append(v)
        ss.append(s)
    return Rollout(np.array(poses), np.array(vs), np.array(ss), binding, first)


def _acceleration(
    path: DrivePath,
    constraints: Sequence[Constraint],
    s: float,
    front: float,
    v: float,
    t: float,
    cruise: float,
    config: SpeedConfig,
) -> tuple[float, Constraint | None]:
    index, _ = path.at(s + v * config.response_s)  # the loop lags by its response, so it looks as far ahead
    lowest, limiter = speeds.free_acceleration(config, v, min(cruise, path.cap[index])), None
    for constraint in constraints:
        if isinstance(constraint, Leader):
            gap = constraint.rear_s + constraint.speed * t - front
            a = speeds.leader_acceleration(config, v, gap, constraint.speed)
        else:
            a = _stop(constraint, front, v, config)
        if a < lowest:
            lowest, limiter = a, constraint
    return lowest, limiter


def _stop(constraint: speeds.Stop, front: float, v: float, config: SpeedConfig) -> float:
    distance = constraint.front_s - front
    if v < _STANDING and distance < _CREEP_M:
        return -1.0  # near enough: stand, do not creep
    return speeds.stop_acceleration(config, v, distance)


def _steered(path: DrivePath, x: float, y: float, yaw: float, kappa: float, s: float, v: float) -> float:
    """Next curvature: the path's a little late, plus a damped return to it."""
    index, share = path.at(s)
    tangent = path.yaw[index]
    px = path.x[index] + share * SPACING_M * math.cos(tangent)
    py = path.y[index] + share * SPACING_M * math.sin(tangent)
    offset = -(x - px) * math.sin(tangent) + (y - py) * math.cos(tangent)
    bend = path.curvature[index]
    body = tangent + share * SPACING_M * bend - math.asin(min(max(REAR_AXLE_M * bend, -0.5), 0.5))
    turned = (yaw - body + math.pi) % (2.0 * math.pi) - math.pi
    reach = max(3.0, 1.0 + 0.6 * v)
    offset = min(max(offset, -1.2 * reach * 0.5), 1.2 * reach * 0.5)
    late, _ = path.at(s - LAG_S * v)
    wanted = path.curvature[late] - offset / reach**2 - 2.0 * turned / reach
    wanted = min(max(wanted, -MAX_CURVATURE), MAX_CURVATURE)
    most = CURVATURE_RATE * DT_S
    return min(max(wanted, kappa - most), kappa + most)


def _advanced(path: DrivePath, x: float, y: float, s: float, moved: float) -> float:
    """Project onto the path's tangent near the place expected."""
    guess = s + moved
    index, share = path.at(guess)
    yaw = path.yaw[index]
    px = path.x[index] + share * SPACING_M * math.cos(yaw)
    py = path.y[index] + share * SPACING_M * math.sin(yaw)
    along = (x - px) * math.cos(yaw) + (y - py) * math.sin(yaw)
    return max(s, guess + min(max(along, -1.0), 1.0))
