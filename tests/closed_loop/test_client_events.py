"""The real client: the event camera."""

from __future__ import annotations

import carla
import numpy as np

HOOD = carla.Transform(carla.Location(x=1.5, z=2.0))
SIZE = {"image_size_x": 96, "image_size_y": 64, "fov": 90}
EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("pol", "?")])


def test_a_driving_car_sees_events_and_a_standing_one_sees_none(stage) -> None:
    place = stage.straight()
    vehicle, forward = stage.car(place), place.get_forward_vector()
    camera = stage.sensor("sensor.camera.dvs", vehicle, HOOD, **SIZE)
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    stage.tick(2)
    camera.get()
    still = camera.get()
    assert (still.width, still.height, still.fov, len(still)) == (96, 64, 90.0, 0)
    vehicle.apply_control(carla.VehicleControl())
    vehicle.set_target_velocity(carla.Vector3D(forward.x * 10.0, forward.y * 10.0, 0.0))
    stage.tick()
    camera.get()
    tick = stage.tick()
    seen = camera.get()
    assert seen.frame == tick and len(seen) > 20
    events = np.frombuffer(seen.raw_data, EVENT)
    assert len(events) == len(seen) and events["x"].max() < 96 and events["y"].max() < 64
    assert seen.timestamp - 0.05 <= events["t"].min() / 1e9 <= events["t"].max() / 1e9 <= seen.timestamp + 1e-6
    assert 0 < events["pol"].sum() < len(events)
    assert len(seen.to_image()) == 96 * 64
