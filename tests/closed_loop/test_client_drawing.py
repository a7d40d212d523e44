"""The real client: shapes drawn with ``world.debug``."""

from __future__ import annotations

import carla
import numpy as np
import pytest

HOOD = carla.Transform(carla.Location(x=1.5, z=2.0))
SIZE = {"image_size_x": 160, "image_size_y": 120, "fov": 90}
PINK = carla.Color(255, 0, 255)


def pink_pixels(image: carla.Image) -> int:
    picture = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
    return int((picture[..., :3] == (255, 0, 255)).all(axis=-1).sum())


@pytest.mark.parametrize("shape", ["point", "line", "arrow", "box", "string"])
def test_a_shape_is_seen_while_it_lives(stage, shape: str) -> None:
    vehicle = stage.car()
    camera = stage.sensor("sensor.camera.rgb", vehicle, HOOD, **SIZE)
    depth = stage.sensor("sensor.camera.depth", vehicle, HOOD, **SIZE)
    stage.tick()
    assert pink_pixels(camera.get()) == 0
    before = bytes(depth.get().raw_data)
    pose, debug, life = vehicle.get_transform(), stage.world.debug, {"color": PINK, "life_time": 0.1}
    left, right = (pose.transform(carla.Location(8.0, y, 1.5)) for y in (-1.0, 1.0))
    if shape == "point":
        debug.draw_point(left, size=0.1, **life)
    elif shape == "line":
        debug.draw_line(left, right, thickness=0.1, **life)
    elif shape == "arrow":
        debug.draw_arrow(left, right, thickness=0.1, arrow_size=0.3, **life)
    elif shape == "box":
        debug.draw_box(carla.BoundingBox(left, carla.Vector3D(0.5, 0.5, 0.5)), pose.rotation, 0.1, **life)
    else:
        debug.draw_string(left, "stop 12.5", False, **life)
    seen = []
    for _ in range(4):
        stage.tick()
        seen.append(pink_pixels(camera.get()))
        assert bytes(depth.get().raw_data) == before
    assert min(seen[:2]) > 8 and seen[2:] == [0, 0]


def test_a_car_hides_a_line_behind_it(stage) -> None:
    place = stage.straight()
    vehicle = stage.car(place)
    camera = stage.sensor("sensor.camera.rgb", vehicle, HOOD, **SIZE)
    pose = vehicle.get_transform()
    ends = (pose.transform(carla.Location(20.0, y, 0.8)) for y in (-0.6, 0.6))
    stage.world.debug.draw_line(*ends, thickness=0.1, color=PINK, life_time=0.15)
    stage.tick()
    assert pink_pixels(camera.get()) > 3
    stage.spawn(
        "vehicle.carlamotors.firetruck", carla.Transform(pose.transform(carla.Location(13.0, 0.0, 0.3)), pose.rotation)
    )
    stage.tick()
    assert pink_pixels(camera.get()) == 0
