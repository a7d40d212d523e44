"""The results file is the leaderboard's, is always whole, and is continued by a second run."""

from __future__ import annotations

import json

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.results import CRASHED, Record, ResultsFile, route_id
from autovla_core.scoring.closed_loop import Infraction, score

EXPECTED = [route_id(r, 0) for r in ("a", "b", "c")]
RUN = {"agent": "agents/x.py", "traffic": 20}
LANES = "Agent went outside its route lanes for about 12.5 meters (10.0% of the completed route)"


def record(route: str, status: str = "Perfect", completion: float = 100.0, infractions: tuple = ()) -> Record:
    scores = score(completion, infractions)
    return Record(route, 0, 0, "Havenbrook", status, scores, tuple(infractions), 500.0, 60.0, 12.0)


def test_a_record_has_the_leaderboards_layout(tmp_path):
    results = ResultsFile(tmp_path / "r.json", EXPECTED, RUN, ["carla_camera"])
    results.add(record("b", "Completed", 100.0, (Infraction("red_light", "Agent ran a red light 4 at (x=1)"),)))
    document = json.loads((tmp_path / "r.json").read_text())
    (row,) = document["_checkpoint"]["records"]
    assert row["route_id"] == "RouteScenario_b_rep0" and row["index"] == 1 and row["num_infractions"] == 1
    assert row["infractions"]["red_light"] == ["Agent ran a red light 4 at (x=1)"]
    assert row["scores"] == {"score_route": 100.0, "score_penalty": 0.7, "score_composed": 70.0}
    assert document["_checkpoint"]["progress"] == [1, 3] and document["_checkpoint"]["global_record"] == {}
    assert document["entry_status"] == "Started" and not document["eligible"]


def test_a_record_says_when_each_infraction_appeared_and_what_the_planner_says_of_itself(tmp_path):
    faults = (
        Infraction("red_light", "first", time_s=3.05),
        Infraction("collisions_vehicle", "second", time_s=7.1),
        Infraction("red_light", "third", time_s=9.0000001),
    )
    scores = score(100.0, faults)
    full = Record("a", 0, 0, "T", "Completed", scores, faults, 5.0, 6.0, 1.0, planner={"slow_share": 0.25})
    row = full.to_json(0)
    assert row["infraction_times_s"] == {"red_light": [3.05, 9.0], "collisions_vehicle": [7.1]}
    assert row["infractions"]["red_light"] == ["first", "third"] and row["planner"] == {"slow_share": 0.25}
    assert json.loads(json.dumps(row)) == row
    assert record("a").to_json(0)["infraction_times_s"] == {} == record("a").to_json(0)["planner"]


def test_the_global_record_is_worked_out_when_all_routes_are_driven(tmp_path):
    results = ResultsFile(tmp_path / "r.json", EXPECTED, RUN)
    results.add(record("a"))
    results.add(record("b", "Completed", 100.0, (Infraction("outside_route_lanes", LANES, 10.0),)))
    results.add(record("c", "Failed - Agent got blocked", 40.0, (Infraction("vehicle_blocked"),)))
    document = json.loads((tmp_path / "r.json").read_text())
    overall = document["_checkpoint"]["global_record"]
    assert overall["scores_mean"]["score_composed"] == pytest.approx((100 + 90 + 40) / 3, abs=1e-6)
    assert overall["infractions"]["vehicle_blocked"] == pytest.approx(1 / 1.2, abs=1e-3)
    assert overall["infractions"]["outside_route_lanes"] == pytest.approx(0.0125, abs=1e-3)
    assert overall["status"] == "Failed"
    assert overall["meta"]["exceptions"] == [["RouteScenario_c_rep0", 2, "Failed - Agent got blocked"]]
    assert document["entry_status"] == "Finished" and document["eligible"]
    assert len(document["values"]) == len(document["labels"]) == 15


def test_a_second_run_knows_what_is_done(tmp_path):
    ResultsFile(tmp_path / "r.json", EXPECTED, RUN).add(record("a"))
    again = ResultsFile(tmp_path / "r.json", EXPECTED, RUN)
    assert again.has(EXPECTED[0]) and not again.has(EXPECTED[1])
    again.add(record("b"))
    assert [r["route_id"] for r in ResultsFile(tmp_path / "r.json", EXPECTED, RUN).records] == EXPECTED[:2]


def test_a_route_that_the_simulator_spoilt_is_driven_again(tmp_path):
    results = ResultsFile(tmp_path / "r.json", EXPECTED, RUN)
    results.add(record("a", CRASHED, 10.0))
    assert not results.has(EXPECTED[0]) and results.document()["entry_status"] == "Crashed"
    results.add(record("a"))
    assert results.has(EXPECTED[0]) and len(results.records) == 1


def test_records_keep_the_order_of_the_run_not_of_their_arrival(tmp_path):
    results = ResultsFile(tmp_path / "r.json", EXPECTED, RUN)
    for route in ("c", "a", "b"):
        results.add(record(route))
    assert [r["route_id"] for r in results.records] == EXPECTED
    assert [r["index"] for r in results.records] == [0, 1, 2]


def test_nothing_but_the_file_is_left_on_disk(tmp_path):
    ResultsFile(tmp_path / "deep" / "r.json", EXPECTED, RUN).add(record("a"))
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["r.json"]


def test_another_run_is_not_continued(tmp_path):
    ResultsFile(tmp_path / "r.json", EXPECTED, RUN).add(record("a"))
    with pytest.raises(RouteError, match=r"holds another run \(differs in traffic: \[20\] against \[0\]\)"):
        ResultsFile(tmp_path / "r.json", EXPECTED, {**RUN, "traffic": 0})
    with pytest.raises(RouteError, match="holds routes that this run does not"):
        ResultsFile(tmp_path / "r.json", EXPECTED[1:], RUN)


def test_a_foreign_file_is_not_overwritten(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(RouteError, match="is not a results file"):
        ResultsFile(tmp_path / "r.json", EXPECTED, RUN)
    assert (tmp_path / "r.json").read_text() == "{}"
