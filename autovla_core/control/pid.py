"""One PID loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PidConfig:
    """Gains of one loop; the output is clipped to ``limits``."""

    kp: float = 0.0
    ki: float = 0.0
    kd: float = 0.0
    limits: tuple[float, float] = (-1.0, 1.0)


class Pid:
    """kp e + ki integral(e) + kd de/dt, clipped; the integral rests while the output is saturated."""

    def __init__(self, config: PidConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._integral = 0.0
        self._last_error: float | None = None

    def step(self, error: float, dt: float) -> float:
        """Feed the error of one tick of ``dt`` seconds; return the clipped output."""
        low, high = self.config.limits
        slope = 0.0 if self._last_error is None else (error - self._last_error) / dt
        self._last_error = error
        integral = self._integral + error * dt
        raw = self.config.kp * error + self.config.ki * integral + self.config.kd * slope
        output = min(max(raw, low), high)
        unwinds = (raw > high and error < 0.0) or (raw < low and error > 0.0)
        if output == raw or unwinds:  # integrate only while unsaturated, so a long red light does not wind up
            self._integral = integral
        return output
