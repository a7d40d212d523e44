"""Walkers and cyclists who cross the ego's way.

Source of the lay-outs: Bench2Drive's scenario definitions (facts only).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autovla_core.evaluation.scenarios.junctions import junction_of
from autovla_core.evaluation.scenarios.setting import Script, Setting

OCCLUDERS = ("vendingmachine", "advertisement", "container", "busstop")
WALK_MPS = 2.0


def dynamic_object_crossing(setting: Setting) -> Script:
    """A walker steps out from behind something big at the kerb."""
    s = setting.trigger_s + setting.number("distance", 35.0, 50.0)
    kerb = setting.road.lane_width(s) / 2 + 1.5
    names = (setting.word("blocker_model", "static.prop.vendingmachine").split(".")[-1], *OCCLUDERS)
    setting.stage.prop(names, setting.road.spot(s - 2.0, left=-kerb))
    yield from _steps_out(setting, s, kerb, seconds=2.1)


def parking_crossing_pedestrian(setting: Setting) -> Script:
    """A walker steps out in front of a car that is parked at the kerb."""
    s = setting.trigger_s + setting.number("distance", 30.0, 40.0)
    kerb = setting.road.lane_width(s) / 2 + 1.3
    car = setting.stage.parked(setting.road.spot(s - 4.0, left=-kerb))
    setting.require(car, "the parked car")
    yield from _steps_out(setting, s, kerb, seconds=2.15)


def pedestrian_crossing(setting: Setting) -> Script:
    """Three walkers use the crosswalk before the junction."""
    s = junction_of(setting).begin - 2.5
    reach = setting.road.lane_width(s) / 2 + 1.8
    crowd = []
    for number in range(3):
        spot = setting.road.spot(s + 1.2 * (number - 1), left=-reach - 0.5 * number, turned=math.pi / 2)
        walker = setting.stage.walker(spot)
        setting.require(walker, "a walker")
        crowd.append((walker, spot.yaw, setting.rng.uniform(1.3, 2.0), setting.rng.uniform(0.0, 1.5)))
    yield from setting.until_triggered()
    yield from setting.until_near(s, 3.5, 12.0)
    crowd.sort(key=lambda entry: entry[3])
    waited = 0.0
    movers = []
    for walker, yaw, speed, idle in crowd:
        yield from setting.wait(idle - waited)
        waited = max(waited, idle)
        movers.append(setting.stage.walk(walker, yaw, speed, 2.3 * reach + 3.0))
    yield from _until_done(setting, movers, s)


def vehicle_turning_route(setting: Setting) -> Script:
    """Where the ego turns into a road, a cyclist crosses it."""
    s = junction_of(setting).end + 11.0
    reach = setting.road.lane_width(s) / 2 + 1.6
    rider = setting.stage.vehicle(setting.road.spot(s, left=-reach, turned=math.pi / 2), "bicycle")
    setting.require(rider, "the cyclist")
    yield from setting.until_triggered()
    yield from setting.until_near(s, 1.8, 6.0)
    start = setting.road.spot(s, left=-reach, turned=math.pi / 2)
    across = [(spot.x, spot.y) for spot in (start.moved(ahead=float(a)) for a in range(int(3 * reach) + 4))]
    mover = setting.stage.drive(rider, across, 1.8)
    yield from _until_done(setting, [mover], s)


def vehicle_turning_route_pedestrian(setting: Setting) -> Script:
    """Where the ego turns into a road, a walker crosses it."""
    s = junction_of(setting).end + 0.5
    reach = setting.road.lane_width(s) / 2 + 1.6
    yield from _steps_out(setting, s, reach, seconds=2.2, speed=1.8, angle_deg=0.0)


def _steps_out(
    setting: Setting, s: float, reach: float, seconds: float, speed: float = WALK_MPS, angle_deg: float | None = None
) -> Script:
    """A walker at the kerb crosses when the ego is ``seconds`` or 6 m away."""
    angle = math.radians(setting.number("crossing_angle", 0.0, 11.0) if angle_deg is None else angle_deg)
    spot = setting.road.spot(s, left=-reach, turned=math.pi / 2 + angle)
    walker = setting.stage.walker(spot)
    setting.require(walker, "the walker")
    yield from setting.until_triggered()
    yield from setting.until_near(s, seconds, 6.0)
    mover = setting.stage.walk(walker, spot.yaw, speed, 2.0 * reach + 5.0)
    yield from _until_done(setting, [mover], s)


def _until_done(setting: Setting, movers: Sequence, s: float) -> Script:
    while not all(mover.done for mover in movers):
        yield
    yield from setting.until_passed(s + 15.0, most_s=60.0)
