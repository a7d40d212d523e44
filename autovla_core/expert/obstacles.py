"""What stands or creeps in the ego's way so that waiting behind it would never end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core import footprints, geometry
from autovla_core.contracts import Actor
from autovla_core.expert.path import SPACING_M, DrivePath
from autovla_core.expert.scene import RoadScene

STANDING = 0.1  # m/s
SURE_S = 1.0  # it has stood so long since it was first seen, and never moved
DISMOUNTED_S = 3.0  # a cyclist who has stood so long rides no further
SLOW = 4.5  # m/s: a cyclist below it is overtaken
GROUPED_M = 20.0  # things closer than this behind each other are passed at once
LEAST_M = 0.3  # kept beside a thing; a smaller gap blocks the way
WISHED_M = {"static": 0.45, "vehicle": 0.7, "bicycle": 1.0, "walker": 1.0}  # kept beside a thing when it is passed
AHEAD_M = 60.0
ALONG_M = 6.0  # before and behind a group: what stands there must be passed on the same side


@dataclass(frozen=True)
class Extent:
    """An actor in the path's coordinates: metres along it and to its left."""

    actor: Actor
    begin: float
    end: float
    right: float
    left: float
    turned: float  # rad, heading against the path's


@dataclass(frozen=True)
class Obstruction:
    """One thing, or several in a row."""

    begin: float  # m along the route, its near end
    end: float
    past_left: float  # m, offset of the ego's centre that passes it on the left
    past_right: float  # negative: on the right
    speed: float  # m/s along the route, 0 for what stands
    actor_id: int  # of the nearest


class StandWatch:
    """Who has never moved since he was first seen, or stopped as cyclists do at the end of their way."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # from when on it is known to stand, by id; inf once it has moved

    def update(self, scene: RoadScene) -> frozenset[int]:
        """Ids of staged actors that are sure to stand."""
        for actor in scene.actors:
            if actor.id in scene.staged:
                self._since.setdefault(actor.id, scene.time_s + SURE_S)
                if abs(actor.speed) > STANDING:
                    stops = actor.kind == "bicycle"
                    self._since[actor.id] = scene.time_s + DISMOUNTED_S if stops else math.inf
        return frozenset(id for id, since in self._since.items() if scene.time_s >= since)


def extent(actor: Actor, path: DrivePath, first: int, last: int) -> Extent:
    """Where an actor lies along the path's points ``first`` to ``last``; off their ends it is carried on straight."""
    window = path.points[first:last]
    box = footprints.corners(actor.pose, actor.length, actor.width)
    squared = ((box[:, None] - window) ** 2).sum(-1)
    nearest = np.argmin(squared, axis=1)
    yaw = np.array(path.yaw[first:last])[nearest]
    delta = box - window[nearest]
    along = (first + nearest) * SPACING_M + delta[:, 0] * np.cos(yaw) + delta[:, 1] * np.sin(yaw)
    beside = -delta[:, 0] * np.sin(yaw) + delta[:, 1] * np.cos(yaw)
    turned = float(geometry.wrap_angle(actor.pose[2] - yaw[0]))
    return Extent(actor, float(along.min()), float(along.max()), float(beside.min()), float(beside.max()), turned)


def extents(actors: Iterable[Actor], path: DrivePath, s: float, back_m: float, ahead_m: float) -> list[Extent]:
    """Extents of the actors near the path from ``s - back_m`` to ``s + ahead_m``."""
    first = max(int((s - back_m) / SPACING_M), 0)
    last = max(min(int((s + ahead_m) / SPACING_M) + 2, len(path.x)), first + 2)
    return [extent(actor, path, first, last) for actor in actors]


def obstructions(places: Sequence[Extent], standing: frozenset[int], s: float, half_width: float) -> list[Obstruction]:
    """What blocks the lane ahead of ``s``, nearest first; places are on the route's own path."""
    ahead = [p for p in places if p.end > s and p.begin < s + AHEAD_M + GROUPED_M and _is_obstacle(p, standing)]
    blocking = sorted((p for p in ahead if p.begin < s + AHEAD_M and _in_the_way(p, half_width)), key=lambda p: p.begin)
    groups: list[list[Extent]] = []
    for place in blocking:
        if groups and place.begin - max(p.end for p in groups[-1]) < GROUPED_M:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [_obstruction(group, ahead, half_width) for group in groups]


def _is_obstacle(place: Extent, standing: frozenset[int]) -> bool:
    if place.actor.id in standing and place.actor.kind != "walker":
        return True
    along = place.actor.speed * math.cos(place.turned)
    return place.actor.kind == "bicycle" and abs(place.turned) < 0.5 and STANDING < along < SLOW


def _in_the_way(place: Extent, half_width: float) -> bool:
    reach = half_width + LEAST_M
    return place.left > -reach and place.right < reach


def _obstruction(group: Sequence[Extent], others: Sequence[Extent], half_width: float) -> Obstruction:
    begin, end = min(p.begin for p in group), max(p.end for p in group)
    along = [p for p in others if p.end > begin - ALONG_M and p.begin < end + ALONG_M]
    return Obstruction(
        begin=begin,
        end=end,
        past_left=_past(group, along, half_width, 1.0),
        past_right=_past(group, along, half_width, -1.0),
        speed=max(min(p.actor.speed * math.cos(p.turned) for p in group), 0.0),
        actor_id=group[0].actor.id,
    )


def _past(group: Sequence[Extent], along: Sequence[Extent], half_width: float, side: float) -> float:
    """Offset that passes a group and all that the ego would meet beside it on that side (1 left, -1 right)."""
    offset = max(_beside(p, half_width, side) for p in group)
    for _ in range(len(along)):
        met = [p for p in along if abs(0.5 * (p.left + p.right) - side * offset) < _clear_of(p, half_width)]
        further = max((_beside(p, half_width, side) for p in met), default=offset)
        if further <= offset:
            break
        offset = further
    return side * offset


def _beside(place: Extent, half_width: float, side: float) -> float:
    edge = place.left if side > 0.0 else -place.right
    return edge + half_width + WISHED_M.get(place.actor.kind, 0.7)


def _clear_of(place: Extent, half_width: float) -> float:
    return 0.5 * (place.left - place.right) + half_width + LEAST_M
