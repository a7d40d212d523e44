"""A report says how sure each figure is, keeps benchmarks apart and needs nothing but itself."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.report.collect import RunResults, by_benchmark, read_run, weather_name
from autovla_core.evaluation.report.figures import SCORE, SUCCESS, compare, figure, grouped, p_text
from autovla_core.evaluation.report.gallery import PlanNote
from autovla_core.evaluation.report.markdown import as_markdown
from autovla_core.evaluation.report.page import page
from autovla_core.evaluation.results import Record, ResultsFile, route_id
from autovla_core.evaluation.route_file import Route, Scenario, write_routes
from autovla_core.scoring.closed_loop import Infraction, score

ROOT = Path(__file__).resolve().parents[2]
LIGHT = Infraction("red_light", "Agent ran a red light 4 at (x=10.0, y=-2.0, z=0.0)")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PLANNER = {
    "plans": 80.0,
    "failures": 20.0,
    "latency_s_mean": 0.25,
    "slow_plans": 16.0,
    "slow_share": 0.2,
    "forced_share": 0.5,
    "thinking_tokens_mean": 31.0,
}


def write(file: Path, faulty: set[int], routes: int = 8, seeds: int = 2, more: int = 0, **run: object) -> Path:
    """A results file by the project's own writer: a red light on each faulty route, 70 points instead of 100."""
    names = [route_id(str(r), k) for k in range(seeds) for r in range(routes + more)]
    results = ResultsFile(file, names, {"agent": "x.py", "routes": "f" * 64, "rule": "product", "traffic": 10, **run})
    for repetition in range(seeds):
        for route in range(routes):
            faults = (LIGHT,) if route in faulty else ()
            status, scores = "Completed" if faults else "Perfect", score(100.0, faults)
            results.add(
                Record(str(route), repetition, repetition, "Havenbrook", status, scores, faults, 300.0, 40.0, 9.0)
            )
    return file


def run_of(folder: Path, name: str, faulty: set[int], **more: object) -> RunResults:
    return read_run(name, write(folder / f"{name}.json", faulty, **more))


class References(HTMLParser):
    """Everything that a page would load, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data", "srcset")]

    handle_startendtag = handle_starttag


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_a_drive_is_read_with_all_that_tables_group_by(tmp_path):
    run = run_of(tmp_path, "a", {0, 1})
    assert (len(run.drives), run.total, run.drives[0].town, run.drives[8].seed) == (16, 16, "Havenbrook", 1)
    assert run.drives[0].score == 70.0 and not run.drives[0].succeeded and run.drives[2].succeeded
    assert run.file_sha256 == hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest()
    found = figure(SCORE, run.drives)
    assert found.interval.mean == 92.5 and (found.drives, found.units) == (16, 8)  # 2 of 8 routes lose 30
    assert figure(SUCCESS, run.drives).interval.mean == 75.0


def test_scenarios_and_abilities_of_bench2drive_are_read(tmp_path):
    file = write(tmp_path / "a.json", set(), routes=1, seeds=1)
    document = json.loads(file.read_text())
    document["_checkpoint"]["records"][0] |= {"scenario_name": "VehicleTurningRoute_1", "weather_id": "7"}
    del document["run"], document["_checkpoint"]["records"][0]["seed"]
    file.write_text(json.dumps(document))
    (drive,) = read_run("a", file).drives
    assert drive.scenarios == ("VehicleTurningRoute",) and drive.weather == "weather 7"
    assert drive.abilities == ("Emergency_Brake", "Traffic_Signs")


def test_weathers_come_from_the_route_file_that_was_driven_and_from_no_other(tmp_path):
    rain = ((0.0, {"precipitation": 80.0, "sun_altitude_angle": -10.0}),)
    write_routes(tmp_path / "r.xml", [Route("0", "Havenbrook", ((0, 0, 0), (9, 0, 0)), rain)])
    digest = hashlib.sha256((tmp_path / "r.xml").read_bytes()).hexdigest()
    good = write(tmp_path / "good.json", set(), routes=1, seeds=1)
    document = json.loads(good.read_text())
    document["run"]["routes"] = digest
    good.write_text(json.dumps(document))
    assert read_run("a", good, [tmp_path / "r.xml"]).drives[0].weather == "night, heavy rain"
    with pytest.raises(RouteError, match="driven on the route file ffff"):
        read_run("a", write(tmp_path / "other.json", set()), [tmp_path / "r.xml"])


def test_a_route_counts_in_the_row_of_each_of_its_scenarios(tmp_path):
    types = ("ControlLoss", "Accident", "ControlLoss")
    scenarios = tuple(Scenario(f"s{i}", type, (0.0, 0.0, 0.0, 0.0)) for i, type in enumerate(types))
    write_routes(tmp_path / "r.xml", [Route("0", "Havenbrook", ((0, 0, 0), (9, 0, 0)), scenarios=scenarios)])
    file = write(tmp_path / "a.json", set(), routes=1, seeds=1)
    file.write_text(file.read_text().replace("f" * 64, hashlib.sha256((tmp_path / "r.xml").read_bytes()).hexdigest()))
    run = read_run("a", file, [tmp_path / "r.xml"])
    assert run.drives[0].scenarios == ("ControlLoss", "Accident")
    assert run.drives[0].abilities == ("Overtaking", "Emergency_Brake")
    assert {key: len(drives) for key, drives in grouped(run.drives, "scenario").items()} == {
        "Accident": 1,
        "ControlLoss": 1,
    }


def test_a_chance_that_was_never_met_is_small_and_not_zero(tmp_path):
    clean, poor = run_of(tmp_path, "clean", set(), routes=40), run_of(tmp_path, "poor", set(range(40)), routes=40)
    text = as_markdown(by_benchmark([clean, poor]))
    assert "| < 0.001 |" in text and "0.000" not in text
    assert p_text(0.0009999) == "< 0.001" and p_text(0.001) == "0.001"


def test_a_weather_has_a_short_name():
    assert weather_name({"sun_altitude_angle": 45.0}) == "day, clear"
    assert weather_name({"sun_altitude_angle": 10.0, "fog_density": 50.0}) == "low sun, fog"


def test_what_is_no_results_file_is_refused_with_its_name(tmp_path):
    (tmp_path / "x.json").write_text("[1, 2")
    with pytest.raises(RouteError, match="x.json is not a leaderboard results file"):
        read_run("a", tmp_path / "x.json")
    with pytest.raises(RouteError, match="no drive yet"):
        (tmp_path / "y.json").write_text('{"_checkpoint": {"records": []}}')
        read_run("a", tmp_path / "y.json")
    with pytest.raises(RouteError, match="cannot read"):
        read_run("a", tmp_path / "missing.json")
    file = write(tmp_path / "z.json", set(), routes=1, seeds=1)
    document = json.loads(file.read_text())
    document["_checkpoint"]["records"] *= 2
    file.write_text(json.dumps(document))
    with pytest.raises(RouteError, match="twice"):
        read_run("a", file)


def test_a_difference_on_eight_routes_is_shown_and_none_is_called_none(tmp_path):
    clean, poor, alike = (
        run_of(tmp_path, n, f) for n, f in (("clean", set()), ("poor", set(range(8))), ("alike", {0}))
    )
    worse, small, better = compare([clean, poor, alike])
    assert worse.paired.difference.mean == -30.0 and worse.verdict() == "clean is higher"
    assert small.verdict() == "no difference shown" and small.paired.detectable > 3.75  # 30 / 8 was the difference
    assert better.verdict() == "alike is higher" and worse.p_holm > worse.paired.p_value
    table = as_markdown(by_benchmark([clean, alike]))
    assert "no difference shown" in table and "| clean | 16 | 8 | 100.0 [100.0, 100.0] | 100.0 [63.1, 100.0]" in table


def test_other_route_files_rules_and_traffic_get_tables_of_their_own(tmp_path):
    runs = [
        run_of(tmp_path, "a", {0}),
        run_of(tmp_path, "b", {1}),
        run_of(tmp_path, "c", {1}, traffic=20),
        run_of(tmp_path, "d", {1}, rule="hyperbolic"),
    ]
    assert [[run.name for run in found] for found in by_benchmark(runs).values()] == [["a", "b"], ["c"], ["d"]]
    text = page("t", runs)
    assert "3 different benchmarks." in text and "b − a" in text and "c − a" not in text
    assert "3 different benchmarks" in as_markdown(by_benchmark(runs))
    assert "different benchmarks" not in page("t", runs[:2])
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(runs)


def test_every_figure_of_the_page_has_its_interval(tmp_path):
    notes = [[PlanNote(0.5 * i, "slow" if i % 4 == 0 else "fast", "", 100.0 + i) for i in range(20)]] * 3
    root = tree(page("t", [run_of(tmp_path, "a", {0}), run_of(tmp_path, "b", {1, 2})], plans={"a": notes}))
    figures = [node for node in root.iter("span") if node.get("class") == "figure"]
    assert len(figures) > 40
    for node in figures:
        (bounds,) = [child.text for child in node if child.get("class") == "interval"]
        assert re.fullmatch(r"\[(?:[-+]?[\d.]+, [-+]?[\d.]+|no interval: 1 \w+)\]", bounds), bounds
    for table in root.iter("table"):  # a mean stands nowhere but in such a span
        if table.get("class") == "cards":
            bare = [node for cell in table.iter("td") for node in cell if node.tag == "b"]
            assert not bare


def test_one_route_has_no_interval_and_the_page_says_so(tmp_path):
    assert '100.0</b> <span class="interval">[no interval: 1 route]' in page(
        "t", [run_of(tmp_path, "a", set(), routes=1)]
    )


def test_the_page_loads_nothing_and_runs_nothing(tmp_path):
    text = page("t", [run_of(tmp_path, "a", {0})])
    found = References(text)
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "base"}
    assert all(value.startswith("data:") for value in found.loaded)
    assert "default-src 'none'" in text and "@import" not in text and "url(" not in text


def test_hostile_names_stay_text(tmp_path):
    file = write(tmp_path / "a.json", set(), routes=1)
    document = json.loads(file.read_text())
    document["_checkpoint"]["records"][0] |= {"detail": "<script>alert(1)</script>", "town_name": '"><img src=x>'}
    file.write_text(json.dumps(document))
    text = page("<b>title", [read_run("<i>a", file)], facts={"<i>a": {"k": "</code><script>"}})
    assert not References(text).tags & {"script", "img", "i"} and tree(text).tag == "html"


def test_missing_drives_are_told_and_counted_as_nothing(tmp_path):
    run = run_of(tmp_path, "a", set(), more=2)  # 16 of 20 driven, each 100
    text = page("t", [run])
    assert "a: 4 of 20 drives are missing." in text and "<b>80.0</b>" in text
    assert "4 of 20 drives missing; counted 0: 80.0 [" in as_markdown(by_benchmark([run]))


def test_a_record_says_when_a_fault_appeared_and_how_the_planner_thought(tmp_path):
    names = [route_id(str(r), 0) for r in range(3)]
    results = ResultsFile(tmp_path / "a.json", names, {"agent": "x.py"})
    faults = (Infraction("red_light", "ran it", time_s=12.34), Infraction("red_light", "ran another", time_s=20.0))
    for route in range(3):
        told = PLANNER if route else {}
        results.add(
            Record(
                str(route), 0, 0, "Havenbrook", "Completed", score(100.0, faults), faults, 300.0, 40.0, 9.0, "", told
            )
        )
    run = read_run("a", tmp_path / "a.json")
    assert [fault.time_s for fault in run.drives[0].faults] == [12.34, 20.0]
    assert run.drives[0].planner == {} and run.drives[1].planner == PLANNER
    text = page("t", [run])
    assert "ran it (12.3 s)" in text and "<h3>Planner</h3>" in text and "160 plans" in text
    assert '<td data-label="slow plans %"><span class="figure"><b>20.0</b>' in text
    assert '<td data-label="failed plans %"><span class="figure"><b>20.0</b>' in text
    assert '<td data-label="latency, simulated s"><span class="figure"><b>0.25</b>' in text


def test_drives_in_other_conditions_stand_in_a_table_of_their_own(tmp_path):
    plain, fog = run_of(tmp_path, "a", {0}), run_of(tmp_path, "b", {0}, weather="HardRainNoon", faults={"lost": 0.2})
    assert len(by_benchmark([plain, fog])) == 2
    assert fog.benchmark[2] == "10, weather HardRainNoon, faults {'lost': 0.2}"


def test_a_weather_of_the_whole_run_takes_the_place_of_the_routes_own(tmp_path):
    write_routes(tmp_path / "r.xml", [Route("0", "Havenbrook", ((0, 0, 0), (9, 0, 0)), ((0.0, {"cloudiness": 7.0}),))])
    found = {}
    for name, more in (("plain", {}), ("wet", {"weather": "HardRainNoon"})):
        file = write(tmp_path / f"{name}.json", set(), routes=1, **more)
        file.write_text(
            file.read_text().replace("f" * 64, hashlib.sha256((tmp_path / "r.xml").read_bytes()).hexdigest())
        )
        found[name] = {drive.weather for drive in read_run(name, file, [tmp_path / "r.xml"]).drives}
    assert found == {"plain": {"day, clear"}, "wet": {"HardRainNoon"}}


def test_planners_of_different_benchmarks_stand_in_different_tables(tmp_path):
    runs = []
    for name, more in (("plain", {}), ("wet", {"weather": "HardRainNoon"})):
        results = ResultsFile(tmp_path / f"{name}.json", [route_id("0", 0)], {"agent": "x.py", **more})
        perfect = score(100.0, ())
        results.add(Record("0", 0, 0, "Havenbrook", "Perfect", perfect, (), 300.0, 40.0, 9.0, "", PLANNER))
        runs.append(read_run(name, tmp_path / f"{name}.json"))
    text = page("t", runs)
    assert text.count("<h3>Planner</h3>") == 2
    tables = [part.split("</table>")[0] for part in text.split("<h3>Planner</h3>")[1:]]
    assert [("plain" in table, "wet" in table) for table in tables] == [(True, False), (False, True)]


def test_configuration_and_hashes_are_listed(tmp_path):
    text = page("t", [run_of(tmp_path, "a", set())], facts={"a": {"checkpoint x.safetensors sha256": "c0ffee"}})
    assert "f" * 64 in text and "c0ffee" in text and "results sha256" in text
    with pytest.raises(ValueError, match="distinct names"):
        page("t", [])


def test_the_tool_writes_the_file_and_refuses_another_agents_yaml(tmp_path):
    config = tmp_path / "agent.yaml"
    config.write_text("replan_s: 0.5\n")
    digest = hashlib.sha256(config.read_bytes()).hexdigest()
    write(tmp_path / "a.json", {0}, agent_config=digest)
    write(tmp_path / "b.json", {0}, agent_config="0" * 64)
    command = [sys.executable, str(ROOT / "tools/make_report.py"), "--out", str(tmp_path / "r.html")]
    made = subprocess.run([*command, f"a={tmp_path}/a.json", "--config", f"a={config}"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "replan_s: 0.5" in (tmp_path / "r.html").read_text()
    bad = subprocess.run([*command, f"b={tmp_path}/b.json", "--config", f"b={config}"], capture_output=True, text=True)
    assert bad.returncode == 1 and "b was driven with the agent YAML 0000" in bad.stderr
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.skipif(BROWSER is None, reason="no browser on PATH")
@pytest.mark.parametrize("width", [390, 1100])
def test_a_browser_shows_it_without_scrolling_sideways(tmp_path, width):
    text = page("t", [run_of(tmp_path, "a", {0}), run_of(tmp_path, "b", {1})]).replace("<details>", '<details open="">')
    # The page forbids scripts; what measures is put into a copy without that rule, in a frame of the asked width,
    # since a headless window is never narrower than 500 px.
    probe = "<script>parent.document.title=[innerWidth,document.documentElement.scrollWidth].join(' ')</script></body>"
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*/>', "", text).replace("</body>", probe)
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(bare)}"></iframe>'
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><title>-</title>{frame}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    command = [BROWSER, *options, "--window-size=1300,1000", f"file://{tmp_path}/page.html"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120)
    inner, needed = map(int, re.search(r"<title>(\d+) (\d+)</title>", made.stdout).groups())
    assert inner == width and needed <= inner, f"{needed} px needed, {inner} px there"
