"""Rays against everything that the cameras see: the same triangles, the same places. Right-handed, metres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.sensors import bvh
from autovla_core.minicarla.sensors.scene import Geometry
from autovla_core.minicarla.sensors.shading import Instances, Surfaces
from autovla_core.minicarla.world.mesh import Tag


class Hits(NamedTuple):
    """What n rays met first."""

    distance: np.ndarray  # (n,) m; the ray's reach if it met nothing
    triangle: np.ndarray  # (n,) int32, -1 = nothing
    instance: np.ndarray  # (n,) int32, -1 = the town

    @property
    def any(self) -> np.ndarray:
        """(n,) bool."""
        return self.triangle >= 0


class Caster:
    """Trees over a town and all templates, built once; ``place`` says where the templates stand now."""

    def __init__(self, geometry: Geometry) -> None:
        self._surfaces: Surfaces = geometry.surfaces
        names = list(geometry.spans)
        firsts = [0, *(geometry.spans[name][0] for name in names)]
        lasts = [firsts[1] if names else len(self._surfaces.corners), *(geometry.spans[name][1] for name in names)]
        trees = [bvh.build(bvh.boxes_of(self._surfaces.corners[a:b])) for a, b in zip(firsts, lasts, strict=True)]
        self._tree, roots = bvh.joined(trees, firsts)
        self._roots = dict(zip(names, roots[1:], strict=True))
        self._nodes = np.empty((2, bvh.DEPTH_MAX), np.int32)
        self._entries = np.empty((2, bvh.DEPTH_MAX))

    def place(self, names: Sequence[str], instances: Instances) -> None:
        """Take over a tick's instances; ``names`` are their templates."""
        self._instances = instances
        self._placed = np.array([self._roots[name] for name in names], np.int64)
        local = self._tree.bounds[self._placed]
        turns, places = instances.turns[: len(names)], instances.places[: len(names)]
        solid = np.isfinite(local[:, 0])  # a template may be empty
        chosen = np.flatnonzero(solid)
        low, high = local[chosen, :3], local[chosen, 3:]
        middle = np.einsum("nij,nj->ni", turns[chosen], 0.5 * (low + high)) + places[chosen]
        half = np.einsum("nij,nj->ni", np.abs(turns[chosen]), 0.5 * (high - low))
        crowd = bvh.build(np.concatenate([middle - half, middle + half], axis=1), leaf=1)
        self._crowd = crowd._replace(items=chosen.astype(np.int32)[crowd.items])

    def cast(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray | float) -> Hits:
        """First hits of n rays: origins (3,) or (n, 3) m, unit directions (n, 3), reach m."""
        n = len(directions)
        distance, hits = np.empty(n), np.empty((n, 2), np.int32)
        bvh.trace(
            self._tree, self._surfaces.corners, self._crowd, self._placed, self._instances.turns,
            self._instances.places, np.ascontiguousarray(np.broadcast_to(np.asarray(origins, float), (n, 3))),
            np.ascontiguousarray(directions, float), np.ascontiguousarray(np.broadcast_to(np.asarray(reach, float), n)),
            self._nodes, self._entries, distance, hits,
        )  # fmt: skip
        return Hits(distance, hits[:, 0], hits[:, 1])

    def normals(self, hits: Hits) -> np.ndarray:
        """(n, 3) unit normals of the faces, in the world; for hits only."""
        corners = self._surfaces.corners[hits.triangle].astype(float)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        moved = hits.instance >= 0
        normals[moved] = np.einsum("nij,nj->ni", self._instances.turns[hits.instance[moved]], normals[moved])
        return normals

    def tags(self, hits: Hits) -> np.ndarray:
        """(n,) semantic tags, as the semantic camera shows them; for hits only."""
        tags = self._surfaces.tags[hits.triangle]
        own = (tags == 0) & (hits.instance >= 0)
        return np.where(own, self._instances.tags[hits.instance], tags)

    def actors(self, hits: Hits) -> np.ndarray:
        """(n,) ids of the actors, 0 for the town; the dark patch that a car's mesh lays on the road is road."""
        own = (hits.instance >= 0) & (self._surfaces.tags[hits.triangle] != int(Tag.ROAD))
        return np.where(own, self._instances.ids[hits.instance], 0)
