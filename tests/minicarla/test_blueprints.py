"""The blueprint library."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors.street_furniture import SHAPES
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


# what scenario_runner's scenarios and the route files of the leaderboard and of Bench2Drive name
NAMED_PROPS = (
    "advertisement",
    "busstoplb",
    "chainbarrier",
    "constructioncone",
    "container",
    "dirtdebris01",
    "dirtdebris02",
    "foodcart",
    "haybalelb",
    "mesh",
    "streetbarrier",
    "trafficwarning",
    "vendingmachine",
    "warningaccident",
    "warningconstruction",
)
OCCLUDERS = ("advertisement", "busstoplb", "container", "foodcart", "haybalelb", "vendingmachine")
WALKER_HALF_M, WALKER_BEFORE_M = 0.19, 0.5


@pytest.mark.parametrize("name", NAMED_PROPS)
def test_every_prop_that_scenarios_name_is_there(name: str) -> None:
    blueprint = BLUEPRINTS[f"static.prop.{name}"]
    assert all(0.05 < half < 2.0 for half in blueprint.extent)


@pytest.mark.parametrize("name", OCCLUDERS)
def test_a_walker_finds_room_beside_the_prop_that_hides_it(name: str) -> None:
    """DynamicObjectCrossing turns the prop towards the road and puts the walker x + 0.5 m further along the kerb."""
    half_x, half_y, half_z = BLUEPRINTS[f"static.prop.{name}"].extent
    assert half_y + WALKER_HALF_M < half_x + WALKER_BEFORE_M
    assert half_z > 0.7, "nobody is hidden behind it"


def test_the_larger_props_fill_their_boxes() -> None:
    for name, shape in SHAPES.items():
        extent = np.array(BLUEPRINTS[f"static.prop.{name}"].extent)
        corners = shape(tuple(extent)).triangles.reshape(-1, 3)
        assert (np.abs(corners[:, :2]) <= extent[:2] + 1e-6).all() and corners[:, 2].min() >= 0.0, name
        assert corners[:, 2].max() == pytest.approx(2.0 * extent[2], abs=0.05), name


def test_doors_open_on_the_cars_and_vans_of_the_second_generation() -> None:
    """VehicleOpensDoor asks for a car that has them."""
    opening = {name for name in VEHICLES if BLUEPRINTS[name].defaults()["has_dynamic_doors"] == "true"}
    assert {"vehicle.dodge.charger_2020", "vehicle.lincoln.mkz_2020", "vehicle.ford.ambulance"} <= opening
    assert not opening & {"vehicle.tesla.model3", "vehicle.carlamotors.european_hgv", "vehicle.mitsubishi.fusorosa"}
    assert sum(BLUEPRINTS[name].base_type == "car" for name in opening) >= 5
