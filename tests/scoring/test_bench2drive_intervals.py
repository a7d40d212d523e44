"""Bounds of the corrected figures, drawn over routes; numbers worked out beside them."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.scoring.bench2drive import Entry, once, report
from autovla_core.scoring.bench2drive_abilities import ABILITIES
from autovla_core.scoring.bench2drive_comfort import Motion
from autovla_core.scoring.bench2drive_intervals import ability_table, bounds_of
from autovla_core.scoring.closed_loop import INFRACTIONS

TYPES = ("Accident", "ParkingExit", "ControlLoss", "InvadingTurn", "T_Junction")  # one for each ability
ENTRIES = [Entry(str(i), "Town12", TYPES[i % 5]) for i in range(20)]


def record(route: str, score: float, success: bool = True, percent: float = 80.0) -> dict:
    infractions: dict[str, list[str]] = {kind: [] for kind in INFRACTIONS}
    infractions["min_speed_infractions"] = [f"Average speed is {percent}% of the surrounding traffic's one"]
    infractions["red_light"] = [] if success else ["ran it"]
    scores = {"score_route": 100.0, "score_penalty": 1.0, "score_composed": score}
    name = f"RouteScenario_{route}_rep0"
    return {"route_id": name, "save_name": name, "status": "Completed", "infractions": infractions, "scores": scores}


def motion(ticks: int) -> Motion:
    ahead = np.tile([1.0, 0.0], (ticks, 1))
    return Motion(0.0 * ahead, ahead, ahead[:, ::-1], np.zeros(ticks))


def test_bounds_hold_the_corrected_figure_between_them_and_say_how_many_routes_stand_behind():
    rng = np.random.default_rng(3)
    records = [record(e.id, rng.uniform(0, 100), rng.random() < 0.5, rng.uniform(20, 200)) for e in ENTRIES[:16]]
    motions = {r["save_name"]: motion(40) for r in records[:9]}
    bounds = bounds_of(ENTRIES, records, motions, {})
    for figure in report(ENTRIES, records, motions, {}).figures:
        assert bounds[figure.name].low <= figure.corrected <= bounds[figure.name].high, figure.name
    behind = {name: found.routes for name, found in bounds.items()}
    assert behind["driving score"] == behind["success rate"] == 20 and behind["driving efficiency"] == 16
    assert behind["driving smoothness"] == 9 and behind["Overtaking"] == 4 and behind["mean ability"] == 20


def test_no_success_on_five_routes_does_not_prove_that_there_is_none():
    bounds = bounds_of(ENTRIES[:5], [], {}, {})
    assert bounds["success rate"].low == 0.0
    assert bounds["success rate"].high == pytest.approx(1.0 - 0.025 ** (1 / 5))  # exact binomial bound: 0.52
    assert "driving efficiency" not in bounds and "driving smoothness" not in bounds


def test_from_one_route_no_spread_can_be_known():
    assert bounds_of(ENTRIES[:1], [record("0", 50.0)], {}, {}) == {}


def test_abilities_are_tabled_by_route():
    entries = [Entry("a", "T", "VehicleTurningRoute"), Entry("b", "T", "Accident"), Entry("c", "T", "Unknown")]
    records = [record("a", 100.0), record("b", 70.0, success=False)]
    table = ability_table(entries, once(entries, records), {})
    want = {"Overtaking": [np.nan, 0, np.nan], "Emergency_Brake": [1, np.nan, np.nan]}
    want["Traffic_Signs"] = want["Emergency_Brake"]
    for name, column in zip(ABILITIES, table.T):
        np.testing.assert_equal(column, want.get(name, [np.nan] * 3))


def test_the_mean_ability_needs_routes_of_every_ability():
    records = [record(e.id, 100.0) for e in ENTRIES]
    assert "mean ability" not in bounds_of([e for e in ENTRIES if e.type != "Accident"], records, {}, {})
    assert bounds_of(ENTRIES, records, {}, {})["mean ability"].low == 1.0
