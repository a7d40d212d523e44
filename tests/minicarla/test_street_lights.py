"""Street lamps: where they hang, when they shine, and what a client may set of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.minicarla.handlers import street_lights as calls
from autovla_core.minicarla.sensors.snapshot import MAP_CHANGED, STREET_LIGHTS_CHANGED, Snapshots
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire.values import WireValueError
from autovla_core.minicarla.world.mesh import Material
from autovla_core.minicarla.world.scenery import LAMP_HEIGHT_M
from autovla_core.minicarla.world.street_lights import Lamp, StreetLights
from autovla_core.minicarla.world.town import load_town
from autovla_core.minicarla.world.weather import Weather
from autovla_core.minicarla.world.world import World

DAY, NIGHT = Weather(sun_altitude_angle=30.0), Weather(sun_altitude_angle=-20.0)
BLUE = [0, 0, 255]


@pytest.fixture
def session() -> Session:
    """A client of Pennyfield, whose cameras are never asked for."""
    return Session(Simulation("Pennyfield", 0, lambda town: None, lambda: 0.0))


def state(number: int, active: bool, intensity: float = 500.0) -> list:
    return [number, [0.0, 0.0, 0.0], intensity, 2, BLUE, active]


def test_every_lamp_hangs_at_the_head_of_its_post() -> None:
    town = load_town("Pennyfield")
    heads = town.mesh.triangles[town.mesh.materials == Material.LAMP_HEAD].reshape(-1, 36, 3)
    assert len(heads) == len(town.lamps) > 20
    np.testing.assert_allclose(heads.mean(1)[:, :2] * (1.0, -1.0), town.lamps[:, :2], atol=1e-3)
    below = [z - town.height(x, y) for x, y, z in town.lamps]
    assert min(below) > LAMP_HEIGHT_M - 0.6 and max(below) < LAMP_HEIGHT_M + 0.4


def test_lamps_follow_the_sun_until_they_are_set() -> None:
    lights = StreetLights()
    assert [lights.lamp(1, weather).active for weather in (DAY, NIGHT)] == [False, True]
    lights = lights.with_lamps({1: Lamp(active=True), 2: Lamp(active=False, intensity=3.0)})
    assert [lamp.active for lamp in lights.lamps(3, DAY)] == [True, False, False]
    assert [lamp.active for lamp in lights.lamps(3, NIGHT)] == [True, False, True]
    again = lights.by_the_sun()
    assert [lamp.active for lamp in again.lamps(3, NIGHT)] == [True, True, True] and again.lamp(2, DAY).intensity == 3.0


def test_lamps_that_are_held_stay_as_they_are_at_dawn() -> None:
    held = StreetLights().held([1, 2], NIGHT)
    assert [lamp.active for lamp in held.lamps(3, DAY)] == [True, True, False]


def test_a_client_sees_all_lamps_and_sets_some(session: Session) -> None:
    world = session.world
    world.weather = NIGHT
    before = calls.query(session, "")
    assert len(before) == len(world.town.lamps)
    assert before[0] == [1, world.town.lamps[0].tolist(), 1000.0, 2, [255, 214, 150], True]
    calls.update(session, "", [state(2, False), state(99_999, True)], True)
    after = calls.query(session, "")
    assert after[1] == [2, before[1][1], 500.0, 2, BLUE, False] and after[0] == before[0]
    assert list(world.street_lights.set_lamps) == [2], "an unknown lamp is forgotten"


def test_without_the_day_and_night_cycle_lamps_stay(session: Session) -> None:
    session.world.weather = NIGHT
    calls.follow_the_sun(session, "", False)
    session.world.weather = DAY
    assert all(lamp[-1] for lamp in calls.query(session, ""))
    calls.follow_the_sun(session, "", True)
    assert not any(lamp[-1] for lamp in calls.query(session, ""))


@pytest.mark.parametrize("wrong", [7, [[1]], [[1, [0, 0, 0], "bright", 2, BLUE, True]], [[-1, 0, 1.0, 2, BLUE, True]]])
def test_nonsense_is_refused_and_changes_nothing(session: Session, wrong: object) -> None:
    with pytest.raises(WireValueError):
        calls.update(session, "", wrong, False)
    assert session.world.street_lights == StreetLights()


def test_clients_are_told_when_lamps_change_and_only_then() -> None:
    world = World(load_town("Pennyfield"))
    told = []

    def tick() -> None:
        world.step(0.05)
        told.append(world.lights_changed)

    tick()
    world.weather = dataclasses.replace(DAY, cloudiness=50.0)
    tick()
    world.weather = NIGHT
    tick()
    tick()
    world.street_lights = world.street_lights.with_lamps({3: Lamp(active=False)})
    tick()
    tick()
    assert told == [False, False, True, False, True, False]
    flags = [
        Snapshots().encode(1, [], 0.05, 0.0, *changed)[-4:]
        for changed in ((True, False), (False, True), (False, False))
    ]
    assert [flag[0] for flag in flags] == [MAP_CHANGED | STREET_LIGHTS_CHANGED, STREET_LIGHTS_CHANGED, 0]
