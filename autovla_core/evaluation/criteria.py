"""What ends a route and what is held against the driver: the leaderboard's criteria on plain values.

Each criterion reads one ``Moment`` a tick. Positions are right-handed world metres (``frames.py``).

Source: the constants of scenario_runner's ``atomic_criteria.py`` as CARLA's leaderboard 2 and
Bench2Drive use them (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autovla_core import geometry
from autovla_core.evaluation.facts import Contact, LaneFact, Lanes, LightFact, Moment, SignFact, StopLine
from autovla_core.evaluation.route_track import RouteTrack
from autovla_core.scoring.closed_loop import Infraction

STOPPED_SPEED = 0.1  # m/s


@dataclass(frozen=True)
class CriteriaConfig:
    """What the benchmarks disagree about; the defaults are Bench2Drive's."""

    blocked_s: float = 60.0  # leaderboard: 180
    off_route_m: float = 30.0
    off_route_share: float = 0.30
    max_ticks: int = 4000  # leaderboard: none, here 0


class Criterion(Protocol):
    """Something to be judged by; ``failure`` is the status that ends the route, or ""."""

    failure: str
    infractions: list[Infraction]

    def update(self, moment: Moment) -> None:
        """Look at one tick."""
        ...


class RouteCompletion:
    """How far along the route the ego got, in percent; skipping more than two points freezes it."""

    WINDOW = 2
    DONE_PERCENT, DONE_DISTANCE_M = 99.0, 10.0

    def __init__(self, track: RouteTrack) -> None:
        self._track = track
        self._index = 0
        self.percent = 0.0
        self.done = False
        self.failure = ""
        self.infractions: list[Infraction] = []

    @property
    def distance(self) -> float:
        """Metres along the route."""
        return float(self._track.s[self._index])

    def update(self, moment: Moment) -> None:
        self._index = self._track.last_passed(moment.position, self._index, self.WINDOW)
        if self.done:
            return
        self.percent = round(100.0 * self.distance / self._track.length, 2)
        left = np.linalg.norm(moment.position - self._track.points[-1])
        if self.percent > self.DONE_PERCENT and left < self.DONE_DISTANCE_M:
            self.percent, self.done = 100.0, True


class InRoute:
    """Ends the route 30 m away from it, or when too much of it was driven more than 15 m away."""

    WINDOW = 5

    def __init__(self, track: RouteTrack, config: CriteriaConfig) -> None:
        self._track, self._config = track, config
        self._index, self._far_m = 0, 0.0
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        window = self._track.points[self._index : self._index + self.WINDOW + 1, :2]
        distances = np.linalg.norm(window - moment.position[:2], axis=1)
        nearest = int(np.argmin(distances))
        advanced = self._track.s[self._index + nearest] - self._track.s[self._index]
        self._index += nearest
        if distances[nearest] >= self._config.off_route_m / 2:
            self._far_m += advanced
        lost = distances[nearest] >= self._config.off_route_m
        if (lost or self._far_m > self._config.off_route_share * self._track.length) and not self.failure:
            self.failure = "Failed - Agent deviated from the route"
            message = f"Agent deviated from the route at {place(moment.position)}"
            self.infractions.append(Infraction("route_dev", message))


class Collision:
    """Counts what was hit; one crash that goes on counts once."""

    SAME_ACTOR_S, SAME_PLACE_M = 5.0, 5.0

    def __init__(self) -> None:
        self._last: Contact | None = None
        self._place: np.ndarray | None = None
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        if self._place is not None and np.linalg.norm(moment.position - self._place) > self.SAME_PLACE_M:
            self._place = None
        for contact in moment.contacts:
            self._contact(contact, moment)

    def _contact(self, contact: Contact, moment: Moment) -> None:
        last = self._last
        if last and last.other_id == contact.other_id and contact.time_s - last.time_s < self.SAME_ACTOR_S:
            return
        if self._place is not None or moment.speed < STOPPED_SPEED:
            return
        self._place = moment.position
        if contact.other_id:
            self._last = contact
        kind = _collision_kind(contact.type_id)
        if kind:
            what = f"type={contact.type_id} and id={contact.other_id}"
            message = f"Agent collided against object with {what} at {place(moment.position)}"
            self.infractions.append(Infraction(kind, message))


class OutsideRouteLanes:
    """Metres of the route that were driven beside the lanes or against their direction."""

    WINDOW, TOLERANCE_M = 3, 0.5
    WRONG_AFTER_JUNCTION, WRONG_TURN = np.radians(120.0), np.radians(150.0)

    def __init__(self, track: RouteTrack, lanes: Lanes) -> None:
        self._track, self._lanes = track, lanes
        self._index = 0
        self._total_m = self._wrong_m = 0.0
        self._last: LaneFact | None = None
        self._wrong_lane = False
        self.oncoming_allowed = False  # while a scenario leaves no other way
        self.failure = ""

    def update(self, moment: Moment) -> None:
        nearest = self._lanes.nearest(moment.position)
        outside = nearest.distance > nearest.half_width + self.TOLERANCE_M
        self._wrong_lane = self._is_wrong(self._lanes.driving(moment.position), moment.yaw)
        index = self._track.last_passed(moment.position, self._index, self.WINDOW)
        advanced = float(self._track.s[index] - self._track.s[self._index])
        self._index = index
        self._total_m += advanced
        if outside or (self._wrong_lane and not self.oncoming_allowed):
            self._wrong_m += advanced

    @property
    def infractions(self) -> list[Infraction]:
        if self._wrong_m <= 0.0:
            return []
        share = round(100.0 * self._wrong_m / self._total_m, 2)
        message = (
            f"Agent went outside its route lanes for about {self._wrong_m:.3f} meters ({share}% of the completed route)"
        )
        return [Infraction("outside_route_lanes", message, share)]

    def _is_wrong(self, lane: LaneFact, yaw: float) -> bool:
        last, self._last = self._last, lane
        if lane.in_junction:
            return False
        if last is None or (last.road_id, last.lane_id) == (lane.road_id, lane.lane_id):
            return self._wrong_lane
        if last.in_junction:
            return bool(_angle(yaw, lane.yaw) >= self.WRONG_AFTER_JUNCTION)
        turned = _angle(lane.yaw, last.yaw) > self.WRONG_TURN
        return self._wrong_lane != bool(turned)


class RunningRedLight:
    """The ego's rear passes the stop line of a red light."""

    NEAR_M = 15.0

    def __init__(self, lights: Sequence[LightFact], lanes: Lanes, half_length: float) -> None:
        self._lights, self._lanes, self._half_length = {light.id: light for light in lights}, lanes, half_length
        self._ids = np.array(list(self._lights), int)
        self._centers = np.array([light.center for light in lights], float).reshape(-1, 2)
        self._last_id = -1
        self.failure = ""
        self.infractions: list[Infraction] = []

    def near(self, position: np.ndarray) -> list[int]:
        """Ids of the lights within 15 m of ``position`` (3,)."""
        return self._ids[np.linalg.norm(self._centers - position[:2], axis=1) <= self.NEAR_M].tolist()

    def update(self, moment: Moment) -> None:
        for id in self.near(moment.position):
            if id == self._last_id or id not in moment.red_lights:
                continue
            light = self._lights[id]
            if self._passes(light, moment):
                self._last_id = id
                message = f"Agent ran a red light {light.id} at {place(moment.position)}"
                self.infractions.append(Infraction("red_light", message))

    def _passes(self, light: LightFact, moment: Moment) -> bool:
        forward = np.array([np.cos(moment.yaw), np.sin(moment.yaw)])
        near = moment.position[:2] - 0.8 * self._half_length * forward
        far = moment.position[:2] - (self._half_length + 1.0) * forward
        lane = self._lanes.driving(np.append(far, moment.position[2]))
        return any(
            (line.road_id, line.lane_id) == (lane.road_id, lane.lane_id)
            and np.cos(line.yaw - moment.yaw) > 0.0
            and _crosses(near, far, *_line_ends(line))
            for line in light.stop_lines
        )


class RunningStop:
    """The ego leaves a stop sign's place without having stood still there."""

    NEAR_M, AHEAD_STEPS, STEP_M, GROWN = 4.0, 8, 0.5, 1.2
    AGAINST_LANE = -0.17

    def __init__(self, signs: Sequence[SignFact], lanes: Lanes) -> None:
        self._signs, self._lanes = signs, lanes
        self._sign: SignFact | None = None
        self._stopped = False
        self._last_id = -1
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        if self._sign is None:
            self._sign, self._stopped = self._relevant(self._signs, moment), False
        if self._sign is None:
            return
        self._stopped |= moment.speed < STOPPED_SPEED
        if self._relevant([self._sign], moment):
            return
        if not self._stopped and self._sign.id != self._last_id:
            self._last_id = self._sign.id
            message = f"Agent ran a stop with id={self._sign.id} at {place(moment.position)}"
            self.infractions.append(Infraction("stop_infraction", message))
        self._sign = None

    def _relevant(self, signs: Sequence[SignFact], moment: Moment) -> SignFact | None:
        reach = self.NEAR_M + 6.0  # the lane's centre is never farther from the ego than this
        close = [s for s in signs if np.linalg.norm(s.pose[:2] - moment.position[:2]) < reach]
        if not close or np.cos(self._lanes.driving(moment.position).yaw - moment.yaw) < self.AGAINST_LANE:
            return None
        points = self._lanes.ahead(moment.position, self.AHEAD_STEPS, self.STEP_M)
        for sign in close:
            inside = np.abs(geometry.transform_points(geometry.invert(sign.pose), points))
            near = np.linalg.norm(sign.pose[:2] - points[0]) < self.NEAR_M
            if near and (inside < self.GROWN * sign.half_extent).all(1).any():
                return sign
        return None


class ActorBlocked:
    """The ego has stood still for too long."""

    def __init__(self, config: CriteriaConfig) -> None:
        self._limit_s = config.blocked_s
        self._moved_s: float | None = None
        self.paused = False  # while a scenario with a time limit of its own runs
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        if self._moved_s is None or self.paused or moment.speed >= STOPPED_SPEED:
            self._moved_s = moment.time_s
        if moment.time_s - self._moved_s > self._limit_s and not self.failure:
            self.failure = "Failed - Agent got blocked"
            self.infractions.append(Infraction("vehicle_blocked", f"Agent got blocked at {place(moment.position)}"))


class RouteTimeout:
    """A clock that every metre driven winds up by what a tenth of the speed limit needs for it."""

    START_S, SHARE_OF_LIMIT, WINDOW = 300.0, 0.10, 3

    def __init__(self, track: RouteTrack) -> None:
        self._track, self._index, self._limit_s = track, 0, self.START_S
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        index = self._track.last_passed(moment.position, self._index, self.WINDOW)
        advanced = float(self._track.s[index] - self._track.s[self._index])
        self._index = index
        if moment.speed_limit > 0.0:
            self._limit_s += advanced / (self.SHARE_OF_LIMIT * moment.speed_limit)
        if moment.time_s > self._limit_s and not self.failure:
            self.failure = "Failed - Agent timed out"
            self.infractions.append(Infraction("route_timeout", "Route timeout."))


class TickLimit:
    """Bench2Drive's cap on the ticks of a route."""

    def __init__(self, config: CriteriaConfig) -> None:
        self._left = config.max_ticks or -1
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        self._left -= 1
        if self._left == 0:
            self.failure = "Failed - TickRuntime"


def place(position: np.ndarray) -> str:
    """A position as the leaderboard's messages have it: in CARLA's left-handed world."""
    x, y, z = (round(float(v), 3) for v in (position[0], -position[1], position[2]))
    return f"(x={x}, y={y}, z={z})"


def _collision_kind(type_id: str) -> str:
    if ("static" in type_id or "traffic" in type_id) and "sidewalk" not in type_id:
        return "collisions_layout"
    if "vehicle" in type_id:
        return "collisions_vehicle"
    return "collisions_pedestrian" if "walker" in type_id else ""


def _angle(a: float, b: float) -> float:
    return abs(float(geometry.wrap_angle(a - b)))


def _line_ends(line: StopLine) -> tuple[np.ndarray, np.ndarray]:
    across = 1.2 * line.half_width * np.array([-np.sin(line.yaw), np.cos(line.yaw)])
    return line.center - across, line.center + across


def _crosses(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether the segments ab and cd (2,) cross."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) <= 0.0 and side(c, d, a) * side(c, d, b) <= 0.0
