"""Radar returns in the ego frame, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.errors import ObservationError
from autovla_core.sensing.radar import RADAR, RadarSpec, payload_of, returns_of


def returns(depth: float, altitude: float, azimuth: float, closing: float, speed: float = 0.0, yaw_rate: float = 0.0):
    return returns_of(np.array([[depth, altitude, azimuth, closing]]), speed, yaw_rate, rear_axle=1.5)


def test_a_return_lies_before_the_bumper_and_right_is_negative():
    (found,) = returns(10.0, 0.0, 0.0, 0.0)
    assert found == pytest.approx([12.5, 0.0, 0.7, 0.0])
    (found,) = returns(10.0, 0.0, math.pi / 6, 0.0)  # CARLA: to the right
    assert found == pytest.approx([2.5 + 10.0 * math.cos(math.pi / 6), -5.0, 0.7, 0.0])
    (found,) = returns(10.0, 0.1, 0.0, 0.0)
    assert found[2] == pytest.approx(0.7 + 10.0 * math.sin(0.1))


def test_the_road_and_a_bridge_are_left_out():
    assert len(returns(10.0, -0.05, 0.0, 0.0)) == 0  # 0.2 m high
    assert len(returns(20.0, 0.1, 0.0, 0.0)) == 0  # 2.7 m


def test_the_speed_over_the_ground_is_what_is_left_without_the_egos_own():
    assert returns(10.0, 0.0, 0.0, -8.0, speed=8.0)[0, 3] == pytest.approx(0.0)  # a post
    assert returns(10.0, 0.0, 0.0, 1.0, speed=8.0)[0, 3] == pytest.approx(9.0)  # a leader that drives away
    assert returns(10.0, 0.0, 0.0, -15.0, speed=8.0)[0, 3] == pytest.approx(-7.0)  # oncoming
    side = returns(10.0, 0.0, math.pi / 3, -4.0, speed=8.0)  # a post 60 degrees to the right: half the speed
    assert side[0, 3] == pytest.approx(0.0)


def test_turning_moves_the_radar_sideways():
    # 4 m before the rear axle, 0.5 rad/s: 2 m/s to the left, away from what is on the right
    side = math.pi / 6
    assert returns(10.0, 0.0, side, 2.0 * math.sin(side), yaw_rate=0.5)[0, 3] == pytest.approx(0.0)


def test_the_radar_is_one_that_the_leaderboard_allows():
    spec = RadarSpec().sensor()
    assert spec["type"] == "sensor.other.radar" and {"horizontal_fov", "vertical_fov"} <= set(spec)
    assert math.hypot(spec["x"], spec["y"], spec["z"]) <= 3.0


def test_a_missing_or_malformed_payload_is_named():
    with pytest.raises(ObservationError, match="'RADAR' is missing; this tick has"):
        payload_of({"GPS": (1, np.zeros(3))})
    with pytest.raises(ObservationError, match=r"shape \(4,\), expected \(N, 4\)"):
        payload_of({RADAR: (1, np.zeros(4))})
    assert payload_of({RADAR: (1, np.zeros((0, 4), np.float32))}).shape == (0, 4)
