"""The real client: the optical flow camera."""

from __future__ import annotations

import carla
import numpy as np

HOOD = carla.Transform(carla.Location(x=1.5, z=2.0))
SIZE = {"image_size_x": 96, "image_size_y": 64, "fov": 90}


def test_the_road_flows_down_when_a_car_drives_and_not_when_it_stands(stage) -> None:
    place = stage.straight()
    vehicle, forward = stage.car(place), place.get_forward_vector()
    camera = stage.sensor("sensor.camera.optical_flow", vehicle, HOOD, **SIZE)
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    stage.tick()
    camera.get()
    tick = stage.tick()
    image = camera.get()
    still = np.frombuffer(image.raw_data, np.float32).reshape(64, 96, 2)
    assert (image.frame, image.width, image.height, image.fov) == (tick, 96, 64, 90.0)
    assert np.abs(still[:40]).max() < 0.01
    vehicle.apply_control(carla.VehicleControl())
    vehicle.set_target_velocity(carla.Vector3D(forward.x * 8.0, forward.y * 8.0, 0.0))
    stage.tick(2)
    camera.get()
    flow = np.frombuffer(camera.get().raw_data, np.float32).reshape(64, 96, 2)
    step = vehicle.get_velocity().length() * 0.05
    down = (56.5 - 32.0) / 48.0  # of the ray through this row, per metre ahead: the road is 2 m lower
    ahead = 2.0 / down
    expected = -2.0 / 64 * 48.0 * (2.0 / ahead - 2.0 / (ahead + step))
    np.testing.assert_allclose(flow[56, 40:56, 1], expected, rtol=0.1)
    image.get_color_coded_flow()
