"""What clients draw into the world to look at: lines and words that cameras see and nothing else. CARLA's frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autovla_core.minicarla.world.pose import rotation_matrix

PX_PER_SIZE = 100.0  # a point of size 0.1 is ten pixels wide however far away, as in CARLA
MOST_SHAPES = 20_000  # then the oldest go

Color = tuple[int, int, int]  # r, g, b


@dataclass(frozen=True, eq=False)
class DebugShape:
    """Strokes of one colour, or words. Never changed, so that saved worlds share it."""

    color: Color
    strokes: np.ndarray  # (n, 2, 3) ends, m; a point's two are the same
    thickness: float = 0.0  # m
    width_px: float = 1.0  # at least
    text: str = ""  # stands at the first end of the first stroke, instead of it
    until: float = math.inf  # s of the world's time, the last moment at which it is seen

    def __deepcopy__(self, memo: dict[int, object]) -> DebugShape:
        return self


def lasting(shape: DebugShape, now: float, life_time: float) -> DebugShape:
    """The same shape with an end; a life of zero or less has none, as in CARLA."""
    return replace(shape, until=now + life_time if life_time > 0.0 else math.inf)


def point(place: np.ndarray, size: float, color: Color) -> DebugShape:
    return DebugShape(color, np.array([[place, place]]), width_px=max(1.0, PX_PER_SIZE * size))


def line(begin: np.ndarray, end: np.ndarray, thickness: float, color: Color) -> DebugShape:
    return DebugShape(color, np.array([[begin, end]]), thickness)


def arrow(begin: np.ndarray, end: np.ndarray, thickness: float, size: float, color: Color) -> DebugShape:
    """A shaft with four barbs that go back by ``size`` and out by it on two axes."""
    dx, dy, dz = (end - begin).tolist()
    along = np.array([math.degrees(math.atan2(dz, math.hypot(dx, dy))), math.degrees(math.atan2(dy, dx)), 0.0])
    barbs = np.array([[-size, side * size, up * size] for side in (1, -1) for up in (1, -1)])
    starts = end + barbs @ rotation_matrix(along).T
    return DebugShape(color, np.array([[begin, end], *([start, end] for start in starts)]), thickness)


def box(center: np.ndarray, extent: np.ndarray, rotation: np.ndarray, thickness: float, color: Color) -> DebugShape:
    """The twelve edges of a box with half sizes ``extent``."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    edges = [(i, j) for i in range(8) for j in range(i + 1, 8) if (corners[i] != corners[j]).sum() == 1]
    world = center + (corners * extent) @ rotation_matrix(rotation).T
    return DebugShape(color, world[np.array(edges)], thickness)


def words(place: np.ndarray, text: str, color: Color) -> DebugShape:
    return DebugShape(color, np.array([[place, place]]), text=text)
