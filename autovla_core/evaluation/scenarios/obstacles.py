"""Things that stand in the ego's lane, or creep along its side: it must get past them.

Source of the lay-outs: Bench2Drive's scenario definitions (facts only); where their figures do not fit a short
street, the distance that the route file asks for is kept and the row is shortened.
"""

from __future__ import annotations

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.scenarios.junctions import junction_of
from autovla_core.evaluation.scenarios.movers import Flow
from autovla_core.evaluation.scenarios.road import Line, lane_line
from autovla_core.evaluation.scenarios.setting import NoPlace, Script, Setting

KEEP_BEHIND_M = 25.0  # actors stay until the ego is so far beyond them
UPSTREAM_M, DOWNSTREAM_M = 130.0, 70.0  # of an oncoming flow
BRAKES_M = 8.0  # an oncoming driver brakes for what is so near
CONES = ("constructioncone", "trafficcone01")
OPEN_S, OPEN_M = 3.0, 10.0  # when a door opens


def accident(setting: Setting) -> Script:
    """A police car and two crashed cars stand in the lane."""
    yield from _past(setting, _crashed_cars(setting), traffic=None)


def accident_two_ways(setting: Setting) -> Script:
    """The same where the only way past is the oncoming lane."""
    yield from _past(setting, _crashed_cars(setting), traffic=(32.0, 109.0))


def parked_obstacle(setting: Setting) -> Script:
    """One car has stopped in the lane."""
    yield from _past(setting, _stopped_car(setting), traffic=None)


def parked_obstacle_two_ways(setting: Setting) -> Script:
    """The same where the only way past is the oncoming lane."""
    yield from _past(setting, _stopped_car(setting), traffic=(31.0, 106.0))


def construction_obstacle(setting: Setting) -> Script:
    """A fenced-off construction site takes the lane."""
    yield from _past(setting, _site(setting), traffic=None)


def construction_obstacle_two_ways(setting: Setting) -> Script:
    """The same where the only way past is the oncoming lane."""
    yield from _past(setting, _site(setting), traffic=(43.0, 129.0))


def vehicle_opens_door_two_ways(setting: Setting) -> Script:
    """A car parked at the kerb opens its door just before the ego comes by."""
    s = setting.trigger_s + setting.number("distance", 30.0, 45.0)
    half = setting.road.lane_width(s) / 2
    car = setting.stage.parked(setting.road.spot(s, left=-half - 0.35))
    setting.require(car, "the parked car")
    yield from setting.until_triggered()
    flow = _oncoming(setting, s, (30.0, 89.0))
    yield from setting.until_near(s, OPEN_S, OPEN_M)
    car.open_door(carla.VehicleDoor.FL)
    yield from _over(setting, s, flow)


def hazard_at_side_lane(setting: Setting) -> Script:
    """Two bicycles ride at the right side of the lane."""
    yield from _bicycles(setting, speed=(1.7, 3.3), ride_m=(40.0, 100.0), traffic=None)


def hazard_at_side_lane_two_ways(setting: Setting) -> Script:
    """The same where the only way past is the oncoming lane."""
    yield from _bicycles(setting, speed=(1.9, 3.1), ride_m=(80.0, 116.0), traffic=(75.0, 100.0))


def invading_turn(setting: Setting) -> Script:
    """Cones on the oncoming lane of a bend push its traffic into the ego's lane."""
    begin = setting.trigger_s + 8.0
    end = begin + setting.number("distance", 50.0, 60.0)
    into_m = setting.number("offset", 0.18, 0.34)
    width = setting.road.lane_width(begin)
    for s in np.arange(begin + 5.0, (begin + end) / 2 + 10.0, 5.0):
        setting.stage.prop(CONES, setting.road.spot(float(s), left=width + 0.6))
    yield from setting.until_triggered()
    line = _opposite_line(setting, (begin + end) / 2, UPSTREAM_M, DOWNSTREAM_M)
    shifted = _shifted(setting, line, begin - 10.0, end, into_m + width / 2 - 0.7)
    flow = setting.stage.flow(shifted, 0.6 * setting.ego.speed_limit, (30.0, 40.0))
    yield from _over(setting, end, flow)


def blocked_intersection(setting: Setting) -> Script:
    """Behind the junction a car stands in the way until the ego has waited a while."""
    junction = junction_of(setting)
    s = junction.end + 5.0
    setting.stage.keep_clear(setting.road.slice(junction.begin, s + 10.0))
    car = setting.stage.parked(setting.road.spot(s))
    setting.require(car, "the car behind the junction")
    yield from setting.until_triggered()
    yield from setting.until_near(s, 0.0, 13.0)
    yield from setting.wait(10.0)
    setting.stage.remove(car)


# ---- rows of things: each puts them up and returns where they end


def _crashed_cars(setting: Setting) -> float:
    s = setting.trigger_s + setting.number("distance", 28.0, 34.0)
    right = 0.6 * setting.road.lane_width(s) / 2
    _keep_clear(setting, s + 19.0)
    setting.stage.prop(("warningaccident", "trafficwarning"), setting.road.spot(s - 6.0, left=-right - 0.7))
    police = setting.stage.parked(setting.road.spot(s, left=-right), "police", hazard_lights=True)
    setting.require(police, "the police car")
    end = s
    for gap, turned in ((10.0, 0.15), (6.5, -0.2)):
        end += gap
        spot = setting.road.spot(end, left=-right, turned=turned)
        setting.require(setting.stage.parked(spot, hazard_lights=True), "a crashed car")
    return end + 2.5


def _stopped_car(setting: Setting) -> float:
    s = setting.trigger_s + setting.number("distance", 30.0, 43.0)
    right = 0.7 * setting.road.lane_width(s) / 2
    _keep_clear(setting, s + 2.5)
    car = setting.stage.parked(setting.road.spot(s, left=-right), hazard_lights=True)
    setting.require(car, "the stopped car")
    return s + 2.5


def _site(setting: Setting) -> float:
    s = setting.trigger_s + setting.number("distance", 30.0, 40.0)
    road, stage, half = setting.road, setting.stage, 0.85 * setting.road.lane_width(s) / 2
    _keep_clear(setting, s + 9.5)
    board = stage.prop(("trafficwarning", "warningconstruction"), road.spot(s, turned=np.pi))
    setting.require(board, "the board")
    stage.prop(("dirtdebris02",), road.spot(s + 6.0), solid=False)
    for ahead in (2.0, 4.0, 6.0, 8.0):
        stage.prop(CONES, road.spot(s + ahead, left=half))
    for left in (half - 1.0, half - 2.0, half - 3.0):
        stage.prop(CONES, road.spot(s + 9.0, left=left))
    return s + 9.5


def _keep_clear(setting: Setting, end: float) -> None:
    setting.stage.keep_clear(setting.road.slice(setting.trigger_s - 5.0, end + 12.0))


# ---- and what happens around them


def _past(setting: Setting, end: float, traffic: tuple[float, float] | None) -> Script:
    yield from setting.until_triggered()
    flow = _oncoming(setting, end, traffic) if traffic else None
    yield from _over(setting, end, flow)


def _over(setting: Setting, end: float, flow: Flow | None) -> Script:
    """Until the ego has it behind."""
    yield from setting.until_passed(end + KEEP_BEHIND_M)
    if flow is not None:
        flow.close()
        yield from setting.wait(5.0)


def _bicycles(
    setting: Setting, speed: tuple[float, float], ride_m: tuple[float, float], traffic: tuple[float, float] | None
) -> Script:
    s = setting.trigger_s + setting.number("distance", 35.0, 45.0)
    pace = setting.number("bicycle_speed", *speed)
    ride = setting.number("bicycle_drive_distance", *ride_m)
    right = 0.55 * setting.road.lane_width(s) / 2
    setting.stage.keep_clear(setting.road.slice(setting.trigger_s - 5.0, s + 20.0))
    riders = [setting.stage.vehicle(setting.road.spot(at, left=-right), "bicycle") for at in (s, s + 9.0)]
    for rider in riders:
        setting.require(rider, "a bicycle")
    yield from setting.until_triggered()
    movers = [
        setting.stage.drive(rider, setting.road.slice(at, at + ride, left=-right), pace)
        for rider, at in zip(riders, (s, s + 9.0))
    ]
    flow = _oncoming(setting, s + 30.0, traffic) if traffic else None
    while not all(mover.done for mover in movers):
        yield
    for rider in riders:
        setting.stage.remove(rider)
    if flow is not None:
        flow.close()
        yield from setting.wait(5.0)


def _oncoming(setting: Setting, s: float, gaps_m: tuple[float, float]) -> Flow:
    """Cars on the oncoming lane, from beyond ``s`` to behind the ego, a little below the speed limit."""
    line = _opposite_line(setting, s, UPSTREAM_M, DOWNSTREAM_M + s - setting.ego.s)
    gaps = setting.interval("frequency", *gaps_m)
    return setting.stage.flow(line, 0.8 * setting.ego.speed_limit, gaps, heeds_m=BRAKES_M)


def _opposite_line(setting: Setting, s: float, upstream_m: float, downstream_m: float) -> Line:
    own = setting.road.waypoint(s)
    lane = own
    while lane is not None and lane.lane_id * own.lane_id > 0:
        lane = lane.get_left_lane()
    if lane is None or lane.lane_type != carla.LaneType.Driving:
        raise NoPlace(f"{setting.name}: no oncoming lane at {s:.0f} m")
    return lane_line(lane, upstream_m, downstream_m)


def _shifted(setting: Setting, line: Line, begin: float, end: float, left_m: float) -> Line:
    """The line moved to its left (the ego's side) where it passes the route between two places, with 15 m ramps."""
    tangent = np.gradient(line.points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.hypot(*tangent.T)[:, None]
    road = setting.road
    places = np.array([road.s[np.argmin(np.hypot(*(road.points - p).T))] for p in line.points])
    ramp = np.clip(np.minimum(places - begin + 15.0, end + 15.0 - places) / 15.0, 0.0, 1.0)
    sideways = left_m * (0.5 - 0.5 * np.cos(np.pi * ramp))
    return Line(line.points + sideways[:, None] * normal, line.start)
