"""Calls about street lamps: carla.LightManager's view of them."""

from __future__ import annotations

from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world.street_lights import Lamp

FIELDS, COLOR_FIELDS = 6, 3
BRIGHTEST = 1e6


def query(session: Session, endpoint: object) -> list:
    """LightState of every lamp: id, location, intensity, group, colour, active."""
    world = session.world
    lamps = world.street_lights.lamps(len(world.town.lamps), world.weather)
    return [
        [number, values.numbers(place), lamp.intensity, lamp.group, list(lamp.color), lamp.active]
        for number, (place, lamp) in enumerate(zip(world.town.lamps, lamps), start=1)
    ]


def update(session: Session, endpoint: object, states: object, discard: object = False) -> None:
    """Set lamps; those that the town does not have are ignored, as is ``discard``, which is the client's own affair."""
    count = len(session.world.town.lamps)
    wanted = dict(_decoded(state) for state in values.fields_of(states, 0, "list of LightState"))
    known = {number: lamp for number, lamp in wanted.items() if 1 <= number <= count}
    session.world.street_lights = session.world.street_lights.with_lamps(known)


def follow_the_sun(session: Session, endpoint: object, active: object) -> None:
    """CARLA's day and night cycle: with it lamps follow the sun; without, they stay as they are now."""
    world = session.world
    if active:
        world.street_lights = world.street_lights.by_the_sun()
    else:
        world.street_lights = world.street_lights.held(range(1, len(world.town.lamps) + 1), world.weather)


def _decoded(state: object) -> tuple[int, Lamp]:
    number, _, intensity, group, color, active = values.fields_of(state, FIELDS, "LightState")[:FIELDS]
    channels = values.fields_of(color, COLOR_FIELDS, "colour of a LightState")[:COLOR_FIELDS]
    red, green, blue = (min(max(values.integer(channel, "colour of a LightState"), 0), 255) for channel in channels)
    brightness = min(max(values.number(intensity, "intensity of a LightState"), 0.0), BRIGHTEST)
    group = values.integer(group, "group of a LightState", 0, 255)
    return values.unsigned(number, "id of a LightState"), Lamp(brightness, group, (red, green, blue), bool(active))
