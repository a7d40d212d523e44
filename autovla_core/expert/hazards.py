"""Where others are along the ego's path, and which of them are on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import Actor
from autovla_core.expert.path import SPACING_M, DrivePath
from autovla_core.expert.speed import Leader

RANGE_M = 60.0
CORRIDOR_MARGIN_M = 0.3


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
