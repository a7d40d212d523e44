"""Lidars: rotating fans of rays, as points (x, y, z, intensity) or with what they hit. CARLA's frames and units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.sensors.rays import Caster, Hits
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.pose import rotation_matrix

RAY_CAST = "sensor.lidar.ray_cast"
SEMANTIC = "sensor.lidar.ray_cast_semantic"
MAX_CHANNELS, MAX_POINTS_PER_TICK, MAX_RANGE_M = 1024, 4_000_000, 10_000.0
TO_RIGHT_HANDED = np.array([1.0, -1.0, 1.0])

_SALT = 3  # keeps two sensors with the same seed apart
_SEMANTIC_POINT = np.dtype([("xyz", "<f4", 3), ("cosine", "<f4"), ("actor", "<u4"), ("tag", "<u4")])


@dataclass(frozen=True)
class LidarConfig:
    """CARLA's attributes; angles in degrees. The semantic lidar has neither intensity nor noise."""

    channels: int
    range: float
    points_per_second: float
    rotation_frequency: float  # turns over ``horizontal_fov`` per second
    upper_fov: float
    lower_fov: float
    horizontal_fov: float
    atmosphere_attenuation_rate: float = 0.0  # 1/m
    dropoff_general_rate: float = 0.0  # share of rays that are never shot
    dropoff_intensity_limit: float = 0.0  # weaker echoes may be lost
    dropoff_zero_intensity: float = 0.0  # probability that an echo of intensity 0 is lost
    noise_stddev: float = 0.0  # m along the ray
    noise_seed: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.channels <= MAX_CHANNELS and 0.0 < self.range <= MAX_RANGE_M):
            raise ValueError(
                f"channels {self.channels} must lie in 1..{MAX_CHANNELS}, range {self.range} m in 0..{MAX_RANGE_M:g}"
            )
        if not (0.0 < self.horizontal_fov <= 360.0 and abs(self.upper_fov) <= 90.0 and abs(self.lower_fov) <= 90.0):
            raise ValueError(
                f"horizontal_fov {self.horizontal_fov} must lie in 0..360, "
                f"upper_fov {self.upper_fov} and lower_fov {self.lower_fov} in -90..90"
            )
        if not (0.0 <= self.points_per_second < math.inf and 0.0 <= self.rotation_frequency < math.inf):
            raise ValueError("points_per_second and rotation_frequency must not be negative")


def config_of(sensor: Actor) -> LidarConfig:
    """The attributes of a lidar.

    Raises:
        ValueError: attributes that are no lidar.
    """
    return LidarConfig(**_numbers(sensor.attributes))


def _numbers(attributes: Mapping[str, str]) -> dict[str, float]:
    whole = ("channels", "noise_seed")
    return {
        name: int(float(attributes[name])) if name in whole else float(attributes[name])
        for name in LidarConfig.__dataclass_fields__
        if name in attributes
    }


class Scan(NamedTuple):
    """The rays of one tick, grouped by channel, the uppermost first."""

    directions: np.ndarray  # (n, 3) unit, CARLA's sensor frame
    channel: np.ndarray  # (n,) int64


def scan(config: LidarConfig, start_deg: float, delta_s: float) -> Scan:
    """The rays of a tick that begins at a horizontal angle; none if there are less than half a point per channel.

    At most ``MAX_POINTS_PER_TICK``: a client must not make the server allocate what it likes.
    """
    wanted = min(config.points_per_second * delta_s, MAX_POINTS_PER_TICK)
    per_channel = math.floor(wanted / config.channels + 0.5)
    swept = config.rotation_frequency * config.horizontal_fov * delta_s
    yaw = start_deg + swept * np.arange(per_channel) / max(per_channel, 1)
    yaw = np.radians(yaw % config.horizontal_fov - config.horizontal_fov / 2)
    pitch = np.radians(np.linspace(config.upper_fov, config.lower_fov, config.channels))[:, None]
    directions = np.stack(
        np.broadcast_arrays(np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)), axis=-1
    )
    return Scan(directions.reshape(-1, 3), np.repeat(np.arange(config.channels), per_channel))


class Lidar:
    """One lidar: where it looks, and its random numbers."""

    def __init__(self, sensor: Actor) -> None:
        self.config = config_of(sensor)
        self.semantic = sensor.type_id == SEMANTIC
        self.angle_deg = 0.0  # of the next ray, in [0, horizontal_fov)
        self._rng = np.random.default_rng([self.config.noise_seed & 0xFFFFFFFF, _SALT])

    def payload(self, sensor: Actor, caster: Caster, delta_s: float) -> bytes:
        """Shoot the rays of a tick: angle (rad), channels, points per channel, points; advances the angle."""
        config = self.config
        shot = self._shot(scan(config, self.angle_deg, delta_s))
        turn = rotation_matrix(sensor.rotation)
        directions = (shot.directions @ turn.T) * TO_RIGHT_HANDED
        hits = caster.cast(sensor.location * TO_RIGHT_HANDED, directions, config.range)
        kept = np.flatnonzero(hits.any)
        hits = Hits(*(part[kept] for part in hits))
        channel, local = shot.channel[kept], shot.directions[kept]
        if self.semantic:
            points = _semantic_points(caster, hits, local, directions[kept])
        else:
            points, heard = self._points(hits.distance, local)
            points, channel = points[heard], channel[heard]
        counts = np.bincount(channel, minlength=config.channels).astype("<u4")
        self.angle_deg = (self.angle_deg + config.rotation_frequency * config.horizontal_fov * delta_s) % (
            config.horizontal_fov
        )
        header = np.float32(math.radians(self.angle_deg)).tobytes() + np.uint32(config.channels).tobytes()
        return header + counts.tobytes() + points.tobytes()

    def _shot(self, whole: Scan) -> Scan:
        """Leave out the share of rays that the general drop-off takes."""
        rate = self.config.dropoff_general_rate
        if self.semantic or rate <= 0.0:
            return whole
        shot = self._rng.random(len(whole.channel)) >= rate
        return Scan(whole.directions[shot], whole.channel[shot])

    def _points(self, distance: np.ndarray, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 4) float32 points with intensity, and which of them the receiver hears."""
        config = self.config
        intensity = np.exp(-config.atmosphere_attenuation_rate * distance)
        if config.noise_stddev > 0.0:
            distance = distance + config.noise_stddev * self._rng.standard_normal(len(distance))
        points = np.column_stack([local * distance[:, None], intensity]).astype("<f4")
        limit, lost_at_zero = config.dropoff_intensity_limit, config.dropoff_zero_intensity
        if limit <= 0.0:
            return points, np.ones(len(points), bool)
        chance = 1.0 - lost_at_zero + lost_at_zero * intensity / limit
        return points, (intensity > limit) | (self._rng.random(len(points)) < chance)


def _semantic_points(caster: Caster, hits: Hits, local: np.ndarray, directions: np.ndarray) -> np.ndarray:
    points = np.zeros(len(local), _SEMANTIC_POINT)
    points["xyz"] = local * hits.distance[:, None]
    points["cosine"] = -np.einsum("nk,nk->n", caster.normals(hits), directions)
    points["actor"], points["tag"] = caster.actors(hits), caster.tags(hits)
    return points
