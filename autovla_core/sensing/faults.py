"""Sensors that fail on purpose: images lost, late, noisy or blurred, and a GNSS that wanders.

All chance is a function of (seed, sensor, tick): a drive with faults can be repeated bit for bit.
Payloads are the leaderboard's: ``{id: (frame, payload)}``, cameras (H, W, 4) uint8 BGRA, GNSS (3,) degrees and metres.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.errors import ConfigError
from autovla_core.sensing.rig import GNSS

Payloads = Mapping[str, tuple[int, object]]
EARTH_M_PER_DEG = 111_319.49  # of latitude, on CARLA's sphere
DRIFT_PERIODS_S = (40.0, 140.0)  # two waves wander between these
MOST_BLUR_PX = 32.0


@dataclass(frozen=True)
class SensorFaults:
    """What is wrong with the sensors; nothing by default.

    Raises:
        ConfigError: a value outside its range.
    """

    cameras: tuple[str, ...] = ("front",)  # that fail; others stay well
    lost: float = 0.0  # share of their images that never arrives
    late_ticks: int = 0  # images arrive up to so many ticks late, each by chance
    noise: float = 0.0  # standard deviation of each pixel's noise, of 255
    blur_px: float = 0.0  # standard deviation of a Gaussian
    gnss_drift_m: float = 0.0  # how far the GNSS wanders, at most, per axis
    gnss_noise_m: float = 0.0  # standard deviation of further white noise per axis

    def __post_init__(self) -> None:
        bounds = {"lost": 1.0, "late_ticks": 100, "noise": 255.0, "blur_px": MOST_BLUR_PX}
        for name in ("lost", "late_ticks", "noise", "blur_px", "gnss_drift_m", "gnss_noise_m"):
            value, top = getattr(self, name), bounds.get(name, math.inf)
            if not (math.isfinite(value) and 0.0 <= value <= top):
                raise ConfigError(f"faults.{name}: found {value}, expected 0 to {top}")

    @property
    def of_cameras(self) -> bool:
        """Whether images are touched."""
        return any((self.lost, self.late_ticks, self.noise, self.blur_px))

    @property
    def of_gnss(self) -> bool:
        """Whether positions are touched."""
        return any((self.gnss_drift_m, self.gnss_noise_m))


NO_FAULTS = SensorFaults()


def expect_sensors(faults: SensorFaults, types: Mapping[str, str]) -> None:
    """A fault of a sensor that is not there would do nothing and pass for robustness.

    Args:
        types: of the agent's sensors, by id.

    Raises:
        ConfigError: a fault of a camera or a GNSS that is not among them.
    """
    cameras = sorted(id for id, type_id in types.items() if type_id.startswith("sensor.camera"))
    absent = sorted(set(faults.cameras) - set(cameras)) if faults.of_cameras else []
    if absent or (faults.of_cameras and not faults.cameras):
        raise ConfigError(f"faults.cameras: found {list(faults.cameras)}, the agent's cameras are {cameras}")
    if faults.of_gnss and GNSS not in types:
        raise ConfigError(f"faults of the GNSS: the agent has no sensor {GNSS!r}; it has {sorted(types)}")


def chance_of(route: str, seed: int) -> int:
    """The seed of the faults of one drive: what happens on one route says nothing of another with the same seed."""
    return zlib.crc32(f"{route} {seed}".encode())


def draws(seed: int, sensor: str, tick: int) -> np.random.Generator:
    """The chance of one sensor at one tick."""
    return np.random.default_rng([seed, zlib.crc32(sensor.encode()), tick])


def is_lost(faults: SensorFaults, seed: int, camera: str, tick: int) -> bool:
    """Whether the image of this tick never arrives."""
    return faults.lost > 0.0 and bool(draws(seed, camera + " lost", tick).random() < faults.lost)


def lateness(faults: SensorFaults, seed: int, camera: str, tick: int) -> int:
    """Ticks by which the image of this tick is late."""
    if faults.late_ticks == 0:
        return 0
    return int(draws(seed, camera + " late", tick).integers(0, faults.late_ticks + 1))


def spoilt_image(faults: SensorFaults, seed: int, camera: str, tick: int, bgra: np.ndarray) -> np.ndarray:
    """The image (H, W, 4) uint8, blurred, then noisy; alpha stays."""
    if faults.blur_px == 0.0 and faults.noise == 0.0:
        return bgra
    colours = bgra[..., :3].astype(np.float32)
    if faults.blur_px > 0.0:
        colours = blurred(colours, faults.blur_px)
    if faults.noise > 0.0:
        rng = draws(seed, camera + " noise", tick)
        colours = colours + faults.noise * rng.standard_normal(colours.shape, np.float32)
    return np.dstack([np.clip(np.rint(colours), 0, 255).astype(np.uint8), bgra[..., 3]])


def blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur of (H, W, C) float; borders are mirrored, so that a flat image stays as it is."""
    reach = max(1, math.ceil(3.0 * sigma_px))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma_px) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        pads = [(reach, reach) if i == axis else (0, 0) for i in range(image.ndim)]
        padded, length = np.pad(image, pads, "symmetric"), image.shape[axis]
        image = sum(w * padded.take(range(k, k + length), axis) for k, w in enumerate(weights))
    return image


def gnss_offset_m(faults: SensorFaults, seed: int, tick: int, time_s: float) -> np.ndarray:
    """East and north error (2,) m: two slow waves of this seed's own periods and phases, and white noise."""
    error = np.zeros(2)
    if faults.gnss_drift_m > 0.0:
        rng = draws(seed, "gnss drift", 0)  # one drift an episode
        periods, phases = rng.uniform(*DRIFT_PERIODS_S, (2, 2)), rng.uniform(0.0, 2.0 * np.pi, (2, 2))
        error += faults.gnss_drift_m * np.sin(2.0 * np.pi * time_s / periods + phases).mean(axis=0)
    if faults.gnss_noise_m > 0.0:
        error += faults.gnss_noise_m * draws(seed, "gnss noise", tick).standard_normal(2)
    return error


def moved_gnss(reading: np.ndarray, offset_m: np.ndarray) -> np.ndarray:
    """Latitude, longitude and height (3,) with an error of (2,) m east and north."""
    moved = np.array(reading, float)
    shrink = max(math.cos(math.radians(float(reading[0]))), 1e-6)
    moved[0] += offset_m[1] / EARTH_M_PER_DEG
    moved[1] += offset_m[0] / (EARTH_M_PER_DEG * shrink)
    return moved


class FaultySensors:
    """Stands between the sensors and an agent; keeps the images that are late."""

    def __init__(self, faults: SensorFaults, seed: int) -> None:
        self._faults, self._seed = faults, seed
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._late: dict[str, dict[int, tuple[int, object]]] = {}  # by camera and tick of arrival
        self._newest: dict[str, int] = {}  # frame that each camera has delivered last

    def __call__(self, tick: int, time_s: float, input_data: Payloads) -> dict[str, tuple[int, object]]:
        """What the agent gets at ``tick`` in place of ``input_data``."""
        if self._faults == NO_FAULTS:
            return dict(input_data)
        out = {id: value for id, value in input_data.items() if id not in self._faults.cameras}
        if GNSS in out:
            frame, reading = out[GNSS]
            offset = gnss_offset_m(self._faults, self._seed, tick, time_s)
            out[GNSS] = (frame, moved_gnss(np.asarray(reading), offset))
        for camera in self._faults.cameras:
            self._take(camera, tick, input_data)
            arrived = self._late.get(camera, {}).pop(tick, None)
            if arrived is not None and arrived[0] > self._newest.get(camera, -1):  # what was overtaken is dropped
                out[camera] = arrived
                self._newest[camera] = arrived[0]
        return out

    def _take(self, camera: str, tick: int, input_data: Payloads) -> None:
        """Send the image of this tick, if there is one, on its way; of two that arrive together the newer counts."""
        if camera not in input_data or is_lost(self._faults, self._seed, camera, tick):
            return
        frame, bgra = input_data[camera]
        arrival = tick + lateness(self._faults, self._seed, camera, tick)
        image = spoilt_image(self._faults, self._seed, camera, tick, np.asarray(bgra))
        self._late.setdefault(camera, {})[arrival] = (frame, image)
