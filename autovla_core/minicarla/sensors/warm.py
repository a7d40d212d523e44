"""Machine code before it is needed: numba compiles at the first call, and a client's time-out is 5 s.

The code is kept on disk, so all of this takes a second on any but the first start on a machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autovla_core.minicarla.sensors import bvh, raster
from autovla_core.minicarla.sensors.flow import Track
from autovla_core.minicarla.sensors.renderer import KINDS, Renderer
from autovla_core.minicarla.world.debug_shapes import line, words
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.world import World

_SIDE_PX = 16
_ABOVE_M = 3.0
_TICKS = 2


def cameras_are_compiled() -> bool:
    """Whether the machine code of cameras and rays lies on disk."""
    folder = Path(raster.rasterise.stats.cache_path), Path(bvh.trace.stats.cache_path)
    names = "raster.rasterise-*.nbi", "bvh.trace-*.nbi"
    return all(any(place.glob(name)) for place, name in zip(folder, names, strict=True))


def warm_cameras(renderer: Renderer) -> None:
    """Take a tiny picture of each kind with something drawn in it, and shoot a ray."""
    renderer.draw([line(np.zeros(3), np.ones(3), 0.1, (0, 0, 0)), words(np.zeros(3), ".", (0, 0, 0))])
    renderer.caster().cast(np.zeros(3), np.array([[0.0, 0.0, -1.0]]), 1.0)
    for kind in KINDS:
        renderer.render(kind, _SIDE_PX, _SIDE_PX, 90.0, np.array([0.0, 0.0, _ABOVE_M]), np.zeros(3))
    renderer.draw(())
    here = np.array([0.0, 0.0, _ABOVE_M]), np.zeros(3)
    renderer.flow(_SIDE_PX, _SIDE_PX, 90.0, here, here, Track())


def warm_world(town: Town) -> None:
    """Let a scratch world with a driven car tick."""
    scratch = World(town)
    scratch.spawn_traffic(2, seed=0)
    for _ in range(_TICKS):
        scratch.step(0.05)
