"""What the bridge reads from the map for an expert among scenarios; no server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.carla_bridge.privileged import _shape
from autovla_core.carla_bridge.room import room_of, way_of
from autovla_core.carla_bridge.route_planner import LaneGraph, plan_route, route_plan
from autovla_core.carla_bridge.wheel import carla

HAVENBROOK = Path(__file__).resolve().parents[2] / "autovla_core/minicarla/towns/Havenbrook.xodr"
LANE, SHOULDER = 3.5, 0.3


@pytest.fixture(scope="module")
def havenbrook():
    return carla.Map("Havenbrook", HAVENBROOK.read_text())


def plan_between(havenbrook, *ends: tuple[float, float]):
    graph = LaneGraph(havenbrook)
    return route_plan(plan_route(havenbrook, [carla.Location(x, y, 0.0) for x, y in ends], graph))


def test_a_street_with_a_lane_each_way_has_its_lane_and_the_oncoming_one(havenbrook):
    room = room_of(havenbrook, plan_between(havenbrook, (215.0, -241.75), (145.0, -241.75)))
    assert room.least("own_left", 10.0, 60.0) == pytest.approx(LANE / 2, abs=0.02)
    assert room.least("same_left", 10.0, 60.0) == pytest.approx(LANE / 2, abs=0.02)
    assert room.least("all_left", 10.0, 60.0) == pytest.approx(1.5 * LANE, abs=0.02)
    assert room.least("own_right", 10.0, 60.0) == pytest.approx(LANE / 2 + SHOULDER, abs=0.02)
    assert not room.has_junction(10.0, 60.0)


def test_on_the_avenue_the_right_lane_has_one_beside_it(havenbrook):
    room = room_of(havenbrook, plan_between(havenbrook, (234.75, -320.0), (234.75, -270.0)))
    sides = {room.least("same_left", 5.0, 40.0), room.least("same_right", 5.0, 40.0)}
    assert max(sides) == pytest.approx(1.5 * LANE, abs=0.4)
    assert room.least("all_left", 5.0, 40.0) >= 1.5 * LANE - 0.1


def test_a_junction_on_the_route_is_known(havenbrook):
    plan = plan_between(havenbrook, (215.0, -241.75), (80.0, -241.75))
    room = room_of(havenbrook, plan)
    inside = plan.s[room.junction]
    assert 20.0 < np.ptp(inside) < 40.0
    assert room.has_junction(inside[0] - 5.0, inside[0]) and not room.has_junction(0.0, inside[0] - 2.0)


def test_others_are_expected_to_keep_to_their_lane_straight_on_and_to_their_side_of_it(havenbrook):
    way = way_of(havenbrook, np.array([180.0, 241.75 + 0.4, np.pi]))
    assert len(way) > 100 and np.hypot(*np.diff(way, axis=0).T).max() < 1.5
    assert way[:40, 1] == pytest.approx(241.75 + 0.4, abs=0.05)


def actor(type_id: str, half_height: float = 0.7, **attributes: str):
    box = carla.BoundingBox(carla.Location(0.0, 0.0, half_height), carla.Vector3D(1.0, 0.5, half_height))
    return SimpleNamespace(type_id=type_id, bounding_box=box, attributes=attributes)


def test_flat_dirt_is_no_obstacle_and_roles_and_sirens_are_seen():
    assert _shape(actor("static.prop.dirtdebris01", 0.08)) is None
    assert _shape(actor("static.prop.constructioncone", 0.3)).kind == "static"
    engine = _shape(actor("vehicle.ford.ambulance", role_name="scenario", special_type="emergency"))
    assert engine.role == "scenario" and engine.emergency
    assert _shape(actor("vehicle.bh.crossbike")).kind == "bicycle" and _shape(None) is None
