"""Paint on the road: lane borders, centre lines, stop lines and zebra stripes. Right-handed meshes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autovla_core.frames import point_from_carla
from autovla_core.minicarla.world.areas import edges
from autovla_core.minicarla.world.crosswalks import stripes
from autovla_core.minicarla.world.layout import Signal
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, from_quads, from_triangles, join
from autovla_core.minicarla.world.opendrive import POST_BESIDE_LANE_M
from autovla_core.minicarla.world.surfaces import UP, quads_mesh, ribbon
from autovla_core.minicarla.world.survey import Strip, simplify

MARK_ABOVE_M = 0.012
MARK_WIDTH_M = 0.14
EDGE_LINE_INSET_M = 0.15
DOUBLE_LINE_OFFSET_M = 0.14
DASH_M, DASH_PERIOD_M = 3.0, 8.0
STOP_LINE_M = 0.4
YIELD_BLOCKS = 4
BAY_M = 6.0  # a parking place's length
LINED = ("driving", "biking", "parking", "median")  # lanes with a painted outer border

WHITE = (0.78, 0.78, 0.76)
YELLOW = (0.72, 0.5, 0.07)
COLORS = {"white": WHITE, "yellow": YELLOW}


def build_markings(strips: Sequence[Strip], signals: Sequence[Signal], crosswalks: Sequence[np.ndarray]) -> Mesh:
    """Return all paint; crosswalks are rings of corners (n, 3) in CARLA's frame."""
    streets = [strip for strip in strips if strip.record.junction_id < 0]
    return join([_lane_lines(streets), _bays(streets), _stop_lines(signals), _stripes(crosswalks)])


def _lane_lines(streets: Sequence[Strip]) -> Mesh:
    quads: dict[str, list[np.ndarray]] = {name: [] for name in COLORS}
    centered: set[tuple[int, int]] = set()
    for strip in (s for s in streets if s.record.type in LINED):
        left, right = edges(strip)
        across = (right - left) / np.linalg.norm(right - left, axis=1)[:, None]
        kind, color = strip.record.mark
        inset = EDGE_LINE_INSET_M if kind == "solid" else 0.0
        quads.get(color, quads["white"]).extend(_line(right - inset * across, across, kind))
        road_section = strip.record.key[:2]
        if strip.record.type == "driving" and abs(strip.record.key[2]) == 1 and road_section not in centered:
            centered.add(road_section)
            two_way = any(s.record.key == (*road_section, -strip.record.key[2]) for s in streets)
            kind, color = strip.record.center_mark
            inset = 0.0 if two_way else -EDGE_LINE_INSET_M
            quads.get(color, quads["white"]).extend(_line(left - inset * across, across, kind))
    marks = [quads_mesh(parts, COLORS[name], Material.MARKING, Tag.ROAD_LINE) for name, parts in quads.items()]
    return join(marks)


def _bays(streets: Sequence[Strip]) -> Mesh:
    """A line across the parking lane between two places."""
    quads = []
    for strip in (s for s in streets if s.record.type == "parking"):
        left, right = (edge + MARK_ABOVE_M * UP for edge in edges(strip))
        s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(strip.points, axis=0), axis=1))])
        first = np.arange(BAY_M / 2, s[-1] - BAY_M / 4, BAY_M)
        corners = [
            _along(line, s, first + shift * MARK_WIDTH_M)
            for line, shift in ((left, 0), (right, 0), (right, 1), (left, 1))
        ]
        quads.append(np.stack(corners, axis=1))
    return quads_mesh(quads, WHITE, Material.MARKING, Tag.ROAD_LINE)


def _along(line: np.ndarray, s: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Points (n, 3) of a polyline at the stations ``where``."""
    return np.stack([np.interp(where, s, line[:, axis]) for axis in range(3)], axis=1)


def _line(base: np.ndarray, across: np.ndarray, kind: str) -> list[np.ndarray]:
    """Quads of one painted line along a polyline (n, 3); ``across`` (n, 3) points right."""
    base = base + MARK_ABOVE_M * UP
    if kind == "broken":
        return [_dashes(base, across)]
    if kind not in ("solid", "solid solid"):
        return []
    keep = simplify(base * (1.0, 1.0, 6.0))
    offsets = (0.0,) if kind == "solid" else (-DOUBLE_LINE_OFFSET_M, DOUBLE_LINE_OFFSET_M)
    half = MARK_WIDTH_M / 2
    return [ribbon((base + (o - half) * across)[keep], (base + (o + half) * across)[keep]) for o in offsets]


def _dashes(base: np.ndarray, across: np.ndarray) -> np.ndarray:
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(base, axis=0), axis=1))])
    starts = np.arange(DASH_PERIOD_M / 3, s[-1] - DASH_M, DASH_PERIOD_M)
    ends = starts + DASH_M
    left, right = base - across * MARK_WIDTH_M / 2, base + across * MARK_WIDTH_M / 2
    corners = ((left, starts), (right, starts), (right, ends), (left, ends))
    return np.stack([_along(line, s, where) for line, where in corners], axis=1)


def _stop_lines(signals: Sequence[Signal]) -> Mesh:
    """A bar before lights and stop signs, a row of blocks before yield signs."""
    quads = []
    for signal in signals:
        if signal.kind == "speed_limit":
            continue
        yaw = np.radians(signal.yaw_deg)
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        back = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        center_x, end_y = signal.trigger_center[0], signal.trigger_center[1] - signal.trigger_extent[1]
        center = signal.location + center_x * right + end_y * back + MARK_ABOVE_M * UP
        half = abs(center_x) - signal.beside_m - POST_BESIDE_LANE_M - EDGE_LINE_INSET_M
        count = YIELD_BLOCKS if signal.kind == "yield" else 1
        size = 2 * half / count
        for number in range(count):
            middle = center + (-half + (number + 0.5) * size) * right
            width = half if count == 1 else 0.3 * size
            corners = [(-width, 1), (width, 1), (width, -1), (-width, -1)]
            quads.append([middle + w * right + sign * STOP_LINE_M / 2 * back for w, sign in corners])
    mirrored = point_from_carla(np.array(quads, float).reshape(-1, 4, 3))
    return from_quads(_upward(mirrored), WHITE, Material.MARKING, Tag.ROAD_LINE)


def _upward(quads: np.ndarray) -> np.ndarray:
    """Turn polygons (n, k, 3) that face down."""
    first, second = quads[:, 1] - quads[:, 0], quads[:, 2] - quads[:, 0]
    down = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0
    return np.where(down[:, None, None], quads[:, ::-1], quads)


def _stripes(crosswalks: Sequence[np.ndarray]) -> Mesh:
    """Zebra stripes along the driving direction."""
    bars = [bar for ring in crosswalks for bar in stripes(point_from_carla(ring) + MARK_ABOVE_M * UP)]
    quads = _upward(np.array([bar for bar in bars if len(bar) == 4], float).reshape(-1, 4, 3))
    pieces = _upward(np.array([bar for bar in bars if len(bar) == 3], float).reshape(-1, 3, 3))
    whole = from_quads(quads, WHITE, Material.MARKING, Tag.ROAD_LINE)
    return join([whole, from_triangles(pieces, WHITE, Material.MARKING, Tag.ROAD_LINE)]) if len(pieces) else whole
