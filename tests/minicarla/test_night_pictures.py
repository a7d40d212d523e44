"""What shines at night: street lamps and the pools below them, and the blue lights of emergency vehicles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.minicarla.sensors import sirens
from autovla_core.minicarla.sensors.appearance import glows_of, instances_of
from autovla_core.minicarla.sensors.meshes import templates
from autovla_core.minicarla.sensors.renderer import Renderer
from autovla_core.minicarla.sensors.street_lamps import POOL_M, bake, fall
from autovla_core.minicarla.world.mesh import Material
from autovla_core.minicarla.world.street_lights import Lamp, StreetLights
from autovla_core.minicarla.world.town import load_town
from autovla_core.minicarla.world.weather import Weather
from autovla_core.minicarla.world.world import World

SIZE_PX, FOV_DEG = (160, 120), 70.0
NIGHT = Weather(sun_altitude_angle=-40.0, cloudiness=0.0)
DARK = StreetLights({number: Lamp(active=False) for number in range(1, 200)})
HERE, LEVEL = np.array([0.0, 0.0, 0.3]), np.zeros(3)
POLICE, MKZ = "vehicle.dodge.charger_police_2020", "vehicle.lincoln.mkz_2020"


@pytest.fixture(scope="module")
def world() -> World:
    return World(load_town("Pennyfield"))


@pytest.fixture(scope="module")
def renderer(world: World) -> Renderer:
    made = Renderer(world.town.mesh, threads=1)
    yield made
    made.close()


def picture(renderer: Renderer, world: World, weather: Weather, lights: StreetLights, lamp: int = 0) -> np.ndarray:
    """Straight down, from a little beside a lamp: its head and its pool; (H, W, 3)."""
    world.weather, world.street_lights = weather, lights
    renderer.update(world)
    eye = world.town.lamps[lamp] + (0.6, 0.0, 3.0)
    return renderer.render("rgb", *SIZE_PX, FOV_DEG, eye, np.array([-90.0, 0.0, 0.0]))[..., :3].astype(int)


def test_a_lamp_throws_less_light_the_further_away_and_none_far_away() -> None:
    away = np.linspace(0.0, POOL_M + 5.0, 40)
    assert fall(away)[0] == 1.0 and (np.diff(fall(away)) <= 0).all() and fall(away)[away >= POOL_M].max() == 0.0
    assert fall(np.array([6.4]))[0] == pytest.approx(2.0**-1.5)


def test_the_map_of_pools_holds_every_lamp_in_its_colour_and_strength() -> None:
    places = np.array([(10.0, 5.0, 7.0), (50.0, -20.0, 9.0)])
    corner, pools = bake(places, [Lamp(color=(255, 255, 255)), Lamp(color=(255, 0, 0), intensity=500.0)])
    first, second = (pools[tuple((place[:2] - corner).astype(int)[::-1])] for place in places)
    assert first[0] == first[1] == first[2] > 0 and first[3] == 7.0
    assert second[0] == pytest.approx(first[0] / 2) and second[1] == 0.0 and second[3] == 9.0
    assert not pools[0].any() and not pools[:, -1].any(), "the rim is dark"


def test_lamps_shine_at_night_and_light_the_ground(renderer: Renderer, world: World) -> None:
    off, on = picture(renderer, world, NIGHT, DARK), picture(renderer, world, NIGHT, StreetLights())
    assert on.max() > 240 > 200 > off.max(), "the head"
    assert np.median(on.mean(-1)) > 1.6 * np.median(off.mean(-1)), "the pool"
    assert np.median(on[..., 2]) > np.median(on[..., 0]), "in a warm colour"


def test_one_lamp_can_be_put_out(renderer: Renderer, world: World) -> None:
    dark = StreetLights({1: Lamp(active=False)})
    one, other = (picture(renderer, world, NIGHT, dark, lamp=lamp) for lamp in (0, len(world.town.lamps) - 1))
    assert one.max() < 200 and other.max() > 240


def test_by_day_they_are_what_they_were_also_after_a_night(renderer: Renderer, world: World) -> None:
    mesh = world.town.mesh
    plain = np.where(mesh.materials == Material.LAMP_HEAD, int(Material.FLAT), mesh.materials).astype(np.uint8)
    without = Renderer(dataclasses.replace(mesh, materials=plain), threads=1)
    picture(renderer, world, NIGHT, StreetLights())
    by_day = [picture(each, world, Weather(), StreetLights()).tobytes() for each in (renderer, without)]
    without.close()
    assert by_day[0] == by_day[1]


def lit_by(type_id: str, state: int, time_s: float) -> tuple[list, int]:
    """Blinking levels of the bars that a vehicle shows, and how many glows there are."""
    world = World(load_town("Pennyfield"))
    before = len(glows_of(world))
    vehicle = world.spawn(type_id, {}, HERE, LEVEL)
    vehicle.light_state, world.time = state, time_s
    bars = [instance for instance in instances_of(world) if instance.mesh.startswith("siren:")]
    assert all(bar.mesh in templates() and bar.actor_id == vehicle.id for bar in bars)
    return [bar.lamps[3:] for bar in bars], len(glows_of(world)) - before


@pytest.mark.parametrize("state", [sirens.SPECIAL1, sirens.SPECIAL2, sirens.SPECIAL1 | 3])
def test_a_siren_blinks_blue_and_red_in_turn(state: int) -> None:
    assert lit_by(POLICE, state, 0.1) == ([(3.5, 0.0)], 2)
    assert lit_by(POLICE, state, 0.3) == ([(0.0, 3.5)], 2)


def test_without_a_siren_or_without_it_on_there_is_no_bar() -> None:
    assert lit_by(POLICE, 0xF7, 0.1) == ([], 0)  # all lamps but those of the brakes
    assert lit_by(MKZ, sirens.SPECIAL1, 0.1) == ([], 0)
