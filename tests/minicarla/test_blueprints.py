"""The blueprint library."""

from __future__ import annotations

import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.wire.stream import CLIENT_SIDE_SENSORS, SENSOR_TYPE_IDS

VEHICLES = [name for name in BLUEPRINTS if name.startswith("vehicle.")]


def test_ids_are_keys_and_uids_are_unique() -> None:
    assert all(name == blueprint.id for name, blueprint in BLUEPRINTS.items())
    assert len({blueprint.uid for blueprint in BLUEPRINTS.values()}) == len(BLUEPRINTS)
    assert all(blueprint.uid > 0 for blueprint in BLUEPRINTS.values())


def test_every_kind_of_road_user_is_there() -> None:
    kinds = {BLUEPRINTS[name].base_type for name in VEHICLES}
    assert kinds == {"car", "van", "truck", "bus", "motorcycle", "bicycle"}
    assert len(VEHICLES) >= 20
    assert sum(name.startswith("walker.") for name in BLUEPRINTS) == 10


@pytest.mark.parametrize("name", VEHICLES)
def test_a_vehicle_has_plausible_sizes(name: str) -> None:
    blueprint = BLUEPRINTS[name]
    length, width, height = (2.0 * half for half in blueprint.extent)
    assert 1.2 < length < 11.0 and 0.3 < width < 4.0 and 1.2 < height < 4.5
    assert 0.4 * length < blueprint.wheel_base < 0.95 * length
    assert 50.0 < blueprint.mass < 20_000.0


def test_every_sensor_can_be_delivered() -> None:
    sensors = {name for name in BLUEPRINTS if name.startswith("sensor.")}
    assert sensors == set(SENSOR_TYPE_IDS) | set(CLIENT_SIDE_SENSORS)


def test_recommended_values_start_with_the_default() -> None:
    for blueprint in BLUEPRINTS.values():
        for attribute in blueprint.attributes:
            assert not attribute.recommended or attribute.value in attribute.recommended
            assert attribute.modifiable == bool(attribute.recommended)
