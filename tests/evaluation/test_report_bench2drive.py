"""A report of a run of Bench2Drive's own evaluator: official figures beside corrected ones, and what is missing."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.bench2drive.clone import open_routes
from autovla_core.evaluation.bench2drive.merge import as_json, as_text, merge, official_merged, write_json
from autovla_core.evaluation.report.collect import by_benchmark, read_run
from autovla_core.evaluation.report.markdown import as_markdown
from autovla_core.evaluation.report.page import page
from autovla_core.scoring.closed_loop import INFRACTIONS

ROOT = Path(__file__).resolve().parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TYPES = ("Accident", "ParkingExit", "ControlLoss", "InvadingTurn", "T_Junction")  # one for each ability


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    rows = []
    for id, type in enumerate(TYPES):
        scenario = f'<scenario name="s" type="{type}"><trigger_point x="0" y="0" z="0" yaw="0"/></scenario>'
        inner = '<waypoints><position x="0" y="0" z="0"/><position x="9" y="0" z="0"/></waypoints>'
        rows.append(f'<route id="{id}" town="T">{inner}<scenarios>{scenario}</scenarios></route>')
    file = tmp_path / "routes.xml"
    file.write_text(f"<routes>{''.join(rows)}</routes>")
    return file


def write_result(folder: Path, id: int, score: float) -> None:
    infractions: dict[str, list[str]] = {kind: [] for kind in INFRACTIONS}
    infractions["min_speed_infractions"] = ["Average speed is 80.0% of the surrounding traffic's one"]
    record = {
        "index": 0,
        "route_id": f"RouteScenario_{id}_rep0",
        "scenario_name": f"{TYPES[id]}_1",
        "weather_id": "7",
        "save_name": f"save_{id}",
        "status": "Completed",
        "infractions": infractions,
        "scores": {"score_route": 100.0, "score_penalty": 1.0, "score_composed": score},
        "meta": {"route_length": 100.0, "duration_game": 9.0, "duration_system": 4.0},
        "town_name": "T",
    }
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "results" / f"route_{id}.json").write_text(json.dumps({"_checkpoint": {"records": [record]}}))


def write_merge(routes: Path, folders: list[Path], out: Path) -> None:
    merged = merge(open_routes(routes), folders, [], None)
    out.mkdir(exist_ok=True)
    write_json(out / "merged.json", official_merged(merged))
    write_json(out / "figures.json", as_json(merged))


def write_run(folder: Path, routes: Path, scores: dict[int, float]) -> Path:
    for id, score in scores.items():
        write_result(folder, id, score)
    digest = hashlib.sha256(routes.read_bytes()).hexdigest()
    known = {"routes": routes.name, "routes_sha256": digest, "agent": "x.py", "agent_config": "/home/me/x.yaml"}
    known |= {"agent_config_sha256": "c" * 64, "seed": 5}
    (folder / "run.json").write_text(json.dumps({"mark": "m", "run": known}))
    write_merge(routes, [folder], folder)
    return folder


def test_a_run_folder_tells_its_drives_route_file_rule_traffic_and_what_is_missing(tmp_path, routes):
    folder = write_run(tmp_path / "b2d", routes, {0: 100.0, 2: 50.0, 3: 60.0})
    run = read_run("vla", folder)
    digest = hashlib.sha256(routes.read_bytes()).hexdigest()
    assert run.benchmark == (digest, "product", "Bench2Drive's own")
    assert (len(run.drives), run.total, run.drives[0].seed, run.file) == (3, 5, 5, "b2d/figures.json")
    assert sorted(drive.scenarios[0] for drive in run.drives) == ["Accident", "ControlLoss", "InvadingTurn"]
    assert run.official.missing == ("1", "4") and run.official.route_file == "routes.xml"
    assert run.run["agent_config"] == "c" * 64, "the hash, as in our own results, not a path of this machine"


def test_official_and_corrected_figures_stand_beside_each_other_each_named(tmp_path, routes):
    run = read_run("vla", write_run(tmp_path / "b2d", routes, {0: 100.0, 2: 50.0, 3: 60.0}))
    text = page("t", [run])
    root = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    (table,) = [
        t for t in root.iter("table") if [h.text for h in t.iter("th")][:3] == ["figure", "official", "corrected"]
    ]
    rows = {row[0].text: [" ".join(cell.itertext()) for cell in row[1:]] for row in table.iter("tr")}
    assert rows["driving score"][0] == "0.95" and rows["driving score"][1].startswith("42.00   [")  # 210/220, 210/5
    assert rows["success rate %"][0] == "1.36" and rows["success rate %"][1].startswith("60.00   [")  # 3/220, 3/5
    assert rows["driving efficiency, % of the traffic's speed"][:1] == ["80.00"]
    assert rows["driving smoothness %"] == [
        "-",
        "-",
        "3 of 3 records have no metric_info.json: the official script stops there",
    ]
    assert rows["Overtaking %"][1] == "100.00   [no interval: too few routes]"  # one route tests it
    assert "2 of 5 routes have no record" in text and "1, 4" in text and "routes.xml, sha256" in text
    line = next(line for line in as_markdown(by_benchmark([run])).splitlines() if line.startswith("| driving score |"))
    assert line.startswith("| driving score | 0.95 | 42.00 [")


def test_the_terminals_page_has_an_interval_beside_every_corrected_figure(tmp_path, routes):
    folder = write_run(tmp_path / "b2d", routes, {0: 100.0, 2: 50.0, 3: 60.0})
    lines = as_text(merge(open_routes(routes), [folder], [], None)).splitlines()
    figures = lines[next(i for i, line in enumerate(lines) if "official" in line) + 1 : -2]
    assert len(figures) == 10
    assert all("[" in line or "-" in line.split() for line in figures)


def test_routes_driven_since_the_merge_are_not_passed_over_in_silence(tmp_path, routes):
    folder = write_run(tmp_path / "b2d", routes, {0: 100.0})
    write_result(folder, 1, 20.0)
    with pytest.raises(RouteError, match="holds 2 results, its merge is of 1; call tools/merge_bench2drive.py"):
        read_run("vla", folder)
    (folder / "figures.json").unlink()
    with pytest.raises(RouteError, match="holds no figures.json.*merge_bench2drive.py"):
        read_run("vla", folder)
    (folder / "figures.json").write_text('{"route_file": "x"}')
    with pytest.raises(RouteError, match="damaged or of another version"):
        read_run("vla", folder)


def test_a_merge_of_two_shards_counts_a_route_of_both_once_with_the_worst(tmp_path, routes):
    shards = [write_run(tmp_path / "1", routes, {0: 100.0, 1: 90.0}), write_run(tmp_path / "2", routes, {1: 40.0})]
    write_merge(routes, shards, tmp_path / "both")
    run = read_run("vla", tmp_path / "both")
    assert {drive.route: drive.score for drive in run.drives} == {"0": 100.0, "1": 40.0} and run.total == 5
    assert "1 route recorded twice, the worst counts" in page("t", [run])


def test_a_folder_that_proves_no_route_file_is_not_compared_with_one_that_does(tmp_path, routes):
    proven = write_run(tmp_path / "a", routes, {0: 100.0})
    other = write_run(tmp_path / "b", routes, {0: 100.0})
    (other / "run.json").unlink()
    write_merge(routes, [other], other)
    runs = [read_run("a", proven), read_run("b", other)]
    assert [key[0][-10:] for key in by_benchmark(runs)][1] == "(unproven)"


def test_the_tool_takes_the_folder(tmp_path, routes):
    write_run(tmp_path / "b2d", routes, {0: 100.0, 2: 50.0})
    command = [sys.executable, ROOT / "tools/make_report.py", f"vla={tmp_path}/b2d", "--out", tmp_path / "r.html"]
    made = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    assert "Bench2Drive's figures" in (tmp_path / "r.html").read_text().replace("&#x27;", "'")


@pytest.mark.skipif(BROWSER is None, reason="no browser on PATH")
def test_a_phone_shows_the_folders_figures_without_scrolling_sideways(tmp_path, routes):
    text = page("t", [read_run("vla", write_run(tmp_path / "b2d", routes, {0: 100.0, 2: 50.0}))])
    probe = "<script>parent.document.title=[innerWidth,document.documentElement.scrollWidth].join(' ')</script></body>"
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*/>', "", text).replace("</body>", probe)
    frame = f'<iframe style="width:390px;height:900px;border:0" srcdoc="{escape(bare)}"></iframe>'
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><title>-</title>{frame}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    made = subprocess.run(
        [BROWSER, *options, f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=240
    )
    inner, needed = map(int, re.search(r"<title>(\d+) (\d+)</title>", made.stdout).groups())
    assert inner == 390 and needed <= inner, f"{needed} px needed, {inner} px there"
