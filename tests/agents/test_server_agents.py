"""Agents whose model is in another process: what the leaderboard's evaluator does with them, without a simulator."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import carla
import numpy as np
import pytest

from autovla_core.errors import CodebookError, ConfigError, ObservationError
from autovla_core.model.vla import AutoVLA
from autovla_core.serving.remote import RemotePlanner
from autovla_core.serving.server import PlannerServer, ServerConfig

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "autovla-tiny"
TICK_S = 0.05


def load_tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def load(monkeypatch):
    """Import an agent as the evaluator does: its folder first on the path, by base name."""
    monkeypatch.syspath_prepend(str(ROOT / "agents"))
    yield importlib.import_module
    for name in ("autovla_agent", "autovla_thin_agent", "autovla_leaderboard", "autovla_client"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def model() -> AutoVLA:
    return AutoVLA.from_pretrained(TINY, threads=1)


@pytest.fixture(scope="module")
def cockpit():
    tool = load_tool("serve_policy")
    return lambda planner: tool.DrivingCockpit(planner, "front", 0.5)


@pytest.fixture
def server(model, cockpit):
    with PlannerServer(model, ServerConfig(port=0), cockpit=cockpit) as running:
        yield running


def config(folder: Path, **values: object) -> str:
    file = folder / "agent.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    return str(file)


def plan_in_carla() -> list:
    """200 m straight on (CARLA's +x), then a left turn to CARLA's -y."""
    straight = [(carla.Transform(carla.Location(float(x), 0.0, 0.0)), 4) for x in range(0, 200, 2)]
    turn = carla.Transform(carla.Location(206.0, -8.0, 0.0), carla.Rotation(yaw=-90.0))
    return [*straight, (turn, 1), (carla.Transform(carla.Location(206.0, -60.0, 0.0), carla.Rotation(yaw=-90.0)), 4)]


def sensor_data(tick: int, x: float, speed: float) -> dict:
    """One tick on the straight at ``x`` metres; the picture changes with time."""
    rng = np.random.default_rng(tick)
    picture = np.empty((140, 280, 4), np.uint8)
    picture[:] = rng.integers(0, 256, 4)
    picture[60 + tick % 60 :] //= 2
    imu = np.array([0.0, 0.0, 9.81, 0.0, 0.0, 0.01, np.pi / 2])
    gnss = np.array([0.0, np.degrees(x / 6378137.0), 0.0])
    return {"GPS": (tick, gnss), "IMU": (tick, imu), "SPEED": (tick, {"speed": speed}), "front": (tick, picture)}


def drive(agent, ticks: int, first: int = 0) -> list[tuple[float, float, float]]:
    controls = []
    for tick in range(first, first + ticks):
        control = agent.run_step(sensor_data(tick, 5.0 * TICK_S * tick, 5.0), TICK_S * (tick + 1))
        controls.append((control.throttle, control.steer, control.brake))
    return controls


def made(agent_class, settings: str):
    agent = agent_class("localhost", 2000)
    agent.set_global_plan([], plan_in_carla())
    agent.setup(settings)
    return agent


def test_in_process_and_server_choose_the_same_tokens_and_controls(load, server, tmp_path: Path) -> None:
    agent_class = load("autovla_agent").AutoVLAAgent
    local = made(agent_class, config(tmp_path, checkpoint=TINY))
    remote = made(agent_class, config(tmp_path, server=server.address))
    assert isinstance(remote.driver.planner, RemotePlanner) and remote.sensors() == local.sensors()
    for first in range(0, 40, 10):
        assert drive(local, 10, first) == drive(remote, 10, first)
        assert np.array_equal(local.driver.plan.tokens, remote.driver.plan.tokens)
    assert remote.driver.plans == 4 and remote.driver.failures == 0
    assert server.statistics.snapshot()["counts"]["plans"] == 4
    remote.destroy()


def test_a_latency_of_the_yaml_is_driven_and_its_jitter_is_the_routes_own(load, tmp_path: Path) -> None:
    agent_class = load("autovla_agent").AutoVLAAgent
    late = made(agent_class, config(tmp_path, checkpoint=TINY, latency="{fixed: 0.25, jitter: 0.5}"))
    assert drive(late, 5) == [(0.0, 0.0, 1.0)] * 5 and late.driver.plan is None
    drive(late, 12, 5)
    assert late.driver.plan is not None and late.driver.summary()["latency_s_mean"] >= 0.25
    other = agent_class("localhost", 2000)
    other.set_global_plan([], plan_in_carla()[3:])
    other.setup(str(tmp_path / "agent.yaml"))
    here, there = ([a.driver.latency.seconds(0.5 * i, 0.0, 0) for i in range(9)] for a in (late, other))
    assert here != there


def test_only_with_the_shield_the_agent_asks_for_a_radar_and_needs_it(load, tmp_path: Path) -> None:
    agent_class = load("autovla_agent").AutoVLAAgent
    bare = made(agent_class, config(tmp_path, checkpoint=TINY))
    assert bare.driver.shield is None and "sensor.other.radar" not in {s["type"] for s in bare.sensors()}
    kept = made(agent_class, str(ROOT / "leaderboard_configs" / "autovla_shield_agent.yaml"))
    assert kept.sensors()[:-1] == bare.sensors() and kept.sensors()[-1]["type"] == "sensor.other.radar"
    with pytest.raises(ObservationError, match="'RADAR' is missing"):
        drive(kept, 1)
    wall = np.array([[2.3, altitude, 0.0, -5.0] for altitude in (-0.08, -0.04, 0.0, 0.04, 0.08)], np.float32)
    for tick in range(20):
        seen = {"RADAR": (tick, wall if tick >= 10 else wall[:0])}
        control = kept.run_step({**sensor_data(tick, 5.0 * TICK_S * tick, 5.0), **seen}, TICK_S * (tick + 1))
        assert (control.brake == 1.0) == (tick >= 10)
    assert kept.driver.summary()["shield_brakings"] == 1.0


def test_the_thin_agent_drives_as_the_whole_one(load, server, tmp_path: Path) -> None:
    whole = made(load("autovla_agent").AutoVLAAgent, config(tmp_path, checkpoint=TINY))
    thin = made(load("autovla_thin_agent").ThinAgent, server.address + "+RouteScenario_1_rep0")
    assert thin.sensors() == whole.sensors()
    assert np.allclose(drive(whole, 45), drive(thin, 45), atol=1e-6)
    thin.destroy()


def test_the_thin_agent_brakes_without_a_server_and_goes_on_with_the_next(load, model, cockpit, tmp_path) -> None:
    module = load("autovla_thin_agent")
    with PlannerServer(model, ServerConfig(port=0), cockpit=cockpit) as first:
        address = first.address
        agent = made(module.ThinAgent, config(tmp_path, server=address))
        agent._client._reconnect_s = 0.0
        assert drive(agent, 2)[-1][2] < 1.0
    assert drive(agent, 3, 2) == [(0.0, 0.0, 1.0)] * 3 and agent.failures == 3
    with PlannerServer(model, ServerConfig(port=int(address.split(":")[1])), cockpit=cockpit):
        agent._client._reconnect_s = 20.0
        far = [agent.run_step(sensor_data(t, 150.0, 5.0), TICK_S * t) for t in range(600, 603)]
    assert agent.failures == 3 and all(control.brake < 1.0 for control in far)


def test_a_resumed_drive_finds_its_place_on_the_route(model, cockpit) -> None:
    tool = load_tool("serve_policy")
    poses = np.array([(t.location.x, t.location.y, t.rotation.yaw) for t, _ in plan_in_carla()])
    commands = np.array([command for _, command in plan_in_carla()])
    sensors = {**sensor_data(0, 150.0, 5.0)}
    for resumed, expected in ((True, 150.0), (False, 15.0)):
        place = cockpit(model)
        place.start(tool.DriveStart(poses, commands, resumed))
        place.tick(tool.DriveTick(0.05, sensors))
        assert abs(place._observer.progress.s - expected) < 1.5


def test_the_thin_agent_holds_the_speed_that_a_simulator_missed(load, server) -> None:
    agent = made(load("autovla_thin_agent").ThinAgent, server.address)
    assert agent._payloads(sensor_data(1, 0.0, 4.5), 0.05)[0] == 4.5
    speed, arrays = agent._payloads(sensor_data(2, 0.0, None), 0.10)
    assert speed == 4.5 and sorted(arrays) == ["GPS", "IMU"]  # the next picture is due at 0.30 s
    assert "front" in agent._payloads(sensor_data(6, 0.0, 4.5), 0.05000000074505806 + 0.25)[1]


@pytest.mark.parametrize(
    "values, text",
    [
        ({}, "expected exactly one"),
        ({"checkpoint": TINY, "server": "localhost:1"}, "expected exactly one"),
        ({"server": "localhost:1", "blind": "true"}, "found blind beside a server; tools/serve_policy.py takes"),
        (
            {"server": "localhost:1", "vehicle": "{length: 5.2}", "reach": "true"},
            "found reach, vehicle beside a server",
        ),
        ({"server": "localhost:1", "token_file": "absent.token"}, "no token file"),
        ({"server": "localhost:port"}, "expected host:port"),
    ],
)
def test_a_configuration_that_names_no_or_two_models_is_refused(load, tmp_path, values, text) -> None:
    agent = load("autovla_agent").AutoVLAAgent("localhost", 2000)
    with pytest.raises(ConfigError, match=text):
        agent.setup(config(tmp_path, **values))


def test_a_model_for_another_vehicle_is_refused_before_it_drives(load, tmp_path: Path, monkeypatch, capsys) -> None:
    agent = load("autovla_agent").AutoVLAAgent("localhost", 2000)
    agent.set_global_plan([], plan_in_carla())
    with pytest.raises(CodebookError, match="4.89 x 1.84 m, the vehicle is 12.00 x 2.50 m"):
        agent.setup(config(tmp_path, checkpoint=TINY, vehicle="{length: 12.0, width: 2.5}"))
    size = ("--length", "12.0", "--width", "2.5")
    monkeypatch.setattr(sys, "argv", ["serve_policy", "--checkpoint", str(TINY), "--port", "0", *size])
    assert load_tool("serve_policy").main() == 1
    assert "4.89 x 1.84 m, the vehicle is 12.00 x 2.50 m" in capsys.readouterr().err


def test_both_agents_read_the_shipped_server_configuration(load, tmp_path: Path) -> None:
    file = "leaderboard_configs/autovla_server_agent.yaml"
    thin = load("autovla_thin_agent")
    assert thin.read_settings(file + "+a+b")["server"] == "127.0.0.1:7667"
    agent = load("autovla_agent").AutoVLAAgent("localhost", 2000)
    agent.set_global_plan([], plan_in_carla())
    agent.driver = None
    agent.setup(file)
    assert agent.config.server == "127.0.0.1:7667" and isinstance(agent.driver.planner, RemotePlanner)
    with pytest.raises(ValueError, match="expected 'key: value'"):
        thin.read_settings(config(tmp_path, sever="x"))


@pytest.mark.parametrize("name", ["autovla_thin_agent", "autovla_leaderboard"])
def test_thin_agent_files_run_on_python_3_7_without_this_package(name: str) -> None:
    tree = ast.parse((ROOT / "agents" / f"{name}.py").read_text(), feature_version=(3, 7))
    names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    names += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert not [n for n in names if n.startswith("autovla_core")]
