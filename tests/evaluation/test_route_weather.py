"""Weather along a route, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autovla_core.evaluation.route_file import WEATHER_FIELDS, Route
from autovla_core.evaluation.route_weather import ChangingWeather, changes, weather_at

CLEAR, RAIN = {"cloudiness": 10.0, "sun_altitude_angle": 60.0}, {"cloudiness": 90.0, "precipitation": 40.0}


def route(*weathers) -> Route:
    return Route("0", "Havenbrook", ((0.0, 0.0, 0.0), (9.0, 0.0, 0.0)), tuple(weathers))


def test_only_weathers_that_differ_change():
    assert (
        not changes(route()) and not changes(route((0.0, CLEAR))) and not changes(route((0.0, CLEAR), (100.0, CLEAR)))
    )
    assert changes(route((0.0, CLEAR), (100.0, RAIN)))


@pytest.mark.parametrize(
    ("percent", "cloudiness", "precipitation", "sun"),
    [(0.0, 10.0, 0.0, 60.0), (25.0, 30.0, 10.0, 45.0), (50.0, 50.0, 20.0, 30.0), (100.0, 90.0, 40.0, 0.0)],
)
def test_between_two_entries_every_field_is_linear(percent, cloudiness, precipitation, sun):
    found = weather_at(route((0.0, CLEAR), (100.0, RAIN)), percent)
    assert set(found) == set(WEATHER_FIELDS)
    assert [found[n] for n in ("cloudiness", "precipitation", "sun_altitude_angle")] == pytest.approx(
        [cloudiness, precipitation, sun]
    )


def test_entries_may_stand_in_any_order_and_the_outer_ones_last():
    mixed = route((80.0, RAIN), (20.0, CLEAR), (50.0, {"cloudiness": 0.0}))
    cloudiness = [weather_at(mixed, percent)["cloudiness"] for percent in (0.0, 20.0, 35.0, 50.0, 65.0, 80.0, 100.0)]
    assert cloudiness == pytest.approx([10.0, 10.0, 5.0, 0.0, 45.0, 90.0, 90.0])


def test_the_world_is_told_once_for_each_percent():
    told = []
    completion = SimpleNamespace(percent=0.0)
    scenery = SimpleNamespace(
        route=route((0.0, CLEAR), (100.0, RAIN)),
        judge=SimpleNamespace(completion=completion),
        session=SimpleNamespace(world=SimpleNamespace(set_weather=lambda w: told.append(w.cloudiness))),
    )
    weather = ChangingWeather()
    weather.begin(scenery)
    for completion.percent in (0.0, 0.4, 1.2, 1.9, 50.0, 50.0):
        weather.tick(SimpleNamespace())
    assert told == pytest.approx([10.0, 10.8, 50.0])
