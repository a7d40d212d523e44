"""The real client: carla.LightManager and the street lamps."""

from __future__ import annotations

from collections.abc import Callable

import carla

MOST_TICKS = 20
DAY, NIGHT = (carla.WeatherParameters(sun_altitude_angle=degrees) for degrees in (45.0, -30.0))


def ticks_until(world: carla.World, holds: Callable[[], bool]) -> bool:
    """Tick until something holds: the manager speaks with the server between ticks."""
    for _ in range(MOST_TICKS):
        world.tick()
        if holds():
            return True
    return False


def test_a_client_lists_switches_and_colours_street_lamps(start_minicarla, synchronous) -> None:
    server = start_minicarla("--town", "Pennyfield")
    world = server.client().get_world()
    synchronous(world)
    manager = world.get_lightmanager()
    assert ticks_until(world, lambda: len(manager.get_all_lights()) > 20)
    lights = manager.get_all_lights(carla.LightGroup.Street)
    assert len(lights) == len(manager.get_all_lights()) and not manager.get_all_lights(carla.LightGroup.Building)
    assert not any(light.is_on for light in lights) and len({light.id for light in lights}) == len(lights)
    ground = [world.ground_projection(light.location, 20.0).location.z for light in lights[:5]]
    assert all(5.0 < light.location.z - z < 8.0 for light, z in zip(lights, ground))

    world.set_weather(NIGHT)
    assert ticks_until(world, lambda: len(manager.get_turned_on_lights()) == len(lights))

    manager.turn_off(lights[:3])
    manager.set_color(lights[4:5], carla.Color(0, 0, 255))
    lights[5].set_intensity(250.0)
    assert ticks_until(world, lambda: len(manager.get_turned_off_lights()) == 3)
    world.tick()

    other = server.client().get_world()
    theirs = other.get_lightmanager()
    assert ticks_until(other, lambda: len(theirs.get_turned_off_lights()) == 3)
    by_id = {light.id: light for light in theirs.get_all_lights()}
    assert not any(by_id[light.id].is_on for light in lights[:3]) and by_id[lights[3].id].is_on
    assert (by_id[lights[4].id].color.b, by_id[lights[4].id].color.r) == (255, 0)
    assert by_id[lights[5].id].intensity == 250.0

    manager.set_day_night_cycle(True)
    assert ticks_until(other, lambda: not theirs.get_turned_off_lights())
    world.set_weather(DAY)
    assert ticks_until(other, lambda: not theirs.get_turned_on_lights())
