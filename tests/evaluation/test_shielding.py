"""Where the shield was on every table says so, and gives the same agent without it beside."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.evaluator import Run, fingerprint
from autovla_core.evaluation.report.collect import RunResults, by_benchmark, read_run
from autovla_core.evaluation.report.markdown import as_markdown
from autovla_core.evaluation.report.page import page
from autovla_core.evaluation.report.shield import shield_lines
from autovla_core.evaluation.results import Record, ResultsFile, route_id
from autovla_core.evaluation.shielding import expect_unmixed, shield_facts
from autovla_core.evaluation.summary import as_text, summarise
from autovla_core.scoring.closed_loop import Infraction, score

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "leaderboard_configs"
CRASH = Infraction("collisions_vehicle", "Agent collided against object with type=vehicle.tesla.model3 and id=7")
PLAIN = {
    "plans": 80.0,
    "failures": 0.0,
    "latency_s_mean": 0.0,
    "slow_plans": 0.0,
    "slow_share": 0.0,
    "forced_share": 0.0,
    "thinking_tokens_mean": 0.0,
}
COUNTS = {
    "shield_plans_checked": 80.0,
    "shield_plans_route": 2.0,
    "shield_plans_tyres": 1.0,
    "shield_brakings": 3.0,
    "shield_ticks_blind": 0.0,
    "shield_ticks_obstacle": 25.0,
    "shield_ticks_route": 10.0,
    "shield_ticks_tyres": 4.0,
}


def run_of(folder: Path, name: str, crashes: int, planner: dict, **run: object) -> RunResults:
    """Eight routes, the first ``crashes`` of them with a collision: 60 points."""
    stamp = {"agent": "x.py", "agent_config": name, "routes": "f" * 64, "rule": "product", "traffic": 10, **run}
    results = ResultsFile(folder / f"{name}.json", [route_id(str(r), 0) for r in range(8)], stamp)
    for route in range(8):
        faults = (CRASH,) if route < crashes else ()
        scores = score(100.0, faults)
        results.add(
            Record(str(route), 0, 0, "Havenbrook", "Completed", scores, faults, 300.0, 40.0, 9.0, "", dict(planner))
        )
    return read_run(name, folder / f"{name}.json")


@pytest.fixture
def runs(tmp_path) -> list[RunResults]:
    bare = run_of(tmp_path, "vla", 8, PLAIN)
    kept = run_of(tmp_path, "kept", 0, PLAIN | COUNTS, shield={"enabled": True}, same_without_shield=["vla"])
    return [bare, kept]


def test_a_run_with_the_shield_says_so_in_every_table_and_gives_both_figures(runs):
    (found,) = by_benchmark(runs).values()
    assert [run.name for run in found] == ["vla", "kept (shield on)"]
    (line,) = shield_lines(found)
    assert line.startswith("kept (shield on): braked 24 times in 8 drives (200 ticks), slowed 80 ticks for the route")
    assert "of 640 plans checked 16 left the route and 8 asked too much of the tyres" in line
    assert "driving score 60.0 [60.0, 60.0] (vla) against 100.0 [100.0, 100.0]" in line
    assert "kept (shield on) − vla is +40.0 [+40.0, +40.0], kept (shield on) is higher" in line
    table = as_markdown(by_benchmark(runs))
    assert line in table and "| kept (shield on) | 8 | 8 |" in table
    html = page("t", runs)
    assert "<p>kept (shield on): braked 24 times" in html and "brakings by the shield" in html
    assert '<th scope="row">kept<' not in html


def test_without_the_same_agent_the_report_says_that_it_is_missing(tmp_path, runs):
    other = run_of(tmp_path, "other", 2, PLAIN)
    foggy = run_of(tmp_path, "vla2", 2, PLAIN, agent_config="vla", weather="DustStorm")
    later = run_of(tmp_path, "vla3", 2, PLAIN, agent_config="vla", weights={"model.safetensors": "other"})
    for beside in ([], [other], [foggy], [later]):
        found = by_benchmark([runs[1], *beside])
        lines = [line for alike in found.values() for line in shield_lines(alike)]
        assert len(lines) == 1 and lines[0].endswith("is not among these results; drive that too.")


def test_a_run_without_the_shield_is_reported_as_before(runs):
    assert not runs[0].shielded and shield_lines(runs[:1]) == []
    assert "shield" not in page("t", runs[:1]) and "shield" not in as_markdown(by_benchmark(runs[:1]))


def test_a_run_that_says_only_in_its_stamp_that_the_shield_was_on_is_named_too(tmp_path):
    run = run_of(tmp_path, "lost", 0, {}, shield={"enabled": True})
    (line,) = shield_lines(by_benchmark([run])[run.benchmark])
    assert run.shielded and line.startswith("lost (shield on): its counts are in none of its 8 drives")


def test_the_table_of_an_evaluation_sums_the_counts_up(tmp_path):
    run_of(tmp_path, "kept", 0, PLAIN | COUNTS)
    records = json.loads((tmp_path / "kept.json").read_text())["_checkpoint"]["records"]
    text = as_text(summarise(records))
    assert "shield on          braked 24 times in 8 drives (200 ticks)" in text and "the same agent without it" in text
    bare = [record | {"planner": PLAIN} for record in records]
    assert "shield" not in as_text(summarise(bare)) and summarise(bare).shield == {}


def test_drives_with_and_without_the_shield_make_no_mean_together():
    expect_unmixed([{"planner": PLAIN}, {"planner": {}}, {}])
    expect_unmixed([{"planner": PLAIN | COUNTS}, {}])
    with pytest.raises(RouteError, match="1 drives with the shield among 2"):
        expect_unmixed([{"planner": PLAIN}, {"planner": PLAIN | COUNTS}])


def test_the_stamp_of_the_shipped_agent_is_what_it_was_and_that_with_the_shield_names_it(tmp_path):
    routes = tmp_path / "r.xml"
    routes.write_text("<routes/>")
    names = {name: CONFIGS / f"{name}.yaml" for name in ("autovla_agent", "autovla_shield_agent")}
    stamps = {n: fingerprint(Run(Path("agents/autovla_agent.py"), str(f)), routes, [0]) for n, f in names.items()}
    assert set(stamps["autovla_shield_agent"]) - set(stamps["autovla_agent"]) == {"shield", "same_without_shield"}
    digest = hashlib.sha256(names["autovla_agent"].read_bytes()).hexdigest()
    assert stamps["autovla_shield_agent"]["same_without_shield"] == [digest]
    assert stamps["autovla_shield_agent"]["shield"] == {"enabled": True}


@pytest.mark.parametrize("text", ["checkpoint: x\n", "shield: {enabled: false}\n", "- 1\n", "a: [", "shield: 3\n"])
def test_what_has_no_shield_adds_nothing_to_a_stamp(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert shield_facts(tmp_path / "a.yaml") == {} == shield_facts(tmp_path / "absent.yaml") == shield_facts(Path(""))


def test_a_shield_that_is_switched_off_by_key_is_the_same_agent_without_it(tmp_path):
    (tmp_path / "a.yaml").write_text("checkpoint: x\nshield: {enabled: true}\n")
    (tmp_path / "b.yaml").write_text("# no comment counts\nshield: {enabled: false}\ncheckpoint: x\n")
    (tmp_path / "c.yaml").write_text("checkpoint: y\n")
    (tmp_path / "d.yaml").write_text("checkpoint: x\nshield: {enabled: true, margin: 2.0}\n")
    twin = hashlib.sha256((tmp_path / "b.yaml").read_bytes()).hexdigest()
    assert shield_facts(tmp_path / "a.yaml")["same_without_shield"] == [twin]


def test_the_table_by_scenario_refuses_a_mixture(tmp_path, runs, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("tabulate_scenarios", ROOT / "tools" / "tabulate_scenarios.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    files = [str(tmp_path / f"{run.name}.json") for run in runs]
    routes = str(CONFIGS / "routes" / "havenbrook_test20.xml")
    monkeypatch.setattr("sys.argv", ["tabulate_scenarios", "--routes", routes, "--results", *files])
    assert tool.main() == 1
    assert "8 drives with the shield among 16" in capsys.readouterr().err
