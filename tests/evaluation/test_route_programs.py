"""What the programs that draw routes do with their options; no server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph
from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation import collection
from autovla_core.evaluation.collection import Collection, collect
from autovla_core.evaluation.evaluator import Simulator
from autovla_core.evaluation.route_generator import RouteStyle

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--scenarios", "all", "--count", "5"], "--count mean nothing with --scenarios"),
        (["--scenarios", "Accident", "--along", "2", "--turns", "0"], "--along, --turns mean nothing with --scenarios"),
        (["--scenarios", "all", "--length", "100", "300"], "--length mean nothing with"),
        (["--scenarios", "all", "--apart-from", "other.xml"], "--apart-from mean nothing with"),
        (["--each", "3"], "--each mean nothing without --scenarios"),
    ],
)
def test_options_that_would_not_be_heeded_are_refused(monkeypatch, capsys, options, complaint):
    monkeypatch.setattr("sys.argv", ["generate_routes", "--out", "r.xml", *options])
    with pytest.raises(SystemExit):
        tool("generate_routes").main()
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("program", ["evaluate_routes", "sweep_robustness"])
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--subset", "0,999"], "no route has the id '999'; the file has 0, 1, 2"),
        (["--seeds", "0,a"], "found seed 'a' in '0,a', expected whole numbers"),
    ],
)
def test_a_route_or_seed_that_there_is_not_is_one_sentence(monkeypatch, capsys, tmp_path, program, options, complaint):
    routes = ROOT / "leaderboard_configs/routes/havenbrook_test20.xml"
    agent = ["--agent", str(ROOT / "agents/autovla_baseline_agent.py"), "--agent-config", ""]
    out = ["--routes", str(routes), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [program, *agent, *out, *options])
    assert tool(program).main() == 1
    assert capsys.readouterr().err.startswith(f"{program}: {complaint}") and not (tmp_path / "out").exists()


def test_a_share_of_more_than_all_routes_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["collect_routes", "--out", "logs", "--routes", "1", "--scenarios", "3"])
    with pytest.raises(SystemExit):
        tool("collect_routes").main()
    assert "3 is no share, expected 0 to 1" in capsys.readouterr().err


def test_a_share_of_the_collected_routes_has_scenarios_and_is_else_the_same(monkeypatch, tmp_path):
    town = carla.Map("Havenbrook", (ROOT / "autovla_core/minicarla/towns/Havenbrook.xodr").read_text())
    there, graph = Simulator(SimpleNamespace(map=town), "", 0), LaneGraph(town)
    driven = []

    def run_episode(session, route, pilot, agent_config, seed, repetition, config, subscribers, kicks):
        subscribers[1].folder = tmp_path
        driven.append((route, seed, config.traffic))
        return SimpleNamespace(duration_game=0.0)

    monkeypatch.setattr(collection, "run_episode", run_episode)
    for share in (0.0, 0.5, 1.0):
        for number in range(6):
            wanted = Collection(tmp_path / str(share), scenarios=share, style=RouteStyle(350.0, 500.0))
            collect(wanted, there, graph, frozenset(), number)
    plain, half, full = driven[:6], driven[6:12], driven[12:]
    assert not any(route.scenarios for route, _, _ in plain)
    assert 0 < sum(bool(route.scenarios) for route, _, _ in half) < 6
    assert all(1 <= len(route.scenarios) <= 2 for route, _, _ in full)
    for (a, *same_a), (b, *same_b) in zip(plain, full):
        assert same_a == same_b and a.carla_points == b.carla_points and a.weathers == b.weathers
