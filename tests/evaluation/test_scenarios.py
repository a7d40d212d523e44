"""Scenarios without a server: where they find their place, what they judge, how their actors move."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Command
from autovla_core.control.lateral import curvature_of
from autovla_core.errors import RouteError
from autovla_core.evaluation.criteria import ActorBlocked, CriteriaConfig
from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.route_file import read_routes, write_routes
from autovla_core.evaluation.route_generator import RouteStyle, random_route
from autovla_core.evaluation.scenarios.criteria import ScenarioCriterion, Verdict
from autovla_core.evaluation.scenarios.decoration import with_scenarios
from autovla_core.evaluation.scenarios.junctions import arm_of
from autovla_core.evaluation.scenarios.movers import Flow, LineFollower, Walk
from autovla_core.evaluation.scenarios.places import Junctions, scenario_route
from autovla_core.evaluation.scenarios.registry import ALIASES, SCENARIOS, scenario_type
from autovla_core.evaluation.scenarios.road import Line, RouteRoad, Spot, lane_line
from autovla_core.evaluation.scenarios.setting import EgoWatch, NoPlace, Setting
from autovla_core.evaluation.scenarios.stage import Stage
from autovla_core.evaluation.scenarios.table import as_markdown, as_sentence, by_type

HAVENBROOK = Path(__file__).resolve().parents[2] / "autovla_core/minicarla/towns/Havenbrook.xodr"
WITHOUT_PLACE = {"HazardAtSideLane", "HazardAtSideLaneTwoWays", "SequentialLaneChange"}  # its straights are too short


@pytest.fixture(scope="module")
def havenbrook():
    return carla.Map("Havenbrook", HAVENBROOK.read_text())


@pytest.fixture(scope="module")
def graph(havenbrook):
    return LaneGraph(havenbrook)


def draw(graph, havenbrook, name: str, seed: int = 3):
    return scenario_route(graph, havenbrook, np.random.default_rng(seed), "0", {"cloudiness": 10.0}, name)


def road_of(graph, havenbrook, route) -> RouteRoad:
    dense = plan_route(havenbrook, [carla.Location(*p) for p in route.carla_points], graph)
    return RouteRoad(havenbrook, [transform for transform, _ in dense])


# ---- places


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - WITHOUT_PLACE))
def test_a_type_finds_its_place_and_its_trigger_lies_on_the_route(graph, havenbrook, name):
    route = draw(graph, havenbrook, name)
    assert [s.type for s in route.scenarios] == [name] and route.town == "Havenbrook"
    road = road_of(graph, havenbrook, route)
    trigger = road.trigger_s(route.scenarios[0].carla_trigger)
    assert trigger is not None and 5.0 < trigger < road.length - 60.0
    needs = SCENARIOS[name].needs
    if needs.turn:
        assert 35.0 < road.junction_after(trigger).begin - trigger < 65.0
    else:
        assert not any(trigger < j.begin < trigger + needs.stretch_m - 1.0 for j in road.junctions)


@pytest.mark.parametrize("name", sorted(WITHOUT_PLACE))
def test_a_type_without_a_place_is_named_with_the_town(graph, havenbrook, name):
    with pytest.raises(NoPlace, match=f"Havenbrook has no place for a {name}"):
        draw(graph, havenbrook, name)


def test_the_same_seed_draws_the_same_route_and_another_seed_another(graph, havenbrook):
    name = "ParkedObstacleTwoWays"
    assert draw(graph, havenbrook, name, 5) == draw(graph, havenbrook, name, 5)
    drawn = {draw(graph, havenbrook, name, seed).scenarios[0].carla_trigger for seed in range(6)}
    assert len(drawn) >= 4


def test_an_unknown_type_lists_the_known_ones(graph, havenbrook):
    with pytest.raises(RouteError, match="unknown scenario type 'Earthquake'; known: .*ParkingCutIn"):
        draw(graph, havenbrook, "Earthquake")


def test_a_scenario_route_survives_its_file(graph, havenbrook, tmp_path):
    route = draw(graph, havenbrook, "Accident")
    write_routes(tmp_path / "r.xml", [route])
    assert read_routes(tmp_path / "r.xml") == [route]


def test_a_random_route_gets_scenarios_that_fit_it_apart_from_each_other(graph, havenbrook):
    rng = np.random.default_rng(11)
    route = random_route(graph, havenbrook, rng, "0", {"cloudiness": 10.0}, RouteStyle(400.0, 600.0))[0]
    drawn = [with_scenarios(route, graph, havenbrook, np.random.default_rng(seed), 3) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    road = road_of(graph, havenbrook, route)
    triggers = [road.trigger_s(scenario.carla_trigger) for scenario in drawn[0].scenarios]
    assert 2 <= len(triggers) <= 3 and None not in triggers
    assert min(np.diff(triggers)) >= 119.0 and max(triggers) < road.length - 50.0
    assert len({scenario.name for scenario in drawn[0].scenarios}) == len(triggers)


@pytest.fixture(scope="module")
def ironmere():
    return carla.Map("Ironmere", (HAVENBROOK.parent / "Ironmere.xodr").read_text())


def test_a_route_of_lane_changes_changes_lanes_twice_behind_its_trigger(ironmere):
    graph = LaneGraph(ironmere)
    for seed in range(3):
        route = draw(graph, ironmere, "SequentialLaneChange", seed)
        dense = plan_route(ironmere, [carla.Location(*p) for p in route.carla_points], graph)
        road = RouteRoad(ironmere, [transform for transform, _ in dense])
        changing = [command in (Command.CHANGE_LEFT, Command.CHANGE_RIGHT) for _, command in dense]
        begins = road.s[np.flatnonzero(np.diff(changing, prepend=False) & changing)]
        trigger = road.trigger_s(route.scenarios[0].carla_trigger)
        assert len(begins) == 2 and trigger <= min(begins) and max(begins) < trigger + 100.0


def test_a_random_route_is_not_said_to_be_one_of_lane_changes(ironmere):
    graph, straight = LaneGraph(ironmere), RouteStyle(500.0, 700.0, turns=0, change_share=0.0)
    route = random_route(graph, ironmere, np.random.default_rng(2), "0", {}, straight)[0]
    drawn = [with_scenarios(route, graph, ironmere, np.random.default_rng(seed), 4).scenarios for seed in range(30)]
    names = {scenario.type for scenarios in drawn for scenario in scenarios}
    assert len(names) > 5 and "SequentialLaneChange" not in names


def test_a_t_junction_has_three_arms(graph, havenbrook):
    for seed in range(8):
        road = road_of(graph, havenbrook, route := draw(graph, havenbrook, "T_Junction", seed))
        span = road.junction_after(road.trigger_s(route.scenarios[0].carla_trigger))
        inside = road.waypoint(0.5 * (span.begin + span.end))
        assert len({arm_of(came) for came, _ in Junctions().ways(inside)}) == 3


# ---- room for the actors


class Recorder:
    """A stage that only writes down what is asked for; all have room."""

    def __init__(self) -> None:
        self.world = SimpleNamespace(get_traffic_lights_in_junction=lambda id: [])
        self.clear: list[np.ndarray] = [np.full((1, 2), np.inf)]
        self.not_cleared: list[float] = []  # m from a clear line, of what is put up further off than a kerb

    def parked(self, spot: Spot, *_: object, **__: object) -> Puppet:
        away = np.hypot(*(np.concatenate(self.clear) - (spot.x, spot.y)).T).min()
        self.not_cleared += [float(away)] if away > 3.5 else []
        return Puppet(spot)

    vehicle = parked

    def prop(self, names: object, spot: Spot, solid: bool = True) -> Puppet:
        return self.parked(spot)

    def drive(self, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(start_at=lambda speed: None, done=False, pose=np.zeros(3), target=0.0)

    def keep_clear(self, line: np.ndarray) -> None:
        self.clear.append(line)


IN_THE_LANE = (
    "Accident",
    "ParkedObstacle",
    "ConstructionObstacle",
    "HazardAtSideLane",
    "BlockedIntersection",
    "ParkingCutIn",
    "StaticCutIn",
    "HardBreakRoute",
    "YieldToEmergencyVehicle",
    "OppositeVehicleRunningRedLight",
)


@pytest.mark.parametrize("name", IN_THE_LANE)
def test_a_lane_is_cleared_before_anything_is_put_on_it(ironmere, name):
    graph = LaneGraph(ironmere)
    route = draw(graph, ironmere, name)
    road, stage = road_of(graph, ironmere, route), Recorder()
    trigger_s = road.trigger_s(route.scenarios[0].carla_trigger)
    there = Setting("X_1", stage, road, trigger_s, EgoWatch(s=trigger_s), np.random.default_rng(0), {})
    next(SCENARIOS[name].script(there))
    assert len(stage.clear) > 1 and stage.not_cleared == []


def test_background_cars_are_off_a_line_as_soon_as_it_must_be_clear():
    gone = []
    cars = [
        SimpleNamespace(
            id=number,
            is_alive=True,
            get_location=lambda y=y: carla.Location(20.0, y, 0.0),
            destroy=lambda y=y: gone.append(y),
        )
        for number, y in enumerate((0.5, 3.5))
    ]
    world = SimpleNamespace(get_blueprint_library=lambda: None)
    stage = Stage(None, world, cars, np.random.default_rng(0))
    stage.keep_clear(np.array([(float(x), 0.0) for x in range(40)]))
    assert gone == [0.5]


# ---- names


def test_at_least_24_types_are_played_and_published_names_mean_them():
    assert len(SCENARIOS) >= 24
    assert all(kind.script.__doc__ for kind in SCENARIOS.values())
    assert scenario_type("LaneChange") is SCENARIOS["SequentialLaneChange"]
    assert set(ALIASES.values()) <= set(SCENARIOS) and scenario_type("Earthquake") is None


# ---- the road


def test_a_trigger_counts_within_two_metres_and_ten_degrees(graph, havenbrook):
    route = draw(graph, havenbrook, "ParkedObstacleTwoWays")
    road = road_of(graph, havenbrook, route)
    x, y, z, yaw = route.scenarios[0].carla_trigger
    assert road.trigger_s((x, y, z, yaw + 9.0)) is not None
    assert road.trigger_s((x, y, z, yaw + 11.0)) is None
    assert road.trigger_s((x + 40.0, y + 40.0, z, yaw)) is None


def test_places_beside_the_route_are_to_its_left_and_a_position_is_found_again(graph, havenbrook):
    road = road_of(graph, havenbrook, draw(graph, havenbrook, "InvadingTurn"))
    for s in (10.0, 60.0, 100.0):
        middle, left = road.spot(s), road.spot(s, left=2.0)
        dx, dy = left.x - middle.x, left.y - middle.y
        assert -dx * math.sin(middle.yaw) + dy * math.cos(middle.yaw) == pytest.approx(2.0)
        assert road.place(np.array([left.x, left.y]), s + 2.0) == pytest.approx(s, abs=0.3)


def test_a_lane_goes_on_straight_through_a_junction_both_ways(graph, havenbrook):
    waypoint = havenbrook.get_waypoint(carla.Location(180.0, -241.75, 0.0))  # the middle of a street of 89 m
    line = lane_line(waypoint, 100.0, 100.0).points
    assert len(line) == 201
    assert np.ptp(line[:, 1]) < 4.0 and np.ptp(line[:, 0]) > 195.0


# ---- parameters


def setting(parameters: dict) -> Setting:
    return Setting("Here_1", None, None, 0.0, EgoWatch(), np.random.default_rng(0), parameters)


def test_parameters_come_from_the_file_or_are_drawn():
    given = setting({"distance": {"value": "45"}, "frequency": {"from": "66", "to": "129"}})
    assert given.number("distance", 0.0, 1.0) == 45.0 and given.interval("frequency", 1.0, 2.0) == (66.0, 129.0)
    drawn = setting({})
    assert 10.0 <= drawn.number("distance", 10.0, 20.0) <= 20.0 and drawn.interval("frequency", 1.0, 2.0) == (1.0, 2.0)
    with pytest.raises(RouteError, match="scenario Here_1: <distance> holds 'far', expected a number from 0 to 1000"):
        setting({"distance": {"value": "far"}}).number("distance", 0.0, 1.0)


@pytest.mark.parametrize("text", ["inf", "nan", "-1", "1e9", "1000.1", ""])
def test_a_number_with_which_nothing_can_be_played_is_refused(text):
    with pytest.raises(RouteError, match=f"scenario Here_1: <distance> holds '{text}', expected a number"):
        setting({"distance": {"value": text}}).number("distance", 0.0, 1.0)
    with pytest.raises(RouteError, match="<frequency> holds"):
        setting({"frequency": {"from": "1", "to": text}}).interval("frequency", 0.0, 1.0)


def test_waiting_ends_by_time_to_arrival_or_by_distance():
    here = setting({})
    here.ego.speed = 8.0
    gate = here.until_near(100.0, 2.0, 5.0)
    here.ego.s = 83.0
    next(gate)  # 17 m: 2.1 s away
    here.ego.s = 84.5
    assert list(gate) == []  # 15.5 m: 1.9 s


# ---- judging


def moment(time_s: float, x: float = 0.0, speed: float = 0.0) -> Moment:
    return Moment(time_s, np.array([x, 0.0, 0.0]), 0.0, speed, 11.0)


def kinds(criterion) -> list[str]:
    return [i.kind for i in criterion.infractions]


def test_the_last_state_of_an_emergency_vehicle_decides():
    criterion = ScenarioCriterion(Verdict())
    criterion.verdict.yielded = False
    assert kinds(criterion) == ["yield_emergency_vehicle_infractions"]
    criterion.verdict.yielded = True
    assert kinds(criterion) == []


def test_a_scenario_times_out_after_its_time_and_only_while_it_runs():
    criterion = ScenarioCriterion(Verdict(), timeout_s=10.0)
    criterion.update(moment(100.0))
    criterion.verdict.running = True
    for time_s in (101.0, 111.0):
        criterion.update(moment(time_s))
    assert kinds(criterion) == []
    criterion.update(moment(111.1))
    assert kinds(criterion) == ["scenario_timeouts"]


def test_an_excused_ego_is_not_blocked_and_its_clock_starts_anew():
    blocked = ActorBlocked(CriteriaConfig(blocked_s=10.0))
    blocked.paused = True
    for time_s in (0.0, 30.0):
        blocked.update(moment(time_s))
    blocked.paused = False
    blocked.update(moment(39.0))
    assert not blocked.failure
    blocked.update(moment(40.1))
    assert blocked.failure == "Failed - Agent got blocked"


# ---- movers, on a vehicle that does what it is told


class Puppet:
    """A vehicle of 4 m that holds its constant velocity and turns like the bicycle fitted to CARLA's car."""

    def __init__(self, spot: Spot) -> None:
        self.spot, self.speed, self.steer = spot, 0.0, 0.0
        self.bounding_box = carla.BoundingBox(carla.Location(0.0, 0.0, 0.7), carla.Vector3D(2.0, 0.9, 0.7))

    def get_transform(self):
        return self.spot.carla_transform()

    def enable_constant_velocity(self, velocity) -> None:
        self.speed = velocity.x

    def disable_constant_velocity(self) -> None:
        self.speed = 0.0

    def apply_control(self, control) -> None:
        self.steer = control.steer

    def tick(self) -> None:
        ahead = self.speed * 0.05
        self.spot = self.spot.moved(ahead, turned=curvature_of(-self.steer) * ahead)


def ego_at(x: float, y: float):
    return SimpleNamespace(pose=np.array([x, y, 0.0]), speed=0.0, length=4.9, width=1.84)


FAR = ego_at(0.0, 500.0)


def test_a_follower_keeps_to_its_line_and_ends_with_it():
    angles = np.linspace(0.0, math.pi / 2, 40)
    line = np.array([(25.0 * math.sin(a), 25.0 * (1.0 - math.cos(a))) for a in angles])
    car, away = Puppet(Spot(0.0, 0.0, 0.0, 0.0)), []
    follower = LineFollower(car, line, 6.0)
    while not follower.done:
        follower.tick(FAR)
        car.tick()
        away.append(abs(math.hypot(car.spot.x, car.spot.y - 25.0) - 25.0))
    assert max(away) < 0.5
    assert np.hypot(*(np.array([car.spot.x, car.spot.y]) - line[-1])) < 3.0
    assert car.speed == 0.0  # it does not roll on from there for ever


def test_a_follower_speeds_up_by_its_acceleration_and_stops_for_an_ego_it_heeds():
    line = np.array([(float(x), 0.0) for x in range(120)])
    car = Puppet(Spot(0.0, 0.0, 0.0, 0.0))
    follower = LineFollower(car, line, 8.0, heeds_m=8.0)
    for _ in range(20):
        follower.tick(FAR)
        car.tick()
    assert car.speed == pytest.approx(3.0)
    for _ in range(300):
        follower.tick(ego_at(70.0, 0.0))
        car.tick()
    assert car.speed == 0.0 and 70.0 - car.spot.x > 4.45 and not follower.done


def test_a_follower_that_touches_the_ego_lets_go():
    car = Puppet(Spot(0.0, 0.0, 0.0, 0.0))
    follower = LineFollower(car, np.array([(float(x), 0.0) for x in range(60)]), 8.0)
    follower.start_at(8.0)
    for _ in range(60):
        follower.tick(ego_at(20.0, 1.0))
        car.tick()
    assert follower.done and car.speed == 0.0
    assert car.spot.x < 20.0


def test_a_flow_keeps_its_gaps_and_takes_its_cars_away():
    points = np.array([(float(x), 0.0) for x in range(100)])
    start, made, gone = Spot(0.0, 0.0, 0.0, 0.0), [], []

    def spawn() -> Puppet:
        made.append(Puppet(start))
        return made[-1]

    flow = Flow(spawn, gone.append, Line(points, start), 8.0, (20.0, 30.0), np.random.default_rng(1))
    for _ in range(500):
        flow.tick(FAR)
        for car in made:
            if car not in gone:
                car.tick()
    places = sorted(car.spot.x for car in made if car not in gone)
    gaps = np.diff(places) - 4.0
    assert len(places) >= 3 and gaps.min() > 19.0 and gaps.max() < 31.0
    assert gone and all(car.spot.x > 95.0 for car in gone)
    flow.close()
    for _ in range(400):
        flow.tick(FAR)
        for car in made:
            car.tick()
    assert flow.done and len(gone) == len(made)


def test_a_flow_does_not_spawn_on_the_ego():
    start = Spot(0.0, 0.0, 0.0, 0.0)
    line = Line(np.array([(float(x), 0.0) for x in range(50)]), start)
    flow = Flow(lambda: pytest.fail("spawned"), lambda car: None, line, 8.0, (20.0, 30.0), np.random.default_rng(1))
    flow.tick(ego_at(5.0, 0.0))


def test_a_walker_goes_so_far_and_no_further():
    speeds = []
    walker = SimpleNamespace(apply_control=lambda control: speeds.append(control.speed))
    walk = Walk(walker, math.pi / 2, 2.0, 3.0)
    for _ in range(60):
        if not walk.done:
            walk.tick(FAR)
    assert sum(speeds) * 0.05 == pytest.approx(3.0, abs=0.11) and speeds[-1] == 0.0


# ---- the table


def record(route: str, status: str, score: float, **faults: int) -> dict:
    kinds = ("collisions_vehicle", "min_speed_infractions", "route_dev")
    return {
        "route_id": f"RouteScenario_{route}_rep0",
        "status": status,
        "infractions": {kind: ["x"] * faults.get(kind, 0) for kind in kinds},
        "scores": {"score_composed": score, "score_route": 100.0},
        "meta": {"duration_game": 30.0},
    }


def test_results_are_counted_by_type_and_a_slow_stretch_spoils_no_success(graph, havenbrook):
    routes = [replace(draw(graph, havenbrook, name), id=str(i)) for i, name in enumerate(("Accident", "ControlLoss"))]
    records = [
        record("0", "Completed", 100.0, min_speed_infractions=3),
        record("0", "Completed", 60.0, collisions_vehicle=1),
        record("1", "Failed - Agent got blocked", 20.0),
    ]
    rows = by_type(routes, records)
    assert [(r.type, len(r.played), r.successes) for r in rows] == [("Accident", 2, 1), ("ControlLoss", 1, 0)]
    text = as_markdown(rows)
    one = "[no interval: 1 route]"
    assert f"| Accident | 2 | 0 | 1 | 80.0 {one} | 100 {one} | 30 {one} | collisions_vehicle |" in text
    assert "| **all** | 3 | 0 | 1 | 60.0 [20.0, 80.0] | 100 [100, 100] |" in text and "Agent got blocked" in text


def test_a_drive_whose_scenario_was_skipped_is_no_success_of_its_type(graph, havenbrook):
    routes = [replace(draw(graph, havenbrook, name), id=str(i)) for i, name in enumerate(("Accident", "ControlLoss"))]
    remark = "scenario skipped: {}_1: no room for the police car"
    records = [
        record("0", "Perfect", 100.0) | {"detail": remark.format("Accident")},
        record("0", "Completed", 60.0, collisions_vehicle=1) | {"detail": ""},
        record("1", "Perfect", 100.0) | {"detail": remark.format("ControlLoss")},
    ]
    rows = by_type(routes, records)
    assert [(r.type, len(r.played), r.skipped, r.successes) for r in rows] == [
        ("Accident", 1, 1, 0),
        ("ControlLoss", 0, 1, 0),
    ]
    text = as_markdown(rows)
    assert "| Accident | 1 | 1 | 0 | 60.0 [" in text and "| ControlLoss | 0 | 1 | 0 | - | - | - | - |" in text
    assert "| **all** | 1 | 2 | 0 | 60.0 [" in text
    said = "1 drives of 1 routes: success rate 0.0 [0.0, 97.5] %, driving score 60.0 [no interval: 1 route]"
    assert as_sentence(routes, records) == said


def test_results_of_another_route_file_are_refused(graph, havenbrook):
    with pytest.raises(RouteError, match="hold route '9', the route file does not"):
        by_type([draw(graph, havenbrook, "Accident")], [record("9", "Perfect", 100.0)])
