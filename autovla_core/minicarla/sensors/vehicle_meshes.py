"""Bodies of vehicles from a few numbers per category, scaled to a blueprint's real size.

Local frame: right-handed, x forward, y left, z up, origin on the ground under the box's centre.
Triangles carry tag 0 (the instance's tag) except a rider's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autovla_core.minicarla.sensors.body_shapes import CAB, SHAPES_BY_NAME, SHAPES_BY_TYPE, BodyShape, Station
from autovla_core.minicarla.sensors.shading import FIRST_LAMP
from autovla_core.minicarla.world.mesh import Material, Mesh, Tag, box, from_quads, join

HEAD, TAIL, REVERSE, LEFT, RIGHT = range(FIRST_LAMP, FIRST_LAMP + 5)  # lamp materials
LAMPS = 5
WHEEL_WIDTH_M = 0.24

WHITE = (1.0, 1.0, 1.0)  # takes the tint as it is
DARK = (0.018, 0.018, 0.02)
TYRE = (0.022, 0.022, 0.024)
RIM = (0.34, 0.35, 0.37)
WINDOW = (0.012, 0.015, 0.018)
SHADE = (0.022, 0.022, 0.023)
PLATE = (0.70, 0.70, 0.66)
LAMP_COLORS = {
    HEAD: (1.0, 0.96, 0.85),
    TAIL: (1.0, 0.012, 0.006),
    REVERSE: (1.0, 1.0, 0.95),
    LEFT: (1.0, 0.36, 0.0),
    RIGHT: (1.0, 0.36, 0.0),
}


def vehicle_mesh(type_id: str, base_type: str, extent: Sequence[float], wheel_base: float) -> Mesh:
    """Return the body of one blueprint; extent (3,) half sizes and wheel base in metres."""
    if base_type in ("motorcycle", "bicycle"):
        return _two_wheeler(extent, wheel_base, base_type == "motorcycle")
    shape = SHAPES_BY_NAME.get(type_id.removeprefix("vehicle."), SHAPES_BY_TYPE[base_type])
    body = (extent[0] * 0.99, extent[1] * 0.965, extent[2])  # wheels stand out a little
    parts = [_hull(shape, body), *_cabin(shape, body), *_lamps(shape, body), _shade(extent)]
    if base_type == "truck" and shape is CAB:
        parts.append(_cargo(body))
    radius = min(shape.wheel * 2 * extent[2], 0.52)
    for x in (wheel_base / 2, -wheel_base / 2):
        for side in (1.0, -1.0):
            parts.append(_wheel(x, side * (extent[1] * 0.988 - WHEEL_WIDTH_M / 2), radius, WHEEL_WIDTH_M, side))
            parts.append(_arch(x, side * (body[1] + 0.004), radius, side))
    if base_type in ("car", "van"):
        parts += [_mirror(shape, body, side) for side in (1.0, -1.0)]
    return join(parts)


def vehicle_proxy(extent: Sequence[float], base_type: str) -> Mesh:
    """Two boxes that cast the vehicle's shadow."""
    length, width, height = extent
    if base_type in ("motorcycle", "bicycle"):
        return box((0, 0, height), (length * 0.7, 0.14, height * 0.9), 0.0, WHITE, Material.FLAT, 0)
    low, high = (0.42, 0.88) if base_type == "car" else (0.6, 0.95)
    lower = box((0, 0, height * (low + 0.15)), (length * 0.95, width * 0.92, height * low), 0, WHITE, Material.FLAT, 0)
    back = -0.2 if base_type == "car" else 0.0
    reach = 0.42 if base_type == "car" else 0.93
    upper = box((length * back, 0, height), (length * reach, width * 0.72, height * high), 0, WHITE, Material.FLAT, 0)
    return join([lower, upper])


def _quads(quads: Sequence, color: Sequence[float], material: int, tag: int = 0) -> Mesh:
    return from_quads(np.array(quads, float).reshape(-1, 4, 3), color, material, tag)


def _hull(shape: BodyShape, extent: Sequence[float]) -> Mesh:
    """Loft the stations: underside, flanks, shoulders and deck, closed at both ends."""
    rings = np.array([_ring(station, extent) for station in shape.stations])
    sides = []
    for back, front in zip(rings[:-1], rings[1:], strict=True):
        for i in range(6):
            j = (i + 1) % 6
            sides.append([back[i], back[j], front[j], front[i]])
    paint = np.array(sides).reshape(-1, 6, 4, 3)
    under = _quads(paint[:, 5], DARK, Material.FLAT)  # ring edge 5 runs along the bottom
    skin = _quads(paint[:, :5], WHITE, Material.PAINT)
    tail, nose = rings[0], rings[-1]
    caps = [tail[[0, 3, 2, 1]], tail[[0, 5, 4, 3]], nose[[0, 1, 2, 3]], nose[[0, 3, 4, 5]]]
    return join([under, skin, _quads(caps, WHITE, Material.PAINT), _bumpers(shape, extent)])


def _ring(station: Station, extent: Sequence[float]) -> np.ndarray:
    """(6, 3) corners of a cross-section, clockwise seen from the front, from the lower left to the lower right."""
    x, half, low, top = station[0] * extent[0], station[1] * extent[1], station[2], station[3]
    height = 2 * extent[2]
    waist = low + 0.62 * (top - low)
    outline = [(0.90, low), (1.0, waist), (0.93, top), (-0.93, top), (-1.0, waist), (-0.90, low)]
    return np.array([(x, y * half, z * height) for y, z in outline])


def _bumpers(shape: BodyShape, extent: Sequence[float]) -> Mesh:
    """Dark aprons with a number plate at nose and tail."""
    parts = []
    height = 2 * extent[2]
    for station, sign in ((shape.stations[-1], 1.0), (shape.stations[0], -1.0)):
        x, half = station[0] * extent[0] + sign * 0.012, station[1] * extent[1]
        low, mid = station[2] * height, (station[2] + 0.38 * (station[3] - station[2])) * height
        parts.append(_quads([_upright(x, -0.86 * half, 0.86 * half, low, mid, sign)], DARK, Material.FLAT))
        plate = _upright(x + sign * 0.006, -0.26, 0.26, mid - 0.03, mid + 0.08, sign)
        parts.append(_quads([plate], PLATE, Material.FLAT))
    return join(parts)


def _upright(x: float, y0: float, y1: float, z0: float, z1: float, facing: float) -> list[tuple[float, float, float]]:
    """A quad in the plane x = const that faces forward (+1) or back (-1)."""
    quad = [(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)]
    return quad if facing > 0 else quad[::-1]


def _deck(shape: BodyShape, x: float) -> tuple[float, float]:
    """Half width of the shoulder and height of the deck at x, as fractions."""
    at = [station[0] for station in shape.stations]
    half = np.interp(x, at, [station[1] for station in shape.stations])
    return 0.93 * float(half), float(np.interp(x, at, [station[3] for station in shape.stations]))


def _cabin(shape: BodyShape, extent: Sequence[float]) -> list[Mesh]:
    """Roof, screens and side windows; glass lies a few millimetres before its painted frame."""
    length, width, height = extent[0], extent[1], 2 * extent[2]

    def corner(x: float, half: float, z: float) -> np.ndarray:
        return np.array([(x * length, half * width, z * height), (x * length, -half * width, z * height)])

    rear_x, roof_rear_x, roof_front_x, front_x = shape.cabin
    (rear_half, rear_z), (front_half, front_z) = _deck(shape, rear_x), _deck(shape, front_x)
    rear = corner(rear_x, rear_half * 0.96, rear_z - 0.01)
    front = corner(front_x, front_half * 0.96, front_z - 0.01)
    roof_rear = corner(roof_rear_x, shape.roof_width, 0.975)
    roof_front = corner(roof_front_x, shape.roof_width, 0.985)
    crown = 0.5 * (roof_rear.mean(0) + roof_front.mean(0))
    crown[2] = height
    screen = np.array([front[1], front[0], roof_front[0], roof_front[1]])
    back = np.array([rear[0], rear[1], roof_rear[1], roof_rear[0]])
    ring = [roof_front[0], roof_rear[0], roof_rear[1], roof_front[1]]
    roof = np.array([(crown, ring[i], ring[(i + 1) % 4]) for i in range(4)], np.float32)
    glass = [_inset(screen, 0.05, 0.06)]
    if shape.glazed_rear:
        glass.append(_inset(back, 0.07, 0.10))
    walls = [screen, back]
    windows = _window_spans(shape, length)
    for side in (0, 1):
        wall, panes = _flank(np.array([rear[side], roof_rear[side], roof_front[side], front[side]]), windows)
        walls += wall
        glass += panes
    paint = join([_quads(walls, WHITE, Material.PAINT), _triangles(roof, Material.PAINT)])
    return [paint, _quads(glass, WINDOW, Material.GLASS)]


def _window_spans(shape: BodyShape, length: float) -> list[tuple[float, float]]:
    """Where the side windows begin and end along x, in metres."""
    rear_x, roof_rear_x, roof_front_x, front_x = shape.cabin
    cuts = [max(rear_x, roof_rear_x - 0.12) + 0.03, *shape.pillars, min(front_x, roof_front_x + 0.20) - 0.02]
    if not shape.glazed_rear and shape.pillars:
        cuts = cuts[1:]  # a panel van's sides are closed behind the cab
    return [(low * length + 0.03, high * length - 0.03) for low, high in zip(cuts[:-1], cuts[1:], strict=True)]


def _triangles(triangles: np.ndarray, material: int) -> Mesh:
    n = len(triangles)
    return Mesh(triangles, np.ones((n, 3), np.float32), np.full(n, material, np.uint8), np.zeros(n, np.uint8))


def _inset(quad: np.ndarray, across: float, along: float, ahead: float = 0.006) -> np.ndarray:
    """Shrink a quad (4, 3) by fractions of its sides and lift it along its normal."""
    a, b, c, d = quad

    def at(u: float, v: float) -> np.ndarray:
        return (a * (1 - u) + b * u) * (1 - v) + (d * (1 - u) + c * u) * v

    normal = np.cross(b - a, d - a)
    normal /= np.linalg.norm(normal)
    u, v = across, along
    return np.array([at(u, v), at(1 - u, v), at(1 - u, 1 - v), at(u, 1 - v)]) + ahead * normal


def _flank(profile: np.ndarray, windows: Sequence[tuple[float, float]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Wall and panes of one side; ``profile`` (4, 3): rear foot, roof's rear, roof's front, front foot.

    Both are cut into the same slices, so that a pane never dips into the slightly warped wall.
    """
    outward = np.sign(profile[0, 1])

    def at(x: float, share: float, ahead: float) -> np.ndarray:
        foot = np.array([np.interp(x, profile[[0, 3], 0], profile[[0, 3], k]) for k in (1, 2)])
        line = np.array([np.interp(x, profile[:, 0], profile[:, k]) for k in (1, 2)])
        y, z = foot + share * (line - foot)
        return np.array([x, y + ahead * outward, z])

    cuts = np.unique([*profile[:, 0], *(x for window in windows for x in window)])
    walls, panes = [], []
    for x0, x1 in zip(cuts[:-1], cuts[1:], strict=True):
        order = slice(None, None, -1 if outward > 0 else 1)
        walls.append(np.array([at(x0, 0, 0), at(x1, 0, 0), at(x1, 1, 0), at(x0, 1, 0)])[order])
        if any(low <= x0 and x1 <= high for low, high in windows):
            corners = [at(x, share, 0.012) for x, share in ((x0, 0.10), (x1, 0.10), (x1, 0.86), (x0, 0.86))]
            panes.append(np.array(corners)[order])
    return walls, panes


def _lamps(shape: BodyShape, extent: Sequence[float]) -> list[Mesh]:
    """Head and tail lamps with indicators outside, a reversing lamp on each side of the plate."""
    height = 2 * extent[2]
    parts = []
    for station, inner, material, sign in (
        (shape.stations[-1], 0.50, HEAD, 1.0),
        (shape.stations[0], 0.46, TAIL, -1.0),
    ):
        x, half = station[0] * extent[0] + sign * 0.015, station[1] * extent[1]
        z1 = (station[3] - 0.05) * height
        z0 = z1 - max(0.13, 0.085 * height)
        for side, blinker in ((1.0, LEFT), (-1.0, RIGHT)):
            parts.append(_lamp(x, side * inner * half, side * 0.86 * half, z0, z1, sign, material))
            parts.append(_lamp(x, side * 0.87 * half, side * 0.99 * half, z0, z1, sign, blinker))
            wrap = _lamp_flank(x - sign * 0.02, side * half, extent, z0, z1, sign, side, material)
            parts.append(wrap)
            if sign < 0:
                parts.append(_lamp(x, side * 0.34 * half, side * 0.44 * half, z0, z1 - 0.04, sign, REVERSE))
    return parts


def _lamp(x: float, y0: float, y1: float, z0: float, z1: float, facing: float, material: int) -> Mesh:
    return _quads([_upright(x, min(y0, y1), max(y0, y1), z0, z1, facing)], LAMP_COLORS[material], material)


def _lamp_flank(
    x: float, y: float, extent: Sequence[float], z0: float, z1: float, facing: float, side: float, material: int
) -> Mesh:
    """The lamp's turn around the corner, so that it is seen from the side too."""
    behind = x - facing * 0.05 * extent[0]
    outer = side * min(abs(y) + 0.13 * extent[1], extent[1] * 0.97)
    quad = [(x, y, z0), (behind, outer, z0), (behind, outer, z1), (x, y, z1)]
    return _quads([quad if side * facing > 0 else quad[::-1]], LAMP_COLORS[material], material)


def _wheel(x: float, y: float, radius: float, width: float, side: float) -> Mesh:
    """A tyre with a rim on its outer face; ``y`` is the wheel's middle."""
    angles = np.linspace(0.0, 2 * math.pi, 15)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    center = np.array([x, radius])

    def ring(scale: float, offset: float) -> np.ndarray:
        flat = center + scale * radius * circle
        return np.stack([flat[:, 0], np.full(len(flat), y + side * offset), flat[:, 1]], 1)

    outer, inner = ring(1.0, width / 2), ring(1.0, -width / 2)
    rim, hub = ring(0.66, width / 2 + 0.004), ring(0.0, width / 2 - 0.03)
    tread = np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], 1)
    wall = np.stack([outer[:-1], outer[1:], rim[1:], rim[:-1]], 1)
    disc = np.stack([rim[:-1], rim[1:], hub[1:], hub[:-1]], 1)
    spokes = np.where(np.arange(len(disc))[:, None] % 2 == 0, RIM, (0.06, 0.06, 0.065))
    order = slice(None, None, 1 if side < 0 else -1)
    return join(
        [
            from_quads(np.concatenate([tread, wall])[:, order], TYRE, Material.FLAT, 0),
            from_quads(disc[:, order], spokes, Material.FLAT, 0),
        ]
    )


def _arch(x: float, y: float, radius: float, side: float) -> Mesh:
    """The dark gap between wheel and mudguard."""
    angles = np.linspace(0.0, math.pi, 9)
    rim = np.stack([x + 1.17 * radius * np.cos(angles), np.full(9, y), radius + 1.17 * radius * np.sin(angles)], 1)
    foot = rim * (1.0, 1.0, 0.0) + (0.0, 0.0, 0.55 * radius)
    quads = np.stack([rim[:-1], rim[1:], foot[1:], foot[:-1]], 1)
    return from_quads(quads if side < 0 else quads[:, ::-1], DARK, Material.FLAT, 0)


def _mirror(shape: BodyShape, extent: Sequence[float], side: float) -> Mesh:
    x = (shape.cabin[3] - 0.14) * extent[0]
    z = (_deck(shape, shape.cabin[3])[1] + 0.07) * 2 * extent[2]
    return box((x, side * (extent[1] * 0.97), z), (0.07, 0.10, 0.07), 0.0, WHITE, Material.PAINT, 0)


def _shade(extent: Sequence[float]) -> Mesh:
    """The dark patch of road under a car, which no lamp of the sky reaches; belongs to the road."""
    x, y, z = extent[0] * 0.93, extent[1] * 0.88, 0.025
    return _quads([[(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)]], SHADE, Material.FLAT, int(Tag.ROAD))


def _cargo(extent: Sequence[float]) -> Mesh:
    """The box of a lorry and its frame."""
    length, width, height = extent[0], extent[1], 2 * extent[2]
    cargo = box((-0.31 * length, 0, 0.60 * height), (0.69 * length, 0.985 * width, 0.39 * height), 0.0,
                (0.62, 0.62, 0.60), Material.FLAT, 0)  # fmt: skip
    frame = box((-0.31 * length, 0, 0.17 * height), (0.67 * length, 0.8 * width, 0.05 * height), 0.0, DARK,
                Material.FLAT, 0)  # fmt: skip
    lamps = [
        _lamp(-1.005 * length, side * 0.62 * width, side * 0.94 * width, 0.15 * height, 0.20 * height, -1.0, TAIL)
        for side in (1.0, -1.0)
    ]
    return join([cargo, frame, *lamps])


def _two_wheeler(extent: Sequence[float], wheel_base: float, motor: bool) -> Mesh:
    """Wheels, frame, handle bar and rider."""
    height = 2 * extent[2]
    radius = 0.30 if motor else 0.34
    width = 0.14 if motor else 0.05
    parts = []
    for x in (wheel_base / 2, -wheel_base / 2):
        parts += [_wheel(x, 0.0, radius, width, side) for side in (1.0, -1.0)]
    thick = 0.13 if motor else 0.035
    parts.append(box((0, 0, 0.55), (wheel_base * 0.42, thick, 0.14 if motor else 0.03), 0, WHITE, Material.PAINT, 0))
    parts.append(box((wheel_base * 0.36, 0, 0.70), (0.04, 0.04, 0.34), 0, DARK, Material.FLAT, 0))
    parts.append(box((wheel_base * 0.33, 0, 1.0), (0.03, min(0.32, extent[1]), 0.03), 0, DARK, Material.FLAT, 0))
    parts.append(box((-wheel_base * 0.18, 0, 0.80), (0.24, 0.11, 0.05), 0, DARK, Material.FLAT, 0))
    if motor:
        x = wheel_base * 0.5 + 0.10
        parts.append(box((x - 0.06, 0, 0.84), (0.05, 0.12, 0.10), 0, WHITE, Material.PAINT, 0))
        parts.append(_lamp(x, -0.08, 0.08, 0.78, 0.90, 1.0, HEAD))
    parts.append(_lamp(-wheel_base * 0.5 - 0.12, -0.09, 0.09, 0.66, 0.78, -1.0, TAIL))
    parts.append(_rider(height, wheel_base))
    return join(parts)


def _rider(height: float, wheel_base: float) -> Mesh:
    """A seated person with a helmet, tag RIDER."""
    head = height - 0.13
    jacket, trousers, helmet = (0.10, 0.14, 0.25), (0.05, 0.05, 0.07), (0.45, 0.07, 0.05)
    seat = -wheel_base * 0.16
    shapes = [
        ((seat + 0.02, 0, (head + 0.72) / 2), (0.13, 0.20, (head - 0.95) / 2 + 0.05), jacket),
        ((seat + 0.10, 0, head), (0.12, 0.11, 0.13), helmet),
    ]
    for side in (0.15, -0.15):
        shapes.append(((seat + 0.18, side, 0.76), (0.22, 0.075, 0.09), trousers))
        shapes.append(((seat + 0.30, side, 0.50), (0.075, 0.065, 0.26), trousers))
        shapes.append(((seat + 0.28, side * 1.4, 1.05), (0.22, 0.05, 0.05), jacket))
    return join([box(c, h, 0.0, color, Material.FLAT, int(Tag.RIDER)) for c, h, color in shapes])
