"""The example scripts of the documentation run against minicarla as they are, and the self test passes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_traffic_and_walkers_move(start_minicarla) -> None:
    server = start_minicarla()
    told = run(
        "generate_traffic.py", "--port", str(server.port), "--vehicles", "10", "--walkers", "10", "--ticks", "100"
    )
    vehicles, walkers, moving = map(int, re.findall(r"\d+", told))
    assert vehicles >= 8 and walkers >= 8 and moving > (vehicles + walkers) / 2


def test_sensors_are_in_step(start_minicarla, tmp_path) -> None:
    server = start_minicarla()
    told = run("synchronous_sensors.py", "--port", str(server.port), "--ticks", "5", "--out", str(tmp_path))
    assert told.startswith("5 ticks of 6 sensors")
    assert {path.name for path in tmp_path.iterdir()} == {"front.png", "depth.png", "tags.png"}


def test_a_car_follows_the_lane_and_records_itself(start_minicarla, tmp_path) -> None:
    server = start_minicarla("--recordings", str(tmp_path))
    told = run("automatic_drive.py", "--port", str(server.port), "--seconds", "20", "--record", "drive")
    travelled, worst = map(float, re.findall(r"travelled ([\d.]+) m, at most ([\d.]+)", told)[0])
    assert travelled > 60.0 and worst < 1.5
    assert "Frames: 4" in told and (tmp_path / "drive.log").exists()


@pytest.mark.timeout(600)
def test_the_self_test_passes_and_tells_versions() -> None:
    command = [sys.executable, "-m", "autovla_core.minicarla", "--check", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "numba" in done.stdout and done.stdout.count("ok     ") == 7 and "FAILED" not in done.stdout
