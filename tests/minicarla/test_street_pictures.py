"""One street of a town in pictures: tags and colours share their edges, and every preset of the client shows."""

from __future__ import annotations

import dataclasses

import carla
import numpy as np
import pytest

from autovla_core.minicarla.handlers import episode
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.sensors.sky import light_of
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.world.town import Town, load_town
from autovla_core.minicarla.world.weather import Weather

SIZE_PX, FOV_DEG, EYE_M = (240, 160), 90.0, 1.6
FIELDS = [field.name for field in dataclasses.fields(Weather)]
PRESETS = {
    name: [getattr(getattr(carla.WeatherParameters, name), field) for field in FIELDS]
    for name in dir(carla.WeatherParameters)
    if name[0].isupper() and name != "Default"  # which stands for the level's own weather, all fields -1
}
NAMED = {f"{sky}{hour}" for sky in ("Clear", "Cloudy", "Wet", "WetCloudy", "SoftRain", "HardRain")
         for hour in ("Noon", "Sunset")} | {"MidRainyNoon", "MidRainSunset"}  # fmt: skip


@pytest.fixture(scope="module")
def town() -> Town:
    return load_town("Pennyfield")


@pytest.fixture(scope="module")
def renderer(town: Town) -> Renderer:
    made = Renderer(town.mesh, threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def session() -> Session:
    """A client of a simulation whose cameras are never asked for."""
    return Session(Simulation("Pennyfield", 0, lambda town: None, lambda: 0.0))


def picture(renderer: Renderer, town: Town, kind: str = "rgb", weather: Weather | None = None) -> np.ndarray:
    """From the middle of the longest lane, along it."""
    lane = max(town.lanes, key=lambda lane: lane.s[-1])
    middle = len(lane.s) // 2
    renderer.set_weather(weather or Weather())
    eye = lane.points[middle] + (0.0, 0.0, EYE_M)
    return renderer.render(kind, *SIZE_PX, FOV_DEG, eye, np.array([0.0, float(lane.yaw_deg[middle]), 0.0]))


def steps(image: np.ndarray) -> np.ndarray:
    """Largest change of a channel from each pixel to its right and its lower neighbour, (H - 1, W - 1)."""
    values = image.astype(int)
    right, below = values[:-1, 1:] - values[:-1, :-1], values[1:, :-1] - values[:-1, :-1]
    return np.maximum(np.abs(right).max(-1), np.abs(below).max(-1))


def test_semantic_edges_lie_on_the_edges_of_the_colours(renderer: Renderer, town: Town) -> None:
    tags = picture(renderer, town, "semantic_segmentation")[..., 2:3]
    change = steps(picture(renderer, town)[..., :3])
    borders = steps(tags) > 0
    assert borders.sum() > 500 and len(np.unique(tags)) >= 6
    away = ~borders
    for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
        away &= ~np.roll(borders, shift, axis)
    assert np.median(change[borders]) > 8 * np.median(change[away])
    assert change[borders].mean() > 5 * change[away].mean()
    shifted = np.roll(borders, 6, axis=1)
    assert change[borders].mean() > 2 * change[shifted].mean(), "the same edges six pixels aside lie on nothing"


def test_the_client_has_the_presets_that_are_tested() -> None:
    assert len(NAMED) == 14 and set(PRESETS) >= NAMED


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_of_the_client_is_kept_and_shown(
    name: str, session: Session, renderer: Renderer, town: Town
) -> None:
    episode.set_weather(session, PRESETS[name])
    weather = session.world.weather
    assert [getattr(weather, field) for field in FIELDS] == pytest.approx(PRESETS[name])
    light, image = light_of(weather), picture(renderer, town, weather=weather)
    assert (light.night > 0.9) == name.endswith("Night")
    assert (light.wet > 0) == (weather.wetness > 0 or weather.precipitation > 0)
    dry = dataclasses.replace(weather, precipitation=0.0)
    streaks = picture(renderer, town, weather=dry).tobytes() != image.tobytes()
    assert streaks == (weather.precipitation > 0)
    if name.endswith("Night"):
        noon = dataclasses.replace(weather, sun_altitude_angle=60.0)
        assert image[..., :3].mean() < 0.5 * picture(renderer, town, weather=noon)[..., :3].mean()


def test_what_is_stored_and_not_drawn_changes_no_byte(renderer: Renderer, town: Town) -> None:
    """docs/minicarla.md lists these fields."""
    foggy = Weather(fog_density=30.0)
    other = dataclasses.replace(
        foggy, wind_intensity=90.0, fog_distance=40.0, fog_falloff=2.0, scattering_intensity=9.0,
        mie_scattering_scale=1.0, rayleigh_scattering_scale=1.0, dust_storm=80.0,
    )  # fmt: skip
    assert picture(renderer, town, weather=foggy).tobytes() == picture(renderer, town, weather=other).tobytes()
