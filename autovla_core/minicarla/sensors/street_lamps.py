"""Street lamps at night: heads that shine, a pool of light below each, and a glow. Right-handed inside.

The pools are baked into a map of the ground, one texel a metre, whenever lamps change: a pixel costs one look-up,
however many lamps there are. Walls in between cast no shadows into it. By day nothing here is done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autovla_core.minicarla.sensors.glow import Glow
from autovla_core.minicarla.sensors.shading import Surfaces
from autovla_core.minicarla.sensors.sky import Light
from autovla_core.minicarla.world.mesh import Material
from autovla_core.minicarla.world.street_lights import INTENSITY, Lamp, StreetLights, is_dark
from autovla_core.minicarla.world.world import World

POOL_M = 18.0  # radius
HANGS_M = 6.4  # above what it lights: how wide the pool is
POOL_STRENGTH = 0.9  # right below a lamp of INTENSITY, as a share of a clear noon's light from above
BRIGHTEST = 4.0  # times INTENSITY: more does not show
GLOW_M, GLOW = 0.22, 0.55
DOWN = np.array([0.0, 0.0, -1.0])


class StreetLamps:
    """The lamps in one renderer's triangles."""

    def __init__(self, surfaces: Surfaces) -> None:
        self._surfaces = surfaces
        self._heads = np.flatnonzero(surfaces.materials == int(Material.LAMP_HEAD))
        self._unlit = surfaces.colors[self._heads].copy()
        self._shown: tuple[StreetLights, bool] = (StreetLights(), False)
        self._pools: np.ndarray | None = None
        self._corner = np.zeros(2)
        self._glows: tuple[Glow, ...] = ()

    def lit(self, light: Light, world: World) -> Light:
        """Light or put out the heads as the world's lamps are now; return the light with their pools in it."""
        shown = world.street_lights, is_dark(world.weather)
        if shown != self._shown:
            self._shown = shown
            self._show(world.town.lamps, world.street_lights.lamps(len(world.town.lamps), world.weather))
        return light if self._pools is None else light._replace(pools=self._pools, pools_corner=self._corner)

    def glows(self) -> tuple[Glow, ...]:
        """The lens's glow around the lamps that are on."""
        return self._glows

    def _show(self, places: np.ndarray, lamps: Sequence[Lamp]) -> None:
        on = np.array([lamp.active for lamp in lamps], bool)
        self._light_heads(places, lamps, on)
        shining = [lamp for lamp in lamps if lamp.active]
        self._glows = tuple(Glow(place, DOWN, GLOW_M, GLOW, lamp.color) for place, lamp in zip(places[on], shining))
        self._pools = None
        if shining:
            self._corner, self._pools = bake(places[on] * (1.0, -1.0, 1.0), shining)

    def _light_heads(self, places: np.ndarray, lamps: Sequence[Lamp], on: np.ndarray) -> None:
        """Change the heads' triangles in place: they belong to this renderer alone."""
        if not len(lamps) or not len(self._heads):
            return
        middles = self._surfaces.corners[self._heads].mean(1) * (1.0, -1.0, 1.0)
        owner = np.array([int(np.argmin(((places - middle) ** 2).sum(1))) for middle in middles])
        colors = np.array([linear(lamp) for lamp in lamps])
        shines = on[owner]
        self._surfaces.materials[self._heads] = np.where(shines, int(Material.EMISSIVE), int(Material.LAMP_HEAD))
        self._surfaces.colors[self._heads] = np.where(shines[:, None], colors[owner], self._unlit)


def linear(lamp: Lamp) -> np.ndarray:
    """(3,) r, g, b of a lamp, 1 = INTENSITY of white."""
    share = min(lamp.intensity / INTENSITY, BRIGHTEST)
    return share * (np.array(lamp.color) / 255.0) ** 2.2


def bake(places: np.ndarray, lamps: Sequence[Lamp]) -> tuple[np.ndarray, np.ndarray]:
    """Return the corner (2,) of a map and the map (rows along y, columns along x, 4): r, g, b, height of the lamp.

    places: (n, 3), right-handed.
    """
    corner = np.floor(places[:, :2].min(0) - POOL_M - 1.0)
    columns, rows = np.ceil(places[:, :2].max(0) + POOL_M + 2.0 - corner).astype(int)
    pools = np.zeros((rows, columns, 4), np.float32)
    reach = math.ceil(POOL_M)
    for place, lamp in zip(places, lamps):
        column, row = np.round(place[:2] - corner).astype(int)
        patch = pools[row - reach : row + reach + 1, column - reach : column + reach + 1]
        x, y = np.meshgrid(np.arange(-reach, reach + 1) + column, np.arange(-reach, reach + 1) + row)
        away = np.hypot(x + corner[0] - place[0], y + corner[1] - place[1])
        patch[..., :3] += (POOL_STRENGTH * fall(away))[..., None] * linear(lamp)
        patch[..., 3] = np.maximum(patch[..., 3], np.where(away < POOL_M, place[2], 0.0))
    return corner, pools


def fall(away: np.ndarray) -> np.ndarray:
    """Share of its light that a lamp throws on level ground so many metres from below it; 0 at POOL_M."""
    edge = np.clip(1.0 - away / POOL_M, 0.0, 1.0)
    return (1.0 + (away / HANGS_M) ** 2) ** -1.5 * np.minimum(1.0, 3.0 * edge)
