"""The file of a navigation mesh as CARLA's client reads it: a Detour set of one tile. Values in, bytes out.

Axes of the file are x, z up, y: CARLA's left-handed ground, so polygons that are counter-clockwise in the
right-handed plane keep their order. A tile's reference and its links are the reader's business; only the
room for the links is left.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from autovla_core.errors import AutoVLAError

SET_MAGIC, SET_VERSION = 0x4D534554, 1
TILE_MAGIC, TILE_VERSION = 0x444E4156, 7
WALKABLE_HEIGHT_M, WALKABLE_RADIUS_M, WALKABLE_CLIMB_M = 1.8, 0.3, 0.5
HEADROOM_M = 1.0
CORNERS = 6  # that a polygon of the file has room for
LINK_BYTES = 12
MOST = 0xFFFE  # corners, and polygons: 16 bits, and neighbours count from one
FLAG_OF_FLOOR: Mapping[int, int] = {1: 2, 2: 4, 3: 8, 4: 16}  # sidewalk, crosswalk, road, grass

_SET = struct.Struct("<iii3fffii")
_TILE_ENTRY = struct.Struct("<Ii")
_TILE = struct.Struct("<15i3f3f3ff")
_POLYGON = struct.Struct("<I6H6HHBB")
_DETAIL = struct.Struct("<IIBB2x")


class NavigationMeshError(AutoVLAError, ValueError):
    """A mesh is empty or larger than the format can hold."""


def encode(points: np.ndarray, polygons: Sequence[Sequence[int]], floors: Sequence[int]) -> bytes:
    """Return the file.

    Args:
        points: (n, 3) x, y, z in m, CARLA's frame
        polygons: convex, three to six corners each, counter-clockwise in the right-handed plane
        floors: CARLA's area number of each polygon

    Raises:
        NavigationMeshError: no polygon, or more than 65,534 corners or polygons.
    """
    if not polygons or max(len(points), len(polygons)) > MOST:
        raise NavigationMeshError(
            f"a navigation mesh has 1 to {MOST} polygons and corners; found {len(polygons)} and {len(points)}"
        )
    axes = np.asarray(points, float)[:, [0, 2, 1]]
    tile = _tile(axes, polygons, floors)
    low, high = axes.min(0), axes.max(0)
    width, depth = (high - low)[[0, 2]].tolist()
    bits = max(1, (len(polygons) - 1).bit_length())
    header = _SET.pack(SET_MAGIC, SET_VERSION, 1, *low.tolist(), width + 1.0, depth + 1.0, 1, 1 << bits)
    return header + _TILE_ENTRY.pack(1 << bits, len(tile)) + tile


def _tile(axes: np.ndarray, polygons: Sequence[Sequence[int]], floors: Sequence[int]) -> bytes:
    neighbours = _neighbours(polygons)
    links = sum(len(polygon) for polygon in polygons)
    triangles = [len(polygon) - 2 for polygon in polygons]
    firsts = np.cumsum([0, *triangles]).tolist()
    up = np.array([0.0, HEADROOM_M, 0.0])
    parts = [
        _TILE.pack(
            *(TILE_MAGIC, TILE_VERSION, 0, 0, 0, 0),
            *(len(polygons), len(axes), links, len(polygons), 0, sum(triangles), 0, 0, len(polygons)),
            *(WALKABLE_HEIGHT_M, WALKABLE_RADIUS_M, WALKABLE_CLIMB_M),
            *(axes.min(0) - up).tolist(),
            *(axes.max(0) + up).tolist(),
            1.0,
        ),
        axes.astype("<f4").tobytes(),
    ]
    for polygon, beside, floor in zip(polygons, neighbours, floors):
        parts.append(_POLYGON.pack(0, *_six(polygon), *_six(beside), FLAG_OF_FLOOR[floor], len(polygon), floor))
    parts.append(bytes(LINK_BYTES * links))
    parts += [_DETAIL.pack(0, first, 0, count) for first, count in zip(firsts, triangles)]
    return b"".join([*parts, *(_fan(len(polygon)) for polygon in polygons)])


def _six(values: Sequence[int]) -> list[int]:
    return [*values, *[0] * (CORNERS - len(values))]


def _neighbours(polygons: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each edge (from corner i to i + 1) the number of the polygon beyond it, from one; 0 at the border."""
    owner = {edge: number for number, polygon in enumerate(polygons) for edge in _edges(polygon)}
    return [[owner.get((b, a), -1) + 1 for a, b in _edges(polygon)] for polygon in polygons]


def _edges(polygon: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(polygon, [*polygon[1:], polygon[0]]))


def _fan(corners: int) -> bytes:
    """The triangles of a polygon; a flag of 1 (two bits an edge) says which edges are the polygon's own."""
    rows = bytearray()
    for i in range(1, corners - 1):
        flags = (1 if i == 1 else 0) | 1 << 2 | (1 << 4 if i == corners - 2 else 0)
        rows += bytes([0, i, i + 1, flags])
    return bytes(rows)
