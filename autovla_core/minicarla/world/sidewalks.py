"""Ways on foot: the sidewalks and crosswalks of a navigation mesh as a graph of polygons. CARLA's frame, metres."""

from __future__ import annotations

import functools
import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.world.navigation import Floor, Navigation, survey_navigation
from autovla_core.minicarla.world.town import Town

CROSSING_COST = 1.5  # a crosswalk counts as so much more of a way than a sidewalk
FROM_CORNER_M = 0.25  # ways keep this far from the ends of an edge, where it is long enough
NARROWEST_M = 0.4  # nobody squeezes through a shorter edge


@dataclass(frozen=True)
class Exit:
    """The edge from one polygon into another: facing it, ``right`` is its right end."""

    to: int
    right: np.ndarray  # (2,)
    left: np.ndarray  # (2,)

    def at(self, share: float) -> np.ndarray:
        """The point so far from the right end: 0 right, 1 left."""
        length = float(np.hypot(*(self.left - self.right)))
        margin = min(FROM_CORNER_M / length, 0.5)
        return self.right + (self.left - self.right) * (margin + (1.0 - 2.0 * margin) * share)


@dataclass(frozen=True, eq=False)
class Sidewalks:
    """Convex polygons where people walk, and the ways from one into its neighbours."""

    corners: tuple[np.ndarray, ...]  # of each polygon, (k, 2)
    middles: np.ndarray  # (n, 2)
    areas: np.ndarray  # (n,) m2
    crossing: np.ndarray  # (n,) bool: a crosswalk
    exits: tuple[tuple[Exit, ...], ...]
    islands: np.ndarray  # (n,) polygons of one number can be reached from each other

    def nearest(self, place: np.ndarray) -> int:
        """The polygon whose middle is nearest to a point (2,)."""
        return int(np.argmin(((self.middles - place) ** 2).sum(1)))

    def way(self, start: int, end: int) -> list[Exit]:
        """The exits to take from polygon to polygon on the shortest way; empty if there is none or none is needed."""
        costs, came = {start: 0.0}, {}
        heap = [(0.0, start)]
        while heap:
            cost, here = heapq.heappop(heap)
            if here == end:
                break
            if cost > costs[here]:
                continue
            for number, exit_ in enumerate(self.exits[here]):
                step = float(np.hypot(*(self.middles[exit_.to] - self.middles[here])))
                total = cost + step * (CROSSING_COST if self.crossing[exit_.to] else 1.0)
                if total < costs.get(exit_.to, np.inf):
                    costs[exit_.to], came[exit_.to] = total, (here, number)
                    heapq.heappush(heap, (total, exit_.to))
        way: list[Exit] = []
        while end in came and end != start:
            end, number = came[end]
            way.append(self.exits[end][number])
        return way[::-1]


@functools.lru_cache(maxsize=2)
def sidewalks_of(town: Town) -> Sidewalks:
    """The sidewalks of a town; half a second at the first call."""
    return connect(survey_navigation(town.xodr, town.solids))


def connect(floor: Navigation) -> Sidewalks:
    """Join the polygons of sidewalks and crosswalks over the edges that they share; roads are left out."""
    kept = [i for i, kind in enumerate(floor.floors) if kind != Floor.ROAD]
    xy = floor.xy * (1.0, -1.0)
    corners = tuple(xy[list(floor.polygons[i])] for i in kept)
    exits = _exits([floor.polygons[i] for i in kept], xy)
    return Sidewalks(
        corners,
        np.array([part.mean(0) for part in corners]).reshape(-1, 2),
        np.array([_area(part) for part in corners]),
        np.array([floor.floors[i] == Floor.CROSSWALK for i in kept], bool),
        exits,
        _islands(exits),
    )


def _exits(polygons: list[tuple[int, ...]], xy: np.ndarray) -> tuple[tuple[Exit, ...], ...]:
    """Polygons are counter-clockwise in the right-handed plane: seen from inside, an edge runs from right to left."""
    owners: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for number, polygon in enumerate(polygons):
        for a, b in _edges(polygon):
            owners[frozenset((a, b))].append(number)

    def out_of(number: int) -> Iterable[Exit]:
        for a, b in _edges(polygons[number]):
            for other in owners[frozenset((a, b))]:
                if other != number and float(np.hypot(*(xy[a] - xy[b]))) >= NARROWEST_M:
                    yield Exit(other, xy[a], xy[b])

    return tuple(tuple(out_of(number)) for number in range(len(polygons)))


def _edges(polygon: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(polygon, (*polygon[1:], polygon[0])))


def _area(corners: np.ndarray) -> float:
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2.0


def _islands(exits: tuple[tuple[Exit, ...], ...]) -> np.ndarray:
    islands = np.full(len(exits), -1)
    for first in range(len(exits)):
        waiting = [first] if islands[first] < 0 else []
        while waiting:
            here = waiting.pop()
            if islands[here] < 0:
                islands[here] = first
                waiting += [exit_.to for exit_ in exits[here]]
    return islands
