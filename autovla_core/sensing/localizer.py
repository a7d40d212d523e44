"""Where the ego is: GNSS, compass, speed and yaw rate in one estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autovla_core import frames, geometry

GRAVITY = 9.81


@dataclass(frozen=True)
class LocalizerConfig:
    """GNSS noise is white, about 0.56 m per axis at 20 Hz; speed and compass are nearly exact."""

    gain: float = 0.02  # share of a GNSS reading taken per tick, once settled
    gnss_x: float = 0.0  # m, the receiver ahead of the box centre


class Localizer:
    """A complementary filter: dead reckoning, pulled slowly to the GNSS."""

    def __init__(self, config: LocalizerConfig | None = None) -> None:
        self.config = config or LocalizerConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._readings = 0
        self._xy = np.zeros(2)
        self._yaw: float | None = None
        self._last_time: float | None = None

    def update(
        self, time_s: float, latitude_deg: float, longitude_deg: float, compass: float, speed: float, yaw_rate: float
    ) -> np.ndarray:
        """Take one tick's readings; return world_from_ego (3,).

        Args:
            compass: rad clockwise from north, as CARLA's IMU gives it; NaN is bridged by the yaw rate.
            speed: m/s along the heading.
            yaw_rate: rad/s, counter-clockwise.
        """
        dt = 0.0 if self._last_time is None else max(time_s - self._last_time, 0.0)
        self._last_time = time_s
        before = self._yaw
        yaw = self._heading(compass, yaw_rate, dt)
        middle = yaw if before is None else before + 0.5 * geometry.wrap_angle(yaw - before)
        self._xy = self._xy + speed * dt * np.array([math.cos(middle), math.sin(middle)])
        read = frames.xy_from_gnss(latitude_deg, longitude_deg)
        read = read - self.config.gnss_x * np.array([math.cos(yaw), math.sin(yaw)])
        if np.isfinite(read).all():
            self._readings += 1
            self._xy = self._xy + max(1.0 / self._readings, self.config.gain) * (read - self._xy)
        return np.array([self._xy[0], self._xy[1], yaw])

    def _heading(self, compass: float, yaw_rate: float, dt: float) -> float:
        if math.isfinite(compass):
            self._yaw = frames.yaw_from_compass(compass)
        elif self._yaw is not None:
            self._yaw = float(geometry.wrap_angle(self._yaw + yaw_rate * dt))
        return 0.0 if self._yaw is None else self._yaw


class SpeedDerivative:
    """Signed longitudinal acceleration from the speedometer, smoothed over a few ticks.

    The IMU's own value carries gravity on slopes; the planner was trained on the change of speed.
    """

    def __init__(self, time_constant_s: float = 0.15) -> None:
        self._time_constant_s = time_constant_s
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._last: tuple[float, float] | None = None
        self.acceleration = 0.0

    def update(self, time_s: float, speed: float) -> float:
        """Take the speed (m/s) at ``time_s``; return m/s2."""
        if self._last is not None and time_s > self._last[0]:
            dt = time_s - self._last[0]
            raw = (speed - self._last[1]) / dt
            self.acceleration += min(1.0, dt / self._time_constant_s) * (raw - self.acceleration)
        self._last = (time_s, speed)
        return self.acceleration
