"""What the leaderboard's evaluator does with an agent file, without a simulator."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import carla
import numpy as np
import pytest

from autovla_core import config as configs
from autovla_core.expert.expert import ExpertConfig

ROOT = Path(__file__).resolve().parents[2]
AGENTS = {
    "autovla_agent": "leaderboard_configs/autovla_agent.yaml",
    "autovla_baseline_agent": "leaderboard_configs/autovla_baseline_agent.yaml",
    "autovla_expert_agent": "leaderboard_configs/autovla_expert_agent.yaml",
}


@pytest.fixture
def load(monkeypatch):
    """Import an agent as the evaluator does: its folder first on the path, by base name."""
    monkeypatch.syspath_prepend(str(ROOT / "agents"))
    yield importlib.import_module
    for name in [*AGENTS, "autovla_leaderboard"]:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", AGENTS)
def test_the_entry_point_names_a_class_with_the_whole_contract(load, name):
    module = load(name)
    agent_class = getattr(module, module.get_entry_point())
    assert agent_class.get_ros_version() == -1
    for method in ("setup", "sensors", "run_step", "destroy", "set_global_plan"):
        assert callable(getattr(agent_class, method))


@pytest.mark.parametrize("suffix", ["", "+RouteScenario_1_rep0", "+a+b+c"])
def test_the_baseline_takes_bench2drives_config_strings(load, suffix):
    agent = load("autovla_baseline_agent").BaselineAgent("localhost", 2000)
    agent.setup(AGENTS["autovla_baseline_agent"] + suffix, 3, traffic_manager=None)
    assert agent.track.value == "SENSORS"
    assert {s["type"] for s in agent.sensors()} == {"sensor.other.gnss", "sensor.other.imu", "sensor.speedometer"}
    agent.destroy(None)


def test_the_baseline_drives_along_its_route(load):
    agent = load("autovla_baseline_agent").BaselineAgent("localhost", 2000)
    agent.set_global_plan([], [(carla.Transform(carla.Location(float(x), 0.0, 0.0)), 4) for x in range(100)])
    agent.setup("")
    imu = np.array([0.0, 0.0, 9.81, 0.0, 0.0, 0.0, np.pi / 2])
    data = {"GPS": (1, np.zeros(3)), "IMU": (1, imu), "SPEED": (1, {"speed": 0.0})}
    control = agent.run_step(data, 0.05)
    assert control.throttle > 0.3 and control.brake == 0.0 and abs(control.steer) < 0.05
    data["GPS"] = (1, np.array([-2.0 / 111319.5, 0.0, 0.0]))  # 2 m to the right of the route
    agent.setup("")
    assert agent.run_step(data, 0.05).steer < -0.05


def test_expert_configurations_are_checked_with_their_paths():
    assert configs.load(ExpertConfig, ROOT / AGENTS["autovla_expert_agent"]) == ExpertConfig()


def test_the_expert_keeps_the_route_that_the_official_base_class_thins(load, monkeypatch):
    """A left turn of 20 m radius: of every 50th point nothing but its ends is left."""
    module = load("autovla_expert_agent")

    def thin(self: object, gps: list, world: list) -> None:
        self._global_plan_world_coord = world[::50]

    monkeypatch.setattr(module.AutonomousAgent, "set_global_plan", thin)
    monkeypatch.setattr(module, "PrivilegedView", lambda *given: None)
    hero = SimpleNamespace(attributes={"role_name": "hero"})
    agent = module.ExpertAgent("localhost", 2000)
    agent.config = ExpertConfig()
    agent._world = SimpleNamespace(get_actors=lambda: SimpleNamespace(filter=lambda kinds: [hero]))
    turn = [20.0 * np.array([np.sin(a), 1.0 - np.cos(a), 0.0]) for a in np.arange(0.0, np.pi / 2, 0.05)]
    rotations = [carla.Rotation(yaw=-float(np.degrees(a))) for a in np.arange(0.0, np.pi / 2, 0.05)]
    places = [carla.Location(float(x), -float(y), 0.0) for x, y, _ in turn]
    agent.set_global_plan([], [(carla.Transform(at, yaw), 1) for at, yaw in zip(places, rotations)])
    assert agent._begin()
    driven = agent.expert.path.points[: int(agent.expert.path.length / 0.5)]
    assert np.abs(np.hypot(driven[:, 0], driven[:, 1] - 20.0) - 20.0).max() < 0.15
