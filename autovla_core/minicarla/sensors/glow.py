"""The glow that a camera's lens lays around lit lamps. Right-handed inside.

A lamp is far brighter than what is around it, and no lens is perfect: a distant signal shows as a coloured spot larger
than its glass. CARLA's cameras do the same (bloom). Here each lamp wears a soft disc that faces the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.sensors.overlay import in_camera
from autovla_core.minicarla.sensors.raster import NEAR_M, Buffers, View, compiled
from autovla_core.minicarla.sensors.shading import SAMPLES

NEARER = 1.02  # the disc stands a little before its lamp
WITHIN_M = 120.0
SMALLEST_PX = 0.8  # standard deviation of the disc, as the lens makes it of a point
REACH = 2.5  # standard deviations to the disc's rim
LARGEST_PX = 80


class Glow(NamedTuple):
    """One lit lamp. CARLA's convention."""

    location: np.ndarray  # (3,) m
    forward: np.ndarray  # (3,) unit: where it shines
    size: float  # m, standard deviation
    strength: float  # 0..1 in the middle
    color: tuple[int, int, int]  # r, g, b as on a screen


def prepare(glows: Sequence[Glow]) -> np.ndarray | None:
    """Pack lamps for ``draw``: (n, 11) place, forward, size, strength, b, g, r; None if none is lit."""
    if not glows:
        return None
    mirror = np.array([1.0, -1.0, 1.0])
    return np.array([(*g.location * mirror, *g.forward * mirror, g.size, g.strength, *g.color[::-1]) for g in glows])


def draw(lamps: np.ndarray, view: View, row0: int, row1: int, buffers: Buffers, picture: np.ndarray) -> None:
    """Lay discs over rows [row0, row1) of a (height, width, 4) picture whose samples lie in ``buffers``."""
    _draw_discs(lamps, view, row0, row1, buffers.depth, picture)


@compiled
def _draw_discs(lamps, view, row0, row1, depth, picture):
    width, focal = picture.shape[1], view.focal / SAMPLES
    for n in range(lamps.shape[0]):
        lamp = lamps[n]
        x, y, w = in_camera(view, lamp[0], lamp[1], lamp[2])
        if w < NEAR_M or w > WITHIN_M:
            continue
        away = 0.0
        for k in range(3):
            away += (view.eye[k] - lamp[k]) * lamp[3 + k]
        facing = away / (x * x + y * y + w * w) ** 0.5
        if facing <= 0.0:
            continue
        u, v = 0.5 * width + focal * x / w, 0.5 * view.height / SAMPLES - focal * y / w
        spread = max(SMALLEST_PX, lamp[6] * focal / w)
        reach = min(REACH * spread, LARGEST_PX)
        strength, fall, near = lamp[7] * min(1.0, 2.0 * facing), 0.5 / (spread * spread), NEARER / w
        for row in range(max(row0, int(v - reach)), min(row1, int(v + reach) + 1)):
            for column in range(max(0, int(u - reach)), min(width, int(u + reach) + 1)):
                away = (column + 0.5 - u) ** 2 + (row + 0.5 - v) ** 2
                if away > reach * reach:
                    continue
                seen = 0
                for i in range(SAMPLES):
                    for j in range(SAMPLES):
                        if near > depth[(row - row0) * SAMPLES + i, column * SAMPLES + j]:
                            seen += 1
                share = strength * np.exp(-away * fall) * seen / (SAMPLES * SAMPLES)
                for k in range(3):
                    value = float(picture[row, column, k])
                    picture[row, column, k] = np.uint8(value + (lamp[8 + k] - value) * share)
