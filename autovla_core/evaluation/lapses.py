"""The expert with a wandering mind: it brakes late, and dawdles for no reason, while its plans stay right.

An expert who always brakes in time teaches a student to look at the speedometer: who is fast need not stop, who is slow
must. Here the pedals are wrong for a while, on purpose; what is logged is the plan that would have been right. So the
picture alone tells what to do, and the places where a late student will find itself are in the data.

Source: Laskey et al., DART: Noise Injection for Robust Imitation Learning, 2017, for pedals instead of noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.recording import ExpertPilot
from autovla_core.expert.speed import needed_deceleration

LATE_RULES = ("light", "stop_sign", "lead")


@dataclass(frozen=True)
class LapseConfig:
    """How often and how far the mind wanders."""

    late_share: float = 0.5  # of the lights, signs and leaders that ask for braking
    late_braking: tuple[float, float] = (2.6, 5.0)  # m/s2: braking begins when so much is needed
    late_speed: tuple[float, float] = (4.5, 8.5)  # m/s, held until then
    dawdle_every_s: tuple[float, float] = (6.0, 16.0)
    dawdle_s: tuple[float, float] = (1.0, 3.5)
    dawdle_share: tuple[float, float] = (0.0, 0.7)  # of the speed at its beginning


class LapsingPilot(ExpertPilot):
    """Agent and subscriber in one, like the expert it inherits from. All chance comes from one generator."""

    def __init__(self, rng: np.random.Generator, config: LapseConfig = LapseConfig()) -> None:
        super().__init__()
        self._rng, self._lapses = rng, config
        self._met: tuple[str, int] = ("", 0)  # what asked for braking last
        self._late: tuple[float, float] | None = None  # speed to hold until so much braking is needed
        self._dawdle_from_s = float(rng.uniform(*config.dawdle_every_s))
        self._dawdle_until_s = -np.inf
        self._dawdle_speed = 0.0

    def run_step(self, input_data: Mapping[str, tuple[int, object]], timestamp: float) -> carla.VehicleControl:
        """One tick: the expert's wheel, and its pedals unless the mind wanders."""
        command = super().run_step(input_data, timestamp)
        if self.expert is None or self.decision is None:
            return command
        held = self._late_speed(timestamp)
        if held is None and command.brake == 0.0:  # whoever must brake is awake
            held = self._dawdling(timestamp)
        if held is not None:
            command.throttle, command.brake = pedals(self.scene.speed, min(held, self._curve_speed()))
        return command

    def _curve_speed(self) -> float:
        """What the bend at hand allows; nobody's mind wanders that far."""
        path = self.expert.path
        return float(path.cap[path.at(self.expert.progress.s)[0]])

    def _late_speed(self, time_s: float) -> float | None:
        """What is held although something asks for braking; None when the expert has its way."""
        reason, config = self.decision.reason, self._lapses
        if reason.rule not in LATE_RULES:
            return None
        if (reason.rule, reason.actor_id) != self._met:
            self._met = (reason.rule, reason.actor_id)
            late = self._rng.random() < config.late_share
            drawn = float(self._rng.uniform(*config.late_speed)), float(self._rng.uniform(*config.late_braking))
            self._late = drawn if late else None
        if self._late is None:
            return None
        speed, limit = self._late
        driven = self.scene.speed * (time_s - self.decision.plan.observed_at_s)  # since the distance was measured
        if needed_deceleration(self.scene.speed, reason.distance - driven - 0.5) > limit:
            self._late = None
            return None
        return max(speed, self.scene.speed)

    def _dawdling(self, time_s: float) -> float | None:
        config = self._lapses
        if time_s < self._dawdle_until_s:
            return self._dawdle_speed
        if time_s < self._dawdle_from_s:
            return None
        self._dawdle_until_s = time_s + float(self._rng.uniform(*config.dawdle_s))
        self._dawdle_from_s = self._dawdle_until_s + float(self._rng.uniform(*config.dawdle_every_s))
        self._dawdle_speed = self.scene.speed * float(self._rng.uniform(*config.dawdle_share))
        return self._dawdle_speed


def pedals(speed: float, held: float) -> tuple[float, float]:
    """(throttle, brake) in 0..1 that bring a car from ``speed`` towards ``held`` m/s."""
    error = held - speed
    if error > -0.3:
        return float(np.clip(0.25 + 0.3 * error, 0.0, 0.75)), 0.0
    return 0.0, float(np.clip(-0.25 * error, 0.1, 0.6))
