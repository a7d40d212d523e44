"""Comfort of simulated states: bounds on smoothed accelerations, jerks and yaw motion.

Smoothing is Savitzky-Golay with polynomials fitted at both ends. A signal of fixed length meets a
fixed filter, so each filter is one matrix.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from autovla_core.scoring.pdm.tracker import AX, AY, YAW, YAW_ACC, YAW_RATE
from autovla_core.scoring.pdm_types import GRID_S, STATE_COLUMNS, EgoState

DECIMALS = 8  # smoothed signals are rounded before they are judged
BOUNDS = {  # exclusive
    "longitudinal acceleration": (-4.05, 2.40),
    "lateral acceleration": (-4.89, 4.89),
    "jerk": (-8.37, 8.37),
    "longitudinal jerk": (-4.13, 4.13),
    "yaw acceleration": (-1.93, 1.93),
    "yaw rate": (-0.95, 0.95),
}
DIFFERENCE_LIMITS = {"acceleration": 0.7, "jerk": 0.5, "yaw rate": 0.1, "yaw acceleration": 0.1}  # inclusive, rms
PAST_S = np.arange(-15, -1) * GRID_S  # 14 times; that -0.1 s is left out is the benchmark's


@lru_cache(maxsize=64)
def smoother(count: int, window: int, order: int, derivative: int = 0) -> np.ndarray:
    """Savitzky-Golay as a matrix (count, count) over samples 0.1 s apart.

    An even window judges the point between its two middle samples, and the result counts for the
    earlier one. Near the ends the polynomial of the outermost window is evaluated.
    """
    window = min(window, count)
    half = window // 2
    matrix = np.zeros((count, count))
    middle = _weights(window, order, derivative, (window - 1) / 2.0)
    before = (window - 1) // 2
    for row in range(half, count - half):
        matrix[row, row - before : row - before + window] = middle
    for row in range(half):
        matrix[row, :window] = _weights(window, order, derivative, row)
        matrix[count - half + row, count - window :] = _weights(window, order, derivative, window - half + row)
    return matrix / GRID_S**derivative


def _weights(window: int, order: int, derivative: int, at: float) -> np.ndarray:
    """Weights (window,) that give a derivative at sample position ``at`` of the fitted polynomial."""
    center = (window - 1) / 2.0
    powers = np.arange(order + 1)
    fit = np.linalg.pinv((np.arange(window)[:, None] - center) ** powers)
    basis = np.array([np.prod(np.arange(p, p - derivative, -1.0)) for p in powers])
    return (basis * (at - center) ** np.maximum(powers - derivative, 0)) @ fit


def _filter(signal: np.ndarray, window: int, order: int, derivative: int = 0) -> np.ndarray:
    return np.round(signal @ smoother(signal.shape[-1], window, order, derivative).T, DECIMALS)


def _magnitude(states: np.ndarray) -> np.ndarray:
    return np.hypot(states[..., AX], states[..., AY])


def _unwrapped(states: np.ndarray) -> np.ndarray:
    return np.unwrap(states[..., YAW], axis=-1)


def signals_v1(states: np.ndarray) -> dict[str, np.ndarray]:
    """Judged signals (P, T) of states (P, T, 11) at the rear axle; accelerations are smoothed over the whole plan."""
    count = states.shape[1]
    return {
        "longitudinal acceleration": _filter(states[..., AX], count, 2),
        "lateral acceleration": _filter(states[..., AY], count, 2),
        "jerk": _filter(_filter(_magnitude(states), 8, 2), count, 2, 1),
        "longitudinal jerk": _filter(_filter(states[..., AX], 8, 2), count, 2, 1),
        **_yaw_signals(states),
    }


def signals_v2(states: np.ndarray, rear_axle_to_center: float) -> dict[str, np.ndarray]:
    """As ``signals_v1``, with short windows and at the box centre, except the magnitude.

    The shift to the centre puts the tangential term on the longitudinal axis too, and nothing on
    the lateral one; so it is in the benchmark.
    """
    shift = rear_axle_to_center * (states[..., YAW_RATE] ** 2 + states[..., YAW_ACC])
    longitudinal = _filter(states[..., AX] + shift, 8, 2)
    return {
        "longitudinal acceleration": longitudinal,
        "lateral acceleration": _filter(states[..., AY], 8, 2),
        "jerk": _filter(_filter(_magnitude(states), 8, 2), 15, 2, 1),
        "longitudinal jerk": _filter(longitudinal, 15, 2, 1),
        **_yaw_signals(states),
    }


def _yaw_signals(states: np.ndarray) -> dict[str, np.ndarray]:
    yaw = _unwrapped(states)
    return {"yaw acceleration": _filter(yaw, 5, 3, 2), "yaw rate": _filter(yaw, 5, 2, 1)}


def within_bounds(signals: dict[str, np.ndarray]) -> np.ndarray:
    """1.0 where every signal of a plan stays within ``BOUNDS``, else 0.0; (P,)."""
    good = [((signals[name] > low) & (signals[name] < high)).all(-1) for name, (low, high) in BOUNDS.items()]
    return np.all(good, axis=0).astype(float)


def past_states(history: np.ndarray, ego: EgoState) -> np.ndarray:
    """States (14, 11) of the past: history rows (H, 8) t, x, y, yaw, vx, vy, ax, ay and the present, interpolated."""
    now = [0.0, *ego.pose, ego.vx, ego.vy, ego.ax, ego.ay]
    rows = np.vstack([np.asarray(history, float), [now]])
    rows[:, 1 + YAW] = np.unwrap(rows[:, 1 + YAW])
    times = PAST_S[rows[0, 0] - 1e-6 <= PAST_S]
    past = np.zeros((len(times), len(STATE_COLUMNS)))
    for column in range(AY + 1):
        past[:, column] = np.interp(times, rows[:, 0], rows[:, 1 + column])
    return past


def history_comfort(states: np.ndarray, past: np.ndarray | None, rear_axle_to_center: float) -> np.ndarray:
    """V2: comfort (P,) of states (P, 41, 11) behind the past (14, 11); 1 where no past is known."""
    if past is None:
        return np.ones(len(states))
    joined = np.concatenate([np.broadcast_to(past, (len(states), *past.shape)), states], axis=1)
    return within_bounds(signals_v2(joined, rear_axle_to_center))


def extended_comfort(states: np.ndarray, earlier: np.ndarray, shift: int = 5) -> np.ndarray:
    """V2: 1.0 (P,) where plans (P, 41, 11) agree with the one (41, 11) made ``shift`` steps earlier."""
    now, before = _features(states[:, :-shift]), _features(earlier[None, shift:])
    rms = {name: np.sqrt(((now[name] - before[name]) ** 2).mean(-1)) for name in now}
    return np.all([rms[name] <= limit for name, limit in DIFFERENCE_LIMITS.items()], axis=0).astype(float)


def _features(states: np.ndarray) -> dict[str, np.ndarray]:
    magnitude, yaw = _filter(_magnitude(states), 8, 2), _unwrapped(states)
    return {
        "acceleration": magnitude,
        "jerk": _filter(magnitude, 15, 2, 1),
        "yaw rate": _filter(yaw, 5, 2, 1),
        "yaw acceleration": _filter(yaw, 5, 2, 2),
    }
