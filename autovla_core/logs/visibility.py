"""Which boxes of the world an instance picture shows, and how much of each.

Camera frame as the simulator has it: x forward, y right, z up, metres; pixels count right and down. The numbers in an
instance picture need not be those of actors (CARLA paints ids of its engine), so a box owns the instance whose pixels
lie in its outline, nearest box first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEAR_PLANE_M = 0.2
INSIDE = 0.8  # share of an instance's pixels that must lie in the outline of its box
GROW_PX, GROW = 2.0, 0.05  # mirrors and wheels stand out of boxes
TAGS: dict[str, tuple[int, ...]] = {  # CARLA 0.9.16's semantic tags by kind of contracts.Actor
    "vehicle": (13, 14, 15, 16, 17, 18, 19),
    "bicycle": (12, 13, 18, 19),
    "walker": (12, 13),
    "static": (5, 8, 20, 21, 22, 28),
}
LIGHT_TAG, SIGN_TAG = 7, 8
_PAIRS = np.array(list(itertools.combinations(range(8), 2)))


@dataclass(frozen=True)
class Pinhole:
    """Size and horizontal field of view of a picture."""

    width: int
    height: int
    fov_deg: float

    @property
    def focal_px(self) -> float:
        """Pixels for one metre at one metre."""
        return self.width / (2.0 * math.tan(math.radians(self.fov_deg) / 2.0))


@dataclass(frozen=True)
class Window:
    """Pixels that a box may cover: columns ``left`` to ``right`` and rows ``top`` to ``bottom``, half-open."""

    left: int
    top: int
    right: int
    bottom: int
    depth_m: float  # of its nearest corner


@dataclass(frozen=True)
class Candidate:
    """A box that may be in the picture."""

    id: int
    tags: tuple[int, ...]
    window: Window


def split_channels(bgra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tags (H, W) uint8 and instance numbers (H, W) int of an instance picture (H, W, 4)."""
    return bgra[..., 2], bgra[..., 1].astype(np.int32) + 256 * bgra[..., 0].astype(np.int32)


def window_of(vertices: np.ndarray, lens: Pinhole) -> Window | None:
    """Where the corners (8, 3) of a box in the camera frame come to lie; None outside the picture."""
    points = _in_front(np.asarray(vertices, float))
    if not len(points):
        return None
    u = lens.width / 2.0 + lens.focal_px * points[:, 1] / points[:, 0]
    v = lens.height / 2.0 - lens.focal_px * points[:, 2] / points[:, 0]
    grow_u, grow_v = GROW_PX + GROW * np.ptp(u), GROW_PX + GROW * np.ptp(v)
    left, right = (int(np.clip(e, 0, lens.width)) for e in (np.floor(u.min() - grow_u), np.ceil(u.max() + grow_u)))
    top, bottom = (int(np.clip(e, 0, lens.height)) for e in (np.floor(v.min() - grow_v), np.ceil(v.max() + grow_v)))
    return Window(left, top, right, bottom, float(points[:, 0].min())) if left < right and top < bottom else None


def visible(tags: np.ndarray, instances: np.ndarray, candidates: Sequence[Candidate]) -> dict[int, int]:
    """Pixels of each candidate that the picture shows, by id; those that it hides are left out.

    Args:
        tags: (H, W) semantic tags.
        instances: (H, W) numbers of instances.
    """
    keys = instances.astype(np.int64) * 256 + tags
    numbers, totals = np.unique(keys, return_counts=True)
    total = dict(zip(numbers.tolist(), totals.tolist()))
    claimed: set[int] = set()
    found: dict[int, int] = {}
    for candidate in sorted(candidates, key=lambda c: (c.window.depth_m, c.id)):
        owned = _owned(keys, total, candidate, claimed)
        if owned:
            claimed.add(owned[0])
            found[candidate.id] = owned[1]
    return found


def pixels_with(tags: np.ndarray, tag: int, windows: Sequence[Window]) -> int:
    """How many pixels of one tag lie in any of the windows."""
    inside = np.zeros(tags.shape, bool)
    for window in windows:
        inside[window.top : window.bottom, window.left : window.right] = True
    return int(((tags == tag) & inside).sum())


def _owned(keys: np.ndarray, total: dict[int, int], candidate: Candidate, claimed: set[int]) -> tuple[int, int] | None:
    """The instance that a box owns, and its pixels in all tags of the kind: a rider belongs to his bicycle."""
    window = candidate.window
    part = keys[window.top : window.bottom, window.left : window.right]
    shares: dict[int, list[int]] = {}
    for key, count in zip(*(values.tolist() for values in np.unique(part, return_counts=True))):
        if key % 256 in candidate.tags and key // 256 not in claimed:
            entry = shares.setdefault(key // 256, [0, 0])
            entry[0] += count
            entry[1] += total[key]
    fitting = [(count, -instance) for instance, (count, whole) in shares.items() if count >= INSIDE * whole]
    if not fitting:
        return None
    count, instance = max(fitting)
    return -instance, count


def _in_front(vertices: np.ndarray) -> np.ndarray:
    """The corners before the camera, and where edges meet the near plane."""
    depth = vertices[:, 0]
    inside = vertices[depth > NEAR_PLANE_M]
    a, b = vertices[_PAIRS[:, 0]], vertices[_PAIRS[:, 1]]
    crossing = (a[:, 0] > NEAR_PLANE_M) != (b[:, 0] > NEAR_PLANE_M)
    a, b = a[crossing], b[crossing]
    share = (NEAR_PLANE_M - a[:, :1]) / (b[:, :1] - a[:, :1])
    return np.concatenate([inside, a + share * (b - a)])
