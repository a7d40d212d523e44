"""The event camera (``sensor.camera.dvs``): where, when and which way the brightness of a pixel crossed a threshold.

Two pictures in a row, in logarithms; the brightness of a pixel is taken to change in a straight line between them.
Each pixel remembers the level of its last event; every further threshold that the line crosses is an event, at the
time of the crossing. Source of the model: Rebecq et al., ESIM, CoRL 2018, which CARLA names for its sensor.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.world.actor import Actor

TYPE_ID = "sensor.camera.dvs"
EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("pol", "u1")])  # 13 bytes; t in ns
LOWEST_THRESHOLD = 0.01  # noise makes none smaller
LUMA = np.array([0.114, 0.587, 0.299])  # of b, g, r
NEVER = np.iinfo(np.int64).min // 2


@dataclass(frozen=True)
class EventConfig:
    """CARLA's attributes of a dynamic vision sensor."""

    positive_threshold: float
    negative_threshold: float
    sigma_positive_threshold: float
    sigma_negative_threshold: float
    refractory_period_ns: int
    use_log: bool
    log_eps: float


def config_of(sensor: Actor) -> EventConfig:
    """Read a sensor's attributes.

    Raises:
        ValueError: thresholds that are not positive, negative noise or waiting, or no logarithm of black.
    """
    names = EventConfig.__dataclass_fields__
    values = {name: float(sensor.attributes[name]) for name in names if name != "use_log"}
    values["refractory_period_ns"] = int(values["refractory_period_ns"])
    config = EventConfig(**values, use_log=sensor.attributes["use_log"].lower() in ("true", "1"))
    if min(config.positive_threshold, config.negative_threshold, config.log_eps) <= 0.0:
        raise ValueError(f"positive_threshold, negative_threshold and log_eps must be above 0: {config}")
    if min(config.sigma_positive_threshold, config.sigma_negative_threshold, config.refractory_period_ns) < 0:
        raise ValueError(f"the sigmas and refractory_period_ns must not be negative: {config}")
    return config


def brightness(picture: np.ndarray, config: EventConfig) -> np.ndarray:
    """(H, W) float64 brightness of a (H, W, 4) BGRA picture: luma 0..1, or its logarithm."""
    luma = picture[..., :3] @ (LUMA / 255.0)
    return np.log(config.log_eps + luma) if config.use_log else luma


class EventCamera:
    """What one sensor remembers between its pictures. The arrays are replaced, never changed."""

    def __init__(self, sensor: Actor) -> None:
        self.config = config_of(sensor)
        self._rng = np.random.default_rng(sensor.id)
        self._time_ns = 0
        self._seen: np.ndarray | None = None  # (H, W) brightness of the last picture
        self._levels: np.ndarray | None = None  # (H, W) brightness of each pixel's last event
        self._fired_ns: np.ndarray | None = None  # (H, W) time of each pixel's last event

    def __deepcopy__(self, memo: dict[int, object]) -> EventCamera:
        """A clone that shares the arrays, and goes on with a generator of its own."""
        clone = object.__new__(EventCamera)
        memo[id(self)] = clone
        clone.__dict__.update(self.__dict__, _rng=copy.deepcopy(self._rng, memo))
        return clone

    def events(self, picture: np.ndarray, time_s: float) -> np.ndarray:
        """Return EVENT records in order of time; the first picture gives none."""
        now, time_ns = brightness(picture, self.config), round(time_s * 1e9)
        before, since_ns = self._seen, self._time_ns
        self._seen, self._time_ns = now, time_ns
        if before is None or before.shape != now.shape:
            self._levels, self._fired_ns = now, np.full(now.shape, NEVER)
            return np.zeros(0, EVENT)
        return self._crossings(before, now, since_ns, time_ns - since_ns)

    def _crossings(self, before: np.ndarray, now: np.ndarray, since_ns: int, span_ns: int) -> np.ndarray:
        rise = now - before
        rows, columns = np.nonzero(np.abs(now - self._levels) >= LOWEST_THRESHOLD)
        step = self._steps(rise[rows, columns])
        levels, fired = self._levels.copy(), self._fired_ns.copy()
        found = []
        while len(rows):
            level = levels[rows, columns] + step
            start, end = before[rows, columns], now[rows, columns]
            up = step > 0
            crossed = np.where(up, (level > start) & (level <= end), (level < start) & (level >= end))
            rows, columns, step, level, up = rows[crossed], columns[crossed], step[crossed], level[crossed], up[crossed]
            share = (level - before[rows, columns]) / rise[rows, columns]
            at = since_ns + np.round(share * span_ns).astype(np.int64)
            levels[rows, columns] = level
            awake = at - fired[rows, columns] >= self.config.refractory_period_ns
            fired[rows[awake], columns[awake]] = at[awake]
            found.append(_records(rows[awake], columns[awake], at[awake], up[awake]))
        self._levels, self._fired_ns = levels, fired
        events = np.concatenate([np.zeros(0, EVENT), *found])
        return events[np.argsort(events["t"], kind="stable")]

    def _steps(self, rise: np.ndarray) -> np.ndarray:
        """Signed threshold of each pixel, with this picture's noise."""
        config, up = self.config, rise >= 0
        height = np.where(up, config.positive_threshold, config.negative_threshold)
        sigma = np.where(up, config.sigma_positive_threshold, config.sigma_negative_threshold)
        if sigma.any():
            height = np.maximum(height + sigma * self._rng.standard_normal(len(rise)), LOWEST_THRESHOLD)
        return np.where(up, height, -height)


def _records(rows: np.ndarray, columns: np.ndarray, at: np.ndarray, up: np.ndarray) -> np.ndarray:
    records = np.empty(len(rows), EVENT)
    records["x"], records["y"], records["t"], records["pol"] = columns, rows, at, up
    return records
