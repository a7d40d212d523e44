"""Walkers whom the server leads along sidewalks and crosswalks, each to places of its own choice. CARLA's frame.

They keep to the right, go around each other, wait at the kerb until no car will reach their crosswalk, and walk with
the walkers' own dynamics: a car that does not stop throws them. The same seed gives the same ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autovla_core.minicarla.world.actor import Vehicle, Walker, WalkerControl
from autovla_core.minicarla.world.sidewalks import Exit, Sidewalks, sidewalks_of
from autovla_core.minicarla.world.town import Town

ROLE = "minicarla_walker"  # a walker of this role_name is led by the server
SPEED = (1.0, 1.7)  # m/s
RIGHT_SHARE = (0.08, 0.42)  # of an edge's length from its right end
ARRIVED_M = 0.35
KERB_M = 0.9  # from the edge of the crosswalk, where one looks for cars
LOOK_AHEAD_S = np.arange(0.0, 4.6, 0.5)
CLEAR_M = 3.0  # between where a car will be and the way across
ROLLING = 0.3  # m/s: a car that stands lets people cross
PATIENCE_S = 12.0  # at the kerb, then one goes elsewhere
STUCK_S, STUCK_M = 4.0, 0.5  # whoever came no further than this turns to another place
BODY_M, ASIDE = 1.1, 0.9  # somebody so near ahead is passed on the right, by so much of a step aside
ANYWHERE = 12  # draws of a place that can be reached
APART_M = 1.5
DRAWS_PER_WALKER = 12


@dataclass
class Way:
    """Where one walker goes."""

    speed: float  # m/s
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    crossings: tuple[bool, ...] = ()  # whether a crosswalk begins at the point
    at: int = 0  # the next point
    waited_s: float = 0.0
    lingered_s: float = 0.0
    marked: np.ndarray = field(default_factory=lambda: np.full(2, np.inf))  # where it was when it last got on


class Crowd:
    """The walkers of one world that the server leads."""

    def __init__(self, town: Town, seed: int) -> None:
        self._town = town
        self._rng = np.random.default_rng([abs(seed), len(ROLE)])
        self._walkers: list[Walker] = []
        self._ways: dict[int, Way] = {}

    def set_members(self, walkers: Sequence[Walker]) -> None:
        """Lead those of ROLE that have physics; forget the others."""
        self._walkers = [w for w in walkers if w.attributes.get("role_name") == ROLE and w.simulate_physics]
        ids = {walker.id for walker in self._walkers}
        self._ways = {actor_id: way for actor_id, way in self._ways.items() if actor_id in ids}

    def step(self, vehicles: Sequence[Vehicle], dt: float) -> None:
        """Tell every member where to go in this tick."""
        if not self._walkers:
            return
        places = np.array([walker.location[:2] for walker in self._walkers])
        apart = places[None] - places[:, None]
        close = np.hypot(apart[..., 0], apart[..., 1]) < BODY_M
        np.fill_diagonal(close, False)
        for i, walker in enumerate(self._walkers):
            way = self._ways.get(walker.id)
            if way is None:
                way = self._ways[walker.id] = Way(float(self._rng.uniform(*SPEED)))
            heading = self._heading(way, places[i], vehicles, dt)
            if heading is None:
                walker.control = WalkerControl(walker.control.direction, 0.0)
                continue
            x, y = _around(heading, apart[i, close[i]])
            walker.control = WalkerControl((x, y, 0.0), way.speed)

    def _heading(self, way: Way, place: np.ndarray, vehicles: Sequence[Vehicle], dt: float) -> np.ndarray | None:
        """Unit vector to the next point; None: stand."""
        self._notice_progress(way, place, dt)
        while way.at < len(way.points) and math.dist(place, way.points[way.at]) < ARRIVED_M:
            way.at += 1
        if way.at >= len(way.points) and not self._choose(way, place):
            return None
        towards = way.points[way.at] - place
        distance = math.hypot(*towards.tolist())
        if way.crossings[way.at] and distance < KERB_M and not _is_clear(place, _far_side(way), vehicles):
            way.waited_s += dt
            way.lingered_s = 0.0
            if way.waited_s > PATIENCE_S:
                self._choose(way, place)
            return None
        return towards / max(distance, 1e-9)

    def _notice_progress(self, way: Way, place: np.ndarray, dt: float) -> None:
        way.lingered_s += dt
        if math.dist(place, way.marked) > STUCK_M:
            way.marked, way.lingered_s = place.copy(), 0.0
        elif way.lingered_s > STUCK_S:
            self._choose(way, place)

    def _choose(self, way: Way, place: np.ndarray) -> bool:
        """Draw another place to go to; whether there is one."""
        walks = sidewalks_of(self._town)
        way.waited_s = way.lingered_s = 0.0
        if not len(walks.areas):
            return False
        here = walks.nearest(place)
        within = np.flatnonzero((walks.islands == walks.islands[here]) & ~walks.crossing)
        for _ in range(ANYWHERE if len(within) else 0):
            there = int(within[self._rng.integers(len(within))])
            exits = walks.way(here, there)
            if exits or there != here:
                shares = self._rng.uniform(*RIGHT_SHARE, len(exits))
                points = [exit_.at(share) for exit_, share in zip(exits, shares)]
                way.points = np.array([*points, walks.middles[there]])
                way.crossings = _beginnings(walks, here, exits)
                way.at = 0
                return True
        return False


def places_to_stand(town: Town, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Points (2,) on sidewalks, apart from each other; fewer than ``count`` where there is no more room."""
    walks = sidewalks_of(town)
    weights = np.where(walks.crossing, 0.0, walks.areas) if len(walks.areas) else np.zeros(0)
    if not weights.sum():
        return []
    found: list[np.ndarray] = []
    for _ in range(count * DRAWS_PER_WALKER):
        corners = walks.corners[int(rng.choice(len(weights), p=weights / weights.sum()))]
        place = rng.dirichlet(np.full(len(corners), 2.0)) @ corners
        if all(math.dist(place, other) > APART_M for other in found):
            found.append(place)
        if len(found) == count:
            break
    return found


def _beginnings(walks: Sidewalks, start: int, exits: Sequence[Exit]) -> tuple[bool, ...]:
    """For every exit, and the end of the way: does a crosswalk begin there?"""
    inside = [bool(walks.crossing[start]), *(bool(walks.crossing[exit_.to]) for exit_ in exits)]
    return (*(after and not before for before, after in zip(inside, inside[1:])), False)


def _far_side(way: Way) -> np.ndarray:
    """A point well across: what follows after some metres, or the way's last."""
    ahead = way.points[way.at :]
    gone = np.cumsum(np.hypot(*np.diff(ahead, axis=0).T))
    return ahead[min(int(np.searchsorted(gone, 12.0)) + 1, len(ahead) - 1)]


def _is_clear(start: np.ndarray, end: np.ndarray, vehicles: Sequence[Vehicle]) -> bool:
    """Whether no rolling car will come near the line from start to end soon."""
    rolling = [v for v in vehicles if abs(v.forward_speed) > ROLLING]
    if not rolling:
        return True
    at = np.array([v.location[:2] for v in rolling])[:, None]
    speed = np.array([v.velocity[:2] for v in rolling])[:, None]
    cars = (at + speed * LOOK_AHEAD_S[:, None]).reshape(-1, 2)
    run = end - start
    share = np.clip((cars - start) @ run / max(float(run @ run), 1e-9), 0.0, 1.0)
    return bool((np.hypot(*(cars - start - share[:, None] * run).T) > CLEAR_M).all())


def _around(heading: np.ndarray, close: np.ndarray) -> tuple[float, float]:
    """The heading, or one that passes on the right whoever of those close by, (k, 2) from here, is ahead."""
    x, y = heading.tolist()
    if len(close) and (close @ heading > 0.5 * np.hypot(close[:, 0], close[:, 1])).any():
        x, y = x - ASIDE * y, y + ASIDE * x  # CARLA: y is to the right of x
    length = math.hypot(x, y)
    return x / length, y / length
