"""The privileged expert as an agent: reads the simulator's truth through its own client connection.

Configuration: a YAML file of ``ExpertConfig`` (leaderboard_configs/autovla_expert_agent.yaml), or none.
"""

from __future__ import annotations

from pathlib import Path

from autovla_leaderboard import AutonomousAgent, Track

from autovla_core import config as configs
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.carla_bridge.session import connect
from autovla_core.contracts import FULL_BRAKE
from autovla_core.expert.expert import Expert, ExpertConfig, ExpertDecision

ROOT = Path(__file__).resolve().parents[1]


def get_entry_point() -> str:
    """Name of the agent class, for the evaluator."""
    return "ExpertAgent"


class ExpertAgent(AutonomousAgent):
    """Thin: the scene in, the expert's control out. ``decision`` is the newest one, for loggers."""

    def setup(self, path_to_conf_file: str = "", *args: object, **kwargs: object) -> None:
        """Read the configuration, if one is given."""
        self.track = Track.SENSORS
        path = str(path_to_conf_file or "").split("+")[0]
        self.config = configs.load(ExpertConfig, _found(path)) if path else ExpertConfig()
        self.expert: Expert | None = None
        self.decision: ExpertDecision | None = None
        self._view: PrivilegedView | None = None

    def sensors(self) -> list[dict]:
        """None: the expert asks the simulator."""
        return []

    def run_step(self, input_data: dict, timestamp: float):
        """One tick; brakes while there is no hero yet."""
        if self._view is None and not self._begin():
            return vehicle_control(FULL_BRAKE)
        self.decision = self.expert.step(self._view.scene(self.expert.progress.s))
        return vehicle_control(self.decision.control)

    def _begin(self) -> bool:
        self._client = connect(self.carla_host, self.carla_port)  # held: it owns the episode
        world = self._client.get_world()
        heroes = [a for a in world.get_actors().filter("vehicle.*") if a.attributes.get("role_name") == "hero"]
        if not heroes:
            return False
        plan = route_plan(self._global_plan_world_coord)
        self.expert = Expert(plan, self.config)
        self._view = PrivilegedView(world, heroes[0], plan)
        return True

    def destroy(self, *args: object, **kwargs: object) -> None:
        """Let go of the simulator."""
        self._view = self.expert = self._client = None


def _found(path: str) -> Path:
    return Path(path) if Path(path).is_absolute() or Path(path).exists() else ROOT / path
