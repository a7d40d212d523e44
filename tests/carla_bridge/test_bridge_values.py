from __future__ import annotations

import math
import socket
import threading

import numpy as np
import pytest

from autovla_core.carla_bridge import sensor_suite
from autovla_core.carla_bridge.actuate import control_of, vehicle_control
from autovla_core.carla_bridge.observe import Observer
from autovla_core.carla_bridge.session import connect
from autovla_core.contracts import Command, Control
from autovla_core.errors import ObservationError, SetupError
from autovla_core.route.plan import from_poses
from autovla_core.sensing.rig import rig


def test_steering_left_is_negative_in_carla():
    made = vehicle_control(Control(steer=0.25, throttle=0.5))
    assert (made.steer, made.throttle, made.brake) == (-0.25, 0.5, 0.0)


def test_controls_are_clipped_and_numpy_values_become_plain_floats():
    made = vehicle_control(Control(steer=np.float64(3.0), throttle=np.float32(2.0), brake=-1.0))
    assert (made.steer, made.throttle, made.brake) == (-1.0, 1.0, 0.0)


def test_controls_survive_the_way_there_and_back():
    assert control_of(vehicle_control(Control(0.5, 0.25, 0.75, True))) == Control(0.5, 0.25, 0.75, True)


def test_a_dead_port_is_one_clear_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(SetupError, match=f"no simulator listens on 127.0.0.1:{port}"):
        connect("127.0.0.1", port, 2.0)


def test_a_server_that_never_answers_is_one_clear_sentence():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        held = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        with pytest.raises(SetupError, match="did not answer as CARLA"):
            connect("127.0.0.1", silent.getsockname()[1], 1.0)


def test_forced_noise_is_the_leaderboards_and_sensor_tick_is_ours():
    camera = sensor_suite._attributes({**rig("front")[0].sensor(), "sensor_tick": 0.5, "lens_k": 3})
    assert camera == {"image_size_x": "280", "image_size_y": "140", "fov": "80.0", "sensor_tick": "0.5"}
    gnss = sensor_suite._attributes({"type": "sensor.other.gnss", "noise_lat_stddev": 0.0})
    assert float(gnss["noise_lat_stddev"]) == 5e-6


def straight_route():
    return from_poses(np.array([(x, 0.0, 0.0) for x in np.arange(0.0, 100.0)]), [4] * 40 + [3] * 20 + [4] * 40)


def tick(time_s: float, speed: float = 5.0, camera: bool = True) -> dict:
    x = speed * time_s
    data = {
        "GPS": (1, np.array([0.0, math.degrees(x / 6378137.0), 0.0])),
        "IMU": (1, np.array([0.0, 0.0, 9.81, 0.0, 0.0, 0.1, math.pi / 2])),
        "SPEED": (1, {"speed": speed}),
    }
    if camera:
        data["front"] = (1, np.full((140, 280, 4), int(time_s * 20) % 256, np.uint8))
    return data


def test_an_observation_is_built_from_a_ticks_sensor_data():
    observer = Observer(rig("front"), straight_route())
    for k in range(80):
        motion = observer.update(tick(k * 0.05), k * 0.05)
    seen = observer.observe()
    assert motion.yaw_rate == pytest.approx(-0.1)
    assert seen.clips["front"].images.shape == (4, 140, 280, 3)
    assert np.diff(seen.clips["front"].times_s) == pytest.approx(0.5)
    assert seen.pose == pytest.approx([5.0 * 79 * 0.05, 0.0, 0.0], abs=0.05)
    assert seen.command == Command.STRAIGHT
    assert seen.route[0] == pytest.approx([2.0, 0.0], abs=0.1)
    assert seen.speed == 5.0


def test_a_camera_that_fires_every_half_second_is_enough():
    observer = Observer(rig("front"), straight_route())
    for k in range(60):
        observer.update(tick(k * 0.05, camera=k % 10 == 3), k * 0.05)
    assert np.diff(observer.observe().clips["front"].times_s) == pytest.approx(0.5)


def test_a_missing_sensor_is_named():
    data = tick(0.0)
    del data["IMU"]
    with pytest.raises(ObservationError, match="'IMU' is missing"):
        Observer(rig("front"), straight_route()).update(data, 0.0)


def test_nothing_to_observe_before_the_first_tick():
    with pytest.raises(ObservationError):
        Observer(rig("front"), straight_route()).observe()
