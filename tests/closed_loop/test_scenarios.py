"""Scenarios in the simulator: they happen, they bite, the expert masters them, and nothing of them is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.episode import EpisodeConfig, Watcher, run_episode
from autovla_core.evaluation.evaluator import simulator
from autovla_core.evaluation.recording import ExpertPilot
from autovla_core.evaluation.scenarios.places import scenario_route
from autovla_core.evaluation.weathers import preset

pytestmark = pytest.mark.xdist_group("scenarios")

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "agents/autovla_baseline_agent.py"


@pytest.fixture(scope="module")
def there():
    with simulator(threads=1) as there:
        yield there


@pytest.fixture(scope="module")
def graph(there):
    return LaneGraph(there.session.map)


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
