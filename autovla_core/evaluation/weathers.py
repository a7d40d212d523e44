"""Weathers to draw from: CARLA's presets, and mixtures of sun, cloud and fog, mostly by day."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.route_file import WEATHER_FIELDS

PRESETS = (
    "ClearNoon",
    "CloudyNoon",
    "WetNoon",
    "WetCloudyNoon",
    "SoftRainNoon",
    "MidRainyNoon",
    "HardRainNoon",
    "ClearSunset",
    "CloudySunset",
    "WetSunset",
    "WetCloudySunset",
    "SoftRainSunset",
    "MidRainSunset",  # CARLA's own spelling
    "HardRainSunset",
)


def preset(name: str) -> Mapping[str, float]:
    """The fields of one of ``PRESETS``."""
    parameters = getattr(carla.WeatherParameters, name)
    return {field: round(float(getattr(parameters, field)), 4) for field in WEATHER_FIELDS}


def random_weather(rng: np.random.Generator) -> Mapping[str, float]:
    """A preset in half of the cases, else a mixture; one in ten mixtures has a low sun."""
    if rng.random() < 0.5:
        return preset(PRESETS[int(rng.integers(len(PRESETS)))])
    low_sun = rng.random() < 0.1
    drawn = {
        "cloudiness": rng.uniform(0, 100),
        "sun_altitude_angle": rng.uniform(3, 15) if low_sun else rng.uniform(15, 85),
        "sun_azimuth_angle": rng.uniform(0, 360),
        "fog_density": rng.uniform(0, 25) if rng.random() < 0.3 else rng.uniform(0, 4),
        "wetness": rng.uniform(0, 80) if rng.random() < 0.3 else 0.0,
    }
    return {**preset("ClearNoon"), **{name: round(float(value), 2) for name, value in drawn.items()}}
