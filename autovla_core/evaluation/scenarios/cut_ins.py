"""Others that come into the ego's lane or brake in it, and trouble with the ego itself.

Source of the lay-outs: Bench2Drive's scenario definitions (facts only).
"""

from __future__ import annotations

import numpy as np

from autovla_core.carla_bridge.room import walk
from autovla_core.evaluation.scenarios.movers import TICK_S, LineFollower
from autovla_core.evaluation.scenarios.road import has_beside, line_of
from autovla_core.evaluation.scenarios.setting import NoPlace, Script, Setting

DEBRIS = ("dirtdebris01", "dirtdebris02", "dirtdebris03")
DEBRIS_AT_M = (14.0, 48.0, 74.0)
SLIPPERY_M = 6.0  # around each heap


def parking_cut_in(setting: Setting) -> Script:
    """A car pulls out from the kerb in front of the ego."""
    s = setting.trigger_s + setting.number("distance", 26.0, 34.0)
    half = setting.road.lane_width(s) / 2
    setting.stage.keep_clear(setting.road.slice(setting.trigger_s, s + 40.0))
    blocker = setting.stage.parked(setting.road.spot(s - 8.0, left=-half - 1.35))
    car = setting.stage.parked(setting.road.spot(s, left=-half - 1.35))
    setting.require(blocker, "the parked car")
    setting.require(car, "the car that pulls out")
    yield from setting.until_triggered()
    yield from setting.until_near(s, 2.35, 10.0)
    line = _into_lane(setting, s, -half - 1.35, 14.0, 60.0)
    mover = setting.stage.drive(car, line, 0.6 * setting.ego.speed_limit)
    while not mover.done:
        yield
    setting.stage.remove(car)


def static_cut_in(setting: Setting) -> Script:
    """Out of a queue in the lane beside, one car changes into the ego's lane."""
    side = "right" if setting.word("direction", "right") == "right" else "left"
    first = setting.trigger_s + setting.number("distance", 26.0, 32.0)
    if not has_beside(setting.road.waypoint(first), side):
        raise NoPlace(f"{setting.name}: no lane to the {side} of the ego's at {first:.0f} m")
    beside = setting.road.lane_width(first) * (1.0 if side == "left" else -1.0)
    setting.stage.keep_clear(setting.road.slice(setting.trigger_s - 20.0, first + 50.0, left=beside))
    setting.stage.keep_clear(setting.road.slice(setting.trigger_s, first + 50.0))
    queue = [setting.stage.parked(setting.road.spot(first + 11.0 * k, left=beside)) for k in range(4)]
    cutter = queue[1]
    setting.require(cutter, "the car that cuts in")
    s = first + 11.0
    yield from setting.until_triggered()
    yield from setting.until_near(s, 2.7, 15.0)
    mover = setting.stage.drive(cutter, _into_lane(setting, s, beside, 16.0, 70.0), 0.8 * setting.ego.speed_limit)
    while not mover.done:
        yield
    setting.stage.remove(cutter)
    yield from setting.until_passed(first + 50.0)


def hard_brake_route(setting: Setting) -> Script:
    """The car in front brakes as hard as it can, stands for ten seconds and drives on."""
    yield from setting.until_triggered()
    ahead = setting.ego.s + 14.0 + 1.2 * setting.ego.speed
    setting.stage.keep_clear(setting.road.slice(setting.ego.s + 5.0, ahead + 40.0))
    car = setting.stage.vehicle(setting.road.spot(ahead))
    setting.require(car, "the car in front")
    mover = setting.stage.drive(
        car, setting.road.slice(ahead, setting.road.length + 20.0), 0.6 * setting.ego.speed_limit
    )
    mover.start_at(0.9 * setting.ego.speed)
    yield from setting.wait(setting.rng.uniform(2.0, 3.0))
    mover.target, cruise = 0.0, mover.target
    yield from setting.wait(10.0)
    mover.target = 1.2 * cruise
    while not mover.done:
        yield
    setting.stage.remove(car)


def control_loss(setting: Setting) -> Script:
    """Heaps of dirt on the lane shake steering and throttle."""
    places = [setting.trigger_s + at for at in DEBRIS_AT_M if setting.trigger_s + at < setting.road.length - 10.0]
    for s, name in zip(places, DEBRIS):
        setting.stage.prop((name,), setting.road.spot(s, left=float(setting.rng.uniform(-0.5, 0.5))), solid=False)
    yield from setting.until_triggered()
    sign = 1.0 if setting.rng.random() < 0.5 else -1.0
    end = setting.trigger_s + 110.0
    while setting.ego.s < end:
        if min((abs(setting.ego.s - s) for s in places), default=np.inf) < SLIPPERY_M:
            steer, throttle = setting.rng.normal((0.055, 0.03), (0.015, 0.01))
            setting.ego.noise = (sign * float(steer), -float(throttle))
        yield


def sequential_lane_change(setting: Setting) -> Script:
    """Nobody comes: the route itself asks for lane changes."""
    yield from setting.until_triggered()
    yield from setting.until_passed(setting.trigger_s + 150.0)


def yield_to_emergency_vehicle(setting: Setting) -> Script:
    """An emergency vehicle comes from behind and wants to pass.

    It keeps to the lane that the ego had when it came, so the ego has to leave it.
    """
    behind = setting.number("distance", 26.0, 30.0)
    yield from setting.until_triggered()
    start = setting.road.waypoint(setting.ego.s)
    way = line_of([*walk(start, behind, forward=False)[::-1], start, *walk(start, 250.0, forward=True)])
    setting.stage.keep_clear(way.points)
    engine = setting.stage.vehicle(way.start, "emergency")
    setting.require(engine, "the emergency vehicle")
    fast = setting.ego.speed + 25.0 / 3.6
    mover = setting.stage.drive(engine, way.points, fast, heeds_m=6.0)
    mover.start_at(fast)
    yield from _until_yielded(setting, mover)
    setting.stage.remove(engine)


def _until_yielded(setting: Setting, mover: LineFollower) -> Script:
    """Until the vehicle has passed and driven 50 m, or 10 s after it came near; judged by who is in front."""
    near_s = 0.0
    while near_s < 10.0 and not mover.done:
        pose = mover.pose
        away = setting.ego.pose[:2] - pose[:2]
        setting.verdict.yielded = float(away @ (np.cos(pose[2]), np.sin(pose[2]))) < 0.0
        distance = float(np.hypot(*away))
        near_s += TICK_S if distance < 50.0 else 0.0
        if setting.verdict.yielded and distance > 50.0:
            break
        yield


def _into_lane(setting: Setting, s: float, left: float, ramp_m: float, ahead_m: float) -> np.ndarray:
    """A line (N, 2) from beside the route into it: 1 m straight on, then a smooth ramp."""
    points = []
    for ahead in np.arange(0.0, ahead_m, 1.0):
        share = np.clip((ahead - 1.0) / ramp_m, 0.0, 1.0)
        spot = setting.road.spot(s + float(ahead), left=left * float(0.5 + 0.5 * np.cos(np.pi * share)))
        points.append((spot.x, spot.y))
    return np.array(points)
