"""How comfortable a drive was, as Bench2Drive counts it and with its units put right.

A drive is cut into chunks of 20 ticks; a chunk is comfortable if every sample of six smoothed quantities lies strictly
within its bounds (the nuPlan thresholds); a drive's comfort is the share of its comfortable chunks.

``official`` keeps three defects, so that published figures can be met: turning speed in deg/s is held against limits in
rad/s, ticks 0.05 s apart count as 0.1 s, and the "yaw acceleration" is the yaw rate itself.
``corrected`` has radians, the true tick, and the derivative of the yaw rate.

Frames: CARLA's, left-handed world. Source: how Bench2Drive's efficiency_smoothness_benchmark.py behaves; own code.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CHUNK_TICKS = 20
WINDOW, DEGREE = 7, 2
TICK_S = 0.05
OFFICIAL_TICK_S = 0.1
BOUNDS: Mapping[str, tuple[float, float]] = {
    "longitudinal acceleration": (-4.05, 2.40),  # m/s2
    "lateral acceleration": (-4.89, 4.89),
    "jerk": (-8.37, 8.37),  # m/s3
    "longitudinal jerk": (-4.13, 4.13),
    "yaw acceleration": (-1.93, 1.93),  # rad/s2
    "yaw rate": (-0.95, 0.95),  # rad/s
}


@dataclass(frozen=True)
class Motion:
    """What ``metric_info.json`` holds of one drive: N ticks of CARLA's world frame."""

    acceleration: np.ndarray  # (N, 2) m/s2
    forward: np.ndarray  # (N, 2) unit vectors
    right: np.ndarray  # (N, 2)
    carla_yaw_rate_deg: np.ndarray  # (N,) deg/s

    def __len__(self) -> int:
        return len(self.acceleration)


def motion_of(ticks: Mapping[str, Mapping[str, Sequence[float]]]) -> Motion:
    """Read the object of a ``metric_info.json``, in the order of its keys in the file.

    Raises:
        ValueError: no ticks, or one that lacks a field.
    """
    if not ticks:
        raise ValueError("metric_info.json holds no ticks")
    try:
        table = {
            name: np.array([tick[name] for tick in ticks.values()], float)
            for name in ("acceleration", "forward_vector", "right_vector", "angular_velocity")
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"metric_info.json: a tick lacks {error}") from None
    for name, values in table.items():
        if values.ndim != 2 or values.shape[1] != 3:
            raise ValueError(f"metric_info.json: {name} has shape {values.shape}, expected (ticks, 3)")
    return Motion(
        table["acceleration"][:, :2],
        table["forward_vector"][:, :2],
        table["right_vector"][:, :2],
        table["angular_velocity"][:, 2],
    )


def comfort(motion: Motion, official: bool) -> float:
    """Share of comfortable chunks in [0, 1]; a short last chunk is dropped, a drive of up to one is whole.

    Raises:
        ValueError: fewer than three ticks.
    """
    if len(motion) < 3:
        raise ValueError(f"a drive of {len(motion)} ticks is too short for comfort, expected at least 3")
    if len(motion) <= CHUNK_TICKS:
        return float(_is_comfortable(motion, official))
    whole = len(motion) // CHUNK_TICKS
    good = [_is_comfortable(_cut(motion, i * CHUNK_TICKS), official) for i in range(whole)]
    return good.count(True) / whole


def quantities(motion: Motion, official: bool) -> dict[str, np.ndarray]:
    """The smoothed series (N,) that ``BOUNDS`` judge, by name."""
    tick = OFFICIAL_TICK_S if official else TICK_S
    ahead = _smooth(np.einsum("ij,ij->i", motion.acceleration, motion.forward))
    magnitude = _smooth(np.hypot(motion.acceleration[:, 0], motion.acceleration[:, 1]))
    rate = _folded(motion.carla_yaw_rate_deg) if official else np.radians(motion.carla_yaw_rate_deg)
    rate = _smooth(rate)
    return {
        "longitudinal acceleration": ahead,
        "lateral acceleration": _smooth(np.einsum("ij,ij->i", motion.acceleration, motion.right)),
        "jerk": _slope(magnitude, tick),
        "longitudinal jerk": _slope(ahead, tick),
        "yaw acceleration": rate if official else _slope(rate, tick),
        "yaw rate": rate,
    }


def _is_comfortable(motion: Motion, official: bool) -> bool:
    series = quantities(motion, official)
    return all(bool(np.all((series[name] > low) & (series[name] < high))) for name, (low, high) in BOUNDS.items())


def _cut(motion: Motion, start: int) -> Motion:
    part = slice(start, start + CHUNK_TICKS)
    return Motion(motion.acceleration[part], motion.forward[part], motion.right[part], motion.carla_yaw_rate_deg[part])


def _folded(rate: np.ndarray) -> np.ndarray:
    """Unwrap as if the rate were an angle in radians: a jump of more than pi deg/s is folded away."""
    turns = np.concatenate([[0.0], np.cumsum(np.round(np.diff(rate) / (2.0 * np.pi)))])
    return rate - 2.0 * np.pi * turns


def _smooth(values: np.ndarray) -> np.ndarray:
    return _filter(len(values), 0) @ values


def _slope(values: np.ndarray, tick: float) -> np.ndarray:
    return _filter(len(values), 1) @ values / tick


@functools.lru_cache(maxsize=64)
def _filter(count: int, derivative: int) -> np.ndarray:
    """(N, N) Savitzky-Golay: row i fits a parabola to the window around i and takes its value or slope at i.

    At both ends the outermost whole window is used, which is scipy's mode "interp".
    """
    window = min(WINDOW, count)
    matrix = np.zeros((count, count))
    for i in range(count):
        start = min(max(i - window // 2, 0), count - window)
        at = np.arange(start, start + window) - i
        fit = np.linalg.pinv(np.vander(at, DEGREE + 1, increasing=True).astype(float))
        matrix[i, start : start + window] = fit[derivative]
    return matrix
