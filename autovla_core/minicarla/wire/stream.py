"""The stream channel: tokens, subscriptions and the 48 bytes before every frame. No sockets here."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

WORLD_STREAM_ID = 1  # the episode state; sensors count on from it
WORLD_OBSERVER = 17
SENSOR_TYPE_IDS = {
    "sensor.other.collision": 0,
    "sensor.camera.depth": 1,
    "sensor.camera.dvs": 3,
    "sensor.other.gnss": 4,
    "sensor.other.imu": 5,
    "sensor.other.obstacle": 7,
    "sensor.camera.optical_flow": 8,
    "sensor.other.radar": 9,
    "sensor.lidar.ray_cast_semantic": 10,
    "sensor.lidar.ray_cast": 11,
    "sensor.camera.rgb": 13,
    "sensor.camera.semantic_segmentation": 14,
    "sensor.camera.instance_segmentation": 15,
}
CLIENT_SIDE_SENSORS = ("sensor.other.lane_invasion",)  # computed by the client; must have no stream

_TOKEN = struct.Struct("<IHBB16x")
_HEADER = struct.Struct("<QQd6f")
_SIZE = struct.Struct("<I")
_TCP, _ADDRESS_UNSET = 1, 0


def token(stream_id: int, port: int) -> bytes:
    """24 bytes that tell the client where a stream is; the host is the one it already talks to."""
    return _TOKEN.pack(stream_id, port, _TCP, _ADDRESS_UNSET)


@dataclass(frozen=True)
class Header:
    """What every frame starts with; location in m, rotation pitch, yaw, roll in deg, CARLA's world."""

    sensor_type: int
    frame: int
    time_s: float
    location: np.ndarray
    rotation: np.ndarray

    def pack(self) -> bytes:
        return _HEADER.pack(self.sensor_type, self.frame, self.time_s, *self.location, *self.rotation)


def frame(header: Header, payload: bytes | memoryview) -> list[bytes | memoryview]:
    """The pieces of one message, in order; a large payload is not copied."""
    size = _SIZE.pack(_HEADER.size + len(payload))
    return [size + header.pack(), payload]


class SubscriptionReader:
    """Reads the one thing that a subscriber says: the four bytes of a stream id."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> int | None:
        """Return the stream id once it is complete; what follows it is ignored."""
        self._buffer = (self._buffer + data)[: _SIZE.size]
        return _SIZE.unpack(self._buffer)[0] if len(self._buffer) == _SIZE.size else None
