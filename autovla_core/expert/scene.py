"""A scene with what the expert must know of a scenario; a plain ``Scene`` holds none of it and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from autovla_core.contracts import Actor, Scene


@dataclass(frozen=True)
class Room:
    """How far the road reaches beside a route, every metre along it; metres from the route, positive."""

    s: np.ndarray  # (N,)
    own_left: np.ndarray  # (N,) to the edge of the ego's lane
    own_right: np.ndarray
    same_left: np.ndarray  # to the edge of the lanes of the ego's direction
    same_right: np.ndarray
    all_left: np.ndarray  # to the far edge of the first oncoming lane as well
    junction: np.ndarray  # (N,) bool

    def least(self, name: str, begin: float, end: float) -> float:
        """The smallest value of a field between two places."""
        return float(getattr(self, name)[self._between(begin, end)].min())

    def has_junction(self, begin: float, end: float) -> bool:
        """Whether a junction lies between two places."""
        return bool(self.junction[self._between(begin, end)].any())

    def _between(self, begin: float, end: float) -> slice:
        first = int(np.clip(np.searchsorted(self.s, begin), 0, len(self.s) - 1))
        return slice(first, max(int(np.searchsorted(self.s, end, side="right")), first + 1))


@dataclass(frozen=True)
class RoadScene(Scene):
    """A scene in which somebody was put up to disturb: those actors obey no rule, and may stand for ever."""

    room: Room | None = None
    staged: frozenset[int] = frozenset()  # ids of actors that a scenario has put there
    emergency: frozenset[int] = frozenset()  # ids of emergency vehicles among them
    far: tuple[Actor, ...] = ()  # vehicles beyond the range of ``actors``, for overtaking
    ways: Mapping[int, np.ndarray] = field(default_factory=dict)  # (M, 2) world, 1 m apart, by id: their lanes onwards
