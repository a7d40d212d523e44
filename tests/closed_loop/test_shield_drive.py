"""The shield on minicarla, through the real client: a planner that sees nobody, a radar, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import carla
import numpy as np
import pytest

from autovla_core import geometry
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.observe import Observer
from autovla_core.carla_bridge.route_planner import plan_route, route_plan
from autovla_core.carla_bridge.session import Session, connect
from autovla_core.contracts import Observation, Plan
from autovla_core.control.shield import Shield, ShieldConfig
from autovla_core.driving.driver import Driver
from autovla_core.sensing import radar
from autovla_core.sensing import rig as rigs

COLLISION = {"type": "sensor.other.collision", "id": "HIT"}
LENGTH, WIDTH, REAR_AXLE = 4.89, 1.84, 1.418  # vehicle.lincoln.mkz_2020


class AlongTheRoute:
    """Plans along the route at a steady speed, whatever is in the way."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def plan(self, seen: Observation) -> Plan:
        line = np.vstack([np.zeros(2), seen.route])
        s, at = geometry.arc_length(line), 0.5 * self._speed * np.arange(11)
        xy = np.stack([np.interp(at, s, line[:, k]) for k in (0, 1)], axis=1)
        step = np.diff(xy, axis=0)
        poses = np.column_stack([xy[1:], np.unwrap(np.arctan2(step[:, 1], step[:, 0]))])
        return Plan(poses, seen.time_s, seen.time_s)

    def reset(self) -> None:
        """Nothing is remembered."""


@pytest.fixture(scope="module")
def empty_town(start_minicarla: Callable):
    """A server of its own, without traffic."""
    server = start_minicarla("--traffic", "0", "--seed", "0")
    yield server
    server.stop()


@pytest.fixture
def session(empty_town) -> Iterator[Session]:
    with Session(connect("127.0.0.1", empty_town.port)) as session:
        yield session


def drive(session: Session, route: list, seconds: float, speed: float, shielded: bool) -> dict:
    """Drive along a route; the summary of the driver, hits, and every pose."""
    shield = Shield(ShieldConfig(enabled=True), LENGTH, WIDTH) if shielded else None
    driver = Driver(AlongTheRoute(speed), shield=shield)
    observer = Observer((), route_plan(route))
    ego = session.spawn_ego(route[0][0])
    suite = session.spawn_sensors(ego, [*rigs.sensors(()), radar.RadarSpec().sensor(), COLLISION])
    hits, track = [], []
    for tick in range(int(seconds * 20)):
        data = suite.collect(session.tick())
        hits += data.get("HIT", (0, []))[1]
        motion = observer.update(data, 0.05 * (tick + 1))
        seen = radar.returns_of(radar.payload_of(data), motion.speed, motion.yaw_rate, REAR_AXLE)
        control = driver.step(observer.observe, motion.time_s, motion.speed, motion.yaw_rate, seen)
        ego.apply_control(vehicle_control(control))
        at = ego.get_location()
        track.append((at.x, at.y, motion.speed))
        if hits or observer.progress.remaining < 5.0:
            break
    out = {**driver.summary(), "hits": len(hits), "track": track, "done": observer.progress.fraction}
    session.clear()
    return out


def straight_route(session: Session, metres: float = 75.0) -> list:
    """A route along one straight lane, far from any junction."""
    for point in session.map.get_spawn_points():
        waypoint, ahead = session.map.get_waypoint(point.location), []
        while len(ahead) < metres and (found := waypoint.next(1.0)) and not found[0].is_junction:
            waypoint = found[0]
            ahead.append(waypoint.transform)
        turns = [abs((a.rotation.yaw - point.rotation.yaw + 180.0) % 360.0 - 180.0) for a in ahead]
        if len(ahead) >= metres and max(turns) < 1.0:
            return plan_route(session.map, [point.location, ahead[-1].location])
    raise AssertionError("the town has no such straight")


def park(session: Session, route: list, metres: float, speed: float = 0.0) -> carla.Vehicle:
    """Put a car on the route, driving on at ``speed``."""
    place = min(route, key=lambda entry: abs(entry[0].location.distance(route[0][0].location) - metres))[0]
    raised = place.location + carla.Location(z=0.4)
    car = session.spawn("vehicle.tesla.model3", carla.Transform(raised, place.rotation))
    if speed:
        forward = place.get_forward_vector()
        car.enable_constant_velocity(carla.Vector3D(speed, 0.0, 0.0))
        assert abs(forward.z) < 0.1
    return car


@pytest.mark.parametrize("speed", [5.0, 9.0])
def test_a_planner_that_sees_nobody_hits_a_parked_car_and_with_the_shield_stops_before_it(session, speed):
    route = straight_route(session)
    park(session, route, 50.0)
    bare = drive(session, route, 20.0, speed, shielded=False)
    assert bare["hits"] > 0 and not [name for name in bare if name.startswith("shield")]
    park(session, route, 50.0)
    kept = drive(session, route, 20.0, speed, shielded=True)
    assert kept["hits"] == 0 and kept["track"][-1][2] < 0.1
    assert kept["shield_brakings"] >= 1 and kept["shield_ticks_blind"] == 0


def test_a_leader_that_drives_as_fast_is_no_reason_to_brake(session):
    route = straight_route(session)
    park(session, route, 12.0, speed=7.0)
    done = drive(session, route, 8.0, 6.0, shielded=True)
    assert (done["hits"], done["shield_brakings"]) == (0, 0) and done["done"] > 0.4


def test_an_empty_town_with_its_bends_slopes_and_posts_gives_no_alarm_and_the_same_drive_twice(session):
    points = session.map.get_spawn_points()
    routes = [
        plan_route(session.map, [points[a].location, points[b].location]) for a, b in ((3, 40), (17, 5), (60, 22))
    ]
    for route in routes:
        done = drive(session, route, 40.0, 6.0, shielded=True)
        told = {name: done[name] for name in done if name.startswith("shield_ticks") or name == "shield_brakings"}
        assert set(told.values()) == {0.0}, (told, done["track"][-1])
        assert len(done["track"]) > 300 and done["shield_plans_checked"] > 30
    again = drive(session, routes[-1], 40.0, 6.0, shielded=True)
    assert again["track"] == done["track"]
