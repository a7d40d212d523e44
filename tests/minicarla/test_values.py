"""CARLA's structs: orders, lengths, and what a stranger may not send."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.wire.values import WireValueError
from autovla_core.minicarla.world.actor import Actor, VehicleControl
from autovla_core.minicarla.world.physics import default_physics
from autovla_core.minicarla.world.weather import Weather

SETTINGS = [True, False, [True, 0.05], True, 0.01, 10, 0.0, True, 3000.0, 2000.0, True]
DESCRIPTION = [13, "vehicle.lincoln.mkz_2020", [["role_name", 4, "hero"], ["color", 5, "1,2,3"]]]


def test_an_actor_without_a_stream_has_an_empty_token() -> None:
    wire = values.actor(Actor(7, "vehicle.audi.tt", 3, {"role_name": "x"}, {"role_name": 4}), 2001)
    assert wire[0] == 7
    assert wire[2] == [3, "vehicle.audi.tt", [["role_name", 4, "x"]]]
    assert wire[3][3] == 7, "the fourth field of a box is its actor"
    assert wire[5] == b""


def test_an_actor_with_a_stream_has_24_bytes_of_token() -> None:
    assert len(values.actor(Actor(7, "sensor.camera.rgb", stream_id=5), 2001)[5]) == 24


def test_settings_survive_the_round_trip() -> None:
    assert values.settings(values.decode_settings(SETTINGS)) == SETTINGS


@pytest.mark.parametrize("delta", [[False], [True, 0.0]], ids=["unset", "zero"])
def test_no_fixed_delta_is_none(delta: list) -> None:
    decoded = values.decode_settings([*SETTINGS[:2], delta, *SETTINGS[3:]])
    assert decoded["fixed_delta_seconds"] is None
    assert values.settings(decoded)[2] == [False]


@pytest.mark.parametrize("attribute", [["x" * 4097, 4, "1"], ["role_name", 4, "x" * 4097]])
def test_an_attribute_is_refused_and_not_cut(attribute: list) -> None:
    with pytest.raises(WireValueError, match="may have 4096 characters; found 4097"):
        values.decode_description([13, "vehicle.audi.tt", [attribute]])


def test_weather_has_14_fields_and_survives_the_round_trip() -> None:
    weather = Weather(precipitation=80.0, dust_storm=1.0)
    wire = values.weather(weather)
    assert len(wire) == 14
    assert values.decode_weather(wire) == weather


def test_a_vehicle_control_is_clipped_to_what_pedals_can_do() -> None:
    decoded = values.decode_vehicle_control([1.7, -3.0, -0.2, False, True, False, -1])
    assert decoded == VehicleControl(1.0, -1.0, 0.0, False, True, False, -1)


@pytest.mark.parametrize(
    ("decode", "wire"),
    [
        (values.decode_vehicle_control, [0.1, 0.0]),
        (values.decode_vehicle_control, [math.nan, 0.0, 0.0, False, False, False, 0]),
        (values.decode_vehicle_control, ["full", 0.0, 0.0, False, False, False, 0]),
        (values.decode_vehicle_control, None),
        (values.decode_walker_control, [[1.0, 0.0], 1.0, False]),
        (values.decode_pose, [[1.0, 2.0, 3.0]]),
        (values.decode_pose, [[1.0, 2.0, math.inf], [0.0, 0.0, 0.0]]),
        (values.decode_vector, "abc"),
        (values.decode_description, [1, 5, []]),
        (values.decode_description, [1, "x", [["a", 4]]]),
        (values.decode_weather, [0.0] * 13),
        (values.decode_settings, SETTINGS[:-1]),
        (values.decode_settings, [*SETTINGS[:2], [True, -1.0], *SETTINGS[3:]]),
        (values.decode_physics, []),
        (values.decode_description, [2**63, "x", []]),
        (values.decode_description, [-1, "x", []]),
        (values.decode_description, [1, "x", [["a", 256, ""]]]),
        (values.decode_settings, [*SETTINGS[:5], 2**31, *SETTINGS[6:]]),
    ],
)
def test_a_malformed_struct_is_an_error_that_says_so(decode: object, wire: object) -> None:
    with pytest.raises(WireValueError):
        decode(wire)


def test_an_optional_and_a_variant_open_up() -> None:
    assert values.optional([False], "parent") is None
    assert values.optional([True, 7], "parent") == 7
    assert values.variant([[2, [7, "x"]]], "Command") == (2, [7, "x"])


def test_a_description_keeps_values_and_types_of_its_attributes() -> None:
    decoded = values.decode_description(DESCRIPTION)
    assert decoded.attributes == {"role_name": "hero", "color": "1,2,3"}
    assert decoded.attribute_types == {"role_name": 4, "color": 5}


def test_physics_has_17_fields_and_survives_the_round_trip() -> None:
    physics = default_physics("car", 1845.0, 2.85, 0.918)
    wire = values.physics(physics, np.array([10.0, 20.0, 0.5]), np.array([0.0, 90.0, 0.0]))
    assert len(wire) == 17
    assert [len(wheel) for wheel in wire[15]] == [10] * 4
    decoded = values.decode_physics(wire)
    for wheel in physics["wheels"]:
        del wheel["position"]  # the vehicle's own; a client's answer is out of date
    assert decoded == physics


@pytest.mark.parametrize("field", ["torque_curve", "steering_curve", "forward_gears"])
def test_a_curve_with_too_many_points_is_refused_and_not_cut(field: str) -> None:
    physics = default_physics("car", 1845.0, 2.85, 0.918)
    wire = values.physics({**physics, field: physics[field][:1] * 1001}, np.zeros(3), np.zeros(3))
    with pytest.raises(WireValueError, match="may have 1000 entries; found 1001"):
        values.decode_physics(wire)


@pytest.mark.parametrize("name", [*values.PHYSICS_NUMBERS, *values.PHYSICS_FLAGS, "mass"])
def test_every_number_and_flag_of_the_physics_is_checked(name: str) -> None:
    """What got through would be given to every client that asks, and throw std::bad_cast there."""
    physics = default_physics("car", 1845.0, 2.85, 0.918)
    for wrong in ("much", None, [1.0], math.nan):
        wire = values.physics({**physics, name: wrong}, np.zeros(3), np.zeros(3))
        with pytest.raises(WireValueError, match=name):
            values.decode_physics(wire)


@pytest.mark.parametrize("value", [2**32, -(2**31) - 1, 2**63, -(2**63)])
def test_an_integer_that_no_client_could_read_back_is_refused(value: int) -> None:
    with pytest.raises(WireValueError, match=f"light bits lies in .*; found {value}"):
        values.integer(value, "light bits")


def test_an_unsigned_integer_uses_all_its_32_bits_and_no_sign() -> None:
    assert values.unsigned(2**32 - 1, "light bits") == 2**32 - 1
    with pytest.raises(WireValueError):
        values.unsigned(-1, "light bits")


def test_wheel_positions_travel_in_world_centimetres() -> None:
    physics = default_physics("car", 1845.0, 2.85, 0.918)
    wire = values.physics(physics, np.array([10.0, 20.0, 0.0]), np.array([0.0, 90.0, 0.0]))
    half_cm, across_cm = 142.5, 85.0 * 0.918
    front_left = wire[15][0][9]
    assert front_left == pytest.approx([1000.0 + across_cm, 2000.0 + half_cm, 0.0])


def test_a_definition_lists_attributes_with_six_fields() -> None:
    wire = values.definition(BLUEPRINTS["sensor.camera.rgb"])
    assert wire[1:3] == ["sensor.camera.rgb", "sensor,camera,rgb"]
    assert all(len(attribute) == 6 for attribute in wire[3])
    assert ["image_size_x", 2, "800", ["800"], True, False] in wire[3]
