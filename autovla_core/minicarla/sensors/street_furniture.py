"""Shapes of the larger props: what stands on sidewalks and hides a walker. Local frame as in vehicle_meshes.

Each shape fills its blueprint's box (half sizes, m), its front towards +x; the triangles carry tag 0, the instance's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autovla_core.minicarla.world.mesh import Material, Mesh, box, from_quads, join

Extent = tuple[float, float, float]

STEEL, DARK, PALE = (0.20, 0.21, 0.22), (0.03, 0.03, 0.035), (0.66, 0.66, 0.62)
RED, GREEN, BLUE, STRAW = (0.45, 0.03, 0.03), (0.04, 0.16, 0.07), (0.04, 0.11, 0.33), (0.46, 0.34, 0.12)
STRAW_END, CLOTH, LEAVES = (0.36, 0.26, 0.09), (0.62, 0.12, 0.05), (0.05, 0.14, 0.03)
DRUM_SIDES = 14


def _block(
    extent: Extent, center: Sequence[float], half: Sequence[float], color: Sequence[float], material: int = 0
) -> Mesh:
    """A box in shares of the prop's half sizes: x, y from -1 to 1, z from 0 (ground) to 2 (top)."""
    scale = np.asarray(extent, float)
    return box(np.asarray(center) * scale, np.asarray(half) * scale, 0.0, color, material, 0)


def _posts(extent: Extent, height: float, color: Sequence[float] = STEEL, thick_m: float = 0.04) -> list[Mesh]:
    """Four posts at the corners, ``height`` in half heights."""
    x, y, z = extent[0] - thick_m, extent[1] - thick_m, extent[2] * height / 2
    half = (thick_m, thick_m, z)
    return [box((sx * x, sy * y, z), half, 0.0, color, Material.FLAT, 0) for sx in (-1, 1) for sy in (-1, 1)]


def vending_machine(extent: Extent) -> Mesh:
    """A red cabinet with a dark window and a slot."""
    return join(
        [
            _block(extent, (-0.03, 0, 1.0), (0.97, 1.0, 1.0), RED),
            _block(extent, (0.96, 0.18, 1.25), (0.04, 0.66, 0.55), DARK, Material.GLASS),
            _block(extent, (0.96, -0.78, 1.2), (0.03, 0.14, 0.35), PALE),
            _block(extent, (0.96, 0.1, 0.35), (0.03, 0.55, 0.16), DARK),
        ]
    )


def advertisement(extent: Extent) -> Mesh:
    """A poster behind glass in a frame on a foot; both faces look along the kerb."""
    posters = [
        _block(extent, (0, side * 0.9, 1.2), (0.86, 0.06, 0.68), color)
        for side, color in ((1, (0.05, 0.25, 0.42)), (-1, (0.55, 0.32, 0.04)))
    ]
    strips = [_block(extent, (0.1, side * 0.97, 0.95), (0.6, 0.03, 0.09), PALE) for side in (1, -1)]
    frame = [_block(extent, (0, 0, 1.2), (1.0, 0.84, 0.8), STEEL), _block(extent, (0, 0, 0.2), (0.5, 0.7, 0.2), DARK)]
    return join([*frame, *posters, *strips])


def bus_stop(extent: Extent) -> Mesh:
    """A shelter: posts, roof, a glass back, one glass side with a poster, and a bench; open towards the road."""
    return join(
        [
            *_posts(extent, 1.9),
            _block(extent, (0, 0, 1.94), (1.0, 1.0, 0.06), STEEL),
            _block(extent, (-0.96, 0, 1.05), (0.02, 0.93, 0.75), DARK, Material.GLASS),
            _block(extent, (0, -0.97, 1.05), (0.85, 0.02, 0.75), BLUE),
            _block(extent, (-0.6, 0, 0.36), (0.22, 0.8, 0.03), PALE),
            _block(extent, (-0.6, 0, 0.18), (0.05, 0.6, 0.18), STEEL),
        ]
    )


def food_cart(extent: Extent) -> Mesh:
    """A cart with a counter, wheels and a striped canopy on posts."""
    stripes = [
        _block(extent, (0, -0.875 + 0.25 * k, 1.9), (1.0, 0.125, 0.1), CLOTH if k % 2 else PALE) for k in range(8)
    ]
    wheels = [_block(extent, (0.6 * x, 0.8 * y, 0.2), (0.2, 0.06, 0.2), DARK) for x in (-1, 1) for y in (-1, 1)]
    body = [
        _block(extent, (0, 0, 0.55), (0.82, 0.92, 0.35), BLUE),
        _block(extent, (0, 0, 0.93), (0.92, 0.98, 0.03), PALE),
        _block(extent, (-0.3, 0.3, 1.1), (0.3, 0.4, 0.16), STEEL),
    ]
    return join([*_posts(extent, 1.85, PALE, 0.03), *body, *wheels, *stripes])


def hay_bale(extent: Extent) -> Mesh:
    """A drum of straw on its side, its axis along y."""
    half, radius = extent[1], extent[2]
    angles = np.linspace(0.0, 2 * math.pi, DRUM_SIDES + 1)
    rim = np.stack([extent[0] * np.cos(angles), np.zeros_like(angles), radius + radius * np.sin(angles)], axis=1)
    near, far = rim + (0.0, half, 0.0), rim - (0.0, half, 0.0)
    middle = np.array([0.0, 0.0, radius])
    wall = np.stack([near[:-1], near[1:], far[1:], far[:-1]], axis=1)
    ends = [
        np.stack([np.broadcast_to(middle + (0, side * half, 0), a.shape), a, b, b], axis=1)
        for side, a, b in ((1, near[1:], near[:-1]), (-1, far[:-1], far[1:]))
    ]
    parts = [from_quads(wall, STRAW, Material.FLAT, 0)]
    return join(parts + [from_quads(end, STRAW_END, Material.FLAT, 0) for end in ends])


def kiosk(extent: Extent) -> Mesh:
    """A green booth with a window and a counter under a wider roof."""
    return join(
        [
            _block(extent, (-0.06, 0, 0.9), (0.86, 0.92, 0.9), GREEN),
            _block(extent, (0.8, 0, 1.15), (0.03, 0.7, 0.35), DARK, Material.GLASS),
            _block(extent, (0.88, 0, 0.74), (0.12, 0.8, 0.04), PALE),
            _block(extent, (0, 0, 1.9), (1.0, 1.0, 0.1), DARK),
        ]
    )


def plant_pot(extent: Extent) -> Mesh:
    """A tub with a bush."""
    tub = _block(extent, (0, 0, 0.45), (0.9, 0.9, 0.45), PALE)
    return join([tub, _block(extent, (0, 0, 1.4), (0.8, 0.8, 0.6), LEAVES, Material.LEAF)])


def chain_barrier(extent: Extent) -> Mesh:
    """Two posts and a bar between them, along x."""
    width = min(0.06, extent[1])
    posts = [
        box((x, 0, extent[2]), (width, width, extent[2]), 0.0, DARK, Material.FLAT, 0)
        for x in (width - extent[0], extent[0] - width)
    ]
    return join([*posts, _block(extent, (0, 0, 1.6), (0.95, 0.25, 0.05), PALE)])


def street_sign(extent: Extent) -> Mesh:
    """A board on a post, facing +x."""
    post = box((0, 0, extent[2]), (0.03, 0.03, extent[2]), 0.0, STEEL, Material.FLAT, 0)
    return join([post, _block(extent, (0.5, 0, 1.8), (0.3, 1.0, 0.18), BLUE)])


def cabinet(color: Sequence[float]) -> Callable[[Extent], Mesh]:
    """A plain body under a darker lid."""

    def build(extent: Extent) -> Mesh:
        body = _block(extent, (0, 0, 0.9), (0.96, 0.96, 0.9), color)
        return join([body, _block(extent, (0, 0, 1.9), (1.0, 1.0, 0.1), DARK)])

    return build


SHAPES: Mapping[str, Callable[[Extent], Mesh]] = {
    "vendingmachine": vending_machine,
    "advertisement": advertisement,
    "busstop": bus_stop,
    "busstoplb": bus_stop,
    "foodcart": food_cart,
    "haybale": hay_bale,
    "haybalelb": hay_bale,
    "kiosk_01": kiosk,
    "atm": vending_machine,
    "glasscontainer": cabinet(GREEN),
    "clothcontainer": cabinet(BLUE),
    "plantpot01": plant_pot,
    "trashcan01": cabinet(STEEL),
    "streetsign": street_sign,
    "chainbarrier": chain_barrier,
    "chainbarrierend": chain_barrier,
}
