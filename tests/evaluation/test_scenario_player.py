"""The player of scenarios, with scripts that only count; no server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control
from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.route_file import Route, Scenario
from autovla_core.evaluation.scenarios.player import BUILD_M, ScenarioPlayer
from autovla_core.evaluation.scenarios.registry import SCENARIOS, Needs, ScenarioType
from autovla_core.evaluation.scenarios.road import RouteRoad
from autovla_core.evaluation.scenarios.setting import NoPlace

HAVENBROOK = Path(__file__).resolve().parents[2] / "autovla_core/minicarla/towns/Havenbrook.xodr"
ENDS = ((215.0, -241.75), (20.0, -241.75))  # westwards over two junctions


@pytest.fixture(scope="module")
def dense():
    havenbrook = carla.Map("Havenbrook", HAVENBROOK.read_text())
    points = plan_route(havenbrook, [carla.Location(x, y, 0.0) for x, y in ENDS], LaneGraph(havenbrook))
    return havenbrook, points


class Stand:
    """The parts of an episode that the player touches."""

    def __init__(self, dense, *scenarios: Scenario) -> None:
        havenbrook, points = dense
        self.road = RouteRoad(havenbrook, [transform for transform, _ in points])
        self.criteria, self.excuses, self.applied = [], [], []
        world = SimpleNamespace(get_blueprint_library=lambda: None)
        box = carla.BoundingBox(carla.Location(0.0, 0.0, 0.7), carla.Vector3D(2.4, 0.9, 0.7))
        self.scenery = SimpleNamespace(
            session=SimpleNamespace(map=havenbrook, client=None, world=world),
            dense=points,
            route=Route("0", "Havenbrook", tuple((x, y, 0.0) for x, y in ENDS), (), scenarios),
            ego=SimpleNamespace(bounding_box=box, apply_control=self.applied.append),
            judge=SimpleNamespace(add=self.criteria.append, excuse=lambda *flags: self.excuses.append(flags)),
            traffic=(),
            seed=3,
        )
        self.player = ScenarioPlayer()
        self.player.begin(self.scenery)

    def at(self, s: float, speed: float = 8.0) -> None:
        spot = self.road.spot(s)
        self.player.ego.s = s
        moment = Moment(s / 8.0, np.array([spot.x, spot.y, 0.0]), spot.yaw, speed, 11.1)
        self.player.tick(SimpleNamespace(moment=moment, control=Control(steer=0.1, throttle=0.5)))


def scenario(dense, s: float, type: str = "Counting") -> Scenario:
    road = RouteRoad(dense[0], [transform for transform, _ in dense[1]])
    at = road.spot(s).carla_transform()
    return Scenario(f"{type}_1", type, (at.location.x, at.location.y, at.location.z, at.rotation.yaw))


@pytest.fixture
def told(monkeypatch):
    """What the counting script was told, tick by tick."""
    said: list[str] = []

    def script(setting):
        said.append("built")
        yield from setting.until_triggered()
        said.append("triggered")
        setting.ego.noise = (0.2, -0.1)
        yield
        said.append("over")

    monkeypatch.setitem(SCENARIOS, "Counting", ScenarioType(script, Needs(), oncoming=True, patient=True))
    return said


def test_a_scenario_is_built_on_the_way_triggered_at_its_point_and_over_when_its_script_ends(dense, told):
    stand = Stand(dense, scenario(dense, 150.0))
    stand.at(150.0 - BUILD_M - 5.0)
    assert told == [] and stand.player.states == {"Counting_1": "waiting"}
    stand.at(150.0 - BUILD_M + 5.0)
    stand.at(140.0)
    assert told == ["built"] and stand.excuses[-1] == (False, False)
    stand.at(149.5)
    assert told == ["built", "triggered"] and stand.excuses[-1] == (True, True)
    stand.at(150.0)
    assert told[-1] == "over" and stand.player.states == {"Counting_1": "over"} and stand.excuses[-1] == (False, False)


def test_noise_is_added_to_the_control_for_the_tick_that_asked_for_it(dense, told):
    stand = Stand(dense, scenario(dense, 100.0))
    for s in (90.0, 99.5, 100.0):
        stand.at(s)
    (shaken,) = stand.applied
    assert shaken.steer == pytest.approx(-0.3) and shaken.throttle == pytest.approx(
        0.4
    )  # CARLA's steer is right positive


def test_what_cannot_be_played_is_named_and_the_drive_goes_on(dense, monkeypatch, caplog):
    def nowhere(setting):
        raise NoPlace(f"{setting.name}: no room for the car")
        yield

    monkeypatch.setitem(SCENARIOS, "Nowhere", ScenarioType(nowhere, Needs()))
    aside = Scenario("Aside_1", "Accident", (0.0, 0.0, 0.0, 0.0))
    stand = Stand(dense, scenario(dense, 60.0, "Nowhere"), scenario(dense, 60.0, "Earthquake"), aside)
    stand.at(10.0)
    reasons = stand.player.skipped
    assert reasons["Nowhere_1"] == "Nowhere_1: no room for the car"
    assert reasons["Earthquake_1"].startswith("unknown type 'Earthquake'; known: Accident")
    assert reasons["Aside_1"] == "its trigger point does not lie on the route"
    assert set(stand.player.states.values()) == {"skipped"} and len(caplog.records) == 3
    remarks = sorted(stand.player.remarks.split("; scenario skipped: "))
    assert "Nowhere_1: no room for the car" in remarks and len(remarks) == 3


def test_an_episode_that_breaks_off_ends_its_scripts(dense, monkeypatch):
    ended = []

    def script(setting):
        try:
            while True:
                yield
        finally:
            ended.append(setting.name)

    monkeypatch.setitem(SCENARIOS, "Endless", ScenarioType(script, Needs()))
    stand = Stand(dense, scenario(dense, 60.0, "Endless"))
    stand.at(20.0)
    stand.player.end(None)
    assert ended == ["Endless_1"]
