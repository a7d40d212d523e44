from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.errors import ConfigError, ObservationError
from autovla_core.frames import EARTH_RADIUS_EQUA_M
from autovla_core.sensing.images import rgb_from_bgra
from autovla_core.sensing.localizer import Localizer, SpeedDerivative
from autovla_core.sensing.rig import RIGS, rig, sensors
from autovla_core.sensing.window import ImageWindow


def image(value: int) -> np.ndarray:
    return np.full((2, 3, 3), value, np.uint8)


@pytest.mark.parametrize("every", [1, 5, 10])
def test_a_clip_holds_four_images_half_a_second_apart(every):
    window = ImageWindow()
    for tick in range(0, 81):
        if tick % every == 0:
            window.push("front", tick * 0.05, image(tick))
    clip = window.clip("front", 4.0)
    assert clip.images[:, 0, 0, 0].tolist() == [50, 60, 70, 80]
    assert clip.times_s == pytest.approx([2.5, 3.0, 3.5, 4.0])


def test_a_slow_cameras_clip_keeps_its_own_times_between_its_images():
    window = ImageWindow()
    for k in range(5):
        window.push("front", 0.2 + 0.5 * k, image(k))
    assert window.clip("front", 2.5).times_s == pytest.approx([0.7, 1.2, 1.7, 2.2])


def test_before_there_is_history_the_oldest_image_is_repeated():
    window = ImageWindow()
    window.push("front", 0.05, image(7))
    window.push("front", 0.55, image(8))
    clip = window.clip("front", 0.6)
    assert clip.images[:, 0, 0, 0].tolist() == [7, 7, 7, 8]
    assert clip.times_s == pytest.approx([0.05, 0.05, 0.05, 0.55])


def test_times_in_float32_still_find_the_image_of_their_tick():
    window, time = ImageWindow(), np.float32(0.0)
    for tick in range(60):
        time = np.float32(time + np.float32(0.05))
        window.push("front", float(time), image(tick))
    assert window.clip("front", float(time)).images[:, 0, 0, 0].tolist() == [29, 39, 49, 59]


def test_a_camera_without_images_is_an_error_that_lists_the_others():
    window = ImageWindow()
    window.push("left", 0.0, image(0))
    with pytest.raises(ObservationError, match="left"):
        window.clip("front", 1.0)


def test_bgra_becomes_rgb():
    bgra = np.zeros((2, 2, 4), np.uint8)
    bgra[..., 0], bgra[..., 2] = 10, 200
    assert rgb_from_bgra(bgra)[0, 0].tolist() == [200, 0, 10]
    with pytest.raises(ObservationError, match="float64"):
        rgb_from_bgra(np.zeros((2, 2, 4)))


@pytest.mark.parametrize("name", sorted(RIGS))
def test_rigs_obey_the_leaderboards_mounting_rules(name):
    specs = sensors(rig(name))
    ids = [s["id"] for s in specs]
    assert len(set(ids)) == len(ids)
    for spec in specs:
        if "x" in spec:
            assert math.hypot(spec["x"], spec["y"], spec["z"]) <= 3.0


def test_an_unknown_rig_lists_the_known_ones():
    with pytest.raises(ConfigError, match="front"):
        rig("periscope")


def drive_circle(seed: int, compass_fails: bool = False) -> float:
    """A minute on a 30 m circle with the leaderboard's noise; return the worst error after 10 s."""
    rng, localizer, worst = np.random.default_rng(seed), Localizer(), 0.0
    speed, radius = 8.0, 30.0
    for tick in range(1200):
        time = tick * 0.05
        yaw = speed * time / radius
        x, y = radius * math.sin(yaw), radius * (1 - math.cos(yaw))
        longitude = math.degrees(x / EARTH_RADIUS_EQUA_M) + rng.normal(0.0, 5e-6)
        latitude = math.degrees(2 * math.atan(math.exp(y / EARTH_RADIUS_EQUA_M)) - math.pi / 2) + rng.normal(0.0, 5e-6)
        compass = math.nan if compass_fails and 300 < tick < 360 else (math.pi / 2 - yaw) % (2 * math.pi)
        pose = localizer.update(time, latitude, longitude, compass, speed, speed / radius)
        if tick > 200:
            worst = max(worst, math.hypot(pose[0] - x, pose[1] - y))
    return worst


def test_the_localizer_is_far_better_than_its_gnss():
    assert max(drive_circle(seed) for seed in range(3)) < 0.35


def test_the_localizer_bridges_a_compass_that_fails():
    assert drive_circle(0, compass_fails=True) < 0.4


def test_acceleration_is_signed_and_settles():
    derivative = SpeedDerivative()
    values = [derivative.update(k * 0.05, 10.0 - 2.0 * k * 0.05) for k in range(40)]
    assert values[0] == 0.0
    assert values[-1] == pytest.approx(-2.0, abs=0.01)
