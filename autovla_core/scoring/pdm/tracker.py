"""From the poses of a plan to the states a car would drive: LQR tracker and kinematic bicycle, 4 s at 10 Hz.

Two of its habits are the benchmark's and not what one would write: the velocity fit penalises
accelerations where it means to penalise their differences, and the lateral velocity and
acceleration of a simulated state are always zero.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit

from autovla_core.geometry import compose, wrap_angle
from autovla_core.scoring.pdm_types import GRID_S, GRID_STEPS, STATE_COLUMNS, EgoState, VehicleShape

X, Y, YAW, VX, VY, AX, AY, STEER, STEER_RATE, YAW_RATE, YAW_ACC = range(len(STATE_COLUMNS))
HORIZON = 10  # steps the tracker looks ahead
ACCELERATION_PENALTY = 1e-4
CURVATURE_RATE_PENALTY = 1e-2
CURVATURE_PENALTY = 1e-10  # of the first one, so that standing still is solvable
STOPPING_SPEED = 0.2  # m/s
STOPPING_GAIN = 0.5
SPEED_GAIN = 10.0 / 11.0  # of the one-step LQR with q = 10, r = 1 over 1 s
HEADING_WEIGHT = 10.0  # against 1 for the lateral error and for the steering rate
ACCELERATION_LAG_S = 0.2
STEERING_LAG_S = 0.05
STEERING_LIMIT = math.pi / 3


def on_grid(poses_world: np.ndarray, period_s: float) -> np.ndarray:
    """Poses (P, N, 3) at 0, ``period_s`` ... to (P, 41, 3) at 10 Hz: linear, yaw unwrapped, the last one held."""
    poses = np.array(poses_world, float)
    poses[..., YAW] = np.unwrap(poses[..., YAW], axis=-1)
    at = np.minimum(np.arange(GRID_STEPS + 1) * GRID_S / period_s, poses.shape[1] - 1)
    low = np.minimum(at.astype(int), poses.shape[1] - 2)
    share = (at - low)[:, None]
    return poses[:, low] + share * (poses[:, low + 1] - poses[:, low])


def to_world(plans: np.ndarray, ego: EgoState) -> np.ndarray:
    """Plans (P, N, 3) in the ego frame to world poses (P, N + 1, 3) that begin where the ego is."""
    plans = np.asarray(plans, float)
    start = np.broadcast_to(np.asarray(ego.pose, float), (len(plans), 1, 3))
    return np.concatenate([start, compose(ego.pose, plans)], axis=1)


def simulate(references: np.ndarray, ego: EgoState, vehicle: VehicleShape) -> np.ndarray:
    """Drive along references (P, 41, 3), world; returns states (P, 41, 11), columns ``STATE_COLUMNS``."""
    references = np.ascontiguousarray(references, float)
    speeds, curvatures = profiles(references)
    states = np.zeros((len(references), GRID_STEPS + 1, len(STATE_COLUMNS)))
    states[:, 0, : STEER + 1] = (*ego.pose, ego.vx, ego.vy, ego.ax, ego.ay, ego.steering_angle)
    states[:, 0, YAW_RATE] = ego.yaw_rate
    _drive(states, references, speeds, curvatures, vehicle.wheel_base)
    return states


def profiles(references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Speeds and curvatures (P, 40) that best explain the displacements of references (P, 41, 3)."""
    steps = np.diff(references, axis=1)
    yaw = references[:, :-1, YAW]
    along = steps[..., X] * np.cos(yaw) + steps[..., Y] * np.sin(yaw)
    speeds = along @ speed_fit().T
    return speeds, _curvatures(speeds * GRID_S, wrap_angle(steps[..., YAW]))


@lru_cache(maxsize=1)
def speed_fit() -> np.ndarray:
    """The matrix (40, 40) from displacements along the heading to fitted speeds.

    Its normal equations do not depend on the headings: each displacement enters with
    (cos, sin), whose squares sum to one. So one inverse serves every plan.
    """
    design = GRID_S**2 * np.tri(GRID_STEPS)
    design[:, 0] = GRID_S
    penalty = np.zeros((GRID_STEPS - 2, GRID_STEPS))
    penalty[:, 1:-1] = -np.eye(GRID_STEPS - 2)
    penalty[-1, -1] = 1.0
    solve = np.linalg.pinv(design.T @ design + ACCELERATION_PENALTY * penalty.T @ penalty) @ design.T
    return (design / GRID_S) @ solve


@njit(cache=True)
def _curvatures(widths: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Smoothed curvatures (P, 40) with turn = width * curvature.

    The least squares problem is tridiagonal in the curvatures. It is solved as a filter forwards
    and a smoother backwards: elimination would lose the tiny weight of the first curvature.
    """
    couple = CURVATURE_RATE_PENALTY / GRID_S**2
    plans, count = widths.shape
    result = np.empty((plans, count))
    weight, pull = np.empty(count), np.empty(count)
    for p in range(plans):
        passed_weight, passed_pull = CURVATURE_PENALTY, 0.0
        for i in range(count):
            weight[i] = passed_weight + widths[p, i] ** 2
            pull[i] = passed_pull + widths[p, i] * turns[p, i]
            share = couple / (couple + weight[i])
            passed_weight, passed_pull = share * weight[i], share * pull[i]
        result[p, count - 1] = pull[count - 1] / weight[count - 1]
        for i in range(count - 2, -1, -1):
            result[p, i] = (pull[i] + couple * result[p, i + 1]) / (couple + weight[i])
    return result


@njit(cache=True)
def _wrap(angle: float) -> float:
    return math.atan2(math.sin(angle), math.cos(angle))


@njit(cache=True)
def _steering_rate(
    lateral: float, heading: float, steer: float, speed: float, acceleration: float, curvatures: np.ndarray, base: float
) -> float:
    """One-step LQR: the constant rate that makes the errors at the horizon small; curvatures (10,)."""
    rate_lateral, rate_heading, rate_steer = 0.0, 0.0, 0.0  # what a unit of steering rate adds
    for k in range(HORIZON):
        reach = (speed + k * GRID_S * acceleration) * GRID_S
        lateral, heading = lateral + reach * heading, heading + reach * (steer / base - curvatures[k])
        rate_lateral, rate_heading = rate_lateral + reach * rate_heading, rate_heading + reach * rate_steer / base
        rate_steer += GRID_S
    gain = rate_lateral * lateral + HEADING_WEIGHT * rate_heading * _wrap(heading)
    return -gain / (rate_lateral**2 + HEADING_WEIGHT * rate_heading**2 + 1.0)


@njit(cache=True)
def _command(
    state: np.ndarray, pose: np.ndarray, goal: float, curvatures: np.ndarray, base: float
) -> tuple[float, float]:
    """Acceleration and steering rate asked of the car at ``state`` (11,) that should be at ``pose`` (3,)."""
    speed = state[VX]
    if goal <= STOPPING_SPEED and speed <= STOPPING_SPEED:
        return -STOPPING_GAIN * (speed - goal), 0.0
    acceleration = -SPEED_GAIN * (speed - goal)
    dx, dy = state[X] - pose[X], state[Y] - pose[Y]
    lateral = -dx * math.sin(pose[YAW]) + dy * math.cos(pose[YAW])
    heading = _wrap(state[YAW] - pose[YAW])
    return acceleration, _steering_rate(lateral, heading, state[STEER], speed, acceleration, curvatures, base)


@njit(cache=True)
def _advance(old: np.ndarray, new: np.ndarray, acceleration: float, steering_rate: float, base: float) -> None:
    """One explicit Euler step of the bicycle whose commands pass first-order lags; fills ``new`` (11,)."""
    new[AX] = old[AX] + GRID_S / (GRID_S + ACCELERATION_LAG_S) * (acceleration - old[AX])
    change = GRID_S / (GRID_S + STEERING_LAG_S) * GRID_S * steering_rate
    new[X] = old[X] + old[VX] * math.cos(old[YAW]) * GRID_S
    new[Y] = old[Y] + old[VX] * math.sin(old[YAW]) * GRID_S
    yaw = old[YAW] + old[VX] * math.tan(old[STEER]) / base * GRID_S
    new[YAW] = (yaw + math.pi) % (2.0 * math.pi) - math.pi
    new[VX] = old[VX] + new[AX] * GRID_S
    new[STEER] = min(max(old[STEER] + change, -STEERING_LIMIT), STEERING_LIMIT)
    new[STEER_RATE] = change / GRID_S
    new[YAW_RATE] = new[VX] * math.tan(new[STEER]) / base
    new[YAW_ACC] = (new[YAW_RATE] - old[YAW_RATE]) / GRID_S


@njit(cache=True)
def _drive(states: np.ndarray, references: np.ndarray, speeds: np.ndarray, curvatures: np.ndarray, base: float) -> None:
    last = GRID_STEPS - 1
    ahead = np.empty(HORIZON)
    for p in range(len(states)):
        for i in range(GRID_STEPS):
            for k in range(HORIZON):
                ahead[k] = curvatures[p, min(i + k, last)]
            goal = speeds[p, min(i + HORIZON, last)]
            acceleration, rate = _command(states[p, i], references[p, i], goal, ahead, base)
            _advance(states[p, i], states[p, i + 1], acceleration, rate, base)
