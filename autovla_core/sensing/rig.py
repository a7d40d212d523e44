"""Where the cameras sit. Values are in CARLA's convention: y right, degrees, because sensors are asked for so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autovla_core.errors import ConfigError

GNSS, IMU, SPEED = "GPS", "IMU", "SPEED"
IMAGE_PERIOD_S = 0.25  # what a plan every 0.5 s and clips at 2 Hz need


@dataclass(frozen=True)
class CameraSpec:
    """One RGB camera on the ego."""

    id: str
    x: float  # m forward of the vehicle's origin
    y: float  # m right
    z: float  # m up
    roll: float
    pitch: float  # degrees, up positive
    yaw: float  # degrees, right positive
    width: int
    height: int
    fov_deg: float

    def sensor(self) -> dict[str, object]:
        """The leaderboard's sensor specification."""
        pose = {k: getattr(self, k) for k in ("x", "y", "z", "roll", "pitch", "yaw")}
        size = {"width": self.width, "height": self.height, "fov": self.fov_deg}
        return {"type": "sensor.camera.rgb", "id": self.id, **pose, **size}


def _looking(id: str, x: float, y: float, yaw: float) -> CameraSpec:
    return CameraSpec(id, x, y, 1.6, 0.0, 0.0, yaw, 280, 140, 80.0)


RIGS: dict[str, tuple[CameraSpec, ...]] = {
    "front": (_looking("front", 1.3, 0.0, 0.0),),
    "front3": (
        _looking("front_left", 1.0, -0.4, -60.0),
        _looking("front", 1.3, 0.0, 0.0),
        _looking("front_right", 1.0, 0.4, 60.0),
    ),
}


def rig(name: str) -> tuple[CameraSpec, ...]:
    """The cameras of a named rig.

    Raises:
        ConfigError: no such rig.
    """
    try:
        return RIGS[name]
    except KeyError:
        raise ConfigError(f"rig: found {name!r}, expected one of {sorted(RIGS)}") from None


def sensors(cameras: Sequence[CameraSpec]) -> list[dict[str, object]]:
    """The leaderboard's sensor list: the cameras, GNSS, IMU and the speedometer.

    The leaderboard ignores ``sensor_tick`` and takes a picture every tick; our runner heeds it and is faster for it.
    """
    origin = {"x": 0.0, "y": 0.0, "z": 0.0, "roll": 0.0, "pitch": 0.0, "yaw": 0.0}
    return [
        *({**camera.sensor(), "sensor_tick": IMAGE_PERIOD_S} for camera in cameras),
        {"type": "sensor.other.gnss", "id": GNSS, **origin},
        {"type": "sensor.other.imu", "id": IMU, **origin},
        {"type": "sensor.speedometer", "id": SPEED, "reading_frequency": 20},
    ]
