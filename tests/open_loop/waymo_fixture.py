"""Writes a small genuine WOD-E2E: TFRecord shards of serialised frames, shuffled as Waymo's are.

Nothing of the reader is used: the checksum is computed bit by bit, the messages are encoded by hand and hold the
fields that the reader must step over (calibrations, poses and times of images, heights).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN, VAL, TEST = "training_202504", "val_202504", "test_202504"
SIZE = (84, 56)  # width, height of the pictures
CAMERAS = 8


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # the Castagnoli polynomial, reversed
        table.append(byte)
    return table


TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C, one byte at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """The four checksum bytes of a TFRecord."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def tfrecord(data: bytes) -> bytes:
    """One framed record."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(key: int, value: int) -> bytes:
    """A varint field."""
    return varint(key << 3) + varint(value)


def text(key: int, value: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    return varint(key << 3 | 2) + varint(len(value)) + value


def single(key: int, value: float) -> bytes:
    """A float field."""
    return varint(key << 3 | 5) + struct.pack("<f", value)


def double(key: int, value: float) -> bytes:
    """A double field."""
    return varint(key << 3 | 1) + struct.pack("<d", value)


def packed(key: int, values: Sequence[float]) -> bytes:
    """Repeated floats."""
    return text(key, struct.pack(f"<{len(values)}f", *values)) if len(values) else b""


@dataclass(frozen=True)
class Moment:
    """What a frame says besides its pictures; rear axle, its own frame, 4 Hz."""

    past: np.ndarray  # (16, 6)
    future: np.ndarray  # (20, 2), or none
    intent: int = 1
    rated: Sequence[tuple[np.ndarray, float]] = field(default_factory=tuple)


def arc(curvature: float, speed: float, times: np.ndarray) -> np.ndarray:
    """Places (N, 2) on a circle that leaves the origin along +x."""
    angle = curvature * speed * times
    if curvature == 0.0:
        return np.stack([speed * times, 0.0 * times], axis=1)
    return np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=1) / curvature


def moment(curvature: float, speed: float, rated: Sequence[tuple[np.ndarray, float]] = (), intent: int = 1) -> Moment:
    """A drive of constant speed on a circle."""
    before, after = 0.25 * np.arange(-15, 1), 0.25 * np.arange(1, 21)
    angle = curvature * speed * before
    velocity = speed * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    acceleration = speed**2 * curvature * np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    past = np.concatenate([arc(curvature, speed, before), velocity, acceleration], axis=1)
    return Moment(past, arc(curvature, speed, after), intent, rated)


def picture(segment: int, frame: int, camera: int, size: tuple[int, int] = SIZE) -> bytes:
    """A JPEG whose middle tells where it belongs: red = 8 x segment, green = frame, blue = 20 x camera."""
    image = Image.new("RGB", size, (8 * segment % 256, frame % 256, 20 * camera))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def states(columns: Mapping[int, Sequence[float]], score: float | None = None) -> bytes:
    """An EgoTrajectoryStates."""
    body = b"".join(packed(key, values) for key, values in sorted(columns.items()))
    return body if score is None else body + single(8, score)


def calibration(camera: int) -> bytes:
    """A CameraCalibration: nothing the reader needs."""
    intrinsic = b"".join(double(2, value) for value in (700.0, 700.0, 42.0, 28.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    extrinsic = b"".join(double(1, value) for value in np.eye(4).ravel())
    return number(1, camera) + intrinsic + text(3, extrinsic) + number(4, SIZE[0]) + number(5, SIZE[1])


def image_message(camera: int, jpeg: bytes) -> bytes:
    """A CameraImage with a pose, a velocity and times."""
    pose = b"".join(double(1, value) for value in np.eye(4).ravel())
    return number(1, camera) + text(2, jpeg) + text(3, pose) + text(4, single(1, 3.0)) + double(5, 0.0) + double(7, 0.0)


def e2ed_frame(name: str, pictures: Mapping[int, bytes], at: Moment) -> bytes:
    """A serialised E2EDFrame."""
    context = text(1, name.encode()) + b"".join(text(2, calibration(c)) for c in pictures)
    images = b"".join(text(4, image_message(c, jpeg)) for c, jpeg in pictures.items())
    past = states(dict(zip((1, 2, 4, 5, 6, 7), at.past.T)))
    frame = text(1, text(1, context) + number(2, 0) + images)
    future = (
        text(5, states({1: at.future[:, 0], 2: at.future[:, 1], 3: 0.0 * at.future[:, 0]})) if len(at.future) else b""
    )
    rated = b"".join(text(8, states({1: p[:, 0], 2: p[:, 1]}, score)) for p, score in at.rated)
    return frame + future + text(6, past) + number(7, at.intent) + rated


def segment_name(segment: int) -> str:
    """32 hexadecimal digits."""
    return f"{segment:032x}"


def frames(segment: int, first: int, count: int, at: Moment, size: tuple[int, int] = SIZE) -> list[bytes]:
    """The frames of one segment, 10 Hz."""
    return [
        e2ed_frame(
            f"{segment_name(segment)}-{n:03d}",
            {c: picture(segment, n, c, size) for c in range(1, CAMERAS + 1)},
            at,
        )
        for n in range(first, first + count)
    ]


def write_shards(root: Path, prefix: str, records: Sequence[bytes], shards: int, seed: int = 0) -> list[Path]:
    """Shuffle the records over ``shards`` files."""
    root.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(records))
    paths = [root / f"{prefix}.tfrecord-{i:05d}-of-{shards:05d}" for i in range(shards)]
    for i, path in enumerate(paths):
        path.write_bytes(b"".join(tfrecord(records[k]) for k in order[i::shards]))
    return paths
