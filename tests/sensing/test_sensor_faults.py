"""Faults are drawn from (seed, sensor, tick) alone, and do to the sensors what their numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from autovla_core import frames
from autovla_core.errors import ConfigError
from autovla_core.sensing.faults import (
    NO_FAULTS,
    FaultySensors,
    SensorFaults,
    blurred,
    chance_of,
    expect_sensors,
    gnss_offset_m,
    is_lost,
    lateness,
    moved_gnss,
    spoilt_image,
)


def image(value: int = 100, height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 4), (value, value, value, 255), np.uint8)


def readings(tick: int, cameras: tuple[str, ...] = ("front",)) -> dict:
    """GNSS every tick, images every fifth, as our rig has them; shades are tick numbers."""
    data = {"GPS": (tick, np.zeros(3)), "SPEED": (tick, {"speed": 1.0})}
    return data | ({camera: (tick, image(tick)) for camera in cameras} if tick % 5 == 0 else {})


def delivered(faults: SensorFaults, ticks: int = 100, seed: int = 3) -> dict[int, int]:
    """{tick of arrival: tick at which the image was taken}."""
    sensors = FaultySensors(faults, seed)
    out = {}
    for tick in range(ticks):
        data = sensors(tick, 0.05 * tick, readings(tick))
        if "front" in data:
            out[tick] = int(data["front"][1][0, 0, 0])
    return out


def test_without_faults_everything_passes_as_it_is():
    data = readings(5)
    assert FaultySensors(NO_FAULTS, 1)(5, 0.25, data) == data


def test_the_share_of_images_that_is_lost_is_the_share_asked_for():
    lost = [is_lost(SensorFaults(lost=0.3), 7, "front", tick) for tick in range(4000)]
    assert np.mean(lost) == pytest.approx(0.3, abs=0.03)
    assert delivered(SensorFaults(lost=1.0)) == {} and len(delivered(NO_FAULTS)) == 20


def test_chance_depends_on_seed_camera_and_tick_alone():
    faults = SensorFaults(lost=0.5, late_ticks=4)
    assert delivered(faults) == delivered(faults) != delivered(faults, seed=4)
    assert lateness(faults, 1, "front", 10) == lateness(faults, 1, "front", 10)
    ours = [is_lost(faults, 1, "front", tick) for tick in range(60)]
    assert ours != [is_lost(faults, 1, "front_left", tick) for tick in range(60)]


def test_what_is_lost_on_one_route_says_nothing_of_another_with_the_same_seed():
    faults = SensorFaults(lost=0.5)
    seeds = [chance_of(route, seed) for route, seed in (("1", 0), ("2", 0), ("1", 1), ("1", 0))]
    assert len(set(seeds)) == 3 and seeds[0] == seeds[3] and min(seeds) >= 0 and chance_of("1", -3) >= 0
    here, there = ([is_lost(faults, seed, "front", tick) for tick in range(400)] for seed in seeds[:2])
    assert np.mean(np.equal(here, there)) == pytest.approx(0.5, abs=0.1)


OWN = {"front": "sensor.camera.rgb", "GPS": "sensor.other.gnss", "IMU": "sensor.other.imu"}


@pytest.mark.parametrize(
    "faults, types, message",
    [
        (
            SensorFaults(lost=0.5, cameras=("front", "left")),
            OWN,
            r"found \['front', 'left'\], the agent's .* \['front'\]",
        ),
        (SensorFaults(noise=3.0, cameras=("IMU",)), OWN, r"found \['IMU'\]"),
        (SensorFaults(blur_px=1.0, cameras=()), OWN, r"found \[\]"),
        (SensorFaults(gnss_noise_m=1.0), {"front": "sensor.camera.rgb"}, "the agent has no sensor 'GPS'"),
    ],
)
def test_a_fault_of_a_sensor_that_is_not_there_is_refused(faults, types, message):
    with pytest.raises(ConfigError, match=message):
        expect_sensors(faults, types)


def test_a_fault_needs_its_own_sensors_only():
    expect_sensors(SensorFaults(gnss_drift_m=2.0), {"GPS": "sensor.other.gnss"})
    expect_sensors(SensorFaults(lost=0.2), {"front": "sensor.camera.rgb"})
    expect_sensors(NO_FAULTS, {})


def test_a_cameras_losses_do_not_hang_on_other_faults():
    alone = {taken for taken in delivered(SensorFaults(lost=0.4)).values()}
    noisy = SensorFaults(lost=0.4, gnss_noise_m=2.0, late_ticks=2)
    assert {taken for taken in delivered(noisy, ticks=102).values() if taken < 100} == alone


def test_late_images_arrive_whole_up_to_so_many_ticks_later_and_never_out_of_order():
    found = delivered(SensorFaults(late_ticks=12), ticks=250)
    late = [arrival - taken for arrival, taken in found.items()]
    assert 0 <= min(late) <= 2 and 10 <= max(late) <= 12
    assert list(found.values()) == sorted(found.values())


def test_noise_has_the_deviation_asked_for_and_leaves_alpha_alone():
    spoilt = spoilt_image(SensorFaults(noise=10.0), 1, "front", 5, image())
    assert spoilt.dtype == np.uint8 and spoilt.shape == (40, 60, 4) and (spoilt[..., 3] == 255).all()
    assert spoilt[..., :3].std() == pytest.approx(10.0, abs=0.5)
    assert spoilt[..., :3].mean() == pytest.approx(100.0, abs=0.5)
    assert not np.array_equal(spoilt, spoilt_image(SensorFaults(noise=10.0), 1, "front", 10, image()))


def test_blur_spreads_a_point_as_a_gaussian_and_keeps_a_flat_image():
    assert np.allclose(blurred(np.full((9, 9, 3), 50.0), 2.0), 50.0)
    point = np.zeros((61, 61, 1))
    point[30, 30] = 1.0
    found = blurred(point, 2.0)[..., 0]
    assert found.sum() == pytest.approx(1.0) and np.allclose(found, found.T)
    rows = np.arange(61) - 30
    assert np.sqrt((found.sum(1) * rows**2).sum()) == pytest.approx(2.0, abs=0.05)


def test_the_gnss_wanders_slowly_within_its_bound_and_otherwise_for_each_seed():
    faults = SensorFaults(gnss_drift_m=3.0)
    path = np.array([gnss_offset_m(faults, 2, tick, 0.05 * tick) for tick in range(6000)])
    assert np.abs(path).max() <= 3.0 and np.abs(path).max() > 1.0
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.05  # below 1 m/s
    assert not np.allclose(path[0], gnss_offset_m(faults, 3, 0, 0.0))


def test_an_error_in_metres_is_that_many_metres_in_the_world():
    moved = moved_gnss(np.array([0.001, 0.002, 5.0]), np.array([2.0, -3.0]))
    before, after = frames.xy_from_gnss(0.001, 0.002), frames.xy_from_gnss(moved[0], moved[1])
    assert after - before == pytest.approx([2.0, -3.0], abs=1e-3)
    assert moved[2] == 5.0


def test_only_the_named_cameras_fail_and_nothing_of_the_caller_is_changed():
    sensors = FaultySensors(SensorFaults(lost=1.0, gnss_drift_m=5.0), 1)
    data = readings(10, ("front", "left"))
    out = sensors(10, 0.5, data)
    assert set(out) == {"GPS", "SPEED", "left"} and out["left"] is data["left"]
    assert (data["GPS"][1] == 0.0).all() and not (out["GPS"][1][:2] == 0.0).any()


@pytest.mark.parametrize("values", [{"lost": 1.1}, {"noise": -1.0}, {"blur_px": 99.0}, {"gnss_drift_m": float("inf")}])
def test_values_outside_their_range_are_refused(values):
    with pytest.raises(ConfigError, match=f"faults.{next(iter(values))}: found"):
        SensorFaults(**values)
