"""Blueprints, weather, settings and lamps read as they do in CARLA. One row, one check."""

from __future__ import annotations

from collections.abc import Callable

import carla
import pytest

Check = Callable[[object], None]
MKZ = "vehicle.lincoln.mkz_2020"


def library_has(kind: str, at_least: int) -> Check:
    def check(stage) -> None:
        assert len(stage.library.filter(kind)) >= at_least

    return check


def library_has_of_type(base_type: str, at_least: int) -> Check:
    def check(stage) -> None:
        assert len(stage.library.filter_by_attribute("base_type", base_type)) >= at_least

    return check


def attribute_is(type_id: str, name: str, value: object) -> Check:
    """A blueprint's attribute as scripts read it."""

    def check(stage) -> None:
        attribute = stage.library.find(type_id).get_attribute(name)
        read = {bool: attribute.as_bool, int: attribute.as_int, float: attribute.as_float, str: attribute.as_str}
        assert read[type(value)]() == pytest.approx(value) if type(value) is float else read[type(value)]() == value

    return check


def weather_field(name: str, value: float) -> Check:
    def check(stage) -> None:
        weather = stage.world.get_weather()
        setattr(weather, name, value)
        stage.world.set_weather(weather)
        stage.tick()
        assert getattr(stage.world.get_weather(), name) == pytest.approx(value)

    return check


def preset(name: str) -> Check:
    def check(stage) -> None:
        wanted = getattr(carla.WeatherParameters, name)
        stage.world.set_weather(wanted)
        stage.tick()
        assert stage.world.get_weather() == wanted

    return check


def setting(name: str, value: object) -> Check:
    def check(stage) -> None:
        settings = stage.world.get_settings()
        before = getattr(settings, name)
        setattr(settings, name, value)
        stage.world.apply_settings(settings)
        try:
            assert getattr(stage.world.get_settings(), name) == value
        finally:
            setattr(settings, name, before)
            stage.world.apply_settings(settings)

    return check


def light_bit(name: str) -> Check:
    def check(stage) -> None:
        car, state = stage.car(), getattr(carla.VehicleLightState, name)
        car.set_light_state(carla.VehicleLightState(state))
        stage.tick()
        assert int(car.get_light_state()) == int(state)

    return check


CHECKS: dict[str, Check] = {
    "at least 20 vehicles": library_has("vehicle.*", 20),
    "at least 2 motorbikes": library_has_of_type("motorcycle", 2),
    "at least 10 walkers": library_has("walker.pedestrian.*", 10),
    "at least 10 sensors": library_has("sensor.*", 10),
    "at least 5 props": library_has("static.prop.*", 5),
    "the walkers' mind": library_has("controller.ai.walker", 1),
    "a car has four wheels": attribute_is(MKZ, "number_of_wheels", 4),
    "a motorbike has two": attribute_is("vehicle.kawasaki.ninja", "number_of_wheels", 2),
    "a car is a car": attribute_is(MKZ, "base_type", "car"),
    "a bicycle is a bicycle": attribute_is("vehicle.diamondback.century", "base_type", "bicycle"),
    "its generation": attribute_is(MKZ, "generation", 2),
    "lights or none": attribute_is(MKZ, "has_lights", True),
    "role of a vehicle": attribute_is(MKZ, "role_name", "autopilot"),
    "sticky control": attribute_is(MKZ, "sticky_control", True),
    "role of a walker": attribute_is("walker.pedestrian.0001", "role_name", "pedestrian"),
    "width of a picture": attribute_is("sensor.camera.rgb", "image_size_x", 800),
    "field of view": attribute_is("sensor.camera.rgb", "fov", 90.0),
    "gamma": attribute_is("sensor.camera.rgb", "gamma", 2.2),
    "channels of a lidar": attribute_is("sensor.lidar.ray_cast", "channels", 32),
    "points of a radar": attribute_is("sensor.other.radar", "points_per_second", 1500),
    "cloudiness": weather_field("cloudiness", 33.0),
    "precipitation": weather_field("precipitation", 44.0),
    "deposits": weather_field("precipitation_deposits", 55.0),
    "wind": weather_field("wind_intensity", 12.0),
    "sun azimuth": weather_field("sun_azimuth_angle", 120.0),
    "sun altitude": weather_field("sun_altitude_angle", -10.0),
    "fog density": weather_field("fog_density", 20.0),
    "fog distance": weather_field("fog_distance", 5.0),
    "wetness": weather_field("wetness", 80.0),
    "dust storm": weather_field("dust_storm", 3.0),
    **{f"preset {name}": preset(name) for name in ("ClearNoon", "HardRainSunset", "WetCloudyNight", "SoftRainNoon")},
    "no rendering": setting("no_rendering_mode", True),
    "substeps": setting("max_substeps", 5),
    "culling distance": setting("max_culling_distance", 50.0),
    "deterministic ragdolls": setting("deterministic_ragdolls", False),
    **{f"light {name}": light_bit(name) for name in ("Position", "LowBeam", "Brake", "RightBlinker", "Reverse", "Fog")},
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_answer_is_that_of_carla(stage, name: str) -> None:
    CHECKS[name](stage)
