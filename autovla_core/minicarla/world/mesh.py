"""Coloured triangles, the currency between the town and the cameras.

Right-handed: x forward, y LEFT (CARLA's y with its sign changed), z up, metres.
Front faces are counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Material(IntEnum):
    """How the shader treats a surface."""

    FLAT = 0
    GRASS = 1
    ASPHALT = 2
    FACADE = 3
    PAVING = 4
    LEAF = 5
    PAINT = 6  # car body: takes the instance's tint
    GLASS = 7
    EMISSIVE = 8
    MARKING = 9
    LAMP_HEAD = 10  # of a street lamp: flat, until the cameras light it


class Tag(IntEnum):
    """CARLA 0.9.16 semantic tags."""

    NONE = 0
    ROAD = 1
    SIDEWALK = 2
    BUILDING = 3
    WALL = 4
    FENCE = 5
    POLE = 6
    TRAFFIC_LIGHT = 7
    TRAFFIC_SIGN = 8
    VEGETATION = 9
    TERRAIN = 10
    SKY = 11
    PEDESTRIAN = 12
    RIDER = 13
    CAR = 14
    TRUCK = 15
    BUS = 16
    TRAIN = 17
    MOTORCYCLE = 18
    BICYCLE = 19
    STATIC = 20
    DYNAMIC = 21
    OTHER = 22
    WATER = 23
    ROAD_LINE = 24
    GROUND = 25
    BRIDGE = 26
    RAIL_TRACK = 27
    GUARD_RAIL = 28


@dataclass(frozen=True)
class Mesh:
    """n triangles."""

    triangles: np.ndarray  # (n, 3, 3) float32: corner, xyz
    colors: np.ndarray  # (n, 3) float32, linear 0..1
    materials: np.ndarray  # (n,) uint8, Material
    tags: np.ndarray  # (n,) uint8, Tag


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Put meshes into one."""
    return Mesh(
        np.concatenate([m.triangles for m in meshes]).astype(np.float32),
        np.concatenate([m.colors for m in meshes]).astype(np.float32),
        np.concatenate([m.materials for m in meshes]).astype(np.uint8),
        np.concatenate([m.tags for m in meshes]).astype(np.uint8),
    )


def from_quads(quads: np.ndarray, color: np.ndarray | Sequence[float], material: int, tag: int) -> Mesh:
    """Split counter-clockwise quads (n, 4, 3) into 2 n triangles; colour (3,) or (n, 3)."""
    quads = np.asarray(quads, np.float32).reshape(-1, 4, 3)
    n = len(quads)
    triangles = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3, 3)
    colors = np.repeat(np.broadcast_to(np.asarray(color, np.float32), (n, 3)), 2, axis=0)
    return Mesh(triangles, colors, np.full(2 * n, material, np.uint8), np.full(2 * n, tag, np.uint8))


def from_triangles(triangles: np.ndarray, color: Sequence[float], material: int, tag: int) -> Mesh:
    """Counter-clockwise triangles (n, 3, 3) of one colour."""
    n = len(triangles)
    colors = np.tile(np.asarray(color, np.float32), (n, 1))
    return Mesh(triangles.astype(np.float32), colors, np.full(n, material, np.uint8), np.full(n, tag, np.uint8))


def box(
    center: Sequence[float],
    half_extent: Sequence[float],
    yaw: float,
    color: np.ndarray | Sequence[float],
    material: int,
    tag: int,
) -> Mesh:
    """A closed box turned counter-clockwise by ``yaw`` (radians) about z."""
    hx, hy, hz = half_extent
    corners = np.array([[x, y, z] for z in (-hz, hz) for x, y in ((hx, hy), (-hx, hy), (-hx, -hy), (hx, -hy))])
    cos, sin = np.cos(yaw), np.sin(yaw)
    corners = corners @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]) + np.asarray(center)
    faces = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 4, 7, 3), (1, 5, 4, 0), (2, 6, 5, 1), (3, 7, 6, 2)]
    mesh = from_quads(corners[np.array(faces)], color, material, tag)
    outward = np.einsum(
        "nk,nk->n",
        np.cross(
            mesh.triangles[:, 1] - mesh.triangles[:, 0],
            mesh.triangles[:, 2] - mesh.triangles[:, 0],
        ),
        mesh.triangles.mean(1) - np.asarray(center),
    )
    flipped = mesh.triangles.copy()
    flipped[outward < 0] = flipped[outward < 0][:, ::-1]
    return Mesh(flipped, mesh.colors, mesh.materials, mesh.tags)
