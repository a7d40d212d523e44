"""What the judge sees: plain values, and the questions to the map. Positions are right-handed world metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Contact:
    """Something that the ego touched."""

    time_s: float
    other_id: int  # 0: the town itself
    type_id: str


@dataclass(frozen=True)
class LaneFact:
    """The nearest drivable lane of a position."""

    distance: float  # m to its centre line
    half_width: float  # m
    road_id: int
    lane_id: int
    yaw: float  # rad, of the lane
    in_junction: bool


class Lanes(Protocol):
    """Questions to the map."""

    def nearest(self, position: np.ndarray) -> LaneFact:
        """The driving or parking lane whose centre is nearest; (3,) world."""
        ...

    def driving(self, position: np.ndarray) -> LaneFact:
        """The nearest driving lane; (3,) world."""
        ...

    def ahead(self, position: np.ndarray, count: int, step: float) -> np.ndarray:
        """Centre points (1 + count or fewer, 2) of the nearest driving lane, every ``step`` m onwards."""
        ...


@dataclass(frozen=True)
class Moment:
    """What the judge sees at one tick."""

    time_s: float
    position: np.ndarray  # (3,) world
    yaw: float  # rad
    speed: float  # m/s, magnitude
    speed_limit: float  # m/s
    red_lights: frozenset[int] = frozenset()
    contacts: tuple[Contact, ...] = ()


@dataclass(frozen=True)
class StopLine:
    """Where one lane ends at a light."""

    center: np.ndarray  # (2,) world
    yaw: float  # rad, of the lane
    half_width: float  # m
    road_id: int
    lane_id: int


@dataclass(frozen=True)
class LightFact:
    """A traffic light and the lines it guards."""

    id: int
    center: np.ndarray  # (2,) of its trigger volume
    stop_lines: tuple[StopLine, ...]


@dataclass(frozen=True)
class SignFact:
    """A stop sign's trigger volume on the ground."""

    id: int
    pose: np.ndarray  # (3,) centre and yaw, world
    half_extent: np.ndarray  # (2,) m
