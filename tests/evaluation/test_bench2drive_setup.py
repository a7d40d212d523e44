"""One page that says what is missing; the folder that makes minicarla look like CARLA's."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autovla_core.evaluation.bench2drive.clone import NEEDED
from autovla_core.evaluation.bench2drive.setup_checks import check
from autovla_core.evaluation.bench2drive.setup_page import GOOD, LOOK, MISSING, Finding, Plan, as_text

ROOT = Path(__file__).resolve().parents[2]
WIDE = 28000  # ports that nothing else here uses


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A machine on which everything is as it should be, but for what the evaluator's Python may lack."""
    clone = tmp_path / "clone"
    for name in NEEDED:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("--gpu-rank\n")
    make = [sys.executable, ROOT / "tools" / "make_carla_root.py", "--out", tmp_path / "carla"]
    subprocess.run(list(map(str, make)), check=True, capture_output=True, timeout=60)
    routes = tmp_path / "routes.xml"
    inner = (
        '<waypoints><position x="0" y="0" z="0"/><position x="9" y="0" z="0"/></waypoints><scenarios>'
        '<scenario name="s" type="ControlLoss"><trigger_point x="0" y="0" z="0" yaw="0"/></scenario></scenarios>'
    )
    routes.write_text(f'<routes><route id="1" town="Havenbrook">{inner}</route></routes>')
    return Plan(
        clone,
        tmp_path / "carla",
        str(routes),
        "",
        ROOT / "agents" / "autovla_agent.py",
        "leaderboard_configs/autovla_agent.yaml",
        tmp_path / "runs" / "x",
        sys.executable,
        2,
        ("0",),
        WIDE,
        WIDE + 500,
        "",
        ROOT,
    )


def found(plan: Plan, name: str) -> list[Finding]:
    return [finding for finding in check(plan) if finding.name == name]


def test_a_good_machine_lacks_nothing_but_packages(plan):
    findings = check(plan)
    assert [f.name for f in findings if f.state == MISSING and f.name != "packages"] == []
    assert {"clone", "carla root", "maps", "carla wheel", "ports", "checkpoint", "disk"} <= {f.name for f in findings}


def test_every_lack_has_a_remedy(plan, tmp_path):
    bare = replace(
        plan, clone=tmp_path / "no", carla_root=tmp_path / "no", python="/no/python", agent=tmp_path / "no.py"
    )
    lacking = [finding for finding in check(bare) if finding.state == MISSING]
    assert {"clone", "carla root", "routes", "python", "agent"} <= {finding.name for finding in lacking}
    assert all(finding.remedy for finding in lacking)
    assert as_text(lacking).endswith(f"{len(lacking)} things are missing")


def test_a_town_without_a_map_is_named(plan):
    text = Path(plan.routes).read_text().replace("Havenbrook", "Town12")
    Path(plan.routes).write_text(text)
    (maps,) = found(plan, "maps")
    assert maps.state == MISSING and "lacks Town12" in maps.found


def test_a_client_of_another_version_than_the_server_is_a_lack(plan):
    (plan.carla_root / "VERSION").write_text("0.9.15\n")
    (wheel,) = found(plan, "carla wheel")
    assert wheel.state == MISSING and "pip install carla==0.9.15" in wheel.remedy


def test_the_only_wheel_that_is_advised_is_the_servers(plan, tmp_path):
    (plan.carla_root / "VERSION").write_text("0.9.15\n")
    bare = tmp_path / "python"  # an interpreter in which nothing is installed answers so
    bare.write_text('#!/bin/sh\necho \'{"python": [3, 10, 4], "carla": "", "missing": ["carla", "six"]}\'\n')
    bare.chmod(0o755)
    remedies = [finding.remedy for finding in check(replace(plan, python=str(bare))) if "pip install" in finding.remedy]
    assert remedies == [f"{bare} -m pip install six", f"{bare} -m pip install carla==0.9.15"]


def test_the_disk_must_hold_the_routes_that_are_driven(plan):
    (disk,) = found(plan, "disk")
    assert "1 routes want 4 MB" in disk.found
    (disk,) = found(replace(plan, shard="2/2"), "disk")
    assert "0 routes want 0 MB" in disk.found
    (disk,) = found(replace(plan, routes="no.xml"), "disk")
    assert "220 routes want 880 MB" in disk.found


def test_the_check_takes_every_argument_of_the_run(plan, tmp_path):
    """As its help says: the same line with the other program's name."""
    line = ["--clone", plan.clone, "--carla-root", plan.carla_root, "--routes", plan.routes, "--shard", "1/1"]
    line += ["--adapters", 0, "--retries", 1, "--retry-failed", "--seed", 3, "--timeout", 60, "--silence-s", 5]
    line += ["--first-tick-s", 9, "--route-s", 99, "--out", tmp_path / "x", "--python", sys.executable]
    command = [sys.executable, ROOT / "tools" / "check_setup.py", *line, "--base-port", WIDE + 900]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1) and "1 to drive" in done.stdout, done.stderr


def test_carla_0_9_16_is_warned_of(plan):
    (plan.carla_root / "MINICARLA").unlink()
    (wheel,) = found(plan, "carla wheel")
    assert wheel.state == LOOK and "below the ground" in wheel.remedy


def test_another_leaderboard_on_the_python_path_is_a_lack_and_the_clones_own_is_none(plan, tmp_path):
    (tmp_path / "other" / "leaderboard").mkdir(parents=True)
    (tmp_path / "other" / "leaderboard" / "__init__.py").write_text("")
    (bad,) = found(replace(plan, python_path=f"{tmp_path / 'other'}:/nowhere"), "PYTHONPATH")
    assert bad.state == MISSING and "(leaderboard)" in bad.found and "unset PYTHONPATH" in bad.remedy
    own = plan.clone / "leaderboard"
    (own / "leaderboard" / "__init__.py").write_text("")
    assert found(replace(plan, python_path=str(own)), "PYTHONPATH")[0].state == GOOD


def test_taken_ports_are_stepped_over_and_told_when_all_are_taken(plan):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", WIDE + 1))
        taken.listen()
        first, second = found(plan, "ports")
    assert first.state == second.state == GOOD
    assert f"{WIDE + 3} to {WIDE + 5}" in first.found and f"{WIDE + 20} to {WIDE + 22}" in second.found


def test_a_checkpoint_of_two_models_is_told(plan, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in (ROOT / "models" / "autovla-tiny").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "autovla.json").write_text('{"codebook_hash": "abc"}')
    config = tmp_path / "agent.yaml"
    config.write_text(f"checkpoint: {folder}\n")
    (finding,) = found(replace(plan, agent_config=str(config)), "checkpoint")
    assert finding.state == MISSING and "its record says abc" in finding.found


def test_a_plus_in_the_configs_path_is_a_lack(plan):
    (finding,) = found(replace(plan, agent_config="a+b.yaml"), "agent config")
    assert finding.state == MISSING and "cuts a path at '+'" in finding.remedy


def test_a_carla_root_of_ours_starts_minicarla_with_carlas_flags(plan):
    script = plan.carla_root / "CarlaUE4.sh"
    assert script.stat().st_mode & 0o111
    done = subprocess.run([str(script), "-RenderOffScreen", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "minicarla" in done.stdout
    assert (plan.carla_root / "CarlaUE4/Content/Carla/Maps/OpenDrive/Havenbrook.xodr").is_file()


def test_another_folder_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    make = [sys.executable, str(ROOT / "tools" / "make_carla_root.py"), "--out", str(tmp_path)]
    done = subprocess.run(make, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "not a folder of this program" in done.stderr
