"""The ego's route as a road along which scenarios are laid out: places by metres along it and to its left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autovla_core import frames, geometry
from autovla_core.carla_bridge.room import walk
from autovla_core.carla_bridge.wheel import carla
from autovla_core.route.progress import project

_BACK_M, _AHEAD_M = 3.0, 10.0  # of the ego's last place, where it is looked for
_ON_TRIGGER_M, _ON_TRIGGER_RAD = 2.0, math.radians(10.0)  # the leaderboard's tolerances for a trigger point


@dataclass(frozen=True)
class Spot:
    """A pose on the ground, world frame: right-handed metres and radians."""

    x: float
    y: float
    z: float
    yaw: float

    def moved(self, ahead: float = 0.0, left: float = 0.0, turned: float = 0.0) -> Spot:
        """The spot so many metres ahead and to the left of this one, turned counter-clockwise."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, y = self.x + ahead * cos - left * sin, self.y + ahead * sin + left * cos
        return Spot(x, y, self.z, self.yaw + turned)

    def carla_transform(self, raised_m: float = 0.0) -> carla.Transform:
        """For CARLA, ``raised_m`` above the ground."""
        location = carla.Location(self.x, -self.y, self.z + raised_m)
        return carla.Transform(location, carla.Rotation(yaw=frames.yaw_to_carla_deg(self.yaw)))


def spot_of(transform: carla.Transform) -> Spot:
    """A CARLA transform in our world frame."""
    at = transform.location
    return Spot(at.x, -at.y, at.z, frames.yaw_from_carla(transform.rotation.yaw))


@dataclass(frozen=True)
class Span:
    """A junction on the route, metres along it."""

    begin: float
    end: float


class RouteRoad:
    """A dense route (transforms about 1 m apart, CARLA's) and its map."""

    def __init__(self, carla_map: carla.Map, dense: Sequence[carla.Transform]) -> None:
        self.map = carla_map
        self._carla = list(dense)
        spots = [spot_of(transform) for transform in dense]
        self.points = np.array([(spot.x, spot.y) for spot in spots])  # (N, 2) world
        self.s = geometry.arc_length(self.points)  # (N,)
        self._z = np.array([spot.z for spot in spots])
        self._yaw = np.unwrap([spot.yaw for spot in spots])

    @property
    def length(self) -> float:
        """Metres."""
        return float(self.s[-1])

    def spot(self, s: float, left: float = 0.0, turned: float = 0.0) -> Spot:
        """The place at ``s``, to its left, turned; straight on beyond either end."""
        inside = min(max(s, 0.0), self.length)
        x, y, z, yaw = (float(np.interp(inside, self.s, v)) for v in (*self.points.T, self._z, self._yaw))
        return Spot(x, y, z, yaw).moved(s - inside, left, turned)

    def place(self, position: np.ndarray, near_s: float) -> float:
        """Metres along the route of a position (2 or 3,), looked for near ``near_s``."""
        first = max(int(np.searchsorted(self.s, near_s - _BACK_M)) - 1, 0)
        last = max(int(np.searchsorted(self.s, near_s + _AHEAD_M)) + 1, first + 2)
        first = min(first, len(self.s) - 2)
        return project(self.points[first:last], self.s[first:last], np.asarray(position))[0]

    def trigger_s(self, carla_trigger: Sequence[float]) -> float | None:
        """Where a trigger (x, y, z m, yaw deg; CARLA's) lies on the route; None when it does not."""
        x, y, yaw = frames.pose_from_carla(carla_trigger[0], carla_trigger[1], carla_trigger[3])
        away = np.hypot(*(self.points - (x, y)).T)
        turned = np.abs(geometry.wrap_angle(self._yaw - yaw))
        fits = np.flatnonzero((away < _ON_TRIGGER_M) & (turned < _ON_TRIGGER_RAD))
        return float(self.s[fits[np.argmin(away[fits])]]) if len(fits) else None

    def waypoint(self, s: float) -> carla.Waypoint:
        """The driving lane at ``s``."""
        return self.map.get_waypoint(self._carla[self._index(s)].location)

    def lane_width(self, s: float) -> float:
        """Metres."""
        return float(self.waypoint(s).lane_width)

    @cached_property
    def junctions(self) -> tuple[Span, ...]:
        """The junctions on the route, in order."""
        inside = [self.map.get_waypoint(transform.location).is_junction for transform in self._carla]
        edges = np.flatnonzero(np.diff([False, *inside, False]))
        last = len(self.s) - 1
        return tuple(Span(float(self.s[a]), float(self.s[min(b, last)])) for a, b in zip(edges[::2], edges[1::2]))

    def junction_after(self, s: float) -> Span | None:
        """The first junction that begins at ``s`` or later."""
        return next((span for span in self.junctions if span.begin >= s), None)

    def slice(self, begin: float, end: float, left: float = 0.0) -> np.ndarray:
        """Points (M, 2) every metre from ``begin`` to ``end``, ``left`` metres beside the route."""
        spots = [self.spot(s, left) for s in np.arange(begin, end + 1e-6, 1.0)]
        return np.array([(spot.x, spot.y) for spot in spots])

    def _index(self, s: float) -> int:
        return int(np.argmin(np.abs(self.s - s)))


@dataclass(frozen=True)
class Line:
    """A way for others: points (N, 2) of the world about 1 m apart, and the pose at their beginning."""

    points: np.ndarray
    start: Spot


def line_of(waypoints: Sequence[carla.Waypoint]) -> Line:
    """The line through waypoints."""
    return Line(np.array([_xy(w) for w in waypoints]), spot_of(waypoints[0].transform))


def lane_line(waypoint: carla.Waypoint, back_m: float, ahead_m: float) -> Line:
    """A lane and its straightest continuations both ways."""
    before = walk(waypoint, back_m, forward=False)[::-1]
    return line_of([*before, waypoint, *walk(waypoint, ahead_m, forward=True)])


def has_beside(waypoint: carla.Waypoint, side: str) -> bool:
    """Whether a lane of the same direction lies to the left or right; side "" asks for none."""
    if not side:
        return True
    other = waypoint.get_left_lane() if side == "left" else waypoint.get_right_lane()
    return other is not None and other.lane_id * waypoint.lane_id > 0 and other.lane_type == carla.LaneType.Driving


def has_oncoming(waypoint: carla.Waypoint) -> bool:
    """Whether the lane to the left is an oncoming one."""
    left = waypoint.get_left_lane()
    return left is not None and left.lane_id * waypoint.lane_id < 0 and left.lane_type == carla.LaneType.Driving


def _xy(waypoint: carla.Waypoint) -> tuple[float, float]:
    return waypoint.transform.location.x, -waypoint.transform.location.y
