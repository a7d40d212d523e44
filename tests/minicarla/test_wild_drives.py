"""10,000 wild drives: no car sinks, flies or spins, whatever the pedals do."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core.minicarla.world import acts
from autovla_core.minicarla.world.actor import VehicleControl
from autovla_core.minicarla.world.world import World

DT = 0.05


def wild_control(rng: np.random.Generator) -> VehicleControl:
    throttle, brake = rng.random(2) * (rng.random(2) < 0.6)
    hand, reverse, manual = (rng.random(3) < (0.1, 0.25, 0.1)).tolist()
    gear = int(rng.integers(-1, 6))
    return VehicleControl(float(throttle), float(rng.uniform(-1, 1)), float(brake), hand, reverse, manual, gear)


@pytest.mark.parametrize("seed", range(4))
def test_wild_controls_neither_sink_nor_fly_nor_spin_a_car(eight, seed: int) -> None:
    """4 x 50 cars x 50 sequences of 2.5 s with a new control every half second: 10,000 sequences."""
    world, rng = World(eight, seed), np.random.default_rng(seed)
    kinds = ["vehicle.lincoln.mkz_2020", "vehicle.audi.tt", "vehicle.tesla.model3", "vehicle.mini.cooper_s"]
    cars = []
    for i in range(50):
        place = (-150.0 + 60.0 * (i % 10), 150.0 + 40.0 * (i // 10), 0.0)
        cars.append(world.spawn(kinds[i % 4], {}, place, (0.0, float(rng.uniform(-180, 180)), 0.0)))
    highest = deepest = fastest_turn = fastest = 0.0
    for _ in range(50):
        for car in cars:
            world.set_transform(car.id, (car.location[0], car.location[1], 0.0), (0.0, car.rotation[1], 0.0))
        for _ in range(5):
            for car in cars:
                acts.apply_control(car, wild_control(rng))
            for _ in range(10):
                world.step(DT)
            z = [float(car.location[2]) for car in cars]
            highest, deepest = max(highest, *z), min(deepest, *z)
            fastest_turn = max(fastest_turn, *(abs(float(car.angular_velocity[2])) for car in cars))
            fastest = max(fastest, *(float(np.hypot(*car.velocity[:2])) for car in cars))
    assert np.isfinite([car.location for car in cars]).all()
    assert highest < 0.1 and deepest > -0.05
    assert fastest_turn < 200.0, "deg/s; a car that turns on the spot of its wheels reaches 100"
    assert fastest < 60.0
