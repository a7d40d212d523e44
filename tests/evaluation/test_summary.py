"""Tables of results."""

from __future__ import annotations

from autovla_core.evaluation.summary import FAULTS, as_text, summarise

KINDS = [kind for kinds in FAULTS.values() for kind in kinds]


def record(route: int, repetition: int, score: float, **infractions: int) -> dict:
    return {
        "route_id": f"RouteScenario_{route}_rep{repetition}",
        "status": "Perfect" if not infractions else "Completed",
        "scores": {"score_composed": score, "score_route": 100.0},
        "infractions": {kind: ["what happened"] * infractions.get(kind, 0) for kind in KINDS},
    }


def test_seeds_of_one_route_are_not_counted_as_routes_and_faults_are_summed():
    records = [record(0, 0, 100.0), record(0, 1, 60.0, collisions_vehicle=1), record(1, 0, 80.0, collisions_layout=2)]
    summary = summarise(records)
    assert (summary.drives, summary.routes) == (3, 2)
    assert summary.driving_score.mean == 80.0 and summary.route_completion.low == 100.0
    assert summary.faults["collisions"] == 3 and summary.statuses == {"Completed": 2, "Perfect": 1}
    assert "collisions         3" in as_text(summary)


def test_one_route_has_no_interval_however_often_it_was_driven():
    text = as_text(summarise([record(0, 0, 100.0), record(0, 1, 60.0)]))
    assert "driving score      80.0 [no interval: 1 route]" in text


def test_what_planners_say_of_themselves_is_summed_up_with_intervals():
    told = {"plans": 50.0, "slow_share": 0.2, "slow_plans": 10.0, "forced_share": 0.1, "thinking_tokens_mean": 30.0}
    fast = {"plans": 30.0, "slow_share": 0.0, "slow_plans": 0.0, "forced_share": 0.0, "thinking_tokens_mean": 0.0}
    records = [
        record(0, 0, 100.0) | {"planner": {**told, "latency_s_mean": 0.5}},
        record(1, 0, 100.0) | {"planner": {**fast, "latency_s_mean": 0.3}},
        record(2, 0, 100.0),  # a stranger's agent
    ]
    summary = summarise(records)
    assert summary.plans == 80 and summary.planner["slow plans %"].mean == 10.0
    assert summary.planner["tokens a thought"].mean == 30.0  # of drives that had thoughts
    assert "latency, s         0.40 [0.30, 0.50]" in as_text(summary)
    assert summarise(records[2:]).planner == {} and "plans" not in as_text(summarise(records[2:]))
