"""GNSS, IMU, schedules and snapshots, by numbers worked by hand."""

from __future__ import annotations

import math
import struct

import msgpack
import numpy as np
import pytest

from autovla_core import frames
from autovla_core.minicarla.sensors import camera, snapshot
from autovla_core.minicarla.sensors.geo import GeoReference
from autovla_core.minicarla.sensors.hub import _Schedule
from autovla_core.minicarla.sensors.motion import Gnss, Imu
from autovla_core.minicarla.world.actor import Actor, TrafficLight, TrafficSign, Vehicle, VehicleControl, Walker

ORIGIN = GeoReference(0.0, 0.0)
TMERC = "<geoReference><![CDATA[+proj=tmerc +lat_0=4.9e1 +lon_0=-8.5 +k=1]]></geoReference>"


def sensor(**attributes: object) -> Actor:
    return Actor(1, "sensor.other.x", attributes={name: str(value) for name, value in attributes.items()})


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (-497.6, 3672.9), (1234.5, -987.6)])
def test_the_projection_is_the_inverse_of_ours(x: float, y: float) -> None:
    assert frames.xy_from_gnss(*ORIGIN.locate(x, y)) == pytest.approx([x, -y], abs=1e-6)


def test_the_leaderboards_published_pair_comes_out() -> None:
    assert ORIGIN.locate(-497.6, 3672.9) == pytest.approx((-0.03299422024687715, -0.004470016853778738), abs=1e-12)


def test_the_reference_is_read_from_the_map_or_carlas_default() -> None:
    assert GeoReference.of_map(TMERC) == GeoReference(49.0, -8.5)
    assert GeoReference.of_map("<header/>") == GeoReference(42.0, 2.0)
    assert GeoReference.of_map(TMERC).locate(0.0, 0.0) == pytest.approx((49.0, -8.5))


def test_gnss_noise_repeats_with_its_seed() -> None:
    noisy = {"noise_lat_stddev": 1e-5, "noise_alt_bias": 2.0}
    one, same, other = (Gnss(sensor(noise_seed=seed, **noisy), ORIGIN) for seed in (1, 1, 2))
    readings = [[g.measure(sensor()).tolist() for _ in range(3)] for g in (one, same, other)]
    assert readings[0] == readings[1] != readings[2]
    assert readings[0][0][2] == 2.0


def test_the_accelerometer_is_the_second_difference_of_the_position() -> None:
    imu, body, dt = Imu(sensor()), sensor(), 0.05
    for tick in range(4):
        body.location = np.array([0.5 * 3.0 * (tick * dt) ** 2, 0.0, 0.0])
        imu.observe(body)
    felt, gyro, compass = imu.measure(body, body, dt, 9.81)
    assert felt == pytest.approx([3.0, 0.0, 9.81])
    assert gyro == pytest.approx([0.0, 0.0, 0.0])
    assert compass == pytest.approx(math.pi / 2), "facing east"


def test_the_accelerometer_measures_in_the_sensors_own_frame() -> None:
    imu, body = Imu(sensor()), sensor()
    body.rotation = np.array([90.0, 0.0, 0.0])  # nose up: gravity pulls along its x
    felt, _, _ = imu.measure(body, body, 0.05, 9.81)
    assert felt == pytest.approx([9.81, 0.0, 0.0], abs=1e-9)


def test_gyro_bias_and_units() -> None:
    imu, body = Imu(sensor(noise_gyro_bias_z=0.1)), sensor()
    body.angular_velocity = np.array([0.0, 0.0, 90.0])
    acceleration, gyro, compass = msgpack.unpackb(imu.payload(body, body, 0.05, 9.81))
    assert gyro == pytest.approx([0.0, 0.0, math.pi / 2 + 0.1])
    assert len(acceleration) == 3 and 0.0 <= compass < 2 * math.pi


@pytest.mark.parametrize(("interval", "fired"), [(0.0, 12), (0.05, 12), (0.1, 6), (0.2, 3), (1.0, 1)])
def test_a_schedule_fires_as_often_as_asked_in_spite_of_rounding(interval: float, fired: int) -> None:
    schedule, time_s, count = _Schedule(interval), 100.3, 0
    for _ in range(12):
        time_s += 0.05
        count += schedule.fires(time_s)
    assert count == fired


def test_a_snapshot_has_119_bytes_an_actor() -> None:
    actors = [Vehicle(7, "vehicle.audi.tt"), Walker(8, "walker.pedestrian.0001"), Actor(9, "spectator")]
    actors += [TrafficLight(10, "traffic.traffic_light", sign_id="901"), TrafficSign(11, "traffic.stop", sign_id="5")]
    wire = snapshot.Snapshots().encode(3, actors, 0.05, 1e9)
    assert len(wire) == 36 + 119 * 5
    assert struct.unpack_from("<Q", wire)[0] == 3
    assert [struct.unpack_from("<I", wire, 36 + 119 * i)[0] for i in range(5)] == [7, 8, 9, 10, 11]


def test_a_vehicles_record_holds_its_pedals_and_its_light() -> None:
    vehicle = Vehicle(7, "vehicle.audi.tt", control=VehicleControl(0.5, -0.25, 0.125, True, False, False, 2))
    vehicle.speed_limit_kmh, vehicle.at_light_id, vehicle.at_light_state = 40.0, 10, 0
    state = snapshot.Snapshots().encode(1, [vehicle], 0.05, 0.0)[36 + 65 :]
    assert struct.unpack_from("<3f???if", state) == (0.5, -0.25, 0.125, True, False, False, 2, 40.0)
    assert (state[23], state[24], struct.unpack_from("<I", state, 25)[0]) == (0, 1, 10)


def test_a_lights_record_holds_its_sign_id_times_and_state() -> None:
    light = TrafficLight(10, "traffic.traffic_light", sign_id="901", state=1, green_time=7.0, frozen=True)
    state = snapshot.Snapshots().encode(1, [light], 0.05, 0.0)[36 + 65 :]
    assert state[:32] == b"901".ljust(32, b"\0")
    assert struct.unpack_from("<f", state, 32)[0] == 7.0
    assert (state[52], state[53]) == (1, 1)


def test_a_second_snapshot_tells_what_changed_and_who_came() -> None:
    vehicle, sign = Vehicle(7, "vehicle.audi.tt"), TrafficSign(11, "traffic.stop", sign_id="5")
    snapshots = snapshot.Snapshots()
    before = snapshots.encode(1, [vehicle, sign], 0.05, 0.0)
    vehicle.control, vehicle.location, sign.location = VehicleControl(throttle=0.5), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    after = snapshots.encode(1, [vehicle, sign], 0.05, 0.0)
    assert after == snapshot.Snapshots().encode(1, [vehicle, sign], 0.05, 0.0) != before
    assert struct.unpack_from("<3f", after, 36 + 5) == (1.0, 2.0, 3.0)
    assert struct.unpack_from("<3f", after, 36 + 119 + 5) == (4.0, 5.0, 6.0)
    assert struct.unpack_from("<f", after, 36 + 65)[0] == 0.5
    other = Walker(12, "walker.pedestrian.0001")
    assert snapshots.encode(1, [sign, other], 0.05, 0.0) == snapshot.Snapshots().encode(1, [sign, other], 0.05, 0.0)


@pytest.mark.parametrize("changed", [True, False])
def test_a_new_map_is_flagged(changed: bool) -> None:
    wire = snapshot.Snapshots().encode(1, [], 0.05, 0.0, map_changed=changed)
    assert bool(struct.unpack_from("<I", wire, 32)[0] & 1) == changed


def test_a_camera_without_pixels_is_refused() -> None:
    good = {"image_size_x": "64", "image_size_y": "32", "fov": "90"}
    assert camera.image_format(Actor(1, "sensor.camera.rgb", attributes=good)) == (64, 32, 90.0)
    with pytest.raises(ValueError, match="image_size_x 0"):
        camera.image_format(Actor(1, "sensor.camera.rgb", attributes={**good, "image_size_x": "0"}))
