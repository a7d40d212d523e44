"""Sweeps are read strictly, change only what they say, and are drawn with intervals and verdicts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import carla
import pytest
import yaml

from autovla_core.errors import ConfigError
from autovla_core.evaluation.evaluator import Run, conditions, fingerprint, in_weather
from autovla_core.evaluation.report.collect import RunResults, read_run
from autovla_core.evaluation.report.curve import Mark, curve, rows
from autovla_core.evaluation.report.figures import SCORE
from autovla_core.evaluation.results import BAD_SENSORS, SETUP_FAILED, Record, ResultsFile, route_id
from autovla_core.evaluation.robustness import (
    WEATHERS,
    Setting,
    Sweep,
    as_json,
    as_markdown,
    expect_driven,
    merged,
    points_of,
    read_sweep,
    run_of,
)
from autovla_core.evaluation.route_file import Route
from autovla_core.scoring.closed_loop import Infraction, score
from autovla_core.sensing.faults import SensorFaults

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "leaderboard_configs/robustness").glob("*.yaml"))
SWEEP = Sweep("Score <by> delay", "delay, s", tuple(Setting(str(v), float(v)) for v in (0, 1, 2)))
RED = Infraction("red_light", "ran it")


def results(file: Path, faulty: int, routes: int = 8) -> RunResults:
    """70 points on so many of the routes, 100 on the others."""
    book = ResultsFile(file, [route_id(str(r), 0) for r in range(routes)], {"agent": "x.py", "routes": "f" * 64})
    for route in range(routes):
        faults = (RED,) if route < faulty else ()
        scores = score(100.0, faults)
        book.add(Record(str(route), 0, 0, "T", "Completed", scores, faults, 300.0, 40.0, 9.0))
    return read_run(file.stem, file)


@pytest.fixture
def runs(tmp_path) -> dict[str, RunResults]:
    return {label: results(tmp_path / f"{label}.json", faulty) for label, faulty in (("0", 0), ("1", 1), ("2", 8))}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_sweep_can_be_driven(file, tmp_path):
    sweep = read_sweep(file)
    base = Run(ROOT / "agents/autovla_agent.py", str(ROOT / "leaderboard_configs/autovla_agent.yaml"))
    for setting in sweep.settings:
        run = run_of(base, setting, tmp_path)
        if setting.agent:
            assert yaml.safe_load(Path(run.agent_config).read_text()) == {
                "checkpoint": "models/autovla-tiny",
                "rig": "front",
                "replan_s": 0.5,
                **setting.agent,
            }
        assert run.episode.faults == setting.faults and run.weather == setting.weather


def test_the_first_setting_of_a_shipped_sweep_is_the_plain_drive_where_the_axis_begins_at_zero():
    sweeps = {file.stem: read_sweep(file) for file in SHIPPED}
    plain = [s.settings[0] for name, s in sweeps.items() if s.numeric and not name.startswith("delay")]
    assert all(first == Setting("0", 0.0) for first in plain) and len(plain) == 5
    assert sweeps["delay"].settings[0].agent == {"latency": {"fixed": 0.0}}
    assert sweeps["delay_jitter"].settings[0].agent == {"latency": {"fixed": 0.25, "jitter": 0.0}}
    assert [s.label for s in sweeps["delay"].settings] == ["0", "0.25", "0.5", "1", "2"]
    assert len(sweeps["weather"].settings) == 15 and {s.weather for s in sweeps["weather"].settings} == set(WEATHERS)


def test_every_weather_is_carlas():
    assert all(isinstance(getattr(carla.WeatherParameters, name), carla.WeatherParameters) for name in WEATHERS)


def test_a_setting_is_put_over_the_agents_own_yaml_key_by_key():
    base = {"checkpoint": "m", "thinking": {"mode": "slow", "seed": 3}}
    assert merged(base, {"thinking": {"seed": 4}, "latency": {"fixed": 1.0}}) == {
        "checkpoint": "m",
        "thinking": {"mode": "slow", "seed": 4},
        "latency": {"fixed": 1.0},
    }
    assert base["thinking"]["seed"] == 3


def test_the_first_point_of_the_delay_sweep_is_no_delay_whatever_the_users_own_yaml_says(tmp_path):
    (tmp_path / "mine.yaml").write_text("latency: {fixed: 1.5}\n")
    first = read_sweep(ROOT / "leaderboard_configs/robustness/delay.yaml").settings[0]
    run = run_of(Run(Path("a.py"), str(tmp_path / "mine.yaml")), first, tmp_path / "out")
    assert yaml.safe_load(Path(run.agent_config).read_text()) == {"latency": {"fixed": 0.0}}


@pytest.mark.parametrize("status", [SETUP_FAILED, BAD_SENSORS])
def test_an_agent_that_cannot_be_readied_is_no_result_of_a_sweep(status):
    record = Record("3", 0, 0, "T", status, score(0.0, ()), (), 0.0, 0.0, 0.0, "ConfigError: unknown ['latency']")
    with pytest.raises(
        ConfigError, match="Route.*_3_rep0: Failed - Agent.*unknown .'latency'.*the sweep or the agent's"
    ):
        expect_driven(record)
    expect_driven(replace(record, status="Failed - Agent crashed"))


def test_a_record_that_is_refused_is_not_stored(tmp_path, monkeypatch):
    from autovla_core.evaluation import evaluator

    route = Route("3", "T", ((0, 0, 0), (9, 0, 0)))
    record = Record("3", 0, 0, "T", SETUP_FAILED, score(0.0, ()), (), 0.0, 0.0, 0.0)
    monkeypatch.setattr(evaluator, "drive_jobs", lambda run, jobs, answer: [answer(record) for _ in jobs])
    jobs = evaluator.jobs_of([route], [0])
    results = ResultsFile(tmp_path / "r.json", [jobs[0].route_id], {})
    with pytest.raises(ConfigError):
        evaluator.evaluate(Run(Path("a.py")), jobs, results, 1, expect_driven)
    assert not results.has(jobs[0].route_id) and not (tmp_path / "r.json").exists()


def test_an_agent_without_a_yaml_cannot_be_changed(tmp_path):
    with pytest.raises(ConfigError, match="setting 'x' changes the agent's YAML, but found none"):
        run_of(Run(Path("a.py"), ""), Setting("x", agent={"latency": {"fixed": 1.0}}), tmp_path)


def test_conditions_are_part_of_what_a_results_file_was_driven_with(tmp_path):
    (tmp_path / "r.xml").write_text("<routes/>")
    plain = Run(Path("a.py"))
    assert conditions(plain) == {} and "weather" not in fingerprint(plain, tmp_path / "r.xml", [0])
    hard = run_of(plain, Setting("x", faults=SensorFaults(lost=0.5), weather="WetNoon"), tmp_path)
    found = fingerprint(hard, tmp_path / "r.xml", [0])
    assert found["weather"] == "WetNoon" and found["faults"] == {"cameras": ("front",), "lost": 0.5}


def test_a_weather_takes_the_place_of_the_routes_own():
    route = Route("0", "T", ((0, 0, 0), (9, 0, 0)), ((0.0, {"cloudiness": 7.0}),))
    assert in_weather(route, "") is route
    assert in_weather(route, "HardRainNoon").weather["precipitation"] > 50.0


def test_each_setting_is_compared_with_the_first_on_the_same_drives(runs):
    first, small, large = points_of(SWEEP, runs)
    assert first.verdict == "what the others are compared with"
    assert (small.against.difference.mean, small.verdict) == (-3.75, "no difference shown")
    assert (large.against.difference.mean, large.verdict) == (-30.0, "lower")
    assert large.p_holm > large.against.p_value  # corrected for two comparisons


def test_a_table_and_a_file_hold_no_mean_without_its_interval(runs):
    points = points_of(SWEEP, runs)
    text = as_markdown(SWEEP, points)
    assert "| 1 | 8 | 96.2 [88.8, 100.0] |" in text and "| -30.0 [-30.0, -30.0] |" in text
    document = as_json(SWEEP, points)
    assert [p["label"] for p in document["points"]] == ["0", "1", "2"]
    second = document["points"][1]
    assert set(second["driving score"]) == {"mean", "low", "high", "drives", "routes"} and second["value"] == 1.0
    assert second["score_against_first"]["mean"] == -3.75 and document["points"][0]["score_against_first"] is None


def test_a_sweep_that_is_half_driven_is_drawn_as_far_as_it_goes(runs):
    del runs["1"]
    points = points_of(SWEEP, runs)
    assert [point.setting.label for point in points] == ["0", "2"]


def marks(runs: dict[str, RunResults]) -> list[Mark]:
    return [Mark(p.setting.label, p.figures[SCORE.name], p.setting.value) for p in points_of(SWEEP, runs)]


def test_a_curve_is_whole_svg_with_a_bar_for_each_interval(runs):
    root = ElementTree.fromstring(curve(SWEEP.title, SWEEP.axis, "driving score", marks(runs)))
    name = "{http://www.w3.org/2000/svg}"
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(name + "circle")]
    assert [x for x, _ in dots] == pytest.approx([64.0, 340.0, 616.0])  # evenly, as 0, 1, 2 are
    assert dots[0][1] < dots[1][1] < dots[2][1]  # the lower the score, the further down
    assert root.get("aria-label") == "Score <by> delay"
    bars = [line for line in root.iter(name + "line") if line.get("class") == "b"]
    assert len(bars) == 9  # an interval and its two ends for each of three
    assert any("8 drives of 8 routes each; bars: 95 % over routes" in (t.text or "") for t in root.iter(name + "text"))


def test_names_without_an_axis_are_rows_in_their_order(runs):
    root = ElementTree.fromstring(rows("Weather", "driving score", marks(runs)))
    name = "{http://www.w3.org/2000/svg}"
    heights = [float(c.get("cy")) for c in root.iter(name + "circle")]
    assert len(heights) == 3 and heights == sorted(heights)
    with pytest.raises(ValueError, match="expected marks with values"):
        curve("t", "a", "m", [Mark("x", marks(runs)[0].figure)])


@pytest.mark.parametrize(
    "text, message",
    [
        ("title: t\naxis: a\nsettings: [{label: a}]\n", "expected two or more with distinct labels"),
        ("title: t\naxis: a\nsettings: [{label: a}, {label: a}]\n", "distinct labels"),
        ("title: t\naxis: a\nsettings: [{label: a, value: 2}, {label: b, value: 1}]\n", "expected ascending numbers"),
        ("title: t\naxis: a\nsettings: [{label: a, value: 2}, {label: b}]\n", "expected ascending numbers"),
        ("title: t\naxis: a\nsettings: [{label: a, weather: Hail}, {label: b}]\n", "found 'Hail', expected one of"),
        ("title: t\naxis: a\nsettings: [{label: a, faults: {lost: 2}}, {label: b}]\n", "faults.lost: found 2"),
        ("title: t\naxis: a\nsettings: [{label: a, delay: 2}, {label: b}]\n", r"settings\[0\]: unknown \['delay'\]"),
    ],
)
def test_a_sweep_with_a_mistake_is_refused_with_its_file(tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as found:
        read_sweep(tmp_path / "s.yaml")
    assert "s.yaml" in str(found.value)


def test_the_tool_draws_what_is_there_without_driving(tmp_path):
    (tmp_path / "delay").mkdir()
    for label, faulty in (("0", 0), ("0.25", 4)):
        results(tmp_path / "delay" / f"{label}.json", faulty)
    command = [sys.executable, str(ROOT / "tools/sweep_robustness.py"), "--draw-only", "--out", str(tmp_path)]
    sweep = str(ROOT / "leaderboard_configs/robustness/delay.yaml")
    done = subprocess.run(
        [*command, "--routes", "unused.xml", "--sweeps", sweep], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "| 0.25 | 8 | 85.0 [" in done.stdout
    assert sorted(f.name for f in tmp_path.iterdir()) == ["delay", "delay.json", "delay.svg"]


def test_results_of_other_weights_are_another_run(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text("<routes/>")
    (tmp_path / "agents").mkdir()
    (tmp_path / "model").mkdir()
    config = tmp_path / "agent.yaml"
    config.write_text("checkpoint: model\n")
    run = Run(tmp_path / "agents" / "a.py", str(config))
    stamps = []
    for content in (b"one", b"two!", b"one"):
        (tmp_path / "model" / "model.safetensors").write_bytes(content)
        stamps.append(fingerprint(run, tmp_path / "r.xml", [0]))
    assert stamps[0] == stamps[2] != stamps[1], "the agent's YAML is the same, the model is not"
    assert "weights" not in fingerprint(Run(tmp_path / "agents" / "a.py", ""), tmp_path / "r.xml", [0])
