"""The privileged expert as an agent: reads the simulator's truth through its own client connection.

Configuration: a YAML file of ``ExpertConfig`` (leaderboard_configs/autovla_expert_agent.yaml), or none.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from autovla_leaderboard import AutonomousAgent, Track

from autovla_core import config as configs
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.carla_bridge.session import connect
from autovla_core.contracts import FULL_BRAKE
from autovla_core.errors import SimulatorError
from autovla_core.expert.expert import Expert, ExpertConfig, ExpertDecision
from autovla_core.sensing import rig as rigs

SNAPSHOT_TIMEOUT_S = 10.0
ROOT = Path(__file__).resolve().parents[1]


def get_entry_point() -> str:
    """Name of the agent class, for the evaluator."""
    return "ExpertAgent"


class ExpertAgent(AutonomousAgent):
    """Thin: the scene in, the expert's control out. ``decision`` is the newest one, for loggers."""

    def __init__(self, carla_host: str, carla_port: int, debug: bool = False) -> None:
        super().__init__(carla_host, carla_port, debug)
        self.carla_host, self.carla_port = carla_host, carla_port  # the official base class does not keep them

    def set_global_plan(self, global_plan_gps: list, global_plan_world_coord: list) -> None:
        """Keep the route as dense as it comes: the official base class thins it to 50 or 200 m, which cuts corners."""
        super().set_global_plan(global_plan_gps, global_plan_world_coord)
        self._dense_plan = global_plan_world_coord

    def setup(self, path_to_conf_file: str = "", *args: object, **kwargs: object) -> None:
        """Read the configuration, if one is given."""
        self.track = Track.SENSORS
        path = str(path_to_conf_file or "").split("+")[0]
        self.config = configs.load(ExpertConfig, _found(path)) if path else ExpertConfig()
        self.expert: Expert | None = None
        self.decision: ExpertDecision | None = None
        self._view: PrivilegedView | None = None
        self._client = connect(self.carla_host, self.carla_port)  # held: it owns the episode
        self._world = self._client.get_world()

    def sensors(self) -> list[dict]:
        """The speedometer, which tells the number of the tick; the rest the expert asks the simulator."""
        return [spec for spec in rigs.sensors(()) if spec["id"] == rigs.SPEED]

    def run_step(self, input_data: dict, timestamp: float):
        """One tick; brakes while there is no hero yet."""
        self._wait_for(input_data[rigs.SPEED][0])
        if self._view is None and not self._begin():
            return vehicle_control(FULL_BRAKE)
        scene = replace(self._view.scene(self.expert.progress.s), time_s=timestamp)
        self.decision = self.expert.step(scene)
        return vehicle_control(self.decision.control)

    def _wait_for(self, frame: int) -> None:
        """Our own connection may learn of a tick later than the evaluator's; an old scene would make drives differ."""
        deadline = time.monotonic() + SNAPSHOT_TIMEOUT_S
        while self._world.get_snapshot().frame < frame:
            if time.monotonic() > deadline:
                raise SimulatorError(f"the expert's connection saw no tick {frame} in {SNAPSHOT_TIMEOUT_S:.0f} s")
            time.sleep(0.0005)

    def _begin(self) -> bool:
        heroes = [a for a in self._world.get_actors().filter("vehicle.*") if a.attributes.get("role_name") == "hero"]
        if not heroes:
            return False
        plan = route_plan(self._dense_plan)
        self.expert = Expert(plan, self.config)
        self._view = PrivilegedView(self._world, heroes[0], plan)
        return True

    def destroy(self, *args: object, **kwargs: object) -> None:
        """Let go of the simulator."""
        self._view = self.expert = self._client = self._world = None


def _found(path: str) -> Path:
    return Path(path) if Path(path).is_absolute() or Path(path).exists() else ROOT / path
