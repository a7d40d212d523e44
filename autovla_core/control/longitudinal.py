"""From a wanted speed and acceleration to throttle and brake."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autovla_core.control.pid import Pid, PidConfig


@dataclass(frozen=True)
class LongitudinalConfig:
    """A drive train a = full_throttle * throttle ** exponent - losses, and the loops around it.

    Source of the exponent, the forces and the brakes: a fit to CARLA's Lincoln MKZ.
    What the fit gets wrong, ``trim`` learns while driving.
    """

    kp: float = 1.2  # m/s2 per m/s of speed error
    full_throttle: float = 6.4  # m/s2
    power: float = 66.0  # m2/s3: power over mass
    exponent: float = 2.61
    rolling_loss: float = 0.05  # m/s2
    drag: float = 0.0003  # 1/m
    coast: float = 0.25  # m/s2 of deceleration that needs no brake
    hardest: float = 8.0  # m/s2 of braking asked for at most
    brake_speeds: tuple[float, ...] = (2.8, 5.6, 8.3, 11.1)  # m/s
    full_brake: tuple[float, ...] = (20.0, 17.0, 9.0, 7.5)  # m/s2 at these speeds: CARLA's brakes bite when slow
    trim: PidConfig = field(default_factory=lambda: PidConfig(ki=0.8, limits=(-1.5, 1.5)))
    hold_speed: float = 0.3  # m/s: below it a standing plan is held with the full brake


class LongitudinalController:
    """Feed-forward on the acceleration, feedback on the speed, a slow trim on the acceleration reached.

    The trim compares accelerations instead of speeds because each new plan starts at the measured speed,
    which would forgive every lag.
    """

    def __init__(self, config: LongitudinalConfig | None = None) -> None:
        self.config = config or LongitudinalConfig()
        self._trim = Pid(self.config.trim)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._trim.reset()
        self._learned = 0.0
        self._last: tuple[float, float] | None = None  # speed, acceleration asked for

    def step(self, target_speed: float, acceleration: float, speed: float, dt: float) -> tuple[float, float]:
        """Return (throttle, brake), both in [0, 1].

        Args:
            target_speed: m/s, where the plan is now.
            acceleration: m/s2, what the plan does now.
            speed: m/s, measured.
            dt: s since the last call.
        """
        config = self.config
        if self._last is not None and speed > 0.5:
            last_speed, asked = self._last
            self._learned = self._trim.step(asked - (speed - last_speed) / dt, dt)
        if speed < 0.5:
            self._learned = max(0.0, self._learned)
        wanted = acceleration + config.kp * (target_speed - speed)
        wanted = min(max(wanted, -config.hardest), config.full_throttle)
        self._last = (speed, wanted)
        return self.actuate(wanted + self._learned, speed)

    def hold(self, left: float, speed: float, dt: float) -> tuple[float, float]:
        """Come to rest within ``left`` metres and stay there: (throttle, brake)."""
        if speed < self.config.hold_speed:
            self.reset()
            return 0.0, 1.0
        needed = max(1.0, speed * speed / (2.0 * max(left, 0.1)))
        _, brake = self.step(0.0, -min(needed, 4.0), speed, dt)
        return 0.0, max(brake, 0.05)

    def actuate(self, acceleration: float, speed: float) -> tuple[float, float]:
        """Invert the drive train: (throttle, brake) for an acceleration in m/s2 at a speed in m/s."""
        config = self.config
        if acceleration < -config.coast:
            full = float(np.interp(speed, config.brake_speeds, config.full_brake))
            return 0.0, min(1.0, (-acceleration - config.coast) / full + 0.01)
        pull = acceleration + config.rolling_loss + config.drag * speed * speed
        most = min(config.full_throttle, config.power / max(speed, 1.0))
        share = min(max(pull / most, 0.0), 1.0)
        return share ** (1.0 / config.exponent), 0.0
