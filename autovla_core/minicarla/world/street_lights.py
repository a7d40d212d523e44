"""The street lamps of a town: on when the sun is below the horizon, unless a client said otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from autovla_core.minicarla.world.weather import Weather

STREET = 2  # CARLA's LightGroup
INTENSITY = 1000.0  # of a lamp that nobody has set, in the unit of those who set it
COLOR = (255, 214, 150)


@dataclass(frozen=True)
class Lamp:
    """What a client may set of one lamp; ``active`` None: as the sun says."""

    intensity: float = INTENSITY
    group: int = STREET
    color: tuple[int, int, int] = COLOR
    active: bool | None = None


@dataclass(frozen=True)
class StreetLights:
    """The lamps that were set, by number from 1 on; all others are as built. Replaced, never changed."""

    set_lamps: Mapping[int, Lamp] = field(default_factory=dict)

    def lamp(self, number: int, weather: Weather) -> Lamp:
        """A lamp as it is now: ``active`` is a bool."""
        lamp = self.set_lamps.get(number, Lamp())
        return lamp if lamp.active is not None else replace(lamp, active=is_dark(weather))

    def lamps(self, count: int, weather: Weather) -> list[Lamp]:
        """All lamps of a town as they are now."""
        return [self.lamp(number, weather) for number in range(1, count + 1)]

    def with_lamps(self, lamps: Mapping[int, Lamp]) -> StreetLights:
        """With these lamps set."""
        return StreetLights({**self.set_lamps, **lamps})

    def by_the_sun(self) -> StreetLights:
        """All lamps follow the sun again; colours and intensities stay."""
        return StreetLights({number: replace(lamp, active=None) for number, lamp in self.set_lamps.items()})

    def held(self, numbers: Iterable[int], weather: Weather) -> StreetLights:
        """These lamps stay as they are now, whatever the sun does."""
        return self.with_lamps({number: self.lamp(number, weather) for number in numbers})


def is_dark(weather: Weather) -> bool:
    """Whether lamps that nobody has set are on."""
    return weather.sun_altitude_angle < 0.0
