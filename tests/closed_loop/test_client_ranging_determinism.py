"""Lidar, radar and optical flow: the same seed gives the same bytes, from one server process to the next."""

from __future__ import annotations

import hashlib

import carla

TICKS = 10
ROOF = carla.Transform(carla.Location(z=2.2))
SENSORS = {
    "sensor.lidar.ray_cast": {"range": 80, "points_per_second": 60_000, "noise_stddev": 0.05, "noise_seed": 3},
    "sensor.lidar.ray_cast_semantic": {"range": 80, "points_per_second": 60_000},
    "sensor.other.radar": {"points_per_second": 10_000, "noise_seed": 4},
    "sensor.camera.optical_flow": {"image_size_x": 96, "image_size_y": 64},
}


def record(server, make_stage, synchronous) -> list[list[str]]:
    """Hashes of what a driven car's sensors said among traffic."""
    client = server.client()
    synchronous(client.get_world())
    stage = make_stage(client.reload_world(False))
    vehicle = stage.spawn("vehicle.lincoln.mkz_2020", stage.straight(number=2))
    listeners = [stage.sensor(type_id, vehicle, ROOF, **settings) for type_id, settings in SENSORS.items()]
    vehicle.apply_control(carla.VehicleControl(throttle=0.7, steer=0.05))
    said = []
    for _ in range(TICKS):
        stage.tick()
        said.append([hashlib.sha256(bytes(listener.get().raw_data)).hexdigest() for listener in listeners])
    stage.clear()
    return said


def test_two_servers_scan_alike_with_one_and_with_two_threads(start_minicarla, make_stage, synchronous) -> None:
    records = []
    for threads in ("1", "2"):
        server = start_minicarla("--traffic", "6", "--seed", "4", "--threads", threads)
        records.append(record(server, make_stage, synchronous))
        server.stop()
    assert records[0] == records[1]
    assert len({hashes for tick in records[0] for hashes in tick}) > 3 * TICKS, "no two ticks are alike"
