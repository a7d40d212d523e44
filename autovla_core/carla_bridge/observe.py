"""Sensor data -> Observation, as an agent of the leaderboard sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.contracts import Observation
from autovla_core.errors import ObservationError
from autovla_core.route.plan import RoutePlan
from autovla_core.route.progress import RouteProgress
from autovla_core.sensing import rig as rigs
from autovla_core.sensing.images import rgb_from_bgra
from autovla_core.sensing.localizer import Localizer, SpeedDerivative
from autovla_core.sensing.rig import CameraSpec
from autovla_core.sensing.window import ImageWindow

ROUTE_AHEAD_M = np.arange(2.0, 52.0, 2.0)


@dataclass(frozen=True)
class Motion:
    """The ego's own readings of one tick."""

    time_s: float
    speed: float  # m/s, signed
    acceleration: float  # m/s2, longitudinal
    yaw_rate: float  # rad/s, counter-clockwise
    pose: np.ndarray  # (3,) estimated world_from_ego


class Observer:
    """Takes every tick's ``input_data``; builds an observation when asked."""

    def __init__(self, cameras: Sequence[CameraSpec], plan: RoutePlan, localizer: Localizer | None = None) -> None:
        self._cameras = tuple(cameras)
        self.progress = RouteProgress(plan)
        self._localizer = localizer or Localizer()
        self._derivative = SpeedDerivative()
        self._window = ImageWindow()
        self.motion: Motion | None = None

    def update(self, input_data: Mapping[str, tuple[int, object]], time_s: float) -> Motion:
        """Take one tick: {id: (frame, payload)} with the rig's cameras, GPS, IMU and SPEED.

        Raises:
            ObservationError: a motion sensor is absent, or a camera's payload is no image.
        """
        gnss, imu = self._reading(input_data, rigs.GNSS), self._reading(input_data, rigs.IMU)
        speed = float(self._reading(input_data, rigs.SPEED)["speed"])
        yaw_rate = -float(imu[5]) if math.isfinite(imu[5]) else 0.0
        pose = self._localizer.update(time_s, float(gnss[0]), float(gnss[1]), float(imu[6]), speed, yaw_rate)
        self.progress.update(pose)
        for camera in self._cameras:
            if camera.id in input_data:
                self._window.push(camera.id, time_s, rgb_from_bgra(input_data[camera.id][1]))
        acceleration = self._derivative.update(time_s, speed)
        self.motion = Motion(time_s, speed, acceleration, yaw_rate, pose)
        return self.motion

    def observe(self) -> Observation:
        """The observation of the newest tick.

        Raises:
            ObservationError: no tick yet, or a camera has not delivered.
        """
        motion = self.motion
        if motion is None:
            raise ObservationError("no sensor data yet")
        return Observation(
            time_s=motion.time_s,
            clips={c.id: self._window.clip(c.id, motion.time_s) for c in self._cameras},
            speed=motion.speed,
            acceleration=motion.acceleration,
            pose=motion.pose,
            command=self.progress.command(),
            route=self.progress.ahead(motion.pose, ROUTE_AHEAD_M),
        )

    @staticmethod
    def _reading(input_data: Mapping[str, tuple[int, object]], id: str) -> object:
        try:
            return input_data[id][1]
        except KeyError:
            raise ObservationError(f"sensor {id!r} is missing; this tick has {sorted(input_data)}") from None
