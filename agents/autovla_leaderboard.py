"""The leaderboard's agent base class; without a leaderboard our own with the same contract.

Every agent here imports ``AutonomousAgent`` and ``Track`` from this file, which lies beside it.
"""

from __future__ import annotations

from enum import Enum

try:
    from leaderboard.autoagents.autonomous_agent import AutonomousAgent, Track
except ImportError:

    class Track(Enum):
        """Which sensors an agent may ask for."""

        SENSORS = "SENSORS"
        MAP = "MAP"
        SENSORS_QUALIFIER = "SENSORS_QUALIFIER"
        MAP_QUALIFIER = "MAP_QUALIFIER"

    class AutonomousAgent:
        """What the evaluator calls, in this order: set_global_plan, setup, sensors, then run_step per tick."""

        def __init__(self, carla_host: str, carla_port: int, debug: bool = False) -> None:
            self.carla_host = carla_host
            self.carla_port = carla_port
            self.debug = debug
            self.track = Track.SENSORS
            self.hero_actor = None
            self._global_plan = None
            self._global_plan_world_coord = None

        @staticmethod
        def get_ros_version() -> int:
            """Not a ROS agent."""
            return -1

        def set_global_plan(self, global_plan_gps: list, global_plan_world_coord: list) -> None:
            """Take the route, dense here: [({lat, lon, z}, option)] and [(carla.Transform, option)]."""
            self._global_plan = global_plan_gps
            self._global_plan_world_coord = global_plan_world_coord

        def __call__(self, input_data: dict, timestamp: float):
            """One tick of our own runner."""
            control = self.run_step(input_data, timestamp)
            control.manual_gear_shift = False
            return control

        def destroy(self, *args: object, **kwargs: object) -> None:
            """Give back what the agent holds."""


__all__ = ["AutonomousAgent", "Track"]
