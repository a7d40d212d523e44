"""Scenarios in the simulator: they happen, they bite, the expert masters them, and nothing of them is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.criteria import CriteriaConfig
from autovla_core.evaluation.episode import EpisodeConfig, run_episode
from autovla_core.evaluation.evaluator import simulator
from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.recording import ExpertPilot
from autovla_core.evaluation.route_file import Scenario
from autovla_core.evaluation.scenarios.places import scenario_route
from autovla_core.evaluation.scenarios.player import ScenarioPlayer
from autovla_core.evaluation.scenarios.registry import SCENARIOS
from autovla_core.evaluation.scenarios.road import RouteRoad
from autovla_core.evaluation.watching import Watcher
from autovla_core.evaluation.weathers import preset

pytestmark = pytest.mark.xdist_group("scenarios")

ROOT = Path(__file__).resolve().parents[2]
NOBODY = {"SequentialLaneChange", "T_Junction"}  # and the types by the name of Vanilla: the road itself is the task
RIDDEN_M = 0.6  # a tick
BASELINE = ROOT / "agents/autovla_baseline_agent.py"


@pytest.fixture(scope="module")
def there():
    with simulator(threads=1) as there:
        yield there


@pytest.fixture(scope="module")
def towns(there):
    """Loads a town and returns its lanes."""
    known: dict[str, LaneGraph] = {}

    def load(town: str) -> LaneGraph:
        there.session.load(town)
        return known[town] if town in known else known.setdefault(town, LaneGraph(there.session.map))

    return load


@pytest.fixture
def graph(towns):
    return towns("Havenbrook")


class Seen(Watcher):
    """What the expert thought, and where the ego was."""

    def __init__(self, pilot: ExpertPilot | None = None) -> None:
        self._pilot = pilot
        self.reasons: set[str] = set()
        self.rows: list[tuple] = []
        self.staged = 0  # most actors of scenarios at one time

    def begin(self, scenery) -> None:
        self._world = scenery.session.world

    def tick(self, facts) -> None:
        self.rows.append((*facts.moment.position, facts.control))
        if self._pilot is not None and self._pilot.decision is not None:
            self.reasons.add(self._pilot.decision.reason.rule)
        if facts.number % 20 == 0:
            roles = [a.attributes.get("role_name", "") for a in self._world.get_actors()]
            self.staged = max(self.staged, roles.count("scenario"))


def play(there, graph, name: str, seed: int = 1, route_seed: int = 1, agent=None, traffic: int = 0):
    rng = np.random.default_rng(route_seed)
    route = scenario_route(graph, there.session.map, rng, "0", preset("ClearNoon"), name)
    pilot = ExpertPilot() if agent is None else None
    watchers = [pilot] if pilot else []
    seen = Seen(pilot)
    driver = pilot or agent(there.host, there.port, False)
    record = run_episode(there.session, route, driver, "", seed, 0, EpisodeConfig(traffic), [*watchers, seen])
    return record, seen


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ParkedObstacleTwoWays", "overtake"),
        ("DynamicObjectCrossing", "walker"),
        ("YieldToEmergencyVehicle", "emergency"),
    ],
)
def test_the_expert_masters_a_scenario_and_says_what_it_did(there, graph, name, reason):
    record, seen = play(there, graph, name)
    assert record.status == "Perfect", (record.infractions, record.detail)
    assert reason in seen.reasons and seen.staged > 0


def ride(there, graph, name: str) -> tuple[ScenarioPlayer, int]:
    """Put the ego along a route of the type, through whatever stands there; the most actors of scenarios at a time."""
    session = there.session
    route = scenario_route(graph, session.map, np.random.default_rng(1), "0", preset("ClearNoon"), name)
    dense = plan_route(session.map, [carla.Location(*point) for point in route.carla_points], graph)
    road, player, most = RouteRoad(session.map, [transform for transform, _ in dense]), ScenarioPlayer(), 0
    ego = session.spawn_ego(dense[0][0])
    ego.set_simulate_physics(False)
    judge = SimpleNamespace(add=lambda criterion: None, excuse=lambda *flags: None)
    player.begin(SimpleNamespace(session=session, route=route, dense=dense, ego=ego, traffic=(), seed=1, judge=judge))
    trigger_s = road.trigger_s(route.scenarios[0].carla_trigger)
    for number, s in enumerate(np.arange(max(trigger_s - 10.0, 0.0), min(trigger_s + 110.0, road.length), RIDDEN_M)):
        spot = road.spot(float(s))
        ego.set_transform(spot.carla_transform())
        player.ego.s = float(s)
        session.tick()
        moment = Moment(number * session.tick_s, np.array([spot.x, spot.y, spot.z]), spot.yaw, 12.0, 13.9)
        player.tick(SimpleNamespace(moment=moment, control=Control()))
        if number % 20 == 0:
            most = max(most, staged(session.world))
    player.end(None)
    session.clear()
    return player, most


def staged(world) -> int:
    return sum(actor.attributes.get("role_name") == "scenario" for actor in world.get_actors())


IN_IRONMERE = ["HazardAtSideLane", "HazardAtSideLaneTwoWays", "SequentialLaneChange"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [*(n for n in SCENARIOS if n not in IN_IRONMERE), *IN_IRONMERE])
def test_every_type_puts_its_actors_up_plays_and_takes_them_away(there, towns, name):
    graph = towns("Ironmere" if name in IN_IRONMERE else "Havenbrook")
    player, most = ride(there, graph, name)
    assert player.skipped == {} and set(player.states.values()) == {"over"}
    assert (most > 0) == (name not in NOBODY and not name.startswith("Vanilla"))
    there.session.tick()
    assert staged(there.session.world) == 0


def test_a_scenario_that_could_not_be_played_stands_in_the_record(there, graph):
    rng = np.random.default_rng(1)
    route = scenario_route(graph, there.session.map, rng, "0", preset("ClearNoon"), "ControlLoss")
    odd = replace(route, scenarios=(*route.scenarios, Scenario("Odd_1", "Earthquake", (0.0, 0.0, 0.0, 0.0))))
    config = EpisodeConfig(criteria=CriteriaConfig(max_ticks=10))
    pilot = ExpertPilot()
    record = run_episode(there.session, odd, pilot, "", 1, 0, config, [pilot])
    assert record.detail.startswith("scenario skipped: Odd_1: unknown type 'Earthquake'; known: Accident")
    assert "ControlLoss_1" not in record.detail


@pytest.mark.timeout(900)
def test_a_driver_who_sees_nothing_hits_the_walker():
    with simulator(threads=1) as there:
        graph = LaneGraph(there.session.map)
        record, _ = play(there, graph, "DynamicObjectCrossing", agent=load_agent_class(BASELINE))
    assert "collisions_pedestrian" in {i.kind for i in record.infractions}


@pytest.mark.timeout(900)
def test_a_scenario_repeats_to_the_last_bit_and_leaves_nobody_behind(there, graph):
    drives = [play(there, graph, "ParkingCutIn", traffic=6)[1].rows for _ in range(2)]
    assert drives[0] == drives[1]
    there.session.tick()
    left = [
        a.type_id for a in there.session.world.get_actors() if a.type_id.startswith(("vehicle", "walker", "static"))
    ]
    assert left == []
