"""By what a results file is told to be of this run or of another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation import evaluator
from autovla_core.evaluation.episode import EpisodeLost
from autovla_core.evaluation.evaluator import Job, Run, Simulator, drive, fingerprint, simulator_name
from autovla_core.evaluation.identity import SimulatorFacts, ask, changed, is_plain, own_simulator, told_by_all
from autovla_core.evaluation.parts import Parts
from autovla_core.evaluation.report.collect import read_run
from autovla_core.evaluation.results import Record, ResultsFile
from autovla_core.evaluation.route_file import Route
from autovla_core.scoring.closed_loop import score

OLD = {"agent": "a.py", "seeds": [0]}
NEW = {**OLD, "agent_sha256": "12ab", "simulator": "minicarla 0.9.16"}
NAMES = ["RouteScenario_a_rep0", "RouteScenario_b_rep0"]


def record(route: str) -> Record:
    made_with = {"python": "3.11", "simulator": "minicarla 0.9.16"}
    return Record(route, 0, 0, "T", "Perfect", score(100.0, ()), (), 50.0, 9.0, 1.0, made_with=made_with)


class Server:
    """Answers as a ``carla.Client`` does."""

    def __init__(self, *towns: str) -> None:
        self.towns = towns

    def get_server_version(self) -> str:
        return "0.9.16"

    def get_available_maps(self) -> list[str]:
        return [f"/Game/Carla/Maps/{town}" for town in self.towns]


def test_facts_that_older_files_do_not_tell_are_compared_only_where_both_do():
    assert changed(OLD, NEW) == changed(NEW, OLD) == []
    assert changed({**NEW, "agent_sha256": "34cd"}, NEW) == ["agent_sha256"]
    assert changed({**OLD, "seeds": [1]}, {**NEW, "weather": "ClearNoon"}) == ["seeds", "weather"]


def test_a_file_says_of_its_drives_only_what_all_of_them_told():
    assert told_by_all([], NEW) == NEW
    assert told_by_all([NEW, OLD], NEW) == OLD
    assert told_by_all([NEW], OLD) == NEW


def test_an_older_results_file_is_continued_and_claims_no_more_than_before(tmp_path):
    ResultsFile(tmp_path / "r.json", NAMES, OLD).add(record("a"))
    continued = ResultsFile(tmp_path / "r.json", NAMES, NEW)
    continued.add(record("b"))
    assert continued.document()["run"] == OLD and len(continued.records) == 2


def test_another_agent_under_the_same_name_does_not_continue_a_file(tmp_path):
    ResultsFile(tmp_path / "r.json", NAMES, NEW, parts=Parts(tmp_path / "parts", NEW)).add(record("a"))
    other = {**NEW, "agent_sha256": "34cd"}
    with pytest.raises(RouteError, match=r"differs in agent_sha256: \['12ab'\] against \['34cd'\]"):
        ResultsFile(tmp_path / "r.json", NAMES, other)
    with pytest.raises(RouteError, match="of another run .differs in agent_sha256."):
        Parts(tmp_path / "parts", other).read()


def test_a_merge_that_knows_no_simulator_keeps_the_one_of_its_parts(tmp_path):
    Parts(tmp_path / "parts", NEW).write(record("a").to_json(0))
    merged = ResultsFile(tmp_path / "r.json", NAMES, OLD, parts=Parts(tmp_path / "parts", OLD))
    assert merged.document()["run"] == NEW


def test_a_record_says_what_it_was_made_with(tmp_path):
    results = ResultsFile(tmp_path / "r.json", NAMES, NEW)
    results.add(record("a"))
    (stored,) = json.loads((tmp_path / "r.json").read_text())["_checkpoint"]["records"]
    assert stored["made_with"] == {"python": "3.11", "simulator": "minicarla 0.9.16"}


def test_the_record_of_a_drive_that_was_lost_says_it_too(monkeypatch):
    def lose(*drive: object) -> None:
        raise EpisodeLost("gone", dataclasses.replace(record("a"), made_with={}))

    monkeypatch.setattr(evaluator, "run_episode", lose)
    there = Simulator(SimpleNamespace(), "", 0, facts=SimulatorFacts("0.9.15", frozenset({"Town12"})))
    job = Job(Route("a", "Town12", ((0.0, 0.0, 0.0), (9.0, 0.0, 0.0))), 0, 0)
    with pytest.raises(EpisodeLost) as lost:
        drive(Run(Path("a.py")), lambda *where: SimpleNamespace(), there, job)
    assert lost.value.record.made_with.keys() == {"simulator", "python", "numpy", "carla", "code"}
    assert lost.value.record.made_with["simulator"] == "CARLA 0.9.15"


def test_a_simulator_is_told_by_its_towns():
    ours, carlas = ask(Server("Havenbrook", "Ironmere")), ask(Server("Town12", "Town10HD_Opt"))
    assert ours.name(["Ironmere"]) == "minicarla 0.9.16" and carlas.name(["Town12"]) == "CARLA 0.9.16"
    assert ours.name(["Town12", "Ironmere", "Town03"]) == "minicarla 0.9.16, look-alikes of Town03, Town12"
    assert SimulatorFacts().name(["Town12"]) == ""


def test_a_run_without_a_port_is_on_a_minicarla_and_a_silent_port_is_unknown(tmp_path):
    routes = [Route("0", "Havenbrook", ((0.0, 0.0, 0.0), (9.0, 0.0, 0.0)))]
    assert simulator_name(Run(tmp_path / "a.py"), routes) == own_simulator()
    assert is_plain(own_simulator()) and simulator_name(Run(tmp_path / "a.py", port=1), routes) == ""


def test_the_fingerprint_holds_the_agents_bytes_and_the_simulator(tmp_path):
    (tmp_path / "r.xml").write_text("<routes/>")
    found = []
    for text in ("one", "two"):
        (tmp_path / "a.py").write_text(text)
        found.append(fingerprint(Run(tmp_path / "a.py"), tmp_path / "r.xml", [0], "CARLA 0.9.15"))
    assert changed(*found) == ["agent_sha256"] and found[0]["simulator"] == "CARLA 0.9.15"
    assert "simulator" not in fingerprint(Run(tmp_path / "a.py"), tmp_path / "r.xml", [0])


def test_only_a_simulator_that_is_no_plain_minicarla_makes_another_benchmark(tmp_path):
    keys = {}
    names = ("", "minicarla 0.9.16", "CARLA 0.9.15", "minicarla 0.9.16, look-alikes of Town12")
    for number, name in enumerate(names):
        run = {**OLD, "routes": "ab", **({"simulator": name} if name else {})}
        ResultsFile(tmp_path / f"{number}.json", NAMES, run).add(record("a"))
        keys[name] = read_run("x", tmp_path / f"{number}.json").benchmark
    assert keys[""] == keys["minicarla 0.9.16"] and len(set(keys.values())) == 3
    assert keys["CARLA 0.9.15"][2].endswith(", on CARLA 0.9.15")
