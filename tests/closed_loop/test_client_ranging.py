"""The real client: lidar, semantic lidar, radar, obstacle."""

from __future__ import annotations

import math

import carla
import numpy as np
import pytest

ROOF = carla.Transform(carla.Location(z=2.2))
LIDAR = {"channels": 16, "range": 60, "points_per_second": 40_000, "rotation_frequency": 20, "upper_fov": 5}
SEMANTIC_POINT = np.dtype([("xyz", "<f4", 3), ("cosine", "<f4"), ("actor", "<u4"), ("tag", "<u4")])


def ahead_of(place: carla.Transform, metres: float) -> carla.Transform:
    forward = place.get_forward_vector()
    step = carla.Location(forward.x * metres, forward.y * metres, 0.0)
    return carla.Transform(place.location + step, place.rotation)


def test_a_lidar_gives_one_scan_a_tick_with_points_by_channel(stage) -> None:
    device = stage.sensor("sensor.lidar.ray_cast", stage.car(), ROOF, **LIDAR, dropoff_general_rate=0.0)
    for _ in range(3):
        tick, scan = stage.tick(), device.get()
        points = np.frombuffer(scan.raw_data, np.float32).reshape(-1, 4)
        assert (scan.frame, scan.channels, len(scan)) == (tick, 16, len(points))
        assert sum(scan.get_point_count(channel) for channel in range(16)) == len(points)
        assert 1000 < len(points) <= 2000
        assert np.linalg.norm(points[:, :3], axis=1).max() <= 60.0
        assert points[:, 3].min() > 0.78 and points[:, 3].max() <= 1.0
    ground = points[(np.abs(points[:, 0]) < 8.0) & (np.abs(points[:, 1]) < 2.5) & (points[:, 2] < -1.0)]
    np.testing.assert_allclose(np.median(ground[:, 2]), -2.2, atol=0.15)


def test_half_a_turn_a_tick_moves_the_angle_by_pi(stage) -> None:
    slow = {**LIDAR, "rotation_frequency": 10}
    device = stage.sensor("sensor.lidar.ray_cast", stage.car(), ROOF, **slow)
    angles = []
    for _ in range(3):
        stage.tick()
        angles.append(device.get().horizontal_angle)
    assert angles == pytest.approx([math.pi, 0.0, math.pi], abs=1e-5)


def test_the_semantic_lidar_finds_the_car_ahead_by_its_id(stage) -> None:
    place = stage.straight()
    vehicle = stage.car(place)
    other = stage.spawn("vehicle.tesla.model3", ahead_of(place, 12.0))
    device = stage.sensor("sensor.lidar.ray_cast_semantic", vehicle, ROOF, **LIDAR)
    stage.tick()
    scan = device.get()
    points = np.frombuffer(scan.raw_data, SEMANTIC_POINT)
    on_car = points[points["actor"] == other.id]
    assert len(on_car) > 5 and (on_car["tag"] == 14).all()
    assert 8.0 < np.median(on_car["xyz"][:, 0]) < 13.0
    assert {1, 14} <= set(points["tag"].tolist())
    assert [point.object_idx for point in scan][: len(points)] == points["actor"].tolist()


def test_a_radar_says_how_fast_the_car_ahead_comes_nearer(stage) -> None:
    place = stage.straight()
    vehicle = stage.car(place)
    stage.spawn("vehicle.tesla.model3", ahead_of(place, 25.0))
    bumper = carla.Transform(carla.Location(x=2.6, z=0.9))
    device = stage.sensor("sensor.other.radar", vehicle, bumper, points_per_second=20_000, horizontal_fov=10)
    forward = place.get_forward_vector()
    vehicle.set_target_velocity(carla.Vector3D(forward.x * 6.0, forward.y * 6.0, 0.0))
    stage.tick()
    measured = list(device.get())
    assert 100 < len(measured) <= 1000
    facing = [m for m in measured if abs(m.azimuth) < 0.03 and abs(m.altitude) < 0.02 and m.depth < 22.0]
    assert len(facing) > 10
    speed = vehicle.get_velocity().length()
    assert [m.velocity for m in facing] == pytest.approx([-speed] * len(facing), abs=0.1)


def test_the_obstacle_sensor_tells_the_gap_to_the_car_ahead(stage) -> None:
    place = stage.straight()
    vehicle = stage.car(place)
    nose = carla.Transform(carla.Location(x=2.5, z=1.0))
    device = stage.sensor("sensor.other.obstacle", vehicle, nose, distance=20, hit_radius=0.3, only_dynamics=True)
    stage.tick()
    assert device.silent()
    other = stage.spawn("vehicle.tesla.model3", ahead_of(place, 15.0))
    stage.tick()
    event = device.get()
    assert (event.actor.id, event.other_actor.id) == (vehicle.id, other.id)
    gap = 15.0 - 2.5 - other.bounding_box.extent.x - 0.3
    assert event.distance == pytest.approx(gap, abs=0.3)


def test_lidar_points_lie_on_the_depth_camera_s_surfaces(stage) -> None:
    place = stage.straight()
    vehicle = stage.car(place)
    stage.spawn("vehicle.tesla.model3", ahead_of(place, 12.0))
    width, height = 320, 200
    camera = stage.sensor(
        "sensor.camera.depth", vehicle, ROOF, image_size_x=width, image_size_y=height, fov=90, sensor_tick=0
    )
    device = stage.sensor("sensor.lidar.ray_cast", vehicle, ROOF, **LIDAR, dropoff_general_rate=0.0)
    stage.tick()
    picture = np.frombuffer(camera.get().raw_data, np.uint8).reshape(height, width, 4).astype(float)
    depth = (picture[..., 2] + 256.0 * picture[..., 1] + 65536.0 * picture[..., 0]) / (2**24 - 1) * 1000.0
    points = np.frombuffer(device.get().raw_data, np.float32).reshape(-1, 4)[:, :3].astype(float)
    points = points[points[:, 0] > 1.0]
    column = np.floor(width / 2 * (1.0 + points[:, 1] / points[:, 0])).astype(int)
    row = np.floor(height / 2 - width / 2 * points[:, 2] / points[:, 0]).astype(int)
    seen = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
    around = [depth[row[seen] + i, column[seen] + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    low, high = np.min(around, axis=0), np.max(around, axis=0)
    agree = (points[seen, 0] > low - 0.02) & (points[seen, 0] < high + 0.02)
    assert seen.sum() > 200 and agree.mean() > 0.995
