"""GNSS and IMU: what the motion of the sensor looks like to instruments. CARLA's frames and units."""

from __future__ import annotations

import math

import numpy as np

from autovla_core.minicarla.sensors.geo import GeoReference
from autovla_core.minicarla.wire.packing import pack
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.pose import rotation_matrix

_GNSS_SALT, _IMU_SALT = 1, 2  # keep two sensors with the same seed apart


def _settings(actor: Actor, prefix: str, names: tuple[str, ...]) -> np.ndarray:
    return np.array([float(actor.attributes.get(f"{prefix}_{name}", "0")) for name in names])


def _generator(actor: Actor, salt: int) -> np.random.Generator:
    seed = int(float(actor.attributes.get("noise_seed", "0")))
    return np.random.default_rng([seed & 0xFFFFFFFF, salt])


class Gnss:
    """Latitude and longitude in degrees, altitude in metres; noise in the same units."""

    def __init__(self, actor: Actor, reference: GeoReference) -> None:
        self._reference = reference
        self._rng = _generator(actor, _GNSS_SALT)
        self._bias = _settings(actor, "noise", ("lat_bias", "lon_bias", "alt_bias"))
        self._stddev = _settings(actor, "noise", ("lat_stddev", "lon_stddev", "alt_stddev"))

    def measure(self, actor: Actor) -> np.ndarray:
        """(3,) latitude, longitude, altitude."""
        x, y, z = actor.location
        truth = np.array([*self._reference.locate(float(x), float(y)), float(z)])
        return truth + self._bias + self._stddev * self._rng.standard_normal(3)

    def payload(self, actor: Actor) -> bytes:
        return pack(self.measure(actor).tolist())


class Imu:
    """Accelerometer (m/s2, with gravity), gyroscope (rad/s) and compass (rad), in the sensor's frame."""

    def __init__(self, actor: Actor) -> None:
        self._rng = _generator(actor, _IMU_SALT)
        self._acceleration_stddev = _settings(actor, "noise_accel_stddev", ("x", "y", "z"))
        self._gyro_stddev = _settings(actor, "noise_gyro_stddev", ("x", "y", "z"))
        self._gyro_bias = _settings(actor, "noise_gyro_bias", ("x", "y", "z"))
        self._track: list[np.ndarray] = []  # the last three positions, oldest first

    def observe(self, actor: Actor) -> None:
        """Remember where the sensor is; call every tick, measured or not."""
        self._track = [*self._track[-2:], actor.location.astype(float)]

    def measure(
        self, actor: Actor, carrier: Actor, delta_s: float, gravity: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return accelerometer (3,), gyroscope (3,) and compass of a sensor carried by ``carrier``.

        The acceleration is the second difference of the position, as in CARLA; zero until three
        positions are known.
        """
        sensor_from_world = rotation_matrix(actor.rotation).T
        acceleration = np.zeros(3)
        if len(self._track) == 3:
            oldest, middle, newest = self._track
            acceleration = (newest - 2.0 * middle + oldest) / delta_s**2
        felt = sensor_from_world @ (acceleration + np.array([0.0, 0.0, gravity]))
        turning = sensor_from_world @ np.radians(carrier.angular_velocity.astype(float))
        return (
            felt + self._acceleration_stddev * self._rng.standard_normal(3),
            turning + self._gyro_bias + self._gyro_stddev * self._rng.standard_normal(3),
            (math.radians(float(actor.rotation[1])) + math.pi / 2) % (2 * math.pi),
        )

    def payload(self, actor: Actor, carrier: Actor, delta_s: float, gravity: float) -> bytes:
        acceleration, gyro, compass = self.measure(actor, carrier, delta_s, gravity)
        return pack([acceleration.tolist(), gyro.tolist(), compass])
