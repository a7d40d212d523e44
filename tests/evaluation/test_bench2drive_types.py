"""Route files for Bench2Drive's own evaluator: every type, the same for the same seed, on any town; and their fates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

carla = pytest.importorskip("carla")

from autovla_core.errors import RouteError  # noqa: E402
from autovla_core.evaluation.bench2drive.clone import open_routes  # noqa: E402
from autovla_core.evaluation.bench2drive.map_survey import Survey, survey  # noqa: E402
from autovla_core.evaluation.bench2drive.map_walks import abreast, ahead, back, turned_deg  # noqa: E402
from autovla_core.evaluation.bench2drive.type_places import TYPES  # noqa: E402
from autovla_core.evaluation.bench2drive.type_routes import draw_routes  # noqa: E402
from autovla_core.evaluation.bench2drive.type_table import as_markdown, fates, read_states  # noqa: E402
from autovla_core.evaluation.route_file import Route, write_routes  # noqa: E402

TOWNS = Path(__file__).resolve().parents[2] / "autovla_core" / "minicarla" / "towns"
WEATHER = {"sun_altitude_angle": 60.0}
RAMP_TYPES = ("HighwayCutIn", "HighwayExit", "MergerIntoSlowTraffic", "MergerIntoSlowTrafficV2")


def surveyed(town: str) -> Survey:
    return survey(town, (TOWNS / f"{town}.xodr").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def towns() -> list[Survey]:
    return [surveyed("Ironmere"), surveyed("Kestrelway")]


@pytest.fixture(scope="module")
def routes(towns) -> list[Route]:
    drawn = draw_routes(towns, TYPES, 1, WEATHER, seed=3)
    assert not drawn.missing
    return list(drawn.routes)


def test_there_are_44_types_and_two_towns_have_a_place_for_each(routes):
    assert len(TYPES) == 44
    assert [route.scenarios[0].type for route in routes] == list(TYPES)
    assert {r.town for r in routes if r.scenarios[0].type in RAMP_TYPES} == {"Kestrelway"}


def test_the_file_is_one_that_the_supervisor_takes(routes, tmp_path):
    write_routes(tmp_path / "types.xml", routes)
    read = open_routes(tmp_path / "types.xml")
    assert [e.type for e in read.entries] == list(TYPES)
    assert read.routes[0].carla_points == routes[0].carla_points


def test_the_same_seed_gives_the_same_routes_whatever_else_is_asked_for(towns, routes):
    alone = draw_routes(towns, ["ParkingCutIn"], 1, WEATHER, seed=3).routes[0]
    among = next(r for r in routes if r.scenarios[0].type == "ParkingCutIn")
    assert (alone.carla_points, alone.scenarios) == (among.carla_points, among.scenarios)
    other = draw_routes(towns, ["ParkingCutIn"], 1, WEATHER, seed=4).routes[0]
    assert other.carla_points != alone.carla_points


def test_the_trigger_lies_on_the_way_and_no_position_in_a_junction_or_at_its_edge(routes):
    for route in routes:
        opendrive = (TOWNS / f"{route.town}.xodr").read_text(encoding="utf-8")
        road_map = MAPS.setdefault(route.town, carla.Map(route.town, opendrive))
        trigger = carla.Location(*route.scenarios[0].carla_trigger[:3])
        points = [carla.Location(*point) for point in route.carla_points]
        assert min(trigger.distance(point) for point in points) < 12.0, route.scenarios[0].type
        for here in map(road_map.get_waypoint, points):
            around = [here, *here.next(0.5), *here.previous(0.5)]
            assert not any(w.is_junction for w in around), route.scenarios[0].type


MAPS: dict[str, carla.Map] = {}


def test_streams_that_must_be_crossed_by_the_oncoming_lane_leave_long_gaps_too(routes):
    for route in routes:
        scenario = route.scenarios[0]
        gap = scenario.parameters.get("frequency", {})
        if "to" in gap:
            assert 30.0 <= float(gap["from"]) <= 70.0 and float(gap["to"]) >= float(gap["from"]) + 45.0, scenario.type


def test_a_stream_that_must_be_crossed_leaves_gaps_of_three_seconds(towns):
    """Cars of 4.8 m that wait for nobody; a start across one lane takes that long."""
    crossed = ("InterurbanActorFlow", "InterurbanAdvancedActorFlow")
    crossed += ("NonSignalizedJunctionLeftTurn", "SignalizedJunctionLeftTurn")
    for route in draw_routes(towns, crossed, 4, WEATHER, seed=3).routes:
        given = route.scenarios[0].parameters
        longest_m, speed = float(given["source_dist_interval"]["to"]), float(given["flow_speed"]["value"])
        assert (longest_m - 4.8) / speed > 3.0, route.scenarios[0]


def test_a_flow_is_entered_only_where_every_oncoming_lane_turns_into_the_same_road(towns):
    """In Ironmere ten of the lit approaches with oncoming traffic face a lane that only goes straight on."""
    across, into = "SignalizedJunctionLeftTurn", "SignalizedJunctionLeftTurnEnterFlow"
    assert [len(list(TYPES[type](towns[0]))) for type in (across, into)] == [30, 20]


def test_a_type_without_a_place_is_named_and_an_unknown_one_refused():
    small = surveyed("Pennyfield")
    drawn = draw_routes([small], ["HighwayExit", "ControlLoss"], 2, WEATHER, seed=0)
    assert list(drawn.missing) == ["HighwayExit"]
    assert [r.scenarios[0].type for r in drawn.routes] == ["ControlLoss", "ControlLoss"]
    with pytest.raises(RouteError, match="Accidnt"):
        draw_routes([small], ["Accidnt"], 1, WEATHER, seed=0)


def test_walks_ahead_and_back_are_each_others_inverse_on_a_stretch(towns):
    stretch = next(s for s in towns[1].stretches if s.straight_m > 100.0 and s.behind_m > 20.0)
    way = ahead(stretch.at, 20.0)
    home = back(way[-1], 20.0)[0]
    assert len(way) == 11
    assert home.transform.location.distance(stretch.at.transform.location) < 0.2


def test_what_lies_abreast_is_counted_from_both_ends(towns):
    wide = next(s.at for s in towns[1].stretches if s.beside.count == 2 and s.beside.to_right == 1)
    right = wide.get_right_lane()
    assert (abreast(wide).count, abreast(wide).to_right) == (2, 1)
    assert (abreast(right).count, abreast(right).to_right) == (2, 0)


def test_angles_wrap():
    assert (turned_deg(350.0, 10.0), turned_deg(10.0, 350.0), turned_deg(180.0, 0.0)) == (-20.0, 20.0, -180.0)


def record(id: str, status: str, **infractions: list[str]) -> str:
    entry = {
        "route_id": f"RouteScenario_{id}_rep0",
        "status": status,
        "infractions": infractions,
        "scores": {"score_composed": 60.0},
        "meta": {"duration_game": 31.0, "duration_system": 40.0},
    }
    return json.dumps({"_checkpoint": {"records": [entry]}})


def test_the_table_tells_what_was_built_triggered_and_ended(routes, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "logs").mkdir()
    first, second = routes[0].id, routes[1].id
    (tmp_path / "results" / f"route_{first}.json").write_text(record(first, "Completed", collisions_vehicle=["a"]))
    (tmp_path / "results" / f"route_{second}.json").write_text(record(second, "Failed - TickRuntime"))
    states = ['{"tick": 0, "state": "built"}', '{"tick": 90, "state": "running"}', '{"tick": 400, "state": "ended"}']
    (tmp_path / "logs" / f"route_{first}_attempt1.scenario.jsonl").write_text("\n".join(states[:2]) + "\n")
    (tmp_path / "logs" / f"route_{first}_attempt10.scenario.jsonl").write_text("\n".join(states) + '\n{"tick')
    (tmp_path / "logs" / f"route_{second}_attempt1.scenario.jsonl").write_text('{"tick": 0, "state": "absent"}\n')
    found = fates(tmp_path, routes[:3])
    assert (found[0].triggered, found[0].ended, found[0].infractions) == (90, 400, {"collisions_vehicle": 1})
    assert (found[1].built, found[1].triggered, found[1].status) == (False, None, "Failed - TickRuntime")
    assert found[2].status == "not driven"
    text = as_markdown(found)
    assert "drove without its scenario" in text
    assert "3 routes, 2 driven, 1 built, 1 triggered, 1 ended" in text


def test_a_file_that_the_launcher_did_not_write_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text("built\n")
    with pytest.raises(RouteError, match="'built'"):
        read_states(tmp_path / "x.jsonl")
