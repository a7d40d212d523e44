"""The event camera, by numbers worked by hand."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors.events import EVENT, TYPE_ID, EventCamera, brightness, config_of
from autovla_core.minicarla.world.actor import Actor


def sensor(**attributes: object) -> Actor:
    given = {name: str(value) for name, value in attributes.items()}
    return Actor(7, TYPE_ID, attributes={**BLUEPRINTS[TYPE_ID].defaults(), **given})


def grey(*values: int) -> np.ndarray:
    """One row of grey pixels, BGRA."""
    return np.array([[(value, value, value, 255) for value in values]], np.uint8)


def shown(camera: EventCamera, *pictures: np.ndarray, every_s: float = 0.05) -> list[np.ndarray]:
    return [camera.events(picture, 10.0 + every_s * number) for number, picture in enumerate(pictures)]


def test_an_event_takes_the_thirteen_bytes_of_carla() -> None:
    assert EVENT.itemsize == 13
    event = np.array([(3, 2, 5, True)], EVENT)
    assert event.tobytes() == bytes([3, 0, 2, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1])


def test_brightness_is_the_logarithm_of_the_luma() -> None:
    config = config_of(sensor())
    assert brightness(grey(255, 0), config)[0].tolist() == pytest.approx([math.log(1.001), math.log(0.001)])
    plain = dataclasses.replace(config, use_log=False)
    blue_green_red = np.array([[(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)]], np.uint8)
    assert brightness(blue_green_red, plain)[0].tolist() == pytest.approx([0.114, 0.587, 0.299])


def test_the_first_picture_and_a_still_one_give_no_event() -> None:
    first, second = shown(EventCamera(sensor()), grey(10, 200), grey(10, 200))
    assert len(first) == len(second) == 0


def test_every_threshold_that_a_pixel_crosses_is_an_event_at_its_time() -> None:
    """From 0 to 1 in 50 ms, thresholds at 0.3, 0.6 and 0.9: 15, 30 and 45 ms after the first picture."""
    camera = EventCamera(sensor(use_log="false"))
    _, events, back = shown(camera, grey(0, 90), grey(255, 90), grey(51, 90))
    assert events["x"].tolist() == [0, 0, 0] and events["y"].tolist() == [0, 0, 0]
    assert events["pol"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(events["t"], [10_015_000_000, 10_030_000_000, 10_045_000_000], atol=2)
    assert back["pol"].tolist() == [0, 0]  # from the level 0.9 down to 0.2: 0.6, after half of the way, and 0.3
    np.testing.assert_allclose(back["t"], [10_075_000_000, 10_093_750_000], atol=2)


def test_small_steps_add_up_until_they_cross() -> None:
    camera = EventCamera(sensor(use_log="false"))
    counts = [len(events) for events in shown(camera, grey(0), grey(50), grey(100), grey(150))]
    assert counts == [0, 0, 1, 0]  # 0.196, 0.392, 0.588: only 0.3 is crossed


def test_each_way_has_its_own_threshold() -> None:
    camera = EventCamera(sensor(use_log="false", positive_threshold=0.5, negative_threshold=0.1))
    _, up, down = shown(camera, grey(0), grey(140), grey(0))
    assert up["pol"].tolist() == [1] and down["pol"].tolist() == [0] * 5


def test_a_pixel_rests_after_an_event() -> None:
    """Crossings 15 ms apart; after the first, the next that is 20 ms later is the third."""
    camera = EventCamera(sensor(use_log="false", refractory_period_ns=20_000_000))
    _, events = shown(camera, grey(0), grey(255))
    np.testing.assert_allclose(events["t"], [10_015_000_000, 10_045_000_000], atol=2)


def test_events_come_in_order_of_time() -> None:
    camera = EventCamera(sensor())
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 256, (20, 30, 4)).astype(np.uint8) for _ in range(3)]
    for events in shown(camera, *pictures)[1:]:
        assert len(events) > 100 and (np.diff(events["t"]) >= 0).all()
        assert events["x"].max() < 30 and events["y"].max() < 20


def test_noise_moves_the_thresholds_and_its_copy_repeats_it() -> None:
    noisy = EventCamera(sensor(use_log="false", sigma_positive_threshold=0.1, sigma_negative_threshold=0.1))
    noisy.events(grey(*[0] * 200), 10.0)
    twin = copy.deepcopy(noisy)
    events, same = noisy.events(grey(*[255] * 200), 10.05), twin.events(grey(*[255] * 200), 10.05)
    assert events.tobytes() == same.tobytes()
    first = np.unique(events["x"], return_index=True)[1]
    thresholds = (events["t"][first] - 10_000_000_000) / 50e6
    assert thresholds.mean() == pytest.approx(0.3, abs=0.03) and thresholds.std() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("wrong", [{"positive_threshold": 0.0}, {"log_eps": -1.0}, {"refractory_period_ns": -5}])
def test_senseless_attributes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        config_of(sensor(**wrong))
