"""Weather that changes along a route, as its file says: linear in the percentage of the route that is done."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.route_file import WEATHER_FIELDS, Route
from autovla_core.evaluation.watching import Scenery, TickFacts, Watcher

STEP_PERCENT = 1.0  # finer steps are not seen, and each sun that moves costs new shadows


def changes(route: Route) -> bool:
    """Whether the file names weathers that differ."""
    return any(fields != route.weathers[0][1] for _, fields in route.weathers)


def weather_at(route: Route, percent: float) -> Mapping[str, float]:
    """All fields after ``percent`` of a route with weathers; before the first and after the last entry it stays.

    A field that an entry does not name has CARLA's default there. The azimuth is no angle here: 350 to 10 degrees go
    through 180, as officially.
    """
    entries = sorted(route.weathers, key=lambda entry: entry[0])
    places = [place for place, _ in entries]
    named = [carla.WeatherParameters(**{name: float(value) for name, value in fields.items()}) for _, fields in entries]
    return {
        field: float(np.interp(percent, places, [getattr(parameters, field) for parameters in named]))
        for field in WEATHER_FIELDS
    }


class ChangingWeather(Watcher):
    """Sets the weather whenever another percent of the route is done."""

    def begin(self, scenery: Scenery) -> None:
        """The weather at the start."""
        self._scenery, self._shown = scenery, -1.0
        self._show(0.0)

    def tick(self, facts: TickFacts) -> None:
        """Keep it in step with the completion."""
        self._show(STEP_PERCENT * (self._scenery.judge.completion.percent // STEP_PERCENT))

    def _show(self, percent: float) -> None:
        if percent != self._shown:
            self._shown = percent
            fields = weather_at(self._scenery.route, percent)
            self._scenery.session.world.set_weather(carla.WeatherParameters(**fields))
