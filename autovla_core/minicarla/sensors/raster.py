"""Numba kernels: which triangle does each sample of a picture see, and what does the sun see?

Everything is right-handed: x forward, y left, z up. Plain float arithmetic without fastmath and a
fixed order of triangles, so that the same scene gives the same bits on any number of threads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

logger = logging.getLogger(__name__)

NEAR_M = 0.12
TINY_DETERMINANT = -1e-12
# _nrt: no counting of references to arrays. The kernels allocate nothing and keep nothing, and the
# counting (atomic, at each use of an array out of a tuple) made the shading seven times slower.
OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy", "_nrt": False}


def inlined(function: Callable) -> Callable:
    """A piece of a kernel: always melted into its callers."""
    return njit(forceinline=True, **OPTIONS)(function)


def compiled(function: Callable) -> Callable:
    """Compile with numba, cached on disk wherever numba finds a writable place, else in memory only.

    numba looks at NUMBA_CACHE_DIR, the source's __pycache__ and the user's cache folder, and refuses
    to decorate when none of them can be written. It notices edits of the function's own file only:
    after a change of OPTIONS, delete __pycache__/*.nb?.
    """
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:
        logger.info("no writable cache for numba: %s is compiled anew in each process", function.__name__)
        return njit(**OPTIONS)(function)


class View(NamedTuple):
    """A pinhole over a grid of samples."""

    eye: np.ndarray  # (3,) m
    right: np.ndarray  # (3,) unit
    up: np.ndarray  # (3,) unit
    forward: np.ndarray  # (3,) unit
    focal: float  # samples
    width: int  # samples
    height: int  # samples


class Spans(NamedTuple):
    """Runs of triangles that are culled together, nearest first."""

    first: np.ndarray  # (n,) int64
    last: np.ndarray  # (n,) int64, exclusive
    instance: np.ndarray  # (n,) int64, -1 = static
    boxes: np.ndarray  # (n, 6) float64: world minimum and maximum


class Buffers(NamedTuple):
    """What the samples of a band of rows see."""

    depth: np.ndarray  # (rows, width) float32: 1 / distance along the optical axis
    owner: np.ndarray  # (rows, width) int32: index into the records, -1 = sky
    triangle: np.ndarray  # (records,) int32
    instance: np.ndarray  # (records,) int32
    edges: np.ndarray  # (records, 6) float64: two edge functions, for barycentric coordinates


@inlined
def box_is_outside(box, view, half_width, top, bottom, far):
    """Is a box outside the pyramid? Slopes: |right| <= half_width, bottom <= up <= top, per metre ahead."""
    mx, my, mz = (
        0.5 * (box[0] + box[3]) - view.eye[0],
        0.5 * (box[1] + box[4]) - view.eye[1],
        0.5 * (box[2] + box[5]) - view.eye[2],
    )
    ex, ey, ez = 0.5 * (box[3] - box[0]), 0.5 * (box[4] - box[1]), 0.5 * (box[5] - box[2])
    f, r, u = view.forward, view.right, view.up
    for plane in range(6):
        if plane == 0:
            a, b, c, d = f[0], f[1], f[2], -NEAR_M
        elif plane == 1:
            a, b, c, d = -f[0], -f[1], -f[2], far
        elif plane == 2:
            a, b, c, d = f[0] * half_width + r[0], f[1] * half_width + r[1], f[2] * half_width + r[2], 0.0
        elif plane == 3:
            a, b, c, d = f[0] * half_width - r[0], f[1] * half_width - r[1], f[2] * half_width - r[2], 0.0
        elif plane == 4:
            a, b, c, d = f[0] * top - u[0], f[1] * top - u[1], f[2] * top - u[2], 0.0
        else:
            a, b, c, d = u[0] - f[0] * bottom, u[1] - f[1] * bottom, u[2] - f[2] * bottom, 0.0
        if a * mx + b * my + c * mz + abs(a) * ex + abs(b) * ey + abs(c) * ez + d < 0:
            return True
    return False


@inlined
def _turned(axis, turn):
    """Row vector axis @ turn, with turn (3, 3)."""
    return (
        axis[0] * turn[0, 0] + axis[1] * turn[1, 0] + axis[2] * turn[2, 0],
        axis[0] * turn[0, 1] + axis[1] * turn[1, 1] + axis[2] * turn[2, 1],
        axis[0] * turn[0, 2] + axis[1] * turn[1, 2] + axis[2] * turn[2, 2],
    )


@inlined
def _clipped_bounds(xa, ya, wa, xb, yb, wb, xlo, xhi, ylo, yhi):
    """Widen a screen box by the part of the edge a-b that lies before the near plane."""
    if wa >= NEAR_M:
        sx, sy = xa / wa, ya / wa
        xlo, xhi, ylo, yhi = min(xlo, sx), max(xhi, sx), min(ylo, sy), max(yhi, sy)
    if (wa >= NEAR_M) != (wb >= NEAR_M):
        t = (NEAR_M - wa) / (wb - wa)
        sx, sy = (xa + t * (xb - xa)) / NEAR_M, (ya + t * (yb - ya)) / NEAR_M
        xlo, xhi, ylo, yhi = min(xlo, sx), max(xhi, sx), min(ylo, sy), max(yhi, sy)
    return xlo, xhi, ylo, yhi


@inlined
def _row_span(a, c, left, right):
    """Narrow the interval [left, right] to where a * x + c >= 0."""
    if a > 0:
        left = max(left, -c / a)
    elif a < 0:
        right = min(right, -c / a)
    elif c < 0:
        right = left - 1.0
    return left, right


@compiled
def rasterise(corners, spans, turns, places, view, row0, row1, far, buffers):
    """Fill ``buffers`` with what rows [row0, row1) of samples see; return the number of records.

    corners (n, 3, 3) float32; turns (m, 3, 3), places (m, 3): world_from_instance. The caller clears
    depth to 1 / far and owner to -1. Returns -1 when the records are too few: enlarge and repeat.
    Homogeneous edge functions (Olano and Greer 1997) need no clipping of triangles behind the eye.
    """
    count = 0
    width, height, f = view.width, view.height, view.focal
    cx, cy = width * 0.5, height * 0.5
    capacity = buffers.triangle.shape[0]
    top, bottom = (cy - row0) / f, (cy - row1) / f
    nearest = np.float32(1.0 / NEAR_M)
    eye = view.eye
    for span in range(spans.first.shape[0]):
        if box_is_outside(spans.boxes[span], view, cx / f, top, bottom, far):
            continue
        instance = spans.instance[span]
        if instance >= 0:
            turn, place = turns[instance], places[instance]
            a00, a01, a02 = _turned(view.right, turn)
            a10, a11, a12 = _turned(view.up, turn)
            a20, a21, a22 = _turned(view.forward, turn)
            ox, oy, oz = place[0] - eye[0], place[1] - eye[1], place[2] - eye[2]
        else:
            a00, a01, a02 = view.right[0], view.right[1], view.right[2]
            a10, a11, a12 = view.up[0], view.up[1], view.up[2]
            a20, a21, a22 = view.forward[0], view.forward[1], view.forward[2]
            ox, oy, oz = -eye[0], -eye[1], -eye[2]
        b0 = view.right[0] * ox + view.right[1] * oy + view.right[2] * oz
        b1 = view.up[0] * ox + view.up[1] * oy + view.up[2] * oz
        b2 = view.forward[0] * ox + view.forward[1] * oy + view.forward[2] * oz
        for t in range(spans.first[span], spans.last[span]):
            # homogeneous screen coordinates of the corners: (x, y) are (X, Y) / w
            x, y, z = corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2]
            w0 = a20 * x + a21 * y + a22 * z + b2
            x0 = f * (a00 * x + a01 * y + a02 * z + b0) + cx * w0
            y0 = cy * w0 - f * (a10 * x + a11 * y + a12 * z + b1)
            x, y, z = corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2]
            w1 = a20 * x + a21 * y + a22 * z + b2
            x1 = f * (a00 * x + a01 * y + a02 * z + b0) + cx * w1
            y1 = cy * w1 - f * (a10 * x + a11 * y + a12 * z + b1)
            x, y, z = corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2]
            w2 = a20 * x + a21 * y + a22 * z + b2
            x2 = f * (a00 * x + a01 * y + a02 * z + b0) + cx * w2
            y2 = cy * w2 - f * (a10 * x + a11 * y + a12 * z + b1)
            if w0 < NEAR_M and w1 < NEAR_M and w2 < NEAR_M:
                continue
            if (x0 < 0 and x1 < 0 and x2 < 0) or (x0 > width * w0 and x1 > width * w1 and x2 > width * w2):
                continue
            if y0 < row0 * w0 and y1 < row0 * w1 and y2 < row0 * w2:
                continue
            if y0 > row1 * w0 and y1 > row1 * w1 and y2 > row1 * w2:
                continue
            e0a, e0b, e0c = y1 * w2 - y2 * w1, w1 * x2 - w2 * x1, x1 * y2 - x2 * y1
            determinant = x0 * e0a + y0 * e0b + w0 * e0c
            if determinant >= TINY_DETERMINANT:  # seen from behind, or edge-on
                continue
            xlo, xhi, ylo, yhi = 1e9, -1e9, 1e9, -1e9
            xlo, xhi, ylo, yhi = _clipped_bounds(x0, y0, w0, x1, y1, w1, xlo, xhi, ylo, yhi)
            xlo, xhi, ylo, yhi = _clipped_bounds(x1, y1, w1, x2, y2, w2, xlo, xhi, ylo, yhi)
            xlo, xhi, ylo, yhi = _clipped_bounds(x2, y2, w2, x0, y0, w0, xlo, xhi, ylo, yhi)
            first_x, last_x = math.ceil(max(xlo - 0.5, 0.0)), math.floor(min(xhi - 0.5, width - 1.0))
            first_y, last_y = int(math.ceil(max(ylo - 0.5, row0))), int(math.floor(min(yhi - 0.5, row1 - 1.0)))
            if first_x > last_x or first_y > last_y:
                continue
            inverse = 1.0 / determinant
            e0a, e0b, e0c = e0a * inverse, e0b * inverse, e0c * inverse
            e1a, e1b, e1c = (y2 * w0 - y0 * w2) * inverse, (w2 * x0 - w0 * x2) * inverse, (x2 * y0 - x0 * y2) * inverse
            e2a, e2b, e2c = (y0 * w1 - y1 * w0) * inverse, (w0 * x1 - w1 * x0) * inverse, (x0 * y1 - x1 * y0) * inverse
            za, zb, zc = e0a + e1a + e2a, e0b + e1b + e2b, e0c + e1c + e2c  # the sum of all three is 1 / w
            hit = False
            for row in range(first_y, last_y + 1):
                py = row + 0.5
                left, right = first_x + 0.5, last_x + 0.5
                left, right = _row_span(e0a, e0b * py + e0c, left, right)
                left, right = _row_span(e1a, e1b * py + e1c, left, right)
                left, right = _row_span(e2a, e2b * py + e2c, left, right)
                if left > right:
                    continue
                start, stop = int(math.ceil(left - 0.5)), int(math.floor(right - 0.5))
                if start > stop:
                    continue
                base, slope = np.float32(zb * py + zc + za * (start + 0.5)), np.float32(za)
                depth_row = buffers.depth[row - row0, start : stop + 1]
                owner_row = buffers.owner[row - row0, start : stop + 1]
                for column in range(depth_row.shape[0]):
                    near = base + slope * np.float32(column)
                    if near > depth_row[column] and near <= nearest:
                        depth_row[column] = near
                        owner_row[column] = count
                        hit = True
            if hit:
                buffers.triangle[count] = t
                buffers.instance[count] = instance
                e = buffers.edges[count]
                e[0], e[1], e[2], e[3], e[4], e[5] = e1a, e1b, e1c, e2a, e2b, e2c
                count += 1
                if count >= capacity:
                    return -1
    return count


@compiled
def cast_shadows(corners, first, last, turns, places, texel_from_world, p, shadow):
    """Draw triangles, seen from the sun, into a map of uint16 heights towards the sun.

    Run i is corners[first[i]:last[i]] placed by turns[i], places[i]; texel_from_world (3, 4) gives
    column, row and height. p (3, 3) is scratch.
    """
    size = shadow.shape[0]
    m = texel_from_world
    for run in range(first.shape[0]):
        turn, place = turns[run], places[run]
        for t in range(first[run], last[run]):
            for i in range(3):
                x, y, z = corners[t, i, 0], corners[t, i, 1], corners[t, i, 2]
                wx = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z + place[0]
                wy = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + place[1]
                wz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z + place[2]
                for k in range(3):
                    p[i, k] = m[k, 0] * wx + m[k, 1] * wy + m[k, 2] * wz + m[k, 3]
            _cast_triangle(p, size, shadow)


@inlined
def _cast_triangle(p, size, shadow):
    """One triangle with corners p (3, 3) in texels, either side up; texel centres lie at +0.5."""
    ux, uy, vx, vy = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[2, 0] - p[0, 0], p[2, 1] - p[0, 1]
    area = ux * vy - vx * uy
    if abs(area) < 1e-9:
        return
    ylo, yhi = min(p[0, 1], min(p[1, 1], p[2, 1])), max(p[0, 1], max(p[1, 1], p[2, 1]))
    xlo, xhi = min(p[0, 0], min(p[1, 0], p[2, 0])), max(p[0, 0], max(p[1, 0], p[2, 0]))
    # barycentric b1 = (dx * vy - vx * dy) / area, b2 = (ux * dy - uy * dx) / area
    b1x, b1y, b2x, b2y = vy / area, -vx / area, -uy / area, ux / area
    dz1, dz2 = p[1, 2] - p[0, 2], p[2, 2] - p[0, 2]
    slope = b1x * dz1 + b2x * dz2
    for row in range(max(0, int(math.ceil(ylo - 0.5))), min(size - 1, int(math.floor(yhi - 0.5))) + 1):
        dy = row + 0.5 - p[0, 1]
        left, right = max(xlo, 0.0) - p[0, 0], min(xhi, float(size)) - p[0, 0]
        left, right = _row_span(b1x, b1y * dy, left, right)
        left, right = _row_span(b2x, b2y * dy, left, right)
        left, right = _row_span(-b1x - b2x, 1.0 - (b1y + b2y) * dy, left, right)
        if left > right:
            continue
        start = max(0, int(math.ceil(left + p[0, 0] - 0.5)))
        stop = min(size - 1, int(math.floor(right + p[0, 0] - 0.5)))
        base = p[0, 2] + (b1y * dz1 + b2y * dz2) * dy + slope * (start + 0.5 - p[0, 0])
        for column in range(start, stop + 1):
            height = np.uint16(min(max(base + slope * (column - start), 0.0), 65535.0))
            if height > shadow[row, column]:
                shadow[row, column] = height
