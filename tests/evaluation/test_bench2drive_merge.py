"""Folders in, one page out; results of different route files never share a table."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from autovla_core.errors import RouteError, SetupError
from autovla_core.evaluation.bench2drive.clone import NEEDED, choose, open_clone, open_routes, shard
from autovla_core.evaluation.bench2drive.merge import as_json, as_text, merge, official_merged
from autovla_core.scoring.closed_loop import INFRACTIONS

ROOT = Path(__file__).resolve().parents[2]


def write_routes(file: Path, ids: list[str], scenarios: int = 1) -> Path:
    scenario = '<scenario name="s" type="ControlLoss"><trigger_point x="0" y="0" z="0" yaw="0"/></scenario>' * scenarios
    inner = '<waypoints><position x="0" y="0" z="0"/><position x="9" y="0" z="0"/></waypoints>'
    rows = [f'<route id="{id}" town="T">{inner}<scenarios>{scenario}</scenarios></route>' for id in ids]
    file.write_text(f"<routes>{''.join(rows)}</routes>")
    return file


def write_run(folder: Path, routes: Path, scores: dict[str, float], **run: object) -> Path:
    (folder / "results").mkdir(parents=True)
    for id, score in scores.items():
        record = {
            "index": 0,
            "route_id": f"RouteScenario_{id}_rep0",
            "save_name": f"save_{id}",
            "status": "Completed",
            "infractions": {kind: [] for kind in INFRACTIONS},
            "scores": {"score_route": 100.0, "score_penalty": 1.0, "score_composed": score},
        }
        (folder / "results" / f"route_{id}.json").write_text(json.dumps({"_checkpoint": {"records": [record]}}))
    known = {"routes": routes.name, "routes_sha256": hashlib.sha256(routes.read_bytes()).hexdigest(), **run}
    (folder / "run.json").write_text(json.dumps({"mark": "m", "run": known}))
    return folder


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    return write_routes(tmp_path / "routes.xml", ["4", "11", "12", "30"])


def test_the_page_names_the_route_file_its_hash_and_what_is_missing(tmp_path, routes):
    run = write_run(tmp_path / "run", routes, {"4": 100.0, "12": 20.0})
    text = as_text(merge(open_routes(routes), [run], [], None))
    assert f"sha256       {hashlib.sha256(routes.read_bytes()).hexdigest()}" in text
    assert "route file   routes.xml" in text and "missing      2: 11, 30" in text
    assert "driving score               0.5455       30.0000" in text  # 120 / 220, 120 / 4
    assert "success rate              0.9091 %     50.0000 %" in text


def test_results_of_another_route_file_are_refused_with_both_names(tmp_path, routes):
    other = write_routes(tmp_path / "other.xml", ["4", "11"])
    run = write_run(tmp_path / "run", other, {"4": 100.0})
    with pytest.raises(RouteError, match=r"driven on other.xml.*not on routes.xml.*another benchmark"):
        merge(open_routes(routes), [run], [], None)


def test_runs_of_two_models_are_no_parts_of_one(tmp_path, routes):
    parts = [
        write_run(tmp_path / "a", routes, {"4": 1.0}, weights_sha256="1" * 64),
        write_run(tmp_path / "b", routes, {"11": 1.0}, weights_sha256="2" * 64),
    ]
    with pytest.raises(RouteError, match="b and .*a differ in weights_sha256: two runs"):
        merge(open_routes(routes), parts, [], None)


def test_a_folder_that_does_not_say_its_route_file_is_marked_in_the_table(tmp_path, routes):
    run = write_run(tmp_path / "run", routes, {"4": 100.0})
    (run / "run.json").unlink()
    merged = merge(open_routes(routes), [run], [], None)
    assert "unproven" in as_text(merged) and as_json(merged)["route_file_unproven"] == ["run"]


def test_shards_of_two_machines_give_what_one_machine_gives(tmp_path, routes):
    whole = write_run(tmp_path / "whole", routes, {"4": 1.0, "11": 2.0, "12": 3.0, "30": 4.0})
    parts = [
        write_run(tmp_path / "a", routes, {"4": 1.0, "12": 3.0}),
        write_run(tmp_path / "b", routes, {"11": 2.0, "30": 4.0}),
    ]
    file = open_routes(routes)
    assert merge(file, parts, [], None).report == merge(file, [whole], [], None).report
    assert official_merged(merge(file, parts, [], None)) == official_merged(merge(file, [whole], [], None))


def test_a_route_driven_on_both_machines_is_told(tmp_path, routes):
    parts = [write_run(tmp_path / name, routes, {"4": 1.0}) for name in ("a", "b")]
    assert "duplicated   1: 4" in as_text(merge(open_routes(routes), parts, [], None))


def test_the_merged_file_has_bench2drives_form_and_order(tmp_path, routes):
    run = write_run(tmp_path / "run", routes, {"4": 100.0, "11": 0.0, "30": 50.0})
    document = official_merged(merge(open_routes(routes), [run], [], None))
    names = [record["route_id"] for record in document["_checkpoint"]["records"]]
    assert names == ["RouteScenario_4_rep0", "RouteScenario_30_rep0", "RouteScenario_11_rep0"]  # as text, descending
    assert all("index" not in record for record in document["_checkpoint"]["records"])
    assert document["eval num"] == 3 and document["driving score"] == 150.0 / 220


def test_half_a_result_file_and_an_empty_folder_are_named(tmp_path, routes):
    (tmp_path / "x").mkdir()
    with pytest.raises(RouteError, match="no result files in"):
        merge(open_routes(routes), [tmp_path / "x"], [], None)
    (tmp_path / "x" / "eval_0.json").write_text('{"_checkpoint": {"rec')
    with pytest.raises(RouteError, match="eval_0.json is no results file"):
        merge(open_routes(routes), [tmp_path / "x"], [], None)


def test_subsets_are_ids_and_ranges_in_the_files_order(routes):
    file = open_routes(routes)
    assert choose(file, "") == ["4", "11", "12", "30"]
    assert choose(file, "30,11-12") == ["11", "12", "30"]
    with pytest.raises(RouteError, match="route '5' is not in routes.xml"):
        choose(file, "5")


def test_shards_cover_all_routes_once():
    ids = [str(i) for i in range(10)]
    parts = [shard(ids, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(sum(parts, []), key=int) == ids and shard(ids, "") == ids
    for bad in ("0/3", "4/3", "x"):
        with pytest.raises(RouteError, match="i/n"):
            shard(ids, bad)


def test_a_route_with_two_scenarios_is_not_bench2drives(tmp_path):
    with pytest.raises(RouteError, match="routes 7 have not exactly one scenario"):
        open_routes(write_routes(tmp_path / "r.xml", ["7"], scenarios=2))


def test_a_folder_that_is_no_clone_or_is_carlas_leaderboard_is_told_apart(tmp_path):
    with pytest.raises(SetupError, match="lacks .*leaderboard_evaluator.py.*git clone"):
        open_clone(tmp_path)
    for name in NEEDED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(SetupError, match="CARLA's leaderboard, not Bench2Drive"):
        open_clone(tmp_path)


def test_the_tool_prints_writes_and_says_by_its_exit_code_whether_all_is_there(tmp_path, routes):
    run = write_run(tmp_path / "run", routes, {"4": 100.0, "11": 100.0, "12": 100.0})
    command = [
        sys.executable,
        ROOT / "tools" / "merge_bench2drive.py",
        "--routes",
        routes,
        "--out",
        tmp_path / "out",
        run,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "missing      1: 30" in done.stdout
    assert json.loads((tmp_path / "out" / "figures.json").read_text())["missing"] == ["30"]
    assert json.loads((tmp_path / "out" / "merged.json").read_text())["eval num"] == 3
