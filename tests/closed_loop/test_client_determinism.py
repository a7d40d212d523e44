"""The same seed and the same calls give the same bytes, from one server process to the next."""

from __future__ import annotations

import hashlib

import carla

TICKS = 12
HOOD = carla.Transform(carla.Location(x=1.3, z=1.7))
CAMERAS = ("rgb", "depth", "semantic_segmentation")


def record(server, make_stage, synchronous) -> list[tuple]:
    """What a car saw and felt among traffic, in a freshly loaded town."""
    client = server.client()
    world = client.get_world()
    synchronous(world)
    world = client.reload_world(False)
    stage = make_stage(world)
    noise = {"noise_lat_stddev": 5e-6, "noise_lon_stddev": 5e-6, "noise_seed": 5}
    vehicle = stage.spawn("vehicle.lincoln.mkz_2020", stage.straight(number=2))
    listeners = [
        stage.sensor(f"sensor.camera.{kind}", vehicle, HOOD, image_size_x=160, image_size_y=80) for kind in CAMERAS
    ]
    gnss = stage.sensor("sensor.other.gnss", vehicle, **noise)
    imu = stage.sensor("sensor.other.imu", vehicle, noise_accel_stddev_x=0.01, noise_seed=6)
    vehicle.apply_control(carla.VehicleControl(throttle=0.7, steer=0.05))
    start, seen = world.get_snapshot().timestamp.elapsed_seconds, []
    for _ in range(TICKS):
        world.tick()
        images = tuple(hashlib.sha256(bytes(listener.get().raw_data)).hexdigest() for listener in listeners)
        fix, felt = gnss.get(), imu.get()
        others = tuple(
            (a.get_location().x, a.get_location().y, a.get_velocity().length())
            for a in sorted(world.get_actors().filter("vehicle.*"), key=lambda a: a.id)
        )
        acceleration = (felt.accelerometer.x, felt.accelerometer.y, felt.accelerometer.z)
        seen.append((fix.timestamp, images, fix.latitude, fix.longitude, acceleration, felt.compass, others))
    stage.clear()
    return [start, *seen]


def test_two_servers_with_one_seed_send_identical_streams(start_minicarla, make_stage, synchronous) -> None:
    records = []
    for _ in range(2):
        server = start_minicarla("--traffic", "6", "--seed", "4")
        records.append(record(server, make_stage, synchronous))
        server.stop()
    assert records[0] == records[1]
