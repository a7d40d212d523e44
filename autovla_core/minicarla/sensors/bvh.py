"""Numba kernels: the first triangle that a ray meets, by a tree of boxes around the triangles.

Right-handed, like raster.py, and like it without fastmath: the same rays give the same bits. What the
cameras cannot see from behind, a ray passes through as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.sensors.raster import compiled, inlined

LEAF_TRIANGLES = 4
BINS = 16
DEPTH_MAX = 128  # pending nodes; a pair is replaced by its children, so this is the tree's depth
NEAR_M = 0.12  # as the cameras': what touches the sensor is its own housing
ALMOST_ZERO = 1e-12


class Tree(NamedTuple):
    """Boxes in boxes. Node i is a leaf of ``links[i, 1]`` items from ``links[i, 0]`` on, or, if that is 0,
    has the children ``links[i, 0]`` and the one after it."""

    bounds: np.ndarray  # (nodes, 6) float64: minimum and maximum
    links: np.ndarray  # (nodes, 2) int32
    items: np.ndarray  # (n,) int32: numbers of triangles, or of instances


def build(boxes: np.ndarray, leaf: int = LEAF_TRIANGLES) -> Tree:
    """A tree over n boxes (n, 6) with the root 0; the root of an empty one is never entered."""
    n = len(boxes)
    bounds, links = np.empty((max(1, 2 * n), 6)), np.zeros((max(1, 2 * n), 2), np.int32)
    items = np.arange(n, dtype=np.int32)
    if n == 0:
        bounds[0] = np.inf  # infinitely far: no ray enters it
        return Tree(bounds, links, items)
    stack, bins = np.empty(2 * n + 2, np.int32), np.empty((BINS, 7))
    used = _split_all(np.ascontiguousarray(boxes, float), leaf, bounds, links, items, stack, bins)
    return Tree(bounds[:used].copy(), links[:used].copy(), items)


def boxes_of(triangles: np.ndarray) -> np.ndarray:
    """(n, 6) minimum and maximum of triangles (n, 3, 3)."""
    return np.concatenate([triangles.min(1), triangles.max(1)], axis=1).astype(float)


def joined(trees: list[Tree], first_items: list[int]) -> tuple[Tree, list[int]]:
    """Trees put behind each other, and the roots of each; items count on from ``first_items``."""
    roots, links, offset, before = [], [], 0, 0
    for tree in trees:
        moved = tree.links.copy()
        inner = moved[:, 1] == 0
        moved[inner, 0] += offset
        moved[~inner, 0] += before
        roots.append(offset)
        links.append(moved)
        offset, before = offset + len(moved), before + len(tree.items)
    items = [tree.items + np.int32(first) for tree, first in zip(trees, first_items, strict=True)]
    return Tree(np.concatenate([t.bounds for t in trees]), np.concatenate(links), np.concatenate(items)), roots


@inlined
def _widen(box, other):
    for k in range(3):
        box[k] = min(box[k], other[k])
        box[k + 3] = max(box[k + 3], other[k + 3])


@inlined
def _clear(box):
    for k in range(3):
        box[k], box[k + 3] = np.inf, -np.inf


@inlined
def _bin_of(box, axis, low, scale):
    return min(BINS - 1, int((0.5 * (box[axis] + box[axis + 3]) - low) * scale))


@compiled
def _split_all(boxes, leaf, bounds, links, items, stack, bins):
    """Split nodes from the root down along their widest axis, where the surface area heuristic says; in place.

    ``stack`` (2 n + 2,) and ``bins`` (BINS, 7): box and count, are scratch. Returns the number of nodes.
    """
    links[0, 0], links[0, 1] = 0, items.shape[0]
    used, top, stack[0] = 1, 1, 0
    while top > 0:
        top -= 1
        node = stack[top]
        first, count = links[node, 0], links[node, 1]
        box = bounds[node]
        _clear(box)
        low0, low1, low2, high0, high1, high2 = np.inf, np.inf, np.inf, -np.inf, -np.inf, -np.inf
        for i in range(first, first + count):
            b = boxes[items[i]]
            _widen(box, b)
            x, y, z = 0.5 * (b[0] + b[3]), 0.5 * (b[1] + b[4]), 0.5 * (b[2] + b[5])
            low0, low1, low2 = min(low0, x), min(low1, y), min(low2, z)
            high0, high1, high2 = max(high0, x), max(high1, y), max(high2, z)
        if count <= leaf:
            continue
        axis, low, width = 0, low0, high0 - low0
        if high1 - low1 > width:
            axis, low, width = 1, low1, high1 - low1
        if high2 - low2 > width:
            axis, low, width = 2, low2, high2 - low2
        middle = first + count // 2  # of items that all lie at one place
        if width > 1e-9:
            scale = BINS / width
            for k in range(BINS):
                _clear(bins[k])
                bins[k, 6] = 0.0
            for i in range(first, first + count):
                b = boxes[items[i]]
                k = _bin_of(b, axis, low, scale)
                _widen(bins[k], b)
                bins[k, 6] += 1.0
            best, cut = np.inf, 1
            for split in range(1, BINS):  # BINS is small: the quadratic sum needs no second array
                cost = 0.0
                for side in range(2):
                    b0, b1, b2, b3, b4, b5, held = np.inf, np.inf, np.inf, -np.inf, -np.inf, -np.inf, 0.0
                    for k in range(split if side else 0, BINS if side else split):
                        b0, b1, b2 = min(b0, bins[k, 0]), min(b1, bins[k, 1]), min(b2, bins[k, 2])
                        b3, b4, b5 = max(b3, bins[k, 3]), max(b4, bins[k, 4]), max(b5, bins[k, 5])
                        held += bins[k, 6]
                    if held == 0.0:
                        cost = np.inf
                    else:
                        x, y, z = b3 - b0, b4 - b1, b5 - b2
                        cost += held * (x * y + y * z + z * x)
                if cost < best:
                    best, cut = cost, split
            left, right = first, first + count - 1
            while left <= right:
                if _bin_of(boxes[items[left]], axis, low, scale) < cut:
                    left += 1
                else:
                    items[left], items[right] = items[right], items[left]
                    right -= 1
            middle = left
        links[used, 0], links[used, 1] = first, middle - first
        links[used + 1, 0], links[used + 1, 1] = middle, first + count - middle
        links[node, 0], links[node, 1] = used, 0
        stack[top], stack[top + 1] = used, used + 1
        top, used = top + 2, used + 2
    return used


@inlined
def _entry(b, ox, oy, oz, ix, iy, iz, limit):
    """Where a ray enters a box, inf if it misses it or enters beyond the limit; i* are 1 / direction."""
    x0, x1 = (b[0] - ox) * ix, (b[3] - ox) * ix
    y0, y1 = (b[1] - oy) * iy, (b[4] - oy) * iy
    z0, z1 = (b[2] - oz) * iz, (b[5] - oz) * iz
    enter = max(max(min(x0, x1), min(y0, y1)), max(min(z0, z1), 0.0))
    leave = min(min(max(x0, x1), max(y0, y1)), min(max(z0, z1), limit))
    return enter if enter <= leave * 1.0000001 + 1e-9 else np.inf  # flat boxes: rounding must not miss them


@inlined
def _hit(c, ox, oy, oz, dx, dy, dz):
    """Distance at which a ray meets the front of a triangle (3, 3), else inf (Moeller and Trumbore 1997)."""
    ax, ay, az = np.float64(c[0, 0]), np.float64(c[0, 1]), np.float64(c[0, 2])
    e1x, e1y, e1z = c[1, 0] - ax, c[1, 1] - ay, c[1, 2] - az
    e2x, e2y, e2z = c[2, 0] - ax, c[2, 1] - ay, c[2, 2] - az
    px, py, pz = dy * e2z - dz * e2y, dz * e2x - dx * e2z, dx * e2y - dy * e2x
    determinant = e1x * px + e1y * py + e1z * pz
    if determinant <= ALMOST_ZERO:
        return np.inf
    sx, sy, sz = ox - ax, oy - ay, oz - az
    u = sx * px + sy * py + sz * pz
    slack = 1e-9 * determinant  # a ray through a common edge must not slip between both triangles
    if u < -slack or u > determinant + slack:
        return np.inf
    qx, qy, qz = sy * e1z - sz * e1y, sz * e1x - sx * e1z, sx * e1y - sy * e1x
    v = dx * qx + dy * qy + dz * qz
    if v < -slack or u + v > determinant + slack:
        return np.inf
    return (e2x * qx + e2y * qy + e2z * qz) / determinant


@inlined
def _safe_inverse(d):
    return 1.0 / d if abs(d) > ALMOST_ZERO else (1.0 / ALMOST_ZERO if d >= 0 else -1.0 / ALMOST_ZERO)


@compiled
def _nearest(tree, root, corners, ox, oy, oz, dx, dy, dz, limit, nodes, entries):
    """(distance, triangle) of the first front face nearer than ``limit``; (limit, -1) if there is none."""
    ix, iy, iz = _safe_inverse(dx), _safe_inverse(dy), _safe_inverse(dz)
    found, best = -1, limit
    entry = _entry(tree.bounds[root], ox, oy, oz, ix, iy, iz, best)
    if entry == np.inf:
        return best, found
    top, nodes[0], entries[0] = 1, root, entry
    while top > 0:
        top -= 1
        node = nodes[top]
        if entries[top] > best:
            continue
        first, count = tree.links[node, 0], tree.links[node, 1]
        if count > 0:
            for i in range(first, first + count):
                triangle = tree.items[i]
                t = _hit(corners[triangle], ox, oy, oz, dx, dy, dz)
                if NEAR_M <= t < best:
                    best, found = t, triangle
            continue
        one = _entry(tree.bounds[first], ox, oy, oz, ix, iy, iz, best)
        two = _entry(tree.bounds[first + 1], ox, oy, oz, ix, iy, iz, best)
        near, far = first, first + 1
        if two < one:
            near, far, one, two = far, near, two, one
        if two < np.inf and top < DEPTH_MAX - 1:
            nodes[top], entries[top] = far, two
            top += 1
        if one < np.inf and top < DEPTH_MAX:
            nodes[top], entries[top] = near, one
            top += 1
    return best, found


@compiled
def trace(tree, corners, crowd, roots, turns, places, origins, directions, reach, nodes, entries, distance, hits):
    """For every ray the first thing in the town (root 0 of ``tree``) or among the placed instances.

    crowd is a tree of instances with boxes in the world, roots (m,) the node of each one's template in
    ``tree``, turns (m, 3, 3) and places (m, 3) world_from_instance. origins and directions (n, 3), unit;
    reach (n,) m. nodes (2, DEPTH_MAX) int32 and entries (2, DEPTH_MAX) are scratch. Fills distance (n,),
    and hits (n, 2) int32 with triangle and instance, -1 for none.
    """
    for ray in range(directions.shape[0]):
        ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        best, found = _nearest(tree, 0, corners, ox, oy, oz, dx, dy, dz, reach[ray], nodes[0], entries[0])
        who = -1
        ix, iy, iz = _safe_inverse(dx), _safe_inverse(dy), _safe_inverse(dz)
        top, nodes[1, 0] = 1, 0
        while top > 0:
            top -= 1
            node = nodes[1, top]
            if _entry(crowd.bounds[node], ox, oy, oz, ix, iy, iz, best) == np.inf:
                continue
            first, count = crowd.links[node, 0], crowd.links[node, 1]
            if count == 0:
                if top < DEPTH_MAX - 1:
                    nodes[1, top], nodes[1, top + 1] = first, first + 1
                    top += 2
                continue
            for i in range(first, first + count):
                instance = crowd.items[i]
                turn, place = turns[instance], places[instance]
                lx, ly, lz = ox - place[0], oy - place[1], oz - place[2]
                t, triangle = _nearest(
                    tree, roots[instance], corners,
                    lx * turn[0, 0] + ly * turn[1, 0] + lz * turn[2, 0],
                    lx * turn[0, 1] + ly * turn[1, 1] + lz * turn[2, 1],
                    lx * turn[0, 2] + ly * turn[1, 2] + lz * turn[2, 2],
                    dx * turn[0, 0] + dy * turn[1, 0] + dz * turn[2, 0],
                    dx * turn[0, 1] + dy * turn[1, 1] + dz * turn[2, 1],
                    dx * turn[0, 2] + dy * turn[1, 2] + dz * turn[2, 2],
                    best, nodes[0], entries[0],
                )  # fmt: skip
                if triangle >= 0:
                    best, found, who = t, triangle, instance
        distance[ray] = best
        hits[ray, 0], hits[ray, 1] = found, who
