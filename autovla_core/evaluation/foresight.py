"""A future of some seconds, judged by the leaderboard's criteria: plain values, no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.evaluation.facts import Lanes, LightFact, Moment, SignFact
from autovla_core.evaluation.judge import Judge
from autovla_core.evaluation.route_track import RouteTrack

FASTEST = 35.0  # m/s: how much of the route a future may need
SPARE_M = 30.0
STILL_M = 3.0  # an expert who goes less far stands
OVERSHOOT_M = 10.0  # beyond that a future which should stand earns nothing
WINDOW_S = 0.25
MOST_PULL, MOST_SIDE_PULL = 4.5, 4.9  # m/s2, comfortable: lengthwise, sideways
COLLISIONS = ("collisions_layout", "collisions_pedestrian", "collisions_vehicle")
KINDS = {  # a term that is 0 where one of these was held against the driver
    "collision_free": COLLISIONS,
    "lights_kept": ("red_light",),
    "stops_kept": ("stop_infraction",),
    "on_route": ("route_dev",),
}


@dataclass(frozen=True)
class Future:
    """What happened."""

    moments: tuple[Moment, ...]  # the first is now
    distance: float  # m along the route
    beside: float  # share of it beside the lanes or against their direction, 0 to 1
    infractions: frozenset[str]  # kinds
    tick_s: float


@dataclass(frozen=True)
class Ahead:
    """What futures are judged by."""

    lanes: Lanes
    lights: Sequence[LightFact]
    signs: Sequence[SignFact]
    half_length: float  # m, of the ego

    def judge(self, track: RouteTrack, moments: tuple[Moment, ...]) -> Future:
        """Show a fresh judge every moment."""
        judge = Judge(track, self.lanes, self.lights, self.signs, self.half_length)
        for moment in moments:
            judge.update(moment)
        found = judge.infractions
        beside = max([i.percentage for i in found if i.kind == "outside_route_lanes"], default=0.0) / 100.0
        tick_s = moments[1].time_s - moments[0].time_s
        distance = covered(track, judge.completion.distance, moments)
        return Future(moments, distance, beside, frozenset(i.kind for i in found), tick_s)


def along(track: RouteTrack, progress: float, seconds: float) -> RouteTrack:
    """The piece of a route that a future from ``progress`` (m) on may reach; at least its last two points."""
    first = min(int(np.searchsorted(track.s, progress, side="right")) - 1, len(track.points) - 2)
    stop = int(np.searchsorted(track.s, progress + FASTEST * seconds + SPARE_M)) + 2
    return RouteTrack(track.points[first:stop], track.yaws[first:stop])


def covered(track: RouteTrack, passed: float, moments: Sequence[Moment]) -> float:
    """Metres between the first and the last moment: whole points by the criterion, the rest by projection."""
    index = int(np.searchsorted(track.s, passed, side="right")) - 1
    return passed + _beyond(track, index, moments[-1]) - _beyond(track, 0, moments[0])


def terms(future: Future, expert: Future) -> dict[str, float]:
    """Each between 0 and 1. ``driven`` is the product of all but comfort: a collision, a red light or a stop sign that
    was run earn nothing, nor does who stands where the expert drove."""
    found = {name: float(future.infractions.isdisjoint(kinds)) for name, kinds in KINDS.items()}
    found["on_lanes"] = 1.0 - min(future.beside, 1.0)
    found["along"] = _along(future.distance, expert.distance)
    found["driven"] = float(np.prod(list(found.values())))
    found["comfort"] = comfort(future)
    return found


def comfort(future: Future) -> float:
    """Share of the time without a hard pull, lengthwise or sideways, over ``WINDOW_S``."""
    speeds = np.array([moment.speed for moment in future.moments])
    yaws = np.unwrap([moment.yaw for moment in future.moments])
    lag = min(max(1, round(WINDOW_S / future.tick_s)), len(speeds) - 1)
    pull = (speeds[lag:] - speeds[:-lag]) / (lag * future.tick_s)
    side = 0.5 * (speeds[lag:] + speeds[:-lag]) * (yaws[lag:] - yaws[:-lag]) / (lag * future.tick_s)
    return float(((np.abs(pull) <= MOST_PULL) & (np.abs(side) <= MOST_SIDE_PULL)).mean())


def _along(own: float, expert: float) -> float:
    if expert < STILL_M:
        return float(np.clip(1.0 - (own - STILL_M) / OVERSHOOT_M, 0.0, 1.0))
    return float(np.clip(own / expert, 0.0, 1.0))


def _beyond(track: RouteTrack, index: int, moment: Moment) -> float:
    """Metres of a moment ahead of a point of the route, at most as far as the next one."""
    yaw = track.yaws[index]
    ahead = (moment.position[:2] - track.points[index, :2]) @ np.array([np.cos(yaw), np.sin(yaw)])
    step = track.s[index + 1] - track.s[index] if index + 1 < len(track.points) else np.inf
    return float(np.clip(ahead, 0.0, step))
