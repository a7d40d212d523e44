"""Bench2Drive's figures on records made by hand; every number is worked out beside it."""

from __future__ import annotations

import pytest

from autovla_core.scoring.bench2drive import Entry, coverage, efficiency, is_success, once, report, route_of
from autovla_core.scoring.bench2drive_abilities import ABILITIES, LETTERS, junction_mark
from autovla_core.scoring.closed_loop import INFRACTIONS

ENTRIES = [
    Entry("1", "Town12", "Accident"),  # overtaking
    Entry("2", "Town12", "ParkingExit"),  # merging
    Entry("3", "Town13", "ControlLoss"),  # emergency brake
    Entry("4", "Town13", "InvadingTurn"),  # give way
    Entry("5", "Town13", "T_Junction"),  # traffic signs
]


def record(route: str, score: float = 100.0, status: str = "Completed", completion: float = 100.0, **faults) -> dict:
    infractions = {kind: list(faults.get(kind, ())) for kind in INFRACTIONS}
    scores = {"score_route": completion, "score_penalty": 1.0, "score_composed": score}
    name = f"RouteScenario_{route}_rep0"
    return {"route_id": name, "save_name": name, "status": status, "infractions": infractions, "scores": scores}


def speeds(*percents: object) -> list[str]:
    return [f"Average speed is {p}% of the surrounding traffic's one" for p in percents]


def figures(records, entries=ENTRIES, junctions=None) -> dict[str, tuple]:
    made = report(entries, records, {}, junctions or {})
    return {f.name: (f.official, f.corrected) for f in made.figures}


def test_success_needs_the_target_and_no_fault_but_slow_driving():
    assert is_success(record("1")) and is_success(record("1", status="Perfect"))
    assert is_success(record("1", min_speed_infractions=speeds(12)))
    assert not is_success(record("1", outside_route_lanes=["Agent went outside"]))
    assert not is_success(record("1", status="Failed - Agent got blocked"))
    assert not is_success(record("1", status="Failed - TickRuntime"))


def test_the_official_score_divides_by_220_and_the_corrected_by_the_routes_of_the_file():
    got = figures([record("1", 100.0), record("2", 60.0, collisions_vehicle=["x"])])
    assert got["driving score"] == (160.0 / 220, 160.0 / 5)
    assert got["success rate"] == (1 / 220, 1 / 5)


def test_a_route_recorded_twice_counts_twice_officially_and_once_with_its_worst_corrected():
    got = figures([record("1", 100.0), record("1", 30.0, "Failed - Agent got blocked", 30.0), record("2", 50.0)])
    assert got["driving score"] == (180.0 / 220, 80.0 / 5)
    assert got["success rate"] == (2 / 220, 1 / 5)
    assert got["Overtaking"] == (1.0, 0.0)  # the official script looks at the first record


def test_a_foreign_record_adds_to_the_official_score_only():
    records = [record("1", 100.0), record("99", 100.0)]
    assert figures(records)["driving score"] == (200.0 / 220, 100.0 / 5)
    cover = coverage(ENTRIES, [*records, record("1")])
    assert (cover.missing, cover.duplicated, cover.foreign) == (("2", "3", "4", "5"), ("1",), ("99",))
    assert (cover.routes, cover.records) == (5, 3)


def test_an_absent_route_is_left_out_of_the_official_ability_and_is_a_failure_in_the_corrected():
    entries = [*ENTRIES, Entry("6", "Town12", "ParkedObstacle")]
    got = figures([record(str(i)) for i in range(1, 6)], entries)
    assert got["Overtaking"] == (1.0, 0.5)
    assert got["mean ability"] == (1.0, pytest.approx(0.9))


def test_an_ability_without_a_route_has_no_figure_and_says_that_the_script_stops():
    made = report(ENTRIES, [record("1")], {}, {})
    assert made["Overtaking"].official == 1.0
    assert made["Merging"].official is None and "stops" in made["Merging"].note
    assert made["Merging"].corrected == 0.0
    assert made["mean ability"].official is None and made["mean ability"].corrected == pytest.approx(0.2)


def test_a_failed_sign_route_is_credited_once_it_is_eight_metres_into_the_junction():
    mark = junction_mark(41, 100)  # the 42nd of 100 points lies in the junction
    assert mark == 0.5
    blocked = {"status": "Failed - Agent got blocked"}
    others = [record(str(i)) for i in range(1, 5)]

    def signs(**facts) -> float:
        return figures([*others, record("5", 0.0, **{**blocked, **facts})], junctions={"5": mark})["Traffic_Signs"][0]

    assert signs(completion=50.0) == 0.0 and signs(completion=50.01) == 1.0
    assert signs(completion=90.0, red_light=["x"]) == 0.0 and signs(completion=90.0, stop_infraction=["x"]) == 0.0
    assert signs(completion=90.0, collisions_vehicle=["x"]) == 1.0


def test_an_unknown_junction_makes_the_signs_a_lower_bound_and_says_so():
    made = report(ENTRIES, [record("5", 0.0, "Failed")], {}, {})
    assert made["Traffic_Signs"].official == 0.0 and "lower bound" in made["Traffic_Signs"].note


def test_efficiency_is_a_mean_of_means_without_values_over_1000():
    records = [
        record("1", min_speed_infractions=speeds(100.0, 200, 5000.5)),  # 150
        record("2", min_speed_infractions=speeds(50)),  # 50
        record("3"),  # left out
    ]
    assert efficiency(records, records).official == 100.0


def test_the_official_efficiency_is_summed_in_the_order_of_the_merged_file():
    """Highest name first; (0.3 + 0.2) + 0.1 ends in another digit than (0.1 + 0.2) + 0.3."""
    made = figures([record(id, min_speed_infractions=speeds(f"0.{id}")) for id in "123"])
    assert made["driving efficiency"][0] == (0.3 + 0.2 + 0.1) / 3 != (0.1 + 0.2 + 0.3) / 3


def test_the_last_checkpoint_that_is_written_twice_counts_once_corrected():
    records = [record("1", min_speed_infractions=speeds(100, 40, 40))]
    figure = efficiency(records, records)
    assert (figure.official, figure.corrected) == (60.0, 70.0)
    blocked = [record("1", status="Failed", min_speed_infractions=speeds(100, 40, 40))]
    assert efficiency(blocked, blocked).corrected == 60.0  # two checkpoints that happen to be equal


def test_only_huge_values_stop_the_official_script():
    records = [record("1", min_speed_infractions=speeds(1001)), record("2", min_speed_infractions=speeds(80))]
    figure = efficiency(records, records)
    assert figure.official is None and figure.corrected == 80.0 and "stops" in figure.note


def test_of_two_equal_scores_the_one_without_success_is_the_worse():
    good, bad = record("1", 100.0), record("1", 100.0, route_timeout=["Route timeout."])
    assert once(ENTRIES, [good, bad])["1"] is bad and once(ENTRIES, [bad, good])["1"] is bad


def test_44_types_have_an_ability_and_no_other_letter():
    assert len(LETTERS) == 44
    assert {letter for letters in LETTERS.values() for letter in letters} == set(ABILITIES.values())


def test_a_record_with_another_name_is_refused():
    assert route_of(record("27494")) == "27494"
    with pytest.raises(ValueError, match="RouteScenario_<id>_rep<k>"):
        route_of({"route_id": "27494"})
