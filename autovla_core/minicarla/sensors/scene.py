"""What stands and what moves, packed into the arrays that the kernels read, and the map of the sun's shadows.

Right-handed, metres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.sensors.meshes import Template, flat_normals, smooth_normals
from autovla_core.minicarla.sensors.raster import Spans, cast_shadows
from autovla_core.minicarla.sensors.shading import Instances, Shadow, Surfaces
from autovla_core.minicarla.sensors.vehicle_meshes import LAMPS
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag
from autovla_core.minicarla.world.pose import rotation_matrix

CELL_M = 32.0
SHADOW_TEXEL_M = 0.2
SHADOW_SIZE_MAX = 4096  # 32 MiB of heights, twice
LIES_FLAT = (Tag.ROAD, Tag.ROAD_LINE, Tag.SIDEWALK, Tag.TERRAIN, Tag.GROUND)  # casts no shadow
MIRROR = np.diag([1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Instance:
    """A placed template. CARLA's convention: left-handed metres and degrees."""

    mesh: str  # key of meshes.templates()
    location: np.ndarray  # (3,) m
    rotation: np.ndarray  # (3,) pitch, yaw, roll deg
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear 0..1
    actor_id: int = 0
    tag: int = 0
    lamps: tuple[float, ...] = (0.0,) * LAMPS  # brightness of head, tail, reverse, left, right


def turn_from_carla(rotation: np.ndarray) -> np.ndarray:
    """World_from_local (3, 3), right-handed, of CARLA's pitch, yaw and roll in degrees."""
    return MIRROR @ rotation_matrix(rotation) @ MIRROR


class Geometry:
    """The town's triangles sorted into square cells, followed by those of all templates."""

    def __init__(self, town: Mesh, templates: Mapping[str, Template]) -> None:
        town = _by_cell(town)
        self.cells = _cells(town)
        meshes = [town, *(template.mesh for template in templates.values())]
        normals = [_town_normals(town), *(template.normals for template in templates.values())]
        self.surfaces = Surfaces(
            _packed([mesh.triangles for mesh in meshes], np.float32),
            _packed(normals, np.float32),
            _packed([mesh.colors for mesh in meshes], np.float32),
            _packed([mesh.materials for mesh in meshes], np.uint8),
            _packed([mesh.tags for mesh in meshes], np.uint8),
        )
        self.static_casters = np.ascontiguousarray(
            town.triangles[~np.isin(town.tags, [int(tag) for tag in LIES_FLAT])], np.float32
        )
        self.bounds = _bounds(town)
        self.spans, _ = _runs([t.mesh for t in templates.values()], list(templates), len(town.triangles))
        self.caster_spans, casters = _runs([t.caster for t in templates.values()], list(templates), 0)
        self.casters = casters
        self.radii = {name: template.radius for name, template in templates.items()}


def _packed(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(parts), kind)


def _runs(meshes: Sequence[Mesh], names: Sequence[str], first: int) -> tuple[dict[str, tuple[int, int]], np.ndarray]:
    """Return where each mesh lies in the concatenation, counted from ``first``, and the concatenation."""
    ends = first + np.cumsum([len(mesh.triangles) for mesh in meshes])
    starts = [first, *ends[:-1].tolist()]
    runs = {name: (start, int(end)) for name, start, end in zip(names, starts, ends, strict=True)}
    return runs, _packed([mesh.triangles for mesh in meshes], np.float32)


def _by_cell(mesh: Mesh) -> Mesh:
    keys = _cell_keys(mesh)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    return Mesh(mesh.triangles[order], mesh.colors[order], mesh.materials[order], mesh.tags[order])


def _cell_keys(mesh: Mesh) -> np.ndarray:
    return np.floor(mesh.triangles.mean(1)[:, :2] / CELL_M).astype(np.int64)


def _cells(mesh: Mesh) -> Spans:
    """Runs of equal cell in a sorted mesh, with their boxes; nothing is assumed of the cells' contents."""
    keys = _cell_keys(mesh)
    cuts = np.flatnonzero(np.any(keys[1:] != keys[:-1], axis=1)) + 1
    first = np.concatenate([[0], cuts]).astype(np.int64)
    last = np.concatenate([cuts, [len(keys)]]).astype(np.int64)
    low = np.minimum.reduceat(mesh.triangles.min(1), first)
    high = np.maximum.reduceat(mesh.triangles.max(1), first)
    return Spans(first, last, np.full(len(first), -1, np.int64), np.concatenate([low, high], 1).astype(float))


def _town_normals(mesh: Mesh) -> np.ndarray:
    """Walls and roads are flat; crowns of trees are round."""
    normals = flat_normals(mesh.triangles)
    leaves = mesh.materials == int(Material.LEAF)
    normals[leaves] = smooth_normals(mesh.triangles[leaves], 75.0)
    return normals


def _bounds(mesh: Mesh) -> np.ndarray:
    """(2, 3) box of what casts shadows and of the streets, on which movers do; without the fields around."""
    near = ~np.isin(mesh.tags, [int(tag) for tag in (Tag.TERRAIN, Tag.GROUND)])
    corners = mesh.triangles[near if near.any() else slice(None)].reshape(-1, 3)
    return np.array([corners.min(0), corners.max(0)], float)


def place(geometry: Geometry, instances: Sequence[Instance]) -> tuple[Instances, Spans]:
    """Return the kernels' view of the instances, and their spans with boxes."""
    count = max(1, len(instances))  # the kernels read row 0 even for static triangles
    turns = np.tile(np.eye(3), (count, 1, 1))
    places, tints = np.zeros((count, 3)), np.ones((count, 3))
    lamps, tags, ids = np.zeros((count, LAMPS)), np.zeros(count, np.uint8), np.zeros(count, np.int64)
    for i, instance in enumerate(instances):
        turns[i] = turn_from_carla(instance.rotation)
        places[i] = np.asarray(instance.location) * (1.0, -1.0, 1.0)
        tints[i], lamps[i] = instance.tint, instance.lamps
        tags[i], ids[i] = int(instance.tag), instance.actor_id
    runs = np.array([geometry.spans[i.mesh] for i in instances], np.int64).reshape(-1, 2)
    radii = np.array([geometry.radii[i.mesh] for i in instances], float).reshape(-1, 1)
    at = places[: len(instances)]
    boxes = np.concatenate([at - radii, at + radii], axis=1)
    spans = Spans(np.ascontiguousarray(runs[:, 0]), np.ascontiguousarray(runs[:, 1]), np.arange(len(instances)), boxes)
    return Instances(turns, places, tints, lamps, tags, ids), spans


class ShadowMap:
    """Heights towards the sun: the town's are baked once per sun, the movers' drawn anew every tick."""

    def __init__(self, geometry: Geometry, sun: np.ndarray) -> None:
        self._geometry = geometry
        right = np.cross([0.0, 0.0, 1.0], sun)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(sun, right), sun])
        corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        corners = (geometry.bounds[0] + corners * (geometry.bounds[1] - geometry.bounds[0])) @ axes.T
        low, high = corners.min(0) - 1.0, corners.max(0) + 1.0
        self._texel = max(SHADOW_TEXEL_M, float((high - low)[:2].max()) / SHADOW_SIZE_MAX)
        size = math.ceil((high - low)[:2].max() / self._texel)
        steps_per_m = 65000.0 / max(float(high[2] - low[2]) + 10.0, 20.0)
        scale = np.array([1.0 / self._texel, 1.0 / self._texel, steps_per_m])
        matrix = np.concatenate([axes * scale[:, None], (-low * scale)[:, None]], axis=1)
        self._baked = np.zeros((size, size), np.uint16)
        run = np.array([0]), np.array([len(geometry.static_casters)])
        cast_shadows(
            geometry.static_casters, *run, np.eye(3)[None], np.zeros((1, 3)), matrix, np.empty((3, 3)), self._baked
        )
        self.shadow = Shadow(np.ascontiguousarray(matrix), self._baked.copy(), steps_per_m)
        self._dirty: list[tuple[slice, slice]] = []

    def draw(self, names: Sequence[str], instances: Instances) -> None:
        """Replace the movers' shadows; ``names`` are the instances' templates."""
        heights = self.shadow.heights
        for area in self._dirty:
            heights[area] = self._baked[area]
        self._dirty = []
        if not names:
            return
        runs = np.array([self._geometry.caster_spans[name] for name in names], np.int64)
        casting = runs[:, 1] > runs[:, 0]
        runs = runs[casting]
        turns, places = instances.turns[: len(names)][casting], instances.places[: len(names)][casting]
        reach = np.array([self._geometry.radii[name] for name in names])[casting] / self._texel + 2.0
        matrix = self.shadow.texel_from_world
        centers = places @ matrix[:2, :3].T + matrix[:2, 3]
        for (column, row), r in zip(centers.tolist(), reach.tolist(), strict=True):
            self._dirty.append((_within(row - r, row + r, len(heights)), _within(column - r, column + r, len(heights))))
        first, last = np.ascontiguousarray(runs[:, 0]), np.ascontiguousarray(runs[:, 1])
        cast_shadows(self._geometry.casters, first, last, turns, places, matrix, np.empty((3, 3)), heights)


def _within(low: float, high: float, size: int) -> slice:
    return slice(min(max(math.floor(low), 0), size), min(max(math.ceil(high), 0), size))
