"""A thousand ticks in traffic, twice: two processes, one and two render threads, the same bytes from every sensor."""

from __future__ import annotations

import hashlib
import struct

import carla

TICKS, TICK_S = 1000, 0.05
SEEN_FROM = carla.Transform(carla.Location(x=1.3, z=1.9))
SMALL = {"image_size_x": 64, "image_size_y": 32}
# blueprint: attributes, and every how many ticks it speaks
SENSORS: dict[str, tuple[dict[str, object], int]] = {
    "sensor.camera.rgb": (SMALL, 2),
    "sensor.camera.depth": (SMALL, 20),
    "sensor.camera.semantic_segmentation": (SMALL, 20),
    "sensor.camera.instance_segmentation": (SMALL, 20),
    "sensor.camera.optical_flow": (SMALL, 20),
    "sensor.lidar.ray_cast": ({"points_per_second": 20_000, "noise_stddev": 0.02, "noise_seed": 3}, 2),
    "sensor.lidar.ray_cast_semantic": ({"points_per_second": 20_000}, 10),
    "sensor.other.radar": ({"noise_seed": 4}, 2),
    "sensor.other.gnss": ({"noise_lat_stddev": 5e-6, "noise_seed": 5}, 1),
    "sensor.other.imu": ({"noise_accel_stddev_x": 0.01, "noise_seed": 6}, 1),
}
WORLD = "world"


def record(server, make_stage, synchronous) -> dict[str, list[str]]:
    """Hashes of what every sensor of a car of the traffic said, and of the snapshots of the world."""
    client = server.client()
    synchronous(client.get_world())
    stage = make_stage(client.reload_world(False))
    stage.tick()
    vehicle = min(stage.world.get_actors().filter("vehicle.*"), key=lambda actor: actor.id)
    listeners = {}
    for type_id, (attributes, every) in SENSORS.items():
        pace = {"sensor_tick": every * TICK_S} if every > 1 else {}
        listeners[type_id] = stage.sensor(type_id, vehicle, SEEN_FROM, **attributes, **pace)
    said: dict[str, list[str]] = {name: [] for name in (*SENSORS, WORLD)}
    for number in range(TICKS):
        stage.tick()
        said[WORLD].append(digest(moment(stage.world)))
        for type_id, listener in listeners.items():
            if number % SENSORS[type_id][1] == 0:
                said[type_id].append(digest(payload(listener.get())))
    stage.clear()
    return said


def moment(world: carla.World) -> bytes:
    """Where every actor is, how it stands and moves."""
    parts = []
    for actor in sorted(world.get_snapshot(), key=lambda a: a.id):
        transform, velocity, push = actor.get_transform(), actor.get_velocity(), actor.get_acceleration()
        place, turn = transform.location, transform.rotation
        vectors = (place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll)
        parts.append(
            struct.pack("<I12f", actor.id, *vectors, *(getattr(v, k) for v in (velocity, push) for k in "xyz"))
        )
    return b"".join(parts)


def payload(data: carla.SensorData) -> bytes:
    if isinstance(data, carla.GnssMeasurement):
        return struct.pack("<3d", data.latitude, data.longitude, data.altitude)
    if isinstance(data, carla.IMUMeasurement):
        return struct.pack("<7f", *components(data.accelerometer), *components(data.gyroscope), data.compass)
    return bytes(data.raw_data)


def components(vector: carla.Vector3D) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_thousand_ticks_are_the_same_in_two_processes_with_one_and_two_threads(
    start_minicarla, make_stage, synchronous
) -> None:
    records = []
    for threads in ("1", "2"):
        server = start_minicarla("--traffic", "15", "--seed", "4", "--threads", threads)
        records.append(record(server, make_stage, synchronous))
        server.stop()
    for name, (_, every) in {**SENSORS, WORLD: ({}, 1)}.items():
        ones, others = records[0][name], records[1][name]
        assert len(ones) == len(others) == TICKS // every
        differing = [number for number, pair in enumerate(zip(ones, others, strict=True)) if pair[0] != pair[1]]
        assert not differing, f"{name} differs first at tick {differing[0] * every}"
    assert len(set(records[0]["sensor.other.imu"])) > 0.9 * TICKS, "the car stands still, or noise is none"
    assert len(set(records[0]["sensor.camera.rgb"])) > 0.5 * TICKS / 2, "the pictures show nothing that moves"
