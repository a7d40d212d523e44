"""Weather to light: where the sun stands, what colours sky, fog and shade have, how wet the street is.

Colours are linear; the tone curve in here turns them into the 8 bits of a picture.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.world.weather import Weather

SKY_ROWS, SKY_COLUMNS = 192, 768
NOISE_SIZE = 256
CURVE_STEPS = 16384
CURVE_RANGE = 4.0  # radiance that the curve's last step stands for
EXPOSURE = 0.85
LOWEST_SUN_DEG = 7.0  # lower suns would cast endless shadows
MOON_DEG = 55.0


class Light(NamedTuple):
    """All that the shading needs to know about the weather."""

    sun: np.ndarray  # (3,) unit, towards the sun (or moon)
    sun_color: np.ndarray  # (3,)
    sky_color: np.ndarray  # (3,) light from above
    ground_color: np.ndarray  # (3,) light from below
    fog_color: np.ndarray  # (3,)
    fog_per_m: float
    night: float  # 0 day .. 1 night
    wet: float  # 0 dry .. 1 wet film
    puddles: float  # 0 none .. 1 many
    disc: float  # how much of the sun's disc is seen
    sky: np.ndarray  # (SKY_ROWS, SKY_COLUMNS + 1, 3) float32, the last column repeats the first
    pools: np.ndarray = np.zeros((0, 0, 4), np.float32)  # below street lamps, see street_lamps.bake; empty by day
    pools_corner: np.ndarray = np.zeros(2)  # of the map, x and y in metres


def light_of(weather: Weather) -> Light:
    """Return the light of a weather; depends on nothing else."""
    altitude = weather.sun_altitude_angle
    clouds = np.clip(weather.cloudiness / 100.0, 0.0, 1.0)
    night = 1.0 - _smooth(-9.0, 3.0, altitude)
    warm = 1.0 - _smooth(2.0, 28.0, altitude)
    veil = _smooth(0.45, 1.0, clouds)  # how much a closed cover takes from the sun
    sun_color = np.array([2.5, 2.4 - 0.75 * warm, 2.15 - 1.45 * warm]) * (1.0 - 0.93 * veil)
    fog = np.clip(weather.fog_density / 100.0, 0.0, 1.0)
    sun_color *= 1.0 - 0.7 * min(1.0, 1.4 * fog)  # what fog takes from the sun it scatters into the shade
    sun_color *= (0.25 + 0.75 * _smooth(-2.0, 14.0, altitude)) * (1.0 - night)
    sky_color = np.array([0.50 + 0.10 * warm, 0.62, 0.82 - 0.10 * warm]) * (1.0 - 0.35 * warm)
    sky_color += veil * np.array([0.28, 0.20, 0.06]) * (1.0 - 0.5 * warm)
    sky_color += 0.25 * min(1.0, 1.4 * fog)
    horizon = np.array([0.56 + 0.40 * warm, 0.71 - 0.09 * warm, 0.92 - 0.42 * warm])
    zenith = np.array([0.09, 0.22, 0.60]) * (1.0 - 0.45 * warm)
    grey = 0.60 - 0.12 * clouds * (weather.precipitation > 0)
    horizon += veil * (grey + 0.04 - horizon) * 0.85
    zenith += veil * (grey - 0.16 - zenith) * 0.9
    dim = 1.0 - night
    moon = night * np.array([0.028, 0.034, 0.050])
    town_glow = night * np.array([0.030, 0.024, 0.016])
    horizon, zenith = horizon * dim + moon * 0.5 + town_glow, zenith * dim + moon * 0.25
    ground_color = (0.22 * sky_color + 0.06 * sun_color) * dim + town_glow * 1.5
    return Light(
        sun=sun_direction(weather),
        sun_color=sun_color + moon * 1.2 * (1.0 - 0.7 * veil),
        sky_color=sky_color * dim + moon + town_glow * 1.6,
        ground_color=ground_color,
        fog_color=horizon.copy(),
        fog_per_m=float(0.00035 + 0.0006 * weather.precipitation / 100.0 + 0.03 * fog**1.7),
        night=float(night),
        wet=float(np.clip(max(weather.wetness, 0.8 * weather.precipitation) / 100.0, 0.0, 1.0)),
        puddles=float(np.clip(weather.precipitation_deposits / 100.0, 0.0, 1.0)),
        disc=float((1.0 - _smooth(0.3, 0.9, clouds)) * (1.0 - night) * (1.0 - min(1.0, 2.0 * fog))),
        sky=_paint_sky(zenith, horizon, clouds, dim, veil, warm, fog),
    )


def sun_direction(weather: Weather) -> np.ndarray:
    """Unit vector towards the sun, or at night towards the moon; right-handed."""
    altitude = weather.sun_altitude_angle
    altitude = MOON_DEG if altitude < -3.0 else min(max(altitude, LOWEST_SUN_DEG), 88.0)
    up, around = math.radians(altitude), -math.radians(weather.sun_azimuth_angle)
    return np.array([math.cos(around) * math.cos(up), math.sin(around) * math.cos(up), math.sin(up)])


def _smooth(low: float, high: float, value: float) -> float:
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3.0 - 2.0 * t)


def _paint_sky(
    zenith: np.ndarray, horizon: np.ndarray, clouds: float, dim: float, veil: float, warm: float, fog: float
) -> np.ndarray:
    """Rows run from straight up to straight down, linear in the sine of the elevation."""
    sine = np.linspace(1.0, -1.0, SKY_ROWS)[:, None, None]
    blend = np.clip(sine, 0.0, 1.0) ** 0.45
    sky = horizon * (1.0 - blend) + zenith * blend
    sky = np.repeat(sky, SKY_COLUMNS, axis=1)
    density = _cloud_density()
    cover = np.clip((density - (1.02 - 0.72 * clouds)) * 3.2, 0.0, 1.0) * np.clip(sine[..., 0] * 9.0, 0.0, 1.0)
    shade = np.clip(1.12 - 0.75 * veil * (density - 0.35) - 0.5 * (cover * (1.0 - veil)) * 0.3, 0.3, 1.15)
    bright = np.array([0.92, 0.92 - 0.2 * warm, 0.94 - 0.4 * warm]) * (1.0 - 0.42 * veil) * dim
    bright = bright + (1.0 - dim) * np.array([0.022, 0.021, 0.022])
    cover = cover[..., None] * 0.88
    sky = sky * (1.0 - cover) + cover * bright * shade[..., None]
    bank = min(1.0, 1.6 * fog) * (1.0 - 0.55 * np.clip(sine, 0.0, 1.0))
    sky += bank * (horizon - sky)
    return np.ascontiguousarray(np.concatenate([sky, sky[:, :1]], axis=1), np.float32)


def _cloud_density() -> np.ndarray:
    """(SKY_ROWS, SKY_COLUMNS) fractal noise in 0..1 on a flat ceiling, so that clouds shrink towards the horizon."""
    rng = np.random.default_rng(3)
    sine = np.maximum(np.linspace(1.0, -1.0, SKY_ROWS), 0.03)[:, None]
    around = (np.arange(SKY_COLUMNS) + 0.5) * (2.0 * math.pi / SKY_COLUMNS)
    reach = np.sqrt(1.0 - np.minimum(sine, 1.0) ** 2) / (sine + 0.12)
    x, y = reach * np.cos(around), reach * np.sin(around)
    total, weight = np.zeros((SKY_ROWS, SKY_COLUMNS)), 0.0
    for octave in range(6):
        grid = rng.random((64, 64))
        scale = 1.1 * 2.0**octave
        total += 0.55**octave * _tiled(grid, x * scale, y * scale)
        weight += 0.55**octave
    return np.clip((total / weight - 0.5) * 1.9 + 0.5, 0.0, 1.0)


def _tiled(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth interpolation in a repeating (n, n) grid."""
    n = len(grid)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - x0, y - y0
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    left = grid[y0 % n, x0 % n] * (1 - v) + grid[(y0 + 1) % n, x0 % n] * v
    right = grid[y0 % n, (x0 + 1) % n] * (1 - v) + grid[(y0 + 1) % n, (x0 + 1) % n] * v
    return left * (1 - u) + right * u


def surface_noise() -> np.ndarray:
    """(NOISE_SIZE, NOISE_SIZE) float32 around 0.5, tileable: grain of asphalt, grass and leaves."""
    raw = np.random.default_rng(7).random((NOISE_SIZE, NOISE_SIZE))
    soft = (raw + np.roll(raw, 1, 0) + np.roll(raw, 1, 1) + np.roll(raw, (1, 1), (0, 1))) / 4
    return (soft * 1.6 - 0.3).astype(np.float32)


def tone_curve() -> np.ndarray:
    """(CURVE_STEPS,) uint8: filmic curve (Narkowicz's fit of ACES), then the display's gamma."""
    x = np.linspace(0.0, CURVE_RANGE, CURVE_STEPS) * EXPOSURE
    y = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return (255.0 * np.clip(y, 0.0, 1.0) ** (1.0 / 2.2) + 0.5).astype(np.uint8)
