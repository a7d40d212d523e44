"""The official evaluators, from the user's own clones, drive our expert through a scenario on minicarla, to its end.

Runs only when these environment variables are given:
    BENCH2DRIVE_CLONE                        a clone of Thinklab-SJTU/Bench2Drive
    LEADERBOARD_ROOT, SCENARIO_RUNNER_ROOT   clones of carla-simulator's two repositories, branch leaderboard-2.0
    EVALUATOR_PYTHON                         interpreter with their packages (default: this one)
CARLA's PythonAPI/carla is taken from PYTHONPATH if it is there, else the copy of it inside scenario_runner.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autovla_core.evaluation.bench2drive.map_survey import survey
from autovla_core.evaluation.bench2drive.orders import LAUNCHER
from autovla_core.evaluation.bench2drive.type_routes import draw_routes
from autovla_core.evaluation.bench2drive.type_table import read_states
from autovla_core.evaluation.route_file import write_routes

ROOT = Path(__file__).resolve().parents[2]
TOWN, TYPE = "Ironmere", "ParkingCutIn"
AGENT = ROOT / "agents" / "autovla_expert_agent.py"
CONFIG = ROOT / "leaderboard_configs" / "autovla_expert_agent.yaml"
PATIENCE_S = 1800.0

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def given(name: str) -> Path:
    if not os.environ.get(name):
        pytest.skip(f"{name} is not given")
    return Path(os.environ[name]).expanduser().resolve()


@pytest.fixture(scope="module")
def route_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    town = ROOT / "autovla_core" / "minicarla" / "towns" / f"{TOWN}.xodr"
    surveyed = survey(TOWN, town.read_text(encoding="utf-8"))
    drawn = draw_routes([surveyed], [TYPE], 1, {"sun_altitude_angle": 60.0}, seed=1)
    file = tmp_path_factory.mktemp("official") / "types.xml"
    write_routes(file, drawn.routes)
    return file


def run(command: list[object], **variables: str) -> str:
    """Run a program to its end; return all that it said."""
    environment = {**os.environ, "SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def interpreter() -> str:
    return os.environ.get("EVALUATOR_PYTHON", sys.executable)


def assert_finished(result: Path, states: Path) -> None:
    record = json.loads(result.read_text(encoding="utf-8"))["_checkpoint"]["records"][0]
    assert record["status"] in ("Completed", "Perfect"), record
    seen = read_states(states)
    assert 0 < seen["running"] < seen["ended"]


def test_bench2drives_evaluator_drives_a_scenario_to_its_end(route_file: Path, tmp_path: Path) -> None:
    clone = given("BENCH2DRIVE_CLONE")
    carla_root = tmp_path / "carla_root"
    run([sys.executable, ROOT / "tools" / "make_carla_root.py", "--out", carla_root])  # begins in another town
    tool = [sys.executable, ROOT / "tools" / "run_bench2drive.py", "--clone", clone, "--carla-root", carla_root]
    agent = ["--agent", AGENT, "--agent-config", CONFIG, "--python", interpreter()]
    run([*tool, *agent, "--routes", route_file, "--out", tmp_path / "run", "--base-port", 21500])
    states = sorted((tmp_path / "run" / "logs").glob("*.scenario.jsonl"))[-1]
    assert_finished(tmp_path / "run" / "results" / "route_1.json", states)


def test_carlas_leaderboard_drives_a_scenario_to_its_end(
    route_file: Path, tmp_path: Path, start_minicarla: Callable
) -> None:
    leaderboard, scenario_runner = given("LEADERBOARD_ROOT"), given("SCENARIO_RUNNER_ROOT")
    clones = tmp_path / "clones"  # laid out as Bench2Drive is, which the launcher knows
    clones.mkdir()
    (clones / "leaderboard").symlink_to(leaderboard)
    (clones / "scenario_runner").symlink_to(scenario_runner)
    server = start_minicarla()  # begins in another town
    result, states = tmp_path / "result.json", tmp_path / "states.jsonl"
    options = {
        "--port": server.port,
        "--traffic-manager-port": 21700,
        "--routes": route_file,
        "--repetitions": 1,
        "--track": "SENSORS",
        "--agent": AGENT,
        "--agent-config": CONFIG,
        "--checkpoint": result,
        "--debug-checkpoint": tmp_path / "live.txt",
        "--timeout": 300,
    }
    start = [interpreter(), LAUNCHER, "--clone", clones, "--scenario", states, "evaluate"]
    said = run([*start, *(f"{name}={value}" for name, value in options.items())], LEADERBOARD_ROOT=str(leaderboard))
    assert "Skipping scenario" not in said
    assert_finished(result, states)
