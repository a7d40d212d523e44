"""Templates of everything that moves or lights up: templates by key, and smooth normals.

Keys: "vehicle:<type_id>", "siren:<type_id>", "walker", "walker_left", "walker_right", "prop:<type_id>",
"lamps_red", "lamps_yellow", "lamps_green", "lamps_off". Local frame as in vehicle_meshes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.blueprints import BLUEPRINTS, Blueprint
from autovla_core.minicarla.sensors.siren_bars import siren_bars
from autovla_core.minicarla.sensors.street_furniture import SHAPES
from autovla_core.minicarla.sensors.vehicle_meshes import vehicle_mesh, vehicle_proxy
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, from_quads, join

LAMP_SPACING_M = 0.45
LAMP_AHEAD_M = 0.12  # of the lamps before the centre of their back plate
LIT_RADIUS_M, DARK_RADIUS_M = 0.24, 0.20
LAMP_LIT = {"red": (1.0, 0.008, 0.004), "yellow": (0.95, 0.40, 0.0), "green": (0.0, 0.62, 0.08)}
LAMP_DARK = {"red": (0.035, 0.006, 0.006), "yellow": (0.035, 0.026, 0.004), "green": (0.004, 0.028, 0.012)}

SKIN, HAIR = (0.42, 0.26, 0.18), (0.03, 0.02, 0.015)
TROUSERS, SHOES = (0.04, 0.05, 0.10), (0.02, 0.02, 0.02)
ORANGE, STRIPE, WOOD, STEEL = (0.80, 0.14, 0.01), (0.75, 0.75, 0.72), (0.22, 0.12, 0.06), (0.20, 0.21, 0.22)


@dataclass(frozen=True)
class Template:
    """A mesh and the simpler one that casts its shadow."""

    mesh: Mesh
    caster: Mesh

    @functools.cached_property
    def normals(self) -> np.ndarray:
        """Of the corners, (n, 3, 3) float32."""
        return smooth_normals(self.mesh.triangles)

    @functools.cached_property
    def radius(self) -> float:
        """Of the ball around the local origin that holds the mesh, in metres."""
        corners = self.mesh.triangles.reshape(-1, 3)
        return float(np.linalg.norm(corners, axis=1).max()) if len(corners) else 0.0


def smooth_normals(triangles: np.ndarray, limit_deg: float = 40.0) -> np.ndarray:
    """Corner normals (n, 3, 3) float32: averaged over faces that meet at less than the limit."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]).astype(float)
    units = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    keys = np.round(triangles.reshape(-1, 3).astype(float) * 500.0).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    repeat = sizes[group]  # each corner meets every corner of its group
    own = np.repeat(np.arange(len(group)), repeat)
    within = np.arange(len(own)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    other = order[starts[group[own]] + within]
    close = np.einsum("nk,nk->n", units[own // 3], units[other // 3]) > math.cos(math.radians(limit_deg))
    own, other = own[close], other[close] // 3
    total = np.stack([np.bincount(own, normals[other, k], len(group)) for k in range(3)], axis=1)
    total = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return total.reshape(-1, 3, 3).astype(np.float32)


def flat_normals(triangles: np.ndarray) -> np.ndarray:
    """Corner normals (n, 3, 3) float32, those of the faces."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]).astype(float)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return np.repeat(normals[:, None], 3, axis=1).astype(np.float32)


def _rod(foot: np.ndarray, top: np.ndarray, radii: tuple[float, float], color: tuple, tag: int, sides: int = 7) -> Mesh:
    """A closed tapered cylinder between two points."""
    axis = (top - foot) / np.linalg.norm(top - foot)
    first = np.cross(axis, (0.0, 1.0, 0.0) if abs(axis[1]) < 0.9 else (1.0, 0.0, 0.0))
    first /= np.linalg.norm(first)
    angles = np.linspace(0.0, 2 * math.pi, sides + 1)[:, None]
    circle = np.cos(angles) * first + np.sin(angles) * np.cross(axis, first)
    low, high = foot + radii[0] * circle, top + radii[1] * circle
    ends_low, ends_high = np.broadcast_to(foot, low.shape), np.broadcast_to(top, high.shape)
    wall = np.stack([low[:-1], low[1:], high[1:], high[:-1]], 1)
    caps_high = np.stack([high[:-1], high[1:], ends_high[1:], ends_high[1:]], 1)
    caps_low = np.stack([low[1:], low[:-1], ends_low[1:], ends_low[1:]], 1)
    quads = [part for part, radius in ((wall, 1.0), (caps_high, radii[1]), (caps_low, radii[0])) if radius > 1e-6]
    return from_quads(np.concatenate(quads), color, Material.FLAT, tag)


def walker_mesh(stride: float) -> Mesh:
    """A person of 1.8 m around the origin at the hip's height above the feet: z = 0 is the ground.

    stride: how far the left foot is ahead of the right, m. Jacket and trousers: the jacket takes the tint.
    """
    tag = int(Tag.PEDESTRIAN)
    parts = []
    for side, step in ((1.0, stride / 2), (-1.0, -stride / 2)):
        hip, foot = np.array([0.0, 0.09 * side, 0.92]), np.array([step, 0.10 * side, 0.06])
        parts.append(_rod(foot, hip, (0.06, 0.10), TROUSERS, tag))
        parts.append(box((step + 0.05, 0.10 * side, 0.05), (0.14, 0.05, 0.05), 0.0, SHOES, Material.FLAT, tag))
        shoulder = np.array([0.0, 0.21 * side, 1.45])
        hand = np.array([-0.8 * step + 0.04, 0.27 * side, 0.86])
        parts.append(_tinted(_rod(hand, shoulder, (0.045, 0.065), (1.0, 1.0, 1.0), tag)))
        parts.append(box(tuple(hand), (0.04, 0.035, 0.06), 0.0, SKIN, Material.FLAT, tag))
    parts.append(_tinted(_rod(np.array([0.0, 0.0, 0.86]), np.array([0.0, 0.0, 1.52]), (0.17, 0.21), (1, 1, 1), tag, 9)))
    parts.append(_rod(np.array([0.0, 0.0, 1.50]), np.array([0.01, 0.0, 1.60]), (0.07, 0.06), SKIN, tag))
    parts.append(_rod(np.array([0.02, 0.0, 1.57]), np.array([0.02, 0.0, 1.72]), (0.085, 0.10), SKIN, tag, 9))
    parts.append(_rod(np.array([0.0, 0.0, 1.69]), np.array([0.0, 0.0, 1.81]), (0.112, 0.06), HAIR, tag, 9))
    return join(parts)


def _tinted(mesh: Mesh) -> Mesh:
    return Mesh(mesh.triangles, mesh.colors, np.full_like(mesh.materials, int(Material.PAINT)), mesh.tags)


def lamps_mesh(lit: str) -> Mesh:
    """Three octagons that face +x: red above, yellow, green below; ``lit`` names the bright one, or "off"."""
    parts = []
    for place, name in enumerate(("red", "yellow", "green")):
        bright = name == lit
        color, material = (LAMP_LIT[name], Material.EMISSIVE) if bright else (LAMP_DARK[name], Material.FLAT)
        radius = LIT_RADIUS_M if bright else DARK_RADIUS_M
        ahead = LAMP_AHEAD_M + 0.01 * bright
        angles = np.arange(8) * (math.pi / 4) + math.pi / 8
        z = (1 - place) * LAMP_SPACING_M
        rim = np.stack([np.full(8, ahead), radius * np.cos(angles), z + radius * np.sin(angles)], 1)
        middle = (ahead, 0.0, z)
        triangles = np.array([(middle, rim[i], rim[(i + 1) % 8]) for i in range(8)], np.float32)
        colors = np.broadcast_to(np.array(color, np.float32), (8, 3))
        tags = np.full(8, int(Tag.TRAFFIC_LIGHT), np.uint8)
        parts.append(Mesh(triangles, colors, np.full(8, int(material), np.uint8), tags))
    return join(parts)


def _cone(extent: tuple[float, float, float]) -> Mesh:
    half, _, half_height = extent
    height = 2 * half_height
    parts = [box((0, 0, 0.02), (half, half, 0.02), 0.0, ORANGE, Material.FLAT, 0)]
    cuts = ((0.04, 0.45, ORANGE), (0.45, 0.70, STRIPE), (0.70, 1.0, ORANGE))
    for low, high, color in cuts:
        radii = tuple(half * (0.82 - 0.68 * share) for share in (low, high))
        foot, top = np.array([0.0, 0.0, low * height]), np.array([0.0, 0.0, high * height])
        parts.append(_rod(foot, top, radii, color, 0, 10))
    return join(parts)


def _barrier(extent: tuple[float, float, float]) -> Mesh:
    """Striped boards across the y axis... the long side is x in the library's extents."""
    length, width, half_height = extent
    parts = []
    count = 6
    for k in range(count):
        x = -length + (k + 0.5) * 2 * length / count
        color = ORANGE if k % 2 == 0 else STRIPE
        parts.append(box((x, 0, 1.6 * half_height), (length / count, 0.03, 0.35 * half_height), 0, color, 0, 0))
    for x in (-0.85 * length, 0.85 * length):
        parts.append(box((x, 0, half_height * 0.65), (0.03, width, half_height * 0.65), 0, STEEL, 0, 0))
    return join(parts)


def _bench(extent: tuple[float, float, float]) -> Mesh:
    length, width, half_height = extent
    seat = box((0, 0.1 * width, half_height), (length, 0.7 * width, 0.03), 0, WOOD, 0, 0)
    back = box((0, -0.85 * width, 1.5 * half_height), (length, 0.03, 0.4 * half_height), 0, WOOD, 0, 0)
    legs = [box((s * 0.8 * length, 0, half_height / 2), (0.04, 0.8 * width, half_height / 2), 0, STEEL, 0, 0)
            for s in (-1, 1)]  # fmt: skip
    return join([seat, back, *legs])


def _barrel(extent: tuple[float, float, float]) -> Mesh:
    radius, _, half_height = extent
    height = 2 * half_height
    cuts = ((0.0, 0.3, ORANGE), (0.3, 0.5, STRIPE), (0.5, 0.7, ORANGE), (0.7, 1.0, STRIPE))
    parts = [
        _rod(np.array([0, 0, low * height]), np.array([0, 0, high * height]), (radius, radius), color, 0, 12)
        for low, high, color in cuts
    ]
    return join(parts)


def _crate(color: tuple[float, float, float]) -> Callable[[tuple[float, float, float]], Mesh]:
    def build(extent: tuple[float, float, float]) -> Mesh:
        return box((0, 0, extent[2]), extent, 0.0, color, Material.FLAT, 0)

    return build


PROPS: Mapping[str, Callable[[tuple[float, float, float]], Mesh]] = {
    "trafficcone01": _cone,
    "trafficcone02": _cone,
    "constructioncone": _cone,
    "streetbarrier": _barrier,
    "trafficwarning": _barrier,
    "warningconstruction": _barrier,
    "warningaccident": _barrier,
    "barrel": _barrel,
    "bench01": _bench,
    "box01": _crate((0.40, 0.26, 0.13)),
    "bin": _crate((0.05, 0.14, 0.07)),
    "container": _crate((0.08, 0.18, 0.30)),
    "shoppingcart": _crate((0.36, 0.37, 0.38)),
    "mailbox": _crate((0.05, 0.10, 0.34)),
}
PLAIN_PROP = _crate((0.24, 0.20, 0.15))


def _blueprint_template(blueprint: Blueprint) -> Template:
    if blueprint.id.startswith("vehicle."):
        mesh = vehicle_mesh(blueprint.id, blueprint.base_type, blueprint.extent, blueprint.wheel_base)
        return Template(mesh, vehicle_proxy(blueprint.extent, blueprint.base_type))
    name = blueprint.id.removeprefix("static.prop.")
    mesh = (SHAPES.get(name) or PROPS.get(name, PLAIN_PROP))(blueprint.extent)
    return Template(mesh, mesh)


@functools.cache
def templates() -> Mapping[str, Template]:
    """All templates by key, built once."""
    empty = Mesh(np.zeros((0, 3, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.uint8),
                 np.zeros(0, np.uint8))  # fmt: skip
    person = box((0, 0, 0.9), (0.14, 0.20, 0.88), 0.0, (1, 1, 1), Material.FLAT, 0)
    found = {"walker": 0.0, "walker_left": 0.55, "walker_right": -0.55}
    built = {name: Template(walker_mesh(stride), person) for name, stride in found.items()}
    for lit in ("red", "yellow", "green", "off"):
        built[f"lamps_{lit}"] = Template(lamps_mesh(lit), empty)
    for blueprint in BLUEPRINTS.values():
        kind = blueprint.id.split(".", 1)[0]
        if kind == "vehicle":
            built[f"vehicle:{blueprint.id}"] = _blueprint_template(blueprint)
        elif blueprint.id.startswith("static.prop."):
            built[f"prop:{blueprint.id}"] = _blueprint_template(blueprint)
    return built | {key: Template(mesh, empty) for key, mesh in siren_bars().items()}
