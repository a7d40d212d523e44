"""Machine code before it is needed: numba compiles at the first call, and a client's time-out is 5 s.

The code is kept on disk, so all of this takes a second on any but the first start on a machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autovla_core.minicarla.sensors import raster
from autovla_core.minicarla.sensors.renderer import KINDS, Renderer
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.world import World

_SIDE_PX = 16
_ABOVE_M = 3.0
_TICKS = 2


def cameras_are_compiled() -> bool:
    """Whether the cameras' machine code lies on disk."""
    folder = Path(raster.rasterise.stats.cache_path)
    return any(folder.glob("raster.rasterise-*.nbi"))


def warm_cameras(renderer: Renderer) -> None:
    """Take a tiny picture of each kind."""
    for kind in KINDS:
        renderer.render(kind, _SIDE_PX, _SIDE_PX, 90.0, np.array([0.0, 0.0, _ABOVE_M]), np.zeros(3))


def warm_world(town: Town) -> None:
    """Let a scratch world with a driven car tick."""
    scratch = World(town)
    scratch.spawn_traffic(2, seed=0)
    for _ in range(_TICKS):
        scratch.step(0.05)
