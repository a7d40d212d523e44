"""What each of CARLA's sensors sees, as pictures for people: its bytes in, (H, W, 3) uint8 RGB out."""

from __future__ import annotations

import numpy as np

LIDAR = np.dtype([("xyz", "<f4", 3), ("intensity", "<f4")])
SEMANTIC_LIDAR = np.dtype([("xyz", "<f4", 3), ("cosine", "<f4"), ("actor", "<u4"), ("tag", "<u4")])
RADAR = np.dtype([("velocity", "<f4"), ("azimuth", "<f4"), ("altitude", "<f4"), ("depth", "<f4")])
EVENTS = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("positive", "u1")])
NEAR, FAR, FAR_M = np.array([255.0, 214.0, 64.0]), np.array([40.0, 96.0, 255.0]), 60.0
COMING, GOING, FASTEST = np.array([255.0, 70.0, 60.0]), np.array([80.0, 200.0, 255.0]), 12.0  # m/s
BRIGHTER, DARKER = (90, 160, 255), (255, 90, 70)
BACKDROP = 0.3  # of a picture's brightness, behind points


def of_image(raw: bytes | memoryview, width: int, height: int) -> np.ndarray:
    """The picture of BGRA bytes."""
    return np.frombuffer(raw, np.uint8).reshape(height, width, 4)[:, :, 2::-1].copy()


def of_instances(raw: bytes | memoryview, width: int, height: int) -> np.ndarray:
    """A colour of its own for each thing; CARLA packs its number into blue and green, its kind into red."""
    picture = of_image(raw, width, height).astype(np.uint32)
    return _colors((picture[..., 0] << 16) | (picture[..., 1] << 8) | picture[..., 2])


def of_lidar(raw: bytes | memoryview, backdrop: np.ndarray, fov_deg: float) -> np.ndarray:
    """Points over a camera's picture from the same place, yellow near and blue far."""
    points = np.frombuffer(raw, LIDAR)["xyz"].astype(float)
    distance = np.linalg.norm(points, axis=1)
    return _scattered(backdrop, points, _between(NEAR, FAR, distance / FAR_M), fov_deg)


def of_semantic_lidar(raw: bytes | memoryview, backdrop: np.ndarray, fov_deg: float) -> np.ndarray:
    """Points over a camera's picture from the same place, a colour for each kind of thing."""
    points = np.frombuffer(raw, SEMANTIC_LIDAR)
    return _scattered(backdrop, points["xyz"].astype(float), _colors(points["tag"]), fov_deg)


def of_radar(raw: bytes | memoryview, backdrop: np.ndarray, fov_deg: float) -> np.ndarray:
    """Detections over a camera's picture from the same place: red come nearer, blue go away."""
    found = np.frombuffer(raw, RADAR)
    azimuth, altitude, depth = (found[name].astype(float) for name in ("azimuth", "altitude", "depth"))
    along = depth * np.cos(altitude)
    points = np.stack([along * np.cos(azimuth), along * np.sin(azimuth), depth * np.sin(altitude)], axis=1)
    colors = _between(COMING, GOING, 0.5 + 0.5 * found["velocity"].astype(float) / FASTEST)
    return _scattered(backdrop, points, colors, fov_deg, half_px=2)


def of_events(raw: bytes | memoryview, width: int, height: int) -> np.ndarray:
    """Pixels that became brighter blue, those that became darker red, the latest event counts."""
    events, picture = np.frombuffer(raw, EVENTS), np.zeros((height, width, 3), np.uint8)
    colors = np.where(events["positive"][:, None] > 0, np.uint8(BRIGHTER), np.uint8(DARKER))
    picture[events["y"], events["x"]] = colors
    return picture


def _scattered(
    backdrop: np.ndarray, points: np.ndarray, colors: np.ndarray, fov_deg: float, half_px: int = 1
) -> np.ndarray:
    """Points (n, 3) in CARLA's sensor frame, the far ones first, as squares on a darkened picture."""
    picture = (backdrop * BACKDROP).astype(np.uint8)
    height, width = picture.shape[:2]
    ahead = points[:, 0] > 0.1
    points, colors = points[ahead], colors[ahead]
    order = np.argsort(-points[:, 0], kind="stable")
    points, colors = points[order], colors[order]
    focal = 0.5 * width / np.tan(0.5 * np.radians(fov_deg))
    columns = np.rint(0.5 * width + focal * points[:, 1] / points[:, 0])
    rows = np.rint(0.5 * height - focal * points[:, 2] / points[:, 0])
    seen = (columns >= half_px) & (columns < width - half_px) & (rows >= half_px) & (rows < height - half_px)
    for row, column, color in zip(rows[seen].astype(int), columns[seen].astype(int), colors[seen], strict=True):
        picture[row - half_px + 1 : row + half_px, column - half_px + 1 : column + half_px] = color
    return picture


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0.0, 1.0)[:, None]
    return (first + share * (second - first)).astype(np.uint8)


def _colors(numbers: np.ndarray) -> np.ndarray:
    """A fixed colour (..., 3) for each number, black for 0; near numbers get colours that differ."""
    mixed = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    parts = [(mixed >> np.uint64(shift)) & np.uint64(0xFF) for shift in (0, 8, 16)]
    colors = (48 + np.stack(parts, axis=-1) * 207 // 255).astype(np.uint8)
    return np.where((numbers == 0)[..., None], np.uint8(0), colors)
