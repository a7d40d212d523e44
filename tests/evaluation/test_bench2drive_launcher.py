"""The launcher gives an old program what newer Pythons dropped, and only that."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autovla_core.evaluation.bench2drive.orders import LAUNCHER

CLONE_AGENTS = "scenario_runner/srunner/tests/carla_mocks/agents"


@pytest.fixture
def launcher():
    spec = importlib.util.spec_from_file_location("launcher_under_test", LAUNCHER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(tmp_path: Path, program: str, *options: str, what: str = "tool") -> str:
    """Run ``program`` as a tool of a clone; return what it said."""
    (tmp_path / "clone").mkdir(exist_ok=True)
    (tmp_path / "clone" / "tool.py").write_text(program)
    command = [sys.executable, str(LAUNCHER), "--clone", str(tmp_path / "clone"), what, "tool.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"CARLA_ROOT": ""})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parsed_xml_has_getchildren_and_items_stays_a_list(tmp_path):
    program = """
import io, xml.etree.ElementTree as ET
root = ET.parse(io.StringIO('<a x="1"><b/><c/></a>')).getroot()
print([child.tag for child in root.getchildren()], root.items()[0])
"""
    assert run(tmp_path, program).split("\n")[0] == "['b', 'c'] ('x', '1')"


def test_distutils_and_pkg_resources_are_there(tmp_path):
    program = """
import pkg_resources
from distutils.version import LooseVersion
from distutils.util import strtobool
print(pkg_resources.get_distribution("numpy").version.count("."), int(strtobool("True")))
print(LooseVersion("0.9.9") < LooseVersion("0.9.10"))
"""
    assert run(tmp_path, program).split() == ["2", "1", "True"]


def test_our_own_distutils_compares_numbers_and_knows_truth(launcher):
    assert launcher.LooseVersion("0.9.9") < launcher.LooseVersion("0.9.10.1")
    assert not launcher.LooseVersion("0.9.16") < launcher.LooseVersion("0.9.10")
    assert (launcher.strtobool("Yes"), launcher.strtobool("off")) == (1, 0)
    with pytest.raises(ValueError, match="maybe"):
        launcher.strtobool("maybe")


def test_arguments_and_folder_are_the_tools_and_the_clone_stays_clean(tmp_path):
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "helper.py").write_text("")
    program = "import os, sys, helper\nprint(sys.argv[1:], os.path.basename(os.getcwd()))"
    assert run(tmp_path, program, "--x", "1").split("\n")[0] == "['--x', '1'] clone"
    assert sorted(p.name for p in (tmp_path / "clone").iterdir()) == ["helper.py", "tool.py"]


def test_the_clones_copy_of_agents_is_found_mended_without_its_mock_of_carla(tmp_path):
    mocks = tmp_path / "clone" / CLONE_AGENTS
    (mocks / "navigation").mkdir(parents=True)
    (mocks.parent / "carla.py").write_text("raise RuntimeError('the mock')\n")
    for file in ("__init__.py", "navigation/__init__.py"):
        (mocks / file).write_text("")
    (mocks / "navigation" / "walk.py").write_text(
        "class Walk:\n"
        "    _sampling_resolution = 1\n"
        "    def far(self, w):\n"
        "        while True:\n"
        "            w = w.next(self._sampling_resolution)[0]\n"
        "        return w\n"
    )
    program = """
class Lane:
    left = 3
    def next(self, step):
        self.left -= 1
        return [self] if self.left > 0 else []
from agents.navigation.walk import Walk
lane = Lane()
Walk().far(lane)
real = importlib.util.find_spec("carla")
print(lane.left <= 0, real is None or "mocks" not in real.origin)
"""
    assert run(tmp_path, "import importlib.util\n" + program).split() == ["True", "True"]


@pytest.mark.parametrize("stepped_over", [0, 1])
def test_the_wait_for_the_server_ends_when_its_port_or_the_next_one_answers(launcher, monkeypatch, stepped_over):
    slept: list[float] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if slept.count(0.1) == 3:
                server.listen()

        monkeypatch.setattr(time, "sleep", sleep)
        launcher.shorten_server_wait(server.getsockname()[1] - stepped_over)
        time.sleep(5)
        time.sleep(30)
    assert slept == [5, 0.1, 0.1, 0.1]


def test_the_port_is_read_in_both_spellings(launcher):
    assert launcher._port(["--port", "2200", "--x"]) == launcher._port(["--x", "--port=2200"]) == 2200
    assert launcher._port(["--traffic-manager-port=9"]) == 2000


class TickingAgent:
    """Stands for the leaderboard's base class, whose call is one tick."""

    ticks = 0

    def __call__(self):
        self.ticks += 1
        return "control"


def test_each_change_of_the_scenario_is_written_once_with_its_tick(launcher, tmp_path):
    variable = iter([None, False, False, True, True, False, False])

    class Agent(TickingAgent):
        pass

    with open(tmp_path / "states.jsonl", "w") as lines:
        launcher._wrap_call_for_scenario(Agent, lambda: next(variable), lines)
        agent = Agent()
        assert [agent() for _ in range(7)] == ["control"] * 7
    assert agent.ticks == 7
    events = [json.loads(line) for line in (tmp_path / "states.jsonl").read_text().splitlines()]
    assert [(e["tick"], e["state"]) for e in events] == [(0, "absent"), (1, "built"), (3, "running"), (5, "ended")]


def test_metrics_and_scenario_are_recorded_beside_each_other(launcher):
    class Agent(TickingAgent):
        hero_actor = None

    scenario, metrics = io.StringIO(), io.StringIO()
    launcher._wrap_call(Agent, metrics)
    launcher._wrap_call_for_scenario(Agent, lambda: True, scenario)
    agent = Agent()
    assert agent() == "control" and agent.ticks == 1
    assert json.loads(scenario.getvalue()) == {"tick": 0, "state": "running"}
    assert metrics.getvalue() == ""


@pytest.mark.parametrize("name", ["launcher.py", "clone_basic_agent.py", "clone_constant_velocity_agent.py"])
def test_what_runs_in_the_evaluators_environment_is_python_3_7_and_knows_nothing_of_us(name):
    text = LAUNCHER.with_name(name).read_text()
    tree = ast.parse(text, feature_version=(3, 7))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    allowed = {*sys.stdlib_module_names, "carla"}
    assert {n.split(".")[0] for n in names} <= allowed
