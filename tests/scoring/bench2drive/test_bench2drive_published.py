"""Our figures against published result files, and against Bench2Drive's own scripts; see conftest.py for the files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core.evaluation.bench2drive.clone import open_routes
from autovla_core.evaluation.bench2drive.merge import merge, official_merged
from autovla_core.evaluation.bench2drive.orders import LAUNCHER
from autovla_core.evaluation.route_file import Route, Scenario, read_routes, write_routes
from autovla_core.scoring.bench2drive import Entry, report
from autovla_core.scoring.bench2drive_abilities import LETTERS
from autovla_core.scoring.closed_loop import INFRACTIONS

ROOT = Path(__file__).resolve().parents[3]
ROUTES = ROOT / "leaderboard_configs" / "routes" / "havenbrook_test20.xml"
STATUSES = ["Completed", "Completed", "Perfect", "Failed - Agent got blocked", "Failed - TickRuntime"]


@pytest.mark.parametrize(
    ("name", "records", "score", "successes", "efficiency"),
    [
        ("UniAD-Base", 218, 45.813164, 36, 129.21),
        ("UniAD-Tiny", 215, 40.728517, 29, 123.92),
        ("VAD", 213, 42.350736, 33, 157.95),
    ],
)
def test_published_result_files_give_the_published_figures(
    published_results, name, records, score, successes, efficiency
):
    rows = json.loads((published_results / f"{name}.json").read_text())["_checkpoint"]["records"]
    entries = [Entry(row["route_id"].split("_")[1], "", "Accident") for row in rows]
    made = report(entries, rows, {}, {})
    assert len(rows) == records
    assert made["driving score"].official == pytest.approx(score, abs=5e-7)
    assert made["success rate"].official == successes / 220
    assert round(made["driving efficiency"].official, 2) == efficiency


@pytest.fixture(scope="module")
def generated(bench2drive_clone, tmp_path_factory) -> Path:
    """Routes in a town of ours with one scenario each, results of most of them, one twice, and motions."""
    folder = tmp_path_factory.mktemp("generated")
    rng = np.random.default_rng(5)
    types = [t for t in ("T_Junction", "Accident", "ParkingExit", "ControlLoss", "InvadingTurn") if t in LETTERS]
    types += [t for t, letters in LETTERS.items() if "T" in letters]
    routes = [
        Route(r.id, r.town, r.carla_points, r.weathers, (Scenario("s", types[i % len(types)], (0.0,) * 4),))
        for i, r in enumerate(read_routes(ROUTES))
    ]
    write_routes(folder / "routes.xml", routes)
    (folder / "results").mkdir()
    driven = [*routes[:-2], routes[5]]
    for i, route in enumerate(driven):
        record = _record(route.id, i, rng)
        document = {"_checkpoint": {"records": [record]}}
        (folder / "results" / f"file_{i:02d}.json").write_text(json.dumps(document))
        target = folder / "metrics" / record["save_name"]
        target.mkdir(parents=True)
        (target / "metric_info.json").write_text(json.dumps(_ticks(int(rng.integers(15, 130)), rng)))
    command = [sys.executable, ROOT / "tools" / "make_carla_root.py", "--out", folder / "carla"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def _record(id: str, i: int, rng: np.random.Generator) -> dict:
    status = STATUSES[int(rng.integers(len(STATUSES)))]
    infractions: dict[str, list[str]] = {kind: [] for kind in INFRACTIONS}
    values = rng.choice([12.5, 99.99, 100, 340.07, 4321.0], size=int(rng.integers(1, 6)))
    values[0] = 80.0
    text = "Average speed is {}% of the surrounding traffic's one"
    infractions["min_speed_infractions"] = [text.format(v) for v in values] if i % 4 else []
    for kind in ("red_light", "collisions_vehicle", "stop_infraction"):
        infractions[kind] = ["x"] if rng.random() < 0.2 else []
    completion = 100.0 if "Failed" not in status else round(float(rng.uniform(2, 99)), 2)
    scores = {
        "score_route": completion,
        "score_penalty": 1.0,
        "score_composed": round(completion * float(rng.random()), 6),
    }
    name = f"RouteScenario_{id}_rep0"
    record = {"index": i, "route_id": name, "save_name": f"{name}_{i}", "status": status}
    return {**record, "infractions": infractions, "scores": scores}


def _ticks(count: int, rng: np.random.Generator) -> dict[str, dict[str, list[float]]]:
    scale = rng.choice([0.2, 1.0, 3.0], p=[0.6, 0.3, 0.1])
    series = np.convolve(rng.normal(0, scale, count + 8), np.ones(9) / 3, "valid")
    heading = np.cumsum(rng.normal(0, 0.01, count))
    rate = rng.normal(0, 0.4 * scale, count) + (rng.random(count) < 0.02) * 5.0
    ticks = {}
    for i in range(count):
        forward, right = [np.cos(heading[i]), np.sin(heading[i]), 0.0], [-np.sin(heading[i]), np.cos(heading[i]), 0.0]
        ticks[str(i)] = {
            "acceleration": [series[i], 0.3 * series[-i], 9.8],
            "angular_velocity": [0.0, 0.0, float(rate[i])],
            "forward_vector": forward,
            "right_vector": right,
            "location": [0.0, 0.0, 0.0],
            "rotation": [0.0, 0.0, 0.0],
        }
    return ticks


def _official(clone: Path, folder: Path, *arguments: object) -> str:
    command = [sys.executable, LAUNCHER, "--clone", clone, *arguments]
    environment = {**os.environ, "CARLA_ROOT": str(folder / "carla")}
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_bench2drives_own_scripts_agree_with_us_on_generated_results(bench2drive_clone, generated):
    results, merged_file = generated / "results", generated / "results" / "merged.json"
    _official(bench2drive_clone, generated, "tool", "tools/merge_route_json.py", "-f", results)
    said = _official(
        bench2drive_clone,
        generated,
        "tool",
        "tools/efficiency_smoothness_benchmark.py",
        "-f",
        merged_file,
        "-m",
        generated / "metrics",
    )
    arguments = ("tools/ability_benchmark.py", "-r", merged_file, "-f", generated / "routes.xml")
    _official(bench2drive_clone, generated, "tool", *arguments)
    _official(bench2drive_clone, generated, "junctions", generated / "routes.xml", generated / "marks.json")

    routes = open_routes(generated / "routes.xml")
    ours = merge(routes, [results], [generated / "metrics"], generated / "marks.json")
    theirs = json.loads(merged_file.read_text())
    assert ours.report["driving score"].official == pytest.approx(theirs["driving score"], rel=1e-13)  # order of a sum
    assert ours.report["success rate"].official == theirs["success rate"]
    key = lambda row: (row["route_id"], row["save_name"])  # noqa: E731
    written = official_merged(ours)["_checkpoint"]["records"]
    assert sorted(written, key=key) == sorted(theirs["_checkpoint"]["records"], key=key)

    efficiency, smoothness = (float(re.search(rf"{name}=([\d.e-]+)", said)[1]) for name in ("Efficiency", "Smoothness"))
    assert ours.report["driving efficiency"].official == pytest.approx(efficiency, rel=1e-13)
    assert ours.report["driving smoothness"].official == pytest.approx(smoothness, rel=1e-13)
    assert 0.05 < smoothness < 0.95  # chunks of both kinds were judged

    ability = json.loads((generated / "results" / "merged_ability.json").read_text())
    for name in ("Overtaking", "Merging", "Emergency_Brake", "Give_Way", "Traffic_Signs"):
        assert ours.report[name].official == ability[name], name
    assert ours.report["mean ability"].official == pytest.approx(ability["mean"], rel=1e-13)
    assert len(ability["crashed"]) == len(ours.report.coverage.missing) == 2
