"""The radar: random rays in a cone, each with the speed of what it met. CARLA's frames and units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.sensors.lidar import MAX_POINTS_PER_TICK, MAX_RANGE_M, TO_RIGHT_HANDED
from autovla_core.minicarla.sensors.rays import Caster, Hits
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.pose import rotation_matrix
from autovla_core.minicarla.world.world import World

TYPE_ID = "sensor.other.radar"

_SALT = 4


@dataclass(frozen=True)
class RadarConfig:
    """CARLA's attributes; angles in degrees, range in m."""

    horizontal_fov: float
    vertical_fov: float
    range: float
    points_per_second: float
    noise_seed: int = 0

    def __post_init__(self) -> None:
        if not (0.0 < self.range <= MAX_RANGE_M and 0.0 <= self.points_per_second < math.inf):
            raise ValueError(
                f"range {self.range} m must lie in 0..{MAX_RANGE_M:g}, points_per_second {self.points_per_second} "
                "must not be negative"
            )
        if not (0.0 <= self.horizontal_fov < 180.0 and 0.0 <= self.vertical_fov < 180.0):
            raise ValueError(
                f"horizontal_fov {self.horizontal_fov} and vertical_fov {self.vertical_fov} must lie in 0..180"
            )


def config_of(sensor: Actor) -> RadarConfig:
    """The attributes of a radar.

    Raises:
        ValueError: attributes that are no radar.
    """
    numbers = {n: float(sensor.attributes[n]) for n in RadarConfig.__dataclass_fields__ if n in sensor.attributes}
    return RadarConfig(**{**numbers, "noise_seed": int(numbers.get("noise_seed", 0))})


class Radar:
    """One radar and its random numbers."""

    def __init__(self, sensor: Actor) -> None:
        self.config = config_of(sensor)
        self._rng = np.random.default_rng([self.config.noise_seed & 0xFFFFFFFF, _SALT])

    def rays(self, delta_s: float) -> np.ndarray:
        """(n, 3) ends of a tick's rays in the sensor's frame, m: on a disc at ``range``, denser in its middle."""
        config = self.config
        count = int(min(config.points_per_second * delta_s + 1e-6, MAX_POINTS_PER_TICK))
        radius, angle = self._rng.random(count), 2.0 * math.pi * self._rng.random(count)
        across = config.range * math.tan(math.radians(config.horizontal_fov / 2)) * radius * np.cos(angle)
        up = config.range * math.tan(math.radians(config.vertical_fov / 2)) * radius * np.sin(angle)
        return np.column_stack([np.full(count, config.range), across, up])

    def payload(self, world: World, sensor: Actor, caster: Caster, delta_s: float) -> bytes:
        """Detections of a tick: speed (m/s, negative when approaching), azimuth, altitude (rad), distance (m)."""
        ends = self.rays(delta_s)
        reach = np.linalg.norm(ends, axis=1)
        local = ends / np.maximum(reach, 1e-9)[:, None]
        ahead = local @ rotation_matrix(sensor.rotation).T
        hits = caster.cast(sensor.location * TO_RIGHT_HANDED, ahead * TO_RIGHT_HANDED, reach)
        met = np.flatnonzero(hits.any)
        hits = Hits(*(part[met] for part in hits))
        velocity = _velocities(world, caster.actors(hits)) - velocity_of(world, sensor)
        speed = np.einsum("nk,nk->n", velocity, ahead[met])
        azimuth, altitude = np.arctan2(local[met, 1], local[met, 0]), np.arcsin(local[met, 2])
        return np.column_stack([speed, azimuth, altitude, hits.distance]).astype("<f4").tobytes()


def velocity_of(world: World, sensor: Actor) -> np.ndarray:
    """(3,) m/s in the world of the place where a sensor sits: its carrier may turn."""
    carrier = world.actors.get(sensor.parent_id)
    if carrier is None:
        return sensor.velocity
    return carrier.velocity + np.cross(np.radians(carrier.angular_velocity), sensor.location - carrier.location)


def _velocities(world: World, actor_ids: np.ndarray) -> np.ndarray:
    """(n, 3) m/s; the town stands still."""
    ids, which = np.unique(actor_ids, return_inverse=True)
    still = np.zeros(3)
    known = [world.actors[i].velocity if i in world.actors else still for i in ids.tolist()]
    return np.array(known, float).reshape(-1, 3)[which.reshape(-1)]
