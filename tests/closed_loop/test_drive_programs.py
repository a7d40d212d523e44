"""The programs that people start: their films, their tables, their one clear sentence when something is missing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import av
import pytest

from autovla_core.evaluation.route_file import Route, write_routes

pytestmark = pytest.mark.xdist_group("drive_programs")

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ["--agent", str(ROOT / "agents/autovla_baseline_agent.py"), "--agent-config", ""]


def run(tool: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, **env})


@pytest.fixture
def routes(tmp_path) -> Path:
    """The first 55 m of the demo route."""
    points = ((361.75, -296.0, 4.296), (361.75, -336.0, 5.93))
    write_routes(tmp_path / "routes.xml", [Route("a", "Havenbrook", points)])
    return tmp_path / "routes.xml"


def test_the_demo_leaves_a_film_results_and_a_log(tmp_path, routes):
    out = tmp_path / "demo"
    done = run("drive_demo.py", "--routes", routes, "--out", out, "--traffic", 2, *BASELINE)
    assert done.returncode == 0, done.stderr
    assert "driving score" in done.stdout and str(out / "drive.mp4") in done.stdout
    record = json.loads((out / "results.json").read_text())["_checkpoint"]["records"][0]
    assert record["scores"]["score_route"] == 100.0
    with av.open(str(out / "drive.mp4")) as film:
        frames = sum(1 for _ in film.decode(film.streams.video[0]))
        assert (film.streams.video[0].width, film.streams.video[0].height) == (1280, 720)
    assert frames == pytest.approx(10 * record["meta"]["duration_game"], abs=2)
    assert (out / "log" / "route.json").exists() and (out / "drive.log").exists()


def test_the_window_shows_the_drive_without_a_screen(routes):
    done = run("drive_live.py", "--routes", routes, "--ticks", 12, "--traffic", 0, *BASELINE, SDL_VIDEODRIVER="dummy")
    assert done.returncode == 0, done.stderr
    assert "stopped by the person watching" in done.stdout


def test_the_evaluator_prints_a_table_and_continues(tmp_path, routes):
    arguments = ("--routes", routes, "--out", tmp_path / "r.json", "--seeds", "0,1", "--traffic", 0, "--workers", 2)
    first = run("evaluate_routes.py", *arguments, *BASELINE)
    assert first.returncode == 0, first.stderr
    assert "2 drives of 1 routes" in first.stdout and "driving score" in first.stdout
    before = (tmp_path / "r.json").read_bytes()
    second = run("evaluate_routes.py", *arguments, *BASELINE)
    assert second.returncode == 0 and "2 drives" in second.stdout
    assert (tmp_path / "r.json").read_bytes() == before


def test_collected_routes_are_kept_by_a_second_run(tmp_path):
    arguments = ("--out", tmp_path, "--routes", 1, "--workers", 1, "--traffic", 0, 2)
    first = run("collect_routes.py", *arguments)
    assert first.returncode == 0, first.stderr
    assert "simulated hours a wall hour" in first.stdout
    second = run("collect_routes.py", *arguments)
    assert second.returncode == 0 and "0 routes kept, 0 failed" in second.stdout


def test_the_same_arguments_generate_the_same_routes(tmp_path):
    for name in ("a.xml", "b.xml"):
        done = run("generate_routes.py", "--out", tmp_path / name, "--count", 3, "--seed", 7)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.xml").read_bytes() == (tmp_path / "b.xml").read_bytes()


def one_sentence(done: subprocess.CompletedProcess, tool: str) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{tool}: ")
    return last


def test_a_taken_port_ends_the_demo_with_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("drive_demo.py", "--out", tmp_path, "--port", port, *BASELINE)
    assert f"port {port} is taken by another program" in one_sentence(done, "drive_demo")


def test_a_missing_agent_and_a_missing_route_file_are_one_sentence_each(tmp_path):
    done = run("drive_demo.py", "--out", tmp_path, "--agent", tmp_path / "none.py")
    assert "no agent file at" in one_sentence(done, "drive_demo")
    done = run("evaluate_routes.py", "--routes", tmp_path / "n.xml", "--out", tmp_path / "o.json", *BASELINE)
    assert "cannot read the route file" in one_sentence(done, "evaluate_routes")


def test_cameras_of_logs_without_logs_are_refused(tmp_path, routes):
    done = run("evaluate_routes.py", "--routes", routes, "--out", tmp_path / "o.json", "--log-rig", "front", *BASELINE)
    assert done.returncode == 2 and "--log-rig is of the logs; give --logs FOLDER too" in done.stderr


def test_a_server_that_is_not_there_is_one_sentence(tmp_path, routes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = run("evaluate_routes.py", "--routes", routes, "--out", tmp_path / "o.json", "--port", port, *BASELINE)
    assert f"no simulator listens on 127.0.0.1:{port}" in one_sentence(done, "evaluate_routes")


def test_without_the_wheel_the_demo_says_how_to_get_it(tmp_path):
    (tmp_path / "carla.py").write_text("raise ImportError('not here')\n")
    done = run("drive_demo.py", "--out", tmp_path / "o", PYTHONPATH=str(tmp_path))
    assert "pip install carla==0.9.16" in one_sentence(done, "drive_demo")
