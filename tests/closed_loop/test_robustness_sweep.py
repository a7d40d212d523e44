"""The sweep drives every setting once, continues what it has, and leaves a drawing and its numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autovla_core.evaluation.route_file import Route, write_routes

pytestmark = [pytest.mark.xdist_group("robustness_sweep"), pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SWEEP = """
title: Score against GNSS drift
axis: drift, m
settings:
  - {label: "0", value: 0}
  - {label: "9", value: 9, faults: {gnss_drift_m: 9}, weather: HardRainNoon, agent: {speed: 5.0}}
"""


def test_a_sweep_is_driven_drawn_and_continued(tmp_path):
    points = ((361.75, -296.0, 4.296), (361.75, -336.0, 5.93))  # the first 55 m of the demo route
    write_routes(tmp_path / "routes.xml", [Route("a", "Havenbrook", points)])
    (tmp_path / "gnss.yaml").write_text(SWEEP)
    agent = ["--agent", str(ROOT / "agents/autovla_baseline_agent.py")]
    agent += ["--agent-config", str(ROOT / "leaderboard_configs/autovla_baseline_agent.yaml")]
    command = [sys.executable, str(ROOT / "tools/sweep_robustness.py"), *agent, "--routes", tmp_path / "routes.xml"]
    command += ["--sweeps", tmp_path / "gnss.yaml", "--out", tmp_path / "out", "--traffic", 0, "--seeds", 2]
    first = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=800)
    assert first.returncode == 0, first.stderr
    assert "| 0 | 1 | 100.0 [no interval: 1 route]" in first.stdout
    runs = [json.loads((tmp_path / f"out/gnss/{label}.json").read_text()) for label in ("0", "9")]
    plain, hard = (run["_checkpoint"]["records"][0] for run in runs)
    assert plain["status"] == "Perfect" and hard["scores"]["score_composed"] < 100.0  # it drives 5 m beside the lane
    assert runs[1]["run"]["weather"] == "HardRainNoon" and runs[1]["run"]["faults"]["gnss_drift_m"] == 9.0
    assert plain["planner"]["plans"] > 5 and plain["planner"]["latency_s_mean"] == 0.0
    assert (tmp_path / "out/gnss/9.yaml").read_text() == "speed: 5.0\n"
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert {file.name for file in before} == {"0.json", "9.json", "9.yaml", "gnss.json", "gnss.svg"}
    second = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr
    assert {file: file.read_bytes() for file in before} == before
