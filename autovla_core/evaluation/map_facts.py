"""The judge's questions to a CARLA map and to its signals, answered in our world frame."""

from __future__ import annotations

import numpy as np

from autovla_core import frames
from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.facts import LaneFact, LightFact, SignFact, StopLine


class CarlaLanes:
    """Answers ``criteria.Lanes`` from a ``carla.Map``; works without a server."""

    def __init__(self, carla_map: carla.Map) -> None:
        self._map = carla_map

    def nearest(self, position: np.ndarray) -> LaneFact:
        """The driving or parking lane whose centre is nearest to ``position`` (3,); a tie goes to parking."""
        driving = self.driving(position)
        waypoint = self._map.get_waypoint(carla_location(position), lane_type=carla.LaneType.Parking)
        if waypoint is None:
            return driving
        parking = _lane_fact(waypoint, position)
        return parking if parking.distance <= driving.distance else driving

    def driving(self, position: np.ndarray) -> LaneFact:
        """The driving lane whose centre is nearest to ``position`` (3,)."""
        return _lane_fact(self._map.get_waypoint(carla_location(position)), position)

    def ahead(self, position: np.ndarray, count: int, step: float) -> np.ndarray:
        """Centre points (n, 2) of the lane at ``position`` and onwards, every ``step`` metres."""
        waypoint = self._map.get_waypoint(carla_location(position))
        points = [_xy(waypoint.transform.location)]
        for _ in range(count):
            following = waypoint.next(step)
            if not following:
                break
            waypoint = following[0]
            points.append(_xy(waypoint.transform.location))
        return np.array(points)


def light_fact(light: carla.TrafficLight, carla_map: carla.Map) -> LightFact:
    """Find the stop lines of a light: the lanes under its trigger volume, followed to the junction's edge."""
    transform, volume = light.get_transform(), light.trigger_volume
    center = transform.transform(volume.location)
    across = transform.get_forward_vector()
    lanes: dict[tuple[int, int], carla.Waypoint] = {}
    for offset in np.arange(-0.9 * volume.extent.x, 0.9 * volume.extent.x, 1.0):
        at = carla.Location(center.x + offset * across.x, center.y + offset * across.y, center.z)
        waypoint = carla_map.get_waypoint(at)
        lanes.setdefault((waypoint.road_id, waypoint.lane_id), waypoint)
    lines = tuple(_stop_line(_junction_edge(waypoint)) for waypoint in lanes.values())
    return LightFact(light.id, _xy(center), lines)


def sign_fact(sign: carla.Actor) -> SignFact:
    """The trigger volume of a stop sign."""
    transform, volume = sign.get_transform(), sign.trigger_volume
    center = transform.transform(volume.location)
    yaw = frames.yaw_from_carla(transform.rotation.yaw)
    return SignFact(sign.id, np.array([*_xy(center), yaw]), np.array([volume.extent.x, volume.extent.y]))


def carla_location(position: np.ndarray) -> carla.Location:
    """A world position (3,) for CARLA."""
    return carla.Location(float(position[0]), float(-position[1]), float(position[2]))


def position_of(location: carla.Location) -> np.ndarray:
    """A CARLA location as a world position (3,)."""
    return np.array([location.x, -location.y, location.z])


def _junction_edge(waypoint: carla.Waypoint) -> carla.Waypoint:
    for _ in range(200):
        following = waypoint.next(0.5)
        if waypoint.is_junction or not following or following[0].is_junction:
            break
        waypoint = following[0]
    return waypoint


def _stop_line(waypoint: carla.Waypoint) -> StopLine:
    yaw = frames.yaw_from_carla(waypoint.transform.rotation.yaw)
    center = _xy(waypoint.transform.location)
    return StopLine(center, yaw, waypoint.lane_width / 2, waypoint.road_id, waypoint.lane_id)


def _lane_fact(waypoint: carla.Waypoint, position: np.ndarray) -> LaneFact:
    transform = waypoint.transform
    return LaneFact(
        float(np.linalg.norm(position_of(transform.location) - position)),
        waypoint.lane_width / 2,
        waypoint.road_id,
        waypoint.lane_id,
        frames.yaw_from_carla(transform.rotation.yaw),
        waypoint.is_junction,
    )


def _xy(location: carla.Location) -> np.ndarray:
    return np.array([location.x, -location.y])
