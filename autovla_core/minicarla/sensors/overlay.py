"""Debug shapes in a finished picture, hidden by what stands before them. Right-handed inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autovla_core.minicarla.sensors.letters import dots_of
from autovla_core.minicarla.sensors.raster import NEAR_M, Buffers, View, compiled, inlined
from autovla_core.minicarla.sensors.shading import SAMPLES
from autovla_core.minicarla.world.debug_shapes import DebugShape

TO_RIGHT_HANDED = np.array([1.0, -1.0, 1.0])
NEARER = 1.003  # a line on a surface wins against it


class Overlay(NamedTuple):
    """All that is drawn, in the order in which it came."""

    strokes: np.ndarray  # (n, 6) both ends, m
    widths: np.ndarray  # (n, 2) m, and px at least
    colors: np.ndarray  # (n, 3) uint8, b g r
    dots: np.ndarray  # (m, 5) where the words stand, m; column and row of the dot from there, px
    dot_colors: np.ndarray  # (m, 3) uint8


def prepare(shapes: Sequence[DebugShape]) -> Overlay | None:
    """Pack shapes for the kernels; None if there is nothing to draw."""
    if not shapes:
        return None
    drawn, said = [s for s in shapes if not s.text], [s for s in shapes if s.text]
    counts = np.array([len(s.strokes) for s in drawn], np.int64)
    letters = [dots_of(s.text) for s in said]
    strokes = [s.strokes * TO_RIGHT_HANDED for s in drawn]
    places = [np.tile(s.strokes[0, 0] * TO_RIGHT_HANDED, (len(d), 1)) for s, d in zip(said, letters, strict=True)]
    dots = [np.column_stack([place, d]) for place, d in zip(places, letters, strict=True)]
    return Overlay(
        np.concatenate([np.zeros((0, 2, 3)), *strokes]).reshape(-1, 6),
        np.repeat(np.array([(s.thickness, s.width_px) for s in drawn]).reshape(-1, 2), counts, axis=0),
        np.repeat(_bgr(drawn), counts, axis=0),
        np.concatenate([np.zeros((0, 5)), *dots]),
        np.repeat(_bgr(said), np.array([len(d) for d in letters], np.int64), axis=0),
    )


def _bgr(shapes: Sequence[DebugShape]) -> np.ndarray:
    return np.array([s.color[::-1] for s in shapes], np.uint8).reshape(-1, 3)


def draw(overlay: Overlay, view: View, row0: int, row1: int, buffers: Buffers, picture: np.ndarray) -> None:
    """Draw into rows [row0, row1) of a (height, width, 4) picture whose samples lie in ``buffers``."""
    _draw_strokes(overlay.strokes, overlay.widths, overlay.colors, view, row0, row1, buffers.depth, picture)
    _draw_dots(overlay.dots, overlay.dot_colors, view, row0, row1, buffers.depth, picture)


@inlined
def in_camera(view, x, y, z):
    """(right, up, forward) of a point in the world, m."""
    x, y, z = x - view.eye[0], y - view.eye[1], z - view.eye[2]
    return (
        x * view.right[0] + y * view.right[1] + z * view.right[2],
        x * view.up[0] + y * view.up[1] + z * view.up[2],
        x * view.forward[0] + y * view.forward[1] + z * view.forward[2],
    )


@inlined
def _blend(picture, depth, row, column, row0, near, color):
    """Colour the share of a pixel's samples that are no nearer than ``near`` (1 / m)."""
    seen = 0
    for i in range(SAMPLES):
        for j in range(SAMPLES):
            if near * NEARER > depth[(row - row0) * SAMPLES + i, column * SAMPLES + j]:
                seen += 1
    if seen > 0:
        whole = SAMPLES * SAMPLES
        for k in range(3):
            mixed = int(color[k]) * seen + int(picture[row, column, k]) * (whole - seen)
            picture[row, column, k] = np.uint8(mixed // whole)


@inlined
def _first_from(edge, first, last):
    """The first pixel whose middle is not before an edge, kept within [first, last]."""
    return int(min(max(np.ceil(edge - 0.5), first), last))


@compiled
def _draw_strokes(strokes, widths, colors, view, row0, row1, depth, picture):
    width, focal = picture.shape[1], view.focal / SAMPLES
    cx, cy = 0.5 * view.width / SAMPLES, 0.5 * view.height / SAMPLES
    for n in range(strokes.shape[0]):
        s, color = strokes[n], colors[n]
        xa, ya, wa = in_camera(view, s[0], s[1], s[2])
        xb, yb, wb = in_camera(view, s[3], s[4], s[5])
        if wa < NEAR_M and wb < NEAR_M:
            continue
        if wa < NEAR_M:
            t = (NEAR_M - wa) / (wb - wa)
            xa, ya, wa = xa + t * (xb - xa), ya + t * (yb - ya), NEAR_M
        elif wb < NEAR_M:
            t = (NEAR_M - wb) / (wa - wb)
            xb, yb, wb = xb + t * (xa - xb), yb + t * (ya - yb), NEAR_M
        ua, va, ub, vb = cx + focal * xa / wa, cy - focal * ya / wa, cx + focal * xb / wb, cy - focal * yb / wb
        du, dv = ub - ua, vb - va
        length = (du * du + dv * dv) ** 0.5
        flat = abs(du) >= abs(dv)  # walk along columns, else along rows
        lead, start = (du, ua) if flat else (dv, va)
        aside = length / max(abs(lead), 1e-9)  # how much wider a slanted stroke is across the walk
        pad = 0.0
        if length < 1.0:  # a dot: a square around it
            aside, pad = 1.0, 0.5 * max(widths[n, 1], widths[n, 0] * focal / wa)
        low, high = min(start, start + lead) - pad, max(start, start + lead) + pad
        first, last = (0, width) if flat else (row0, row1)
        for i in range(_first_from(low, first, last), _first_from(high, first, last)):
            t = 0.5 if length < 1.0 else min(1.0, max(0.0, (i + 0.5 - start) / lead))
            near = (1.0 - t) / wa + t / wb
            middle = va + t * dv if flat else ua + t * du
            half = 0.5 * aside * max(widths[n, 1], widths[n, 0] * focal * near)
            bottom, top = (row0, row1) if flat else (0, width)
            for j in range(_first_from(middle - half, bottom, top), _first_from(middle + half, bottom, top)):
                if flat:
                    _blend(picture, depth, j, i, row0, near, color)
                else:
                    _blend(picture, depth, i, j, row0, near, color)


@compiled
def _draw_dots(dots, colors, view, row0, row1, depth, picture):
    focal = view.focal / SAMPLES
    cx, cy = 0.5 * view.width / SAMPLES, 0.5 * view.height / SAMPLES
    for n in range(dots.shape[0]):
        x, y, w = in_camera(view, dots[n, 0], dots[n, 1], dots[n, 2])
        if w < NEAR_M:
            continue
        u, v = cx + focal * x / w + dots[n, 3], cy - focal * y / w + dots[n, 4]
        if u >= 0 and u < picture.shape[1] and v >= row0 and v < row1:
            _blend(picture, depth, int(v), int(u), row0, 1.0 / w, colors[n])
