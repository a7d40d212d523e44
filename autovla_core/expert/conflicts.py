"""Whose way will cross the ego's: where to stop for them, and when to go."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from autovla_core import footprints, geometry
from autovla_core.contracts import Actor
from autovla_core.expert.hazards import Nearby
from autovla_core.expert.path import DrivePath
from autovla_core.expert.rollout import Rollout
from autovla_core.expert.speed import SpeedConfig, Stop

_SAMPLE = 2  # rollout steps between forecast boxes: 0.2 s
_HORIZON_STEPS = 44
_TURN_S = 2.0
_ZONE_M = 9.0  # ahead of a car that waits to turn left: where it crosses the oncoming lane
_PROTECTED_S = 1.6  # s: with the right of way, cross traffic counts only when it can hardly stop any more


@dataclass(frozen=True)
class Caution:
    """How much room a crossing way gets."""

    shift: int = 2  # boxes overlap when the ego is there within so many fifths of a second of the other
    margin_m: tuple[float, float] = (0.8, 0.5)  # added to the ego's length and width
    gap_m: float = 2.0  # kept to a way that will be crossed
    presses: bool = False  # trusts those who obey rules to stop as long as they can


CAREFUL = Caution()
# Cars of a stream that waits for nobody, on known ways: less room, because more is never to be had, but more time,
# because the ego is slower off the mark than its plan. Once it has set off less is asked for, so that it does not stop
# midway.
STARTING, UNDER_WAY = Caution(3, (0.5, 0.3), 1.2), Caution(1, (0.4, 0.2), 1.2)
# Who has waited so many s for a stream takes a shorter gap, and does not wait for all who come from elsewhere as well.
LOSING_PATIENCE = (
    (20.0, Caution(2, (0.4, 0.2), 1.2, presses=True)),
    (40.0, replace(UNDER_WAY, presses=True)),
)
MOVING = 0.5  # m/s


def caution_of(set_off: bool, waited_s: float) -> Caution:
    """The room that streams get from an ego that drives into a gap now, or has waited so long for one."""
    if set_off:
        return UNDER_WAY
    return next((caution for least_s, caution in reversed(LOSING_PATIENCE) if waited_s > least_s), STARTING)


def conflicts(
    near: Sequence[Nearby],
    rollout: Rollout,
    half_length: float,
    width: float,
    approach: float | None,
    config: SpeedConfig,
    lawless: Container[int] = frozenset(),
    ways: Mapping[int, np.ndarray] = MappingProxyType({}),
    bold: Caution = STARTING,
) -> list[Stop]:
    """Stops before the ways of moving actors that the rollout would meet.

    Args:
        near: the actors placed along the path.
        rollout: the ego's intended drive without these stops.
        half_length: m, the ego's; ``width`` likewise.
        approach: rad, the ego's heading at the line of a junction that it crosses on green, where cross
            traffic has to wait; None where nobody has to.
        lawless: ids of actors that wait for nobody.
        ways: (M, 2) by id: where an actor is known to drive; others keep their heading.
        bold: the room that those with known ways get, and whether it presses the others.
    """
    crossing = [n for n in near if _may_cross(n, rollout, half_length, n.actor.id in ways)]
    if not crossing:
        return []
    index = np.arange(0, _HORIZON_STEPS + 1, _SAMPLE)
    stops = []
    for n in crossing:
        way = ways.get(n.actor.id)
        caution = CAREFUL if way is None else bold
        other = _forecast(n.actor, n.yaw_rate, index * 0.1) if way is None else _along(n.actor, way, index * 0.1)
        size = 2 * half_length + caution.margin_m[0], width + caution.margin_m[1]
        hits = footprints.overlap(footprints.corners(rollout.poses[index], *size)[:, None], other[None])
        protected = None if n.actor.id in lawless else approach
        presses = bold.presses and n.actor.id not in lawless
        stop = _yield(n, hits, rollout, index, half_length, protected, config, replace(caution, presses=presses))
        if stop is not None:
            stops.append(stop)
    return stops


def gaps(
    near: Sequence[Nearby], path: DrivePath, rollout: Rollout, half_length: float, known: Container[int] = frozenset()
) -> list[Stop]:
    """Reasons not to start a left turn yet: somebody heads for the place that the ego would cross too soon.

    Forecasts keep a heading, and an oncoming car on a bending road would be seen too late by them. Those whose way is
    ``known`` are left to ``conflicts``.
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
        if n.rear_s is None and n.actor.id not in known and _heads_for(n.actor, zone, rollout.poses[0, 2], clear_s)
    ]


def _heads_for(actor: Actor, zone: np.ndarray, ego_yaw: float, within_s: float) -> bool:
    if actor.speed < 2.0 or abs(geometry.wrap_angle(actor.pose[2] - ego_yaw)) < 1.0:
        return False
    dx, dy = zone - actor.pose[:2]
    bearing = abs(geometry.wrap_angle(math.atan2(dy, dx) - actor.pose[2]))
    return bearing < 0.6 and math.hypot(dx, dy) / actor.speed < within_s


def _may_cross(n: Nearby, rollout: Rollout, half_length: float, known: bool) -> bool:
    if abs(n.actor.speed) < 0.5 or n.rear_s is not None:
        return False
    aligned = abs(n.turned) < 0.45 or abs(n.turned) > math.pi - 0.45
    if not known and aligned and abs(n.beyond) < 1.5 and 1.8 < abs(n.offset) < 8.0:
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


def _along(actor: Actor, way: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Boxes (T, 4, 2) of an actor that keeps its speed along a known way; straight on beyond its end."""
    s = geometry.arc_length(way)
    at = s[int(np.argmin(np.hypot(*(way - actor.pose[:2]).T)))] + times * actor.speed
    yaw = np.unwrap(np.arctan2(*np.gradient(way, axis=0).T[::-1]))
    x, y, heading = (np.interp(at, s, v) for v in (way[:, 0], way[:, 1], yaw))
    over = np.maximum(at - s[-1], 0.0)
    poses = np.stack([x + over * np.cos(yaw[-1]), y + over * np.sin(yaw[-1]), heading], axis=-1)
    return footprints.corners(poses, max(actor.length, 1.0), max(actor.width, 1.0))


def _yield(
    n: Nearby,
    hits: np.ndarray,
    rollout: Rollout,
    index: np.ndarray,
    half_length: float,
    approach: float | None,
    config: SpeedConfig,
    caution: Caution,
) -> Stop | None:
    """Read the overlaps (ego time, other's time) into a stop, or None when the ways do not meet in time."""
    ego_at, other_at = np.nonzero(hits)
    together = np.abs(ego_at - other_at) <= caution.shift
    if not together.any():
        return None
    arrival = float(index[other_at[together].min()] * 0.1)
    if caution.presses and arrival > _PROTECTED_S:
        return None
    if approach is not None and arrival > _PROTECTED_S:
        turned = abs(geometry.wrap_angle(n.actor.pose[2] - approach))
        if math.pi / 4 < turned < 3 * math.pi / 4:
            return None
    entry = int(ego_at.min())
    speed = float(rollout.speed[0])
    if entry == 0:
        # The ego stands in the other's way already: leaving it is better than stopping in it.
        return Stop(float(rollout.s[0]) + half_length, n.actor.id, "conflict") if speed < 1.0 else None
    front = float(rollout.s[index[entry - 1]]) + half_length - caution.gap_m
    room = front - float(rollout.s[0]) - half_length
    if room < speed * speed / (2.0 * config.hardest_braking) and index[entry] * 0.1 < arrival:
        return None  # too late to stop, early enough to be through first
    return Stop(max(front, float(rollout.s[0]) + half_length), n.actor.id, "conflict")
