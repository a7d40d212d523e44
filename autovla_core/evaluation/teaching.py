"""DAgger: a student drives, the expert plans along and takes the wheel just before a fault.

What is logged is the expert's plan at the places where the student gets the car to.

Source: Ross et al., A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning, 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.carla_bridge.actuate import control_of
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control
from autovla_core.evaluation.agent_file import LeaderboardAgent
from autovla_core.evaluation.recording import ExpertPilot


@dataclass(frozen=True)
class TeachingConfig:
    """When the expert takes the wheel, and for how long."""

    offset_m: float = 1.0  # beside the route
    heading: float = 0.5  # rad between the car and the route
    too_fast: float = 2.5  # m/s by which the expert wants to be slower within a second
    rescue_s: float = 2.5  # it drives at least so long
    idle_s: float = 6.0  # the student stands so long where the expert would go


class TaughtPilot(ExpertPilot):
    """Agent and subscriber in one, like the expert it inherits from; ``rescues`` counts the take-overs."""

    def __init__(
        self,
        student: LeaderboardAgent,
        student_config: str,
        config: TeachingConfig = TeachingConfig(),
    ) -> None:
        super().__init__()
        self._student, self._student_config, self._teaching = student, student_config, config
        self._until_s = -np.inf  # the expert drives until then
        self._idle_since_s: float | None = None
        self.rescues = 0

    def set_global_plan(self, gps_route: list, world_route: list) -> None:
        """Both get the route."""
        super().set_global_plan(gps_route, world_route)
        self._student.set_global_plan(gps_route, world_route)

    def setup(self, config: str) -> None:
        """Both get ready."""
        super().setup(config)
        self._student.setup(self._student_config)

    def sensors(self) -> list[dict[str, object]]:
        """The student's."""
        return self._student.sensors()

    def run_step(self, input_data: Mapping[str, tuple[int, object]], timestamp: float) -> carla.VehicleControl:
        """One tick: both decide, one of them drives."""
        teacher = super().run_step(input_data, timestamp)
        student = self._student.run_step(input_data, timestamp)
        if self.expert is None or self.decision is None:
            return teacher
        if timestamp >= self._until_s and self._in_danger(control_of(student), timestamp):
            self._until_s = timestamp + self._teaching.rescue_s
            self.rescues += 1
        chosen = teacher if timestamp < self._until_s else student
        self.expert.was_steered(control_of(chosen).steer)
        return chosen

    def destroy(self) -> None:
        """The student lets go of everything."""
        self._student.destroy()

    def _in_danger(self, student: Control, time_s: float) -> bool:
        config, progress = self._teaching, self.expert.progress
        heading = self.scene.pose[2] - progress.plan.pose_at(progress.s)[2]
        astray = abs(progress.offset) > config.offset_m or np.cos(heading) < np.cos(config.heading)
        too_fast = self.scene.speed - self.decision.target_speed > config.too_fast and student.brake < 0.3
        return astray or too_fast or self._idles(time_s)

    def _idles(self, time_s: float) -> bool:
        if self.scene.speed > 0.3 or self.decision.target_speed < 1.0:
            self._idle_since_s = None
            return False
        if self._idle_since_s is None:
            self._idle_since_s = time_s
        return time_s - self._idle_since_s > self._teaching.idle_s
