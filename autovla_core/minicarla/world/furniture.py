"""What stands at signals: posts, back plates of the lights, boards of the signs. Meshes are right-handed.

The lamps are not here: the cameras draw them every tick, by state; ``sensors.meshes`` says where on a plate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autovla_core.frames import point_from_carla, yaw_from_carla
from autovla_core.minicarla.world.layout import Signal, Solid
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, join
from autovla_core.minicarla.world.signals import FAR_HEAD_OVERHANG_M
from autovla_core.minicarla.world.surfaces import colored

PLATE_HALF_M = (0.05, 0.35, 0.8)
POST_HALF_M = 0.08
ARM_HALF_M = 0.06
ARM_BEHIND_PLATE_M = 0.14
BOARD_HEIGHT_M = 2.35
SIGN_POST_HALF_M = 0.04

POST_COLOR = (0.2, 0.21, 0.22)
PLATE_COLOR = (0.012, 0.012, 0.014)
RED, WHITE, BLACK, GREY = (0.6, 0.02, 0.02), (0.85, 0.85, 0.83), (0.02, 0.02, 0.02), (0.3, 0.3, 0.31)

# segment: (left, bottom, right, top) in half heights, from 0, 0 at the lower left
SEGMENTS = {
    "a": (0, 2, 1, 2),
    "b": (1, 1, 1, 2),
    "c": (1, 0, 1, 1),
    "d": (0, 0, 1, 0),
    "e": (0, 0, 0, 1),
    "f": (0, 1, 0, 2),
    "g": (0, 1, 1, 1),
}
DIGITS = {"0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc"}
DIGITS |= {"5": "afgcd", "6": "afgedc", "7": "abc", "8": "abcdefg", "9": "abcdfg"}


def build_signals_mesh(signals: Sequence[Signal]) -> Mesh:
    """Return all posts, arms, plates and boards."""
    parts = []
    for signal in signals:
        parts += _light(signal) if signal.kind == "traffic_light" else _sign(signal)
    return join([colored(np.zeros((0, 3, 3)), GREY, Material.FLAT, Tag.POLE), *parts])


def signal_solids(signals: Sequence[Signal]) -> tuple[Solid, ...]:
    """Return the posts as boxes, CARLA's frame."""
    solids = []
    for signal in signals:
        light = signal.kind == "traffic_light"
        half = POST_HALF_M if light else SIGN_POST_HALF_M
        for foot, height in posts(signal):
            center = foot + (0.0, 0.0, height / 2)
            solids.append(Solid(center, np.array([half, half, height / 2]), 0.0, Tag.POLE, "static.pole"))
    return tuple(solids)


def posts(signal: Signal) -> list[tuple[np.ndarray, float]]:
    """Return (foot, height) of every post of a signal, CARLA's frame."""
    if signal.kind != "traffic_light":
        return [(signal.location, BOARD_HEIGHT_M + 0.3)]
    near, far = signal.heads[0][0], signal.heads[1][0]
    yaw = math.radians(signal.yaw_deg)
    foot = far + FAR_HEAD_OVERHANG_M * np.array([math.cos(yaw), math.sin(yaw), 0.0])
    ground = signal.location[2]
    foot[2] = ground
    return [(signal.location, near[2] - ground + 0.85), (foot, far[2] - ground + 0.3)]


def _light(signal: Signal) -> list[Mesh]:
    parts = [_post(foot, POST_HALF_M, height) for foot, height in posts(signal)]
    for center, facing_deg in signal.heads:
        yaw = yaw_from_carla(facing_deg)
        parts.append(box(point_from_carla(center), PLATE_HALF_M, yaw, PLATE_COLOR, Material.FLAT, Tag.TRAFFIC_LIGHT))
    far, facing_deg = signal.heads[1]
    yaw = yaw_from_carla(facing_deg)
    reach = FAR_HEAD_OVERHANG_M
    behind = np.array([-math.cos(yaw), -math.sin(yaw), 0.0]) * ARM_BEHIND_PLATE_M
    along = np.array([-math.sin(yaw), math.cos(yaw), 0.0])  # the plate's left is the driver's right
    middle = point_from_carla(far) + behind + along * reach / 2
    parts.append(box(middle, (ARM_HALF_M, reach / 2, ARM_HALF_M), yaw, POST_COLOR, Material.FLAT, Tag.POLE))
    return parts


def _post(foot: np.ndarray, half: float, height: float) -> Mesh:
    center = point_from_carla(foot + (0.0, 0.0, height / 2))
    return box(center, (half, half, height / 2), 0.0, POST_COLOR, Material.FLAT, Tag.POLE)


def _sign(signal: Signal) -> list[Mesh]:
    """A post and a board that faces the drivers."""
    facing = yaw_from_carla(signal.yaw_deg + 90.0)
    center = point_from_carla(signal.location) + (0.0, 0.0, BOARD_HEIGHT_M)
    layers = {"stop": _stop_board, "yield": _yield_board}.get(signal.kind, lambda: _limit_board(signal.value))()
    parts = [_post(signal.location, SIGN_POST_HALF_M, BOARD_HEIGHT_M + 0.3)]
    outline = layers[0][0]
    parts.append(_face(outline[::-1] * (-1, 1), GREY, center, facing + math.pi, 0.045))
    for depth, (corners, color) in enumerate(layers):
        parts.append(_face(corners, color, center, facing, 0.06 + 0.012 * depth))
    return parts


def _face(corners: np.ndarray, color: Sequence[float], center: np.ndarray, facing: float, before: float) -> Mesh:
    """A convex polygon (n, 2) of (left, up) seen from behind the board, mirrored to face ``facing``."""
    ahead = np.array([math.cos(facing), math.sin(facing), 0.0])
    left = np.array([-math.sin(facing), math.cos(facing), 0.0])
    points = center + before * ahead + corners[:, :1] * left + corners[:, 1:] * (0.0, 0.0, 1.0)
    fan = np.stack([np.broadcast_to(points[0], points[2:].shape), points[1:-1], points[2:]], axis=1)
    outward = np.cross(fan[:, 1] - fan[:, 0], fan[:, 2] - fan[:, 0]) @ ahead
    fan[outward < 0] = fan[outward < 0][:, ::-1]
    return colored(fan, color, Material.FLAT, Tag.TRAFFIC_SIGN)


def _regular(sides: int, radius: float, first_deg: float = 0.0) -> np.ndarray:
    angle = np.radians(first_deg) + 2 * np.pi * np.arange(sides) / sides
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _bar(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


Layers = list[tuple[np.ndarray, tuple[float, float, float]]]


def _stop_board() -> Layers:
    """An octagon with a white rim and a white bar where the word is."""
    return [
        (_regular(8, 0.45, 22.5), WHITE),
        (_regular(8, 0.4, 22.5), RED),
        (_bar(-0.28, -0.07, 0.28, 0.07), WHITE),
    ]


def _yield_board() -> Layers:
    return [(_regular(3, 0.52, -90.0), RED), (_regular(3, 0.3, -90.0), WHITE)]


def _limit_board(limit_kmh: float) -> Layers:
    """A red ring around the number, which is drawn in seven segments."""
    layers = [(_regular(16, 0.42), RED), (_regular(16, 0.32), WHITE)]
    text = str(int(limit_kmh))
    for place, digit in enumerate(text):
        x = 0.22 * (place - (len(text) - 1) / 2)  # the board's left is the reader's right
        for name in DIGITS[digit]:
            x0, y0, x1, y1 = SEGMENTS[name]
            ax, bx = x - 0.07 + 0.14 * x0, x - 0.07 + 0.14 * x1
            ay, by = 0.13 * (y0 - 1), 0.13 * (y1 - 1)
            bar = _bar(min(ax, bx) - 0.022, min(ay, by) - 0.022, max(ax, bx) + 0.022, max(ay, by) + 0.022)
            layers.append((bar, BLACK))
    return layers
