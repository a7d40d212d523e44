"""Branching a drive: the real client ticks, a second connection saves and restores."""

from __future__ import annotations

import carla
import pytest

from autovla_core.carla_bridge.saved_states import SavedStates
from autovla_core.errors import SimulatorError


def _drive(world: carla.World, car: carla.Vehicle, steer: float, ticks: int) -> list[tuple[float, ...]]:
    places = []
    for _ in range(ticks):
        car.apply_control(carla.VehicleControl(throttle=0.6, steer=steer))
        world.tick()
        transform, speed = car.get_transform(), car.get_velocity()
        places.append((transform.location.x, transform.location.y, transform.rotation.yaw, speed.x, speed.y))
    return places


def test_two_futures_branch_from_one_moment_and_each_repeats(stage, server) -> None:
    car = stage.car()
    _drive(stage.world, car, 0.0, 20)
    with SavedStates(port=server.port) as states:
        here = states.save()
        straight = _drive(stage.world, car, 0.0, 30)
        states.restore(here)
        turned = _drive(stage.world, car, 0.3, 30)
        states.restore(here)
        again = _drive(stage.world, car, 0.0, 30)
        states.forget(here)
        with pytest.raises(SimulatorError, match=f"no saved state {here}"):
            states.restore(here)
    assert again == straight and turned != straight


def test_frame_numbers_never_run_backwards_for_the_client(stage, server) -> None:
    with SavedStates(port=server.port) as states:
        here = states.save()
        last = stage.tick(3)
        states.restore(here)
        assert stage.tick() == last + 1
        states.forget(here)


def test_a_closed_port_is_named() -> None:
    with pytest.raises(SimulatorError, match="no simulator listens on 127.0.0.1:1"):
        SavedStates(port=1)
