"""Shapes of houses, trees and street lamps. Right-handed meshes; chance comes in as a generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, from_quads, join
from autovla_core.minicarla.world.surfaces import colored

Color = tuple[float, float, float]

WALL_COLORS: tuple[Color, ...] = (
    (0.52, 0.40, 0.29),
    (0.33, 0.13, 0.09),
    (0.58, 0.56, 0.52),
    (0.22, 0.26, 0.33),
    (0.46, 0.37, 0.19),
    (0.62, 0.50, 0.33),
    (0.30, 0.36, 0.30),
    (0.50, 0.27, 0.20),
    (0.66, 0.64, 0.60),
)
ROOF_COLORS: tuple[Color, ...] = ((0.26, 0.08, 0.05), (0.1, 0.1, 0.11), (0.2, 0.12, 0.08), (0.17, 0.18, 0.2))
FLAT_ROOF_COLOR: Color = (0.23, 0.22, 0.21)
TRUNK_COLOR: Color = (0.09, 0.06, 0.035)
LEAF_COLORS: tuple[Color, ...] = ((0.05, 0.14, 0.03), (0.08, 0.18, 0.04), (0.04, 0.11, 0.045), (0.14, 0.17, 0.035))
HEDGE_COLOR: Color = (0.045, 0.12, 0.03)
LAMP_POST_COLOR: Color = (0.1, 0.12, 0.12)
LAMP_HEAD_COLOR: Color = (0.7, 0.68, 0.6)
RAIL_COLOR: Color = (0.42, 0.43, 0.44)

STOREY_M = 3.1
EAVES_M = 0.4
CROWN_SIDES = 6
LAMP_REACH_M, LAMP_HANGS_M = 1.5, 0.06  # of a street lamp's head: from the post, below the arm


@dataclass(frozen=True)
class HouseStyle:
    storeys: int
    wall: Color
    roof: Color
    gabled: bool

    @property
    def wall_height(self) -> float:
        return 0.5 + STOREY_M * self.storeys


@dataclass(frozen=True)
class Tree:
    height: float
    crown_radius: float
    trunk_radius: float
    conifer: bool
    color: Color
    turn: float  # rad


def draw_house_style(rng: np.random.Generator, heights: Sequence[int]) -> HouseStyle:
    """Of so many storeys, drawn from ``heights``; low houses are mostly gabled, high ones flat."""
    storeys = int(rng.choice(heights))
    wall = _tinted(WALL_COLORS[int(rng.integers(len(WALL_COLORS)))], rng)
    roof = _tinted(ROOF_COLORS[int(rng.integers(len(ROOF_COLORS)))], rng)
    return HouseStyle(storeys, wall, roof, bool(storeys <= 3 and rng.random() < 0.75))


def draw_tree(rng: np.random.Generator, scale: tuple[float, float]) -> Tree:
    size = float(rng.uniform(*scale))
    conifer = bool(rng.random() < 0.3)
    color = _tinted(LEAF_COLORS[int(rng.integers(len(LEAF_COLORS)))], rng)
    turn = float(rng.uniform(0.0, math.pi))
    if conifer:
        return Tree(7.5 * size, 1.7 * size, 0.16 * size, True, color, turn)
    return Tree(6.8 * size, 2.2 * size, 0.2 * size, False, color, turn)


def _tinted(color: Color, rng: np.random.Generator) -> Color:
    r, g, b = np.asarray(color) * rng.uniform(0.82, 1.15) * rng.uniform(0.95, 1.05, 3)
    return float(r), float(g), float(b)


def house(base: Sequence[float], size: tuple[float, float], yaw: float, style: HouseStyle) -> Mesh:
    """Walls and roof over a rectangle of (depth along yaw, width across), standing on ``base``."""
    half = np.array([size[0] / 2, size[1] / 2, style.wall_height / 2])
    center = np.asarray(base, float) + (0.0, 0.0, half[2])
    walls = box(center, half, yaw, style.wall, Material.FACADE, Tag.BUILDING)
    upright = np.abs(_normals(walls)[:, 2]) < 0.5
    walls = Mesh(walls.triangles[upright], walls.colors[upright], walls.materials[upright], walls.tags[upright])
    top = center + (0.0, 0.0, half[2])
    return join([walls, _gable(top, half, yaw, style) if style.gabled else _parapet(top, half, yaw)])


def _normals(mesh: Mesh) -> np.ndarray:
    t = mesh.triangles
    normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    return normal / np.linalg.norm(normal, axis=1)[:, None]


def _parapet(top: np.ndarray, half: np.ndarray, yaw: float) -> Mesh:
    slab = (half[0] + 0.15, half[1] + 0.15, 0.25)
    return box(top + (0.0, 0.0, 0.2), slab, yaw, FLAT_ROOF_COLOR, Material.FLAT, Tag.BUILDING)


def _gable(top: np.ndarray, half: np.ndarray, yaw: float, style: HouseStyle) -> Mesh:
    """A ridge along the longer side."""
    if half[0] > half[1]:
        half, yaw = np.array([half[1], half[0], half[2]]), yaw + math.pi / 2
    rise = 0.62 * half[0]
    x, y = half[0] + EAVES_M, half[1] + EAVES_M
    drop = -rise * EAVES_M / half[0]
    slopes = np.array(
        [
            [(x, -y, drop), (x, y, drop), (0, y, rise), (0, -y, rise)],
            [(-x, y, drop), (-x, -y, drop), (0, -y, rise), (0, y, rise)],
        ],
        float,
    )
    undersides = slopes[:, ::-1] - (0.0, 0.0, 0.05)
    ends = np.array(
        [
            [(half[0], half[1], 0), (-half[0], half[1], 0), (0, half[1], rise)],
            [(-half[0], -half[1], 0), (half[0], -half[1], 0), (0, -half[1], rise)],
        ],
        float,
    )
    return join(
        [
            from_quads(_placed(slopes, top, yaw), style.roof, Material.FLAT, Tag.BUILDING),
            from_quads(_placed(undersides, top, yaw), style.wall, Material.FLAT, Tag.BUILDING),
            colored(_placed(ends, top, yaw), style.wall, Material.FLAT, Tag.BUILDING),
        ]
    )


def _placed(points: np.ndarray, origin: np.ndarray, yaw: float) -> np.ndarray:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return points @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]) + origin


def tree_mesh(foot: Sequence[float], tree: Tree) -> Mesh:
    """A trunk under a stack of cones, or under one lumpy crown."""
    foot = np.asarray(foot, float)
    trunk_top = 0.3 * tree.height
    half = (tree.trunk_radius * 0.8, tree.trunk_radius * 0.8, trunk_top / 2 + 0.3)
    trunk = box(foot + (0, 0, half[2]), half, tree.turn, TRUNK_COLOR, Material.FLAT, Tag.VEGETATION)
    h, r = tree.height, tree.crown_radius
    if tree.conifer:
        profiles = [[(0.22, 0.0), (0.22, 1.0), (0.62, 0.0)], [(0.42, 0.0), (0.42, 0.75), (0.82, 0.0)]]
        profiles.append([(0.62, 0.0), (0.62, 0.5), (1.0, 0.0)])
    else:
        profiles = [[(0.27, 0.0), (0.36, 0.72), (0.58, 1.0), (0.82, 0.74), (1.0, 0.0)]]
    crowns = []
    for number, profile in enumerate(profiles):
        shade = np.asarray(tree.color) * (1.0 + 0.12 * number)
        ring = [(z * h, radius * r) for z, radius in profile]
        crowns.append(colored(_lathe(foot, ring, tree.turn + 0.4 * number), shade, Material.LEAF, Tag.VEGETATION))
    return join([trunk, *crowns])


def _lathe(foot: np.ndarray, profile: Sequence[tuple[float, float]], turn: float) -> np.ndarray:
    """Triangles (n, 3, 3) of a profile of (height, radius), bottom to top, turned around the vertical."""
    angle = turn + 2 * np.pi * np.arange(CROWN_SIDES + 1) / CROWN_SIDES
    around = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    triangles = []
    for (z0, r0), (z1, r1) in zip(profile[:-1], profile[1:], strict=True):
        low, high = foot + r0 * around + (0, 0, z0), foot + r1 * around + (0, 0, z1)
        if r0 > 0:
            triangles.append(np.stack([low[:-1], low[1:], high[1:]], axis=1))
        if r1 > 0:
            triangles.append(np.stack([low[:-1], high[1:], high[:-1]], axis=1))
    return np.concatenate(triangles)


def lamp_head(foot: Sequence[float], yaw: float, height: float) -> np.ndarray:
    """Where the lamp of a ``street_lamp`` hangs: the middle of its underside, (3,)."""
    reach = np.array([math.cos(yaw), math.sin(yaw), 0.0]) * LAMP_REACH_M
    return np.asarray(foot, float) + reach + (0.0, 0.0, height - 2 * LAMP_HANGS_M + 0.01)


def street_lamp(foot: Sequence[float], yaw: float, height: float) -> Mesh:
    """A post with an arm that reaches 1.6 m towards ``yaw``."""
    foot = np.asarray(foot, float)
    ahead = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    top = foot + (0.0, 0.0, height)
    head = top + LAMP_REACH_M * ahead - (0, 0, LAMP_HANGS_M)
    parts = [
        box(foot + (0, 0, height / 2), (0.06, 0.06, height / 2), yaw, LAMP_POST_COLOR, Material.FLAT, Tag.POLE),
        box(top + 0.8 * ahead, (0.8, 0.04, 0.04), yaw, LAMP_POST_COLOR, Material.FLAT, Tag.POLE),
        box(head, (0.3, 0.1, 0.05), yaw, LAMP_HEAD_COLOR, Material.LAMP_HEAD, Tag.POLE),
    ]
    return join(parts)


def guard_rail(foot: Sequence[float], length: float, yaw: float, top: float) -> list[Mesh]:
    """One straight piece: a beam along ``yaw`` and the post in its middle."""
    foot = np.asarray(foot, float)
    beam = foot + (0.0, 0.0, top - 0.16)
    return [
        box(beam, (length / 2, 0.05, 0.16), yaw, RAIL_COLOR, Material.FLAT, Tag.GUARD_RAIL),
        box(foot + (0, 0, top / 2 - 0.2), (0.05, 0.08, top / 2), yaw, LAMP_POST_COLOR, Material.FLAT, Tag.GUARD_RAIL),
    ]
