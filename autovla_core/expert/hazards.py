"""Who is in the way: actors on the path now, and actors whose way will cross the ego's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autovla_core import footprints, geometry
from autovla_core.contracts import Actor
from autovla_core.expert.path import SPACING_M, DrivePath
from autovla_core.expert.rollout import Rollout
from autovla_core.expert.speed import Leader, SpeedConfig, Stop

RANGE_M = 60.0
CORRIDOR_MARGIN_M = 0.3
_SAMPLE = 2  # rollout steps between forecast boxes: 0.2 s
_HORIZON_STEPS = 44
_TURN_S = 2.0
_ZONE_M = 9.0  # ahead of a car that waits to turn left: where it crosses the oncoming lane
_SHIFT = 2  # boxes overlap when the ego is there within 0.4 s of the other
_MARGIN_M = (0.8, 0.5)  # added to the ego's length and width
_GAP_M = 2.0  # m kept to a way that will be crossed
_PROTECTED_S = 1.6  # s: with the right of way, cross traffic counts only when it can hardly stop any more


@dataclass(frozen=True)
class Nearby:
    """An actor and its place along the path."""

    actor: Actor
    s: float  # m of the path point nearest to its centre
    offset: float  # m, left positive
    beyond: float  # m along the tangent past that point: large when it is not alongside the path
    turned: float  # rad, its heading against the path's
    rear_s: float | None  # m, where it begins to lie in the ego's corridor; None if it does not
    yaw_rate: float = 0.0  # rad/s


class TurnWatch:
    """Yaw rates of actors from one tick to the next; a scene carries none."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float, float]] = {}  # time, yaw, yaw rate

    def update(self, actors: Sequence[Actor], time_s: float) -> dict[int, float]:
        """Yaw rate (rad/s, counter-clockwise) by actor id; 0 for one seen for the first time."""
        seen = {}
        for actor in actors:
            before, yaw, rate = self._last.get(actor.id, (time_s, float(actor.pose[2]), 0.0))
            if time_s > before:
                now = float(geometry.wrap_angle(actor.pose[2] - yaw)) / (time_s - before)
                rate += 0.5 * (now - rate)
            seen[actor.id] = (time_s, float(actor.pose[2]), rate)
        self._last = seen
        return {id: rate for id, (_, _, rate) in seen.items()}


def nearby(
    actors: Sequence[Actor], yaw_rates: Mapping[int, float], path: DrivePath, s: float, half_corridor: float
) -> list[Nearby]:
    """Place the actors within ``RANGE_M`` along the path ahead of ``s``; ``half_corridor`` in m."""
    if not actors:
        return []
    first = max(int(s / SPACING_M) - 20, 0)
    last = min(int((s + RANGE_M) / SPACING_M) + 2, len(path.x))
    window = path.points[first:last]
    centres = np.array([a.pose[:2] for a in actors])
    squared = (centres[:, None, 0] - window[:, 0]) ** 2 + (centres[:, None, 1] - window[:, 1]) ** 2
    nearest = np.argmin(squared, axis=1)
    distance = np.sqrt(squared[np.arange(len(actors)), nearest])
    out = []
    for actor, index, gap in zip(actors, nearest, distance):
        if gap < RANGE_M:
            placed = _placed(actor, path, window, first, int(index), float(gap), half_corridor)
            out.append(replace(placed, yaw_rate=yaw_rates.get(actor.id, 0.0)))
    return out


def _placed(
    actor: Actor, path: DrivePath, window: np.ndarray, first: int, index: int, gap: float, half_corridor: float
) -> Nearby:
    at = first + index
    yaw = path.yaw[at]
    dx, dy = actor.pose[0] - path.x[at], actor.pose[1] - path.y[at]
    beyond, offset = dx * math.cos(yaw) + dy * math.sin(yaw), -dx * math.sin(yaw) + dy * math.cos(yaw)
    rear = None
    if gap < 0.5 * math.hypot(actor.length, actor.width) + half_corridor + SPACING_M:
        rear = _rear_in_corridor(actor, path, window, first, half_corridor)
    turned = float(geometry.wrap_angle(actor.pose[2] - yaw))
    return Nearby(actor, at * SPACING_M + beyond, offset, beyond, turned, rear)


def _rear_in_corridor(
    actor: Actor, path: DrivePath, window: np.ndarray, first: int, half_corridor: float
) -> float | None:
    along = np.linspace(-0.5, 0.5, max(3, int(actor.length) + 1)) * actor.length
    across = np.linspace(-0.5, 0.5, 3) * actor.width
    grid = np.stack(np.meshgrid(along, across), axis=-1).reshape(-1, 2)
    points = geometry.transform_points(actor.pose, grid)
    squared = (points[:, None, 0] - window[:, 0]) ** 2 + (points[:, None, 1] - window[:, 1]) ** 2
    nearest = np.argmin(squared, axis=1)
    yaw = np.array(path.yaw[first : first + len(window)])[nearest]
    delta = points - window[nearest]
    beyond = delta[:, 0] * np.cos(yaw) + delta[:, 1] * np.sin(yaw)
    offset = -delta[:, 0] * np.sin(yaw) + delta[:, 1] * np.cos(yaw)
    inside = (np.abs(offset) < half_corridor) & (np.abs(beyond) < SPACING_M)
    if not inside.any():
        return None
    return float(((first + nearest) * SPACING_M + beyond)[inside].min())


def leaders(near: Sequence[Nearby], s: float) -> list[Leader]:
    """Actors in the corridor ahead of the ego's centre at ``s``."""
    return [
        Leader(n.rear_s, n.actor.speed * math.cos(n.turned), n.actor.id)
        for n in near
        if n.rear_s is not None and n.s > s and n.rear_s > s
    ]


def conflicts(
    near: Sequence[Nearby],
    rollout: Rollout,
    half_length: float,
    width: float,
    approach: float | None,
    config: SpeedConfig,
) -> list[Stop]:
    """Stops before the ways of moving actors that the rollout would meet.

    Args:
        near: the actors placed along the path.
        rollout: the ego's intended drive without these stops.
        half_length: m, the ego's; ``width`` likewise.
        approach: rad, the ego's heading at the line of a junction that it crosses on green, where cross
            traffic has to wait; None where nobody has to.
    """
    crossing = [n for n in near if _may_cross(n, rollout, half_length)]
    if not crossing:
        return []
    index = np.arange(0, _HORIZON_STEPS + 1, _SAMPLE)
    ego = footprints.corners(rollout.poses[index], 2 * half_length + _MARGIN_M[0], width + _MARGIN_M[1])
    stops = []
    for n in crossing:
        other = _forecast(n.actor, n.yaw_rate, index * 0.1)
        hits = footprints.overlap(ego[:, None], other[None])
        stop = _yield(n, hits, rollout, index, half_length, approach, config)
        if stop is not None:
            stops.append(stop)
    return stops


def gaps(near: Sequence[Nearby], path: DrivePath, rollout: Rollout, half_length: float) -> list[Stop]:
    """Reasons not to start a left turn yet: somebody heads for the place that the ego would cross too soon.

    Forecasts keep a heading, and an oncoming car on a bending road would be seen too late by them.
    """
    s = float(rollout.s[0])
    here, there = path.at(s)[0], path.at(s + _ZONE_M + 6.0)[0]
    if rollout.speed[0] > 1.0 or path.yaw[there] - path.yaw[here] < 0.5:
        return []
    zone = path.points[path.at(s + _ZONE_M)[0]]
    through = np.flatnonzero(rollout.s > s + _ZONE_M + half_length)
    clear_s = (0.1 * through[0] if len(through) else 5.0) + 1.0
    return [
        Stop(s + half_length, n.actor.id, "conflict")
        for n in near
        if n.rear_s is None and _heads_for(n.actor, zone, rollout.poses[0, 2], clear_s)
    ]


def _heads_for(actor: Actor, zone: np.ndarray, ego_yaw: float, within_s: float) -> bool:
    if actor.speed < 2.0 or abs(geometry.wrap_angle(actor.pose[2] - ego_yaw)) < 1.0:
        return False
    dx, dy = zone - actor.pose[:2]
    bearing = abs(geometry.wrap_angle(math.atan2(dy, dx) - actor.pose[2]))
    return bearing < 0.6 and math.hypot(dx, dy) / actor.speed < within_s


def _may_cross(n: Nearby, rollout: Rollout, half_length: float) -> bool:
    if abs(n.actor.speed) < 0.5 or n.rear_s is not None:
        return False
    aligned = abs(n.turned) < 0.45 or abs(n.turned) > math.pi - 0.45
    if aligned and abs(n.beyond) < 1.5 and 1.8 < abs(n.offset) < 8.0:
        return False  # keeps to a lane beside the ego's
    x, y = geometry.transform_points(geometry.invert(rollout.poses[0]), n.actor.pose[:2])
    turned = abs(geometry.wrap_angle(n.actor.pose[2] - rollout.poses[0, 2]))
    if x < -half_length and turned < 0.9:
        return False  # comes from behind
    return math.hypot(x, y) < 50.0


def _forecast(actor: Actor, yaw_rate: float, times: np.ndarray) -> np.ndarray:
    """Boxes (T, 4, 2) of an actor that keeps its speed and turns on for ``_TURN_S`` at most."""
    yaw = actor.pose[2] + yaw_rate * np.minimum(times, _TURN_S)
    steps = np.diff(times, prepend=times[0]) * actor.speed
    poses = np.stack(
        [
            actor.pose[0] + np.cumsum(steps * np.cos(yaw)),
            actor.pose[1] + np.cumsum(steps * np.sin(yaw)),
            yaw,
        ],
        axis=-1,
    )
    return footprints.corners(poses, max(actor.length, 1.0), max(actor.width, 1.0))


def _yield(
    n: Nearby,
    hits: np.ndarray,
    rollout: Rollout,
    index: np.ndarray,
    half_length: float,
    approach: float | None,
    config: SpeedConfig,
) -> Stop | None:
    """Read the overlaps (ego time, other's time) into a stop, or None when the ways do not meet in time."""
    ego_at, other_at = np.nonzero(hits)
    together = np.abs(ego_at - other_at) <= _SHIFT
    if not together.any():
        return None
    arrival = float(index[other_at[together].min()] * 0.1)
    if approach is not None and arrival > _PROTECTED_S:
        turned = abs(geometry.wrap_angle(n.actor.pose[2] - approach))
        if math.pi / 4 < turned < 3 * math.pi / 4:
            return None
    entry = int(ego_at.min())
    speed = float(rollout.speed[0])
    if entry == 0:
        # The ego stands in the other's way already: leaving it is better than stopping in it.
        return Stop(float(rollout.s[0]) + half_length, n.actor.id, "conflict") if speed < 1.0 else None
    front = float(rollout.s[index[entry - 1]]) + half_length - _GAP_M
    room = front - float(rollout.s[0]) - half_length
    if room < speed * speed / (2.0 * config.hardest_braking) and index[entry] * 0.1 < arrival:
        return None  # too late to stop, early enough to be through first
    return Stop(max(front, float(rollout.s[0]) + half_length), n.actor.id, "conflict")
