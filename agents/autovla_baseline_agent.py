"""The lower bound: follows the route at constant speed and stops at nothing. No weights, no cameras.

Configuration: a YAML file with ``speed`` in m/s (leaderboard_configs/autovla_baseline_agent.yaml), or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from autovla_leaderboard import AutonomousAgent, Track

from autovla_core import config as configs
from autovla_core import geometry
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.observe import Observer
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.contracts import PLAN_STEPS, STEP_S, Observation, Plan
from autovla_core.driving.driver import Driver
from autovla_core.sensing import rig as rigs

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class BaselineConfig:
    """One YAML file."""

    speed: float = 6.0  # m/s


class RouteFollower:
    """A planner that reads nothing but the route ahead."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def plan(self, observation: Observation) -> Plan:
        """Poses along the route at constant speed."""
        points = np.vstack([np.zeros(2), observation.route])
        s = geometry.arc_length(points)
        at = np.minimum(np.arange(1, PLAN_STEPS + 1) * STEP_S * self._speed, s[-1])
        xy = np.stack([np.interp(at, s, points[:, k]) for k in (0, 1)], axis=1)
        steps = np.diff(np.vstack([np.zeros(2), xy]), axis=0)
        poses = np.column_stack([xy, np.arctan2(steps[:, 1], steps[:, 0])])
        return Plan(poses, observation.time_s, observation.time_s)

    def reset(self) -> None:
        """Nothing to forget."""


def get_entry_point() -> str:
    """Name of the agent class, for the evaluator."""
    return "BaselineAgent"


class BaselineAgent(AutonomousAgent):
    """Thin: translates between the leaderboard and the driver."""

    def setup(self, path_to_conf_file: str = "", *args: object, **kwargs: object) -> None:
        """Read the configuration, if one is given."""
        self.track = Track.SENSORS
        path = str(path_to_conf_file or "").split("+")[0]
        config = configs.load(BaselineConfig, _found(path)) if path else BaselineConfig()
        self.driver = Driver(RouteFollower(config.speed))
        self._observer: Observer | None = None

    def sensors(self) -> list[dict]:
        """GNSS, IMU and speedometer."""
        return rigs.sensors(())

    def run_step(self, input_data: dict, timestamp: float):
        """One tick: ``{id: (frame, payload)}`` and seconds in, ``carla.VehicleControl`` out."""
        if self._observer is None:
            self._observer = Observer((), route_plan(self._global_plan_world_coord))
        motion = self._observer.update(input_data, timestamp)
        return vehicle_control(self.driver.step(self._observer.observe, motion.time_s, motion.speed, motion.yaw_rate))

    def destroy(self, *args: object, **kwargs: object) -> None:
        """Forget the episode."""
        self._observer = None


def _found(path: str) -> Path:
    return Path(path) if Path(path).is_absolute() or Path(path).exists() else ROOT / path
