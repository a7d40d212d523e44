"""What the map says for an overtaking or yielding ego: the road beside its route, and where others will drive."""

from __future__ import annotations

import math

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.expert.scene import Room
from autovla_core.route.plan import RoutePlan

WAY_M = 120  # how far the way of another is followed
STRAIGHT_M = 12.0  # after so much the lanes of a junction have parted
SHOULDER_M = 0.5  # of a shoulder this much may be used
_FIELDS = ("own_left", "own_right", "same_left", "same_right", "all_left")


def room_of(carla_map: carla.Map, plan: RoutePlan) -> Room:
    """The room beside every point of a route."""
    rows = [_beside(carla_map, point, yaw) for point, yaw in zip(plan.points, plan.yaw)]
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate(_FIELDS)}
    return Room(plan.s, **columns, junction=np.array([row[-1] for row in rows], bool))


def way_of(carla_map: carla.Map, pose: np.ndarray) -> np.ndarray:
    """Points (M, 2) 1 m apart, world, that somebody at a pose (3,) drives through who keeps his distance to the lane.

    At a junction the straightest lane is taken.
    """
    at = carla_map.get_waypoint(carla.Location(float(pose[0]), float(-pose[1]), 0.0))
    centre, right = at.transform.location, at.transform.get_right_vector()
    aside = (pose[0] - centre.x) * right.x + (-pose[1] - centre.y) * right.y
    points = []
    for lane in (at, *walk(at, WAY_M - 1, forward=True)):
        here, right = lane.transform.location, lane.transform.get_right_vector()
        points.append((here.x + aside * right.x, -(here.y + aside * right.y)))
    return np.array(points) if len(points) > 1 else np.array([points[0], points[0] + np.array([1e-3, 0.0])])


def walk(waypoint: carla.Waypoint, distance_m: float, forward: bool) -> list[carla.Waypoint]:
    """The waypoints after (or before) one, 1 m apart, by the straightest way."""
    found: list[carla.Waypoint] = []
    at = waypoint
    for _ in range(int(distance_m)):
        following = at.next(1.0) if forward else at.previous(1.0)
        if not following:
            break
        at = following[0] if len(following) == 1 else min(following, key=lambda w: _turn(at, w, forward))
        found.append(at)
    return found


def _turn(at: carla.Waypoint, to: carla.Waypoint, forward: bool) -> float:
    """Degrees by which a way on through ``to`` turns, judged where the lanes of a junction have parted."""
    far = to.next(STRAIGHT_M) if forward else to.previous(STRAIGHT_M)
    turned = (far[0] if far else to).transform.rotation.yaw - at.transform.rotation.yaw
    return abs((turned + 180.0) % 360.0 - 180.0)


def _beside(carla_map: carla.Map, point: np.ndarray, yaw: float) -> tuple[float, ...]:
    at = carla_map.get_waypoint(carla.Location(float(point[0]), float(-point[1]), 0.0))
    centre, half = at.transform.location, at.lane_width / 2
    left_of_centre = -(point[0] - centre.x) * math.sin(yaw) + (point[1] + centre.y) * math.cos(yaw)
    own_left, own_right = half - left_of_centre, half + left_of_centre
    more_left, oncoming = _lanes(at, left=True)
    more_right, _ = _lanes(at, left=False)
    shoulder = 0.0 if more_right else _shoulder(at)
    same_left = own_left + more_left
    return own_left, own_right + shoulder, same_left, own_right + more_right, same_left + oncoming, at.is_junction


def _lanes(at: carla.Waypoint, left: bool) -> tuple[float, float]:
    """Widths (m) of the driving lanes of the same direction on one side, and of the first oncoming one behind them."""
    same, lane = 0.0, at.get_left_lane() if left else at.get_right_lane()
    while lane is not None and lane.lane_type == carla.LaneType.Driving:
        if lane.lane_id * at.lane_id < 0:
            return same, lane.lane_width
        same += lane.lane_width
        lane = lane.get_left_lane() if left else lane.get_right_lane()
    return same, 0.0


def _shoulder(at: carla.Waypoint) -> float:
    lane = at.get_right_lane()
    if lane is None or lane.lane_type not in (carla.LaneType.Shoulder, carla.LaneType.Parking):
        return 0.0
    return min(lane.lane_width, SHOULDER_M)
