"""Oriented boxes that must not overlap: who touches whom, and what the blow does to them.

CARLA's frame; boxes stand upright, so overlap is decided in the plane and by the height intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from autovla_core.minicarla.world.layout import Solid

# Columns of a body row: box centre, half sizes, heading (rad), velocity, 1/mass (0: cannot be moved).
CX, CY, CZ, HX, HY, HZ, HEADING, VX, VY, INVERSE_MASS = range(10)
BODY_COLUMNS = 10

CELL_M = 12.0
RESTITUTION = 0.1
FRICTION = 0.3
MAX_HITS = 512
STEP_OVER_M = 0.12  # boxes whose height intervals share less than this pass each other


@dataclass(frozen=True)
class Contact:
    """Two things touched during the last tick, seen from ``actor_id``; each pair of actors gives two."""

    actor_id: int
    other_id: int  # 0: static scenery
    other_type_id: str
    impulse: np.ndarray  # (3,) N s on the actor, so it points away from the other


@dataclass(frozen=True, eq=False)
class StaticGrid:
    """The town's solids as body rows, listed by the square cells that they reach into."""

    bodies: np.ndarray  # (n, BODY_COLUMNS)
    type_ids: tuple[str, ...]
    origin: np.ndarray  # (2,)
    shape: tuple[int, int]
    first: np.ndarray  # (cells + 1,) where a cell's list starts
    members: np.ndarray  # body numbers
    radii: np.ndarray  # (n,) of circles around the bodies


def build_static_grid(solids: Sequence[Solid]) -> StaticGrid:
    """Sort the solids into cells."""
    bodies = np.zeros((len(solids), BODY_COLUMNS))
    for body, solid in zip(bodies, solids):
        body[CX : CZ + 1], body[HX : HZ + 1] = solid.center, solid.half_extent
        body[HEADING] = math.radians(solid.yaw_deg)
    if not solids:
        return StaticGrid(bodies, (), np.zeros(2), (1, 1), np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0))
    cos, sin = np.abs(np.cos(bodies[:, HEADING])), np.abs(np.sin(bodies[:, HEADING]))
    reach = np.stack(
        [cos * bodies[:, HX] + sin * bodies[:, HY], sin * bodies[:, HX] + cos * bodies[:, HY]],
        axis=1,
    )
    low, high = bodies[:, :2] - reach, bodies[:, :2] + reach
    origin = low.min(0)
    nx, ny = (np.floor((high.max(0) - origin) / CELL_M).astype(int) + 1).tolist()
    cells: list[list[int]] = [[] for _ in range(nx * ny)]
    spans = np.floor(np.concatenate([low - origin, high - origin], axis=1) / CELL_M).astype(int).tolist()
    for number, (i0, j0, i1, j1) in enumerate(spans):
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                cells[i * ny + j].append(number)
    first = np.cumsum([0] + [len(cell) for cell in cells]).astype(np.int64)
    members = np.array([number for cell in cells for number in cell], np.int64)
    return StaticGrid(bodies, tuple(s.type_id for s in solids), origin, (nx, ny), first, members, radii_of(bodies))


@njit(cache=True)
def radii_of(bodies: np.ndarray) -> np.ndarray:
    """Radii (n,) of the circles around the bodies."""
    radii = np.empty(len(bodies))
    for i in range(len(bodies)):
        radii[i] = math.hypot(bodies[i, HX], bodies[i, HY])
    return radii


@njit(cache=True)
def _depth(a: np.ndarray, b: np.ndarray, ax: float, ay: float) -> float:
    """How far the boxes overlap along a unit axis; negative when they do not."""
    reach = 0.0
    for box in (a, b):
        cos, sin = math.cos(box[HEADING]), math.sin(box[HEADING])
        reach += box[HX] * abs(cos * ax + sin * ay) + box[HY] * abs(cos * ay - sin * ax)
    return reach - abs((a[CX] - b[CX]) * ax + (a[CY] - b[CY]) * ay)


@njit(cache=True)
def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two bodies overlap."""
    dx, dy = a[CX] - b[CX], a[CY] - b[CY]
    radius = math.hypot(a[HX], a[HY]) + math.hypot(b[HX], b[HY])
    if dx * dx + dy * dy > radius * radius or abs(a[CZ] - b[CZ]) > a[HZ] + b[HZ] - STEP_OVER_M:
        return False
    for box in (a, b):
        cos, sin = math.cos(box[HEADING]), math.sin(box[HEADING])
        if _depth(a, b, cos, sin) <= 0.0 or _depth(a, b, -sin, cos) <= 0.0:
            return False
    return True


@njit(cache=True)
def _normal(a: np.ndarray, b: np.ndarray, dt: float) -> tuple[float, float, float]:
    """Return (nx, ny, depth) of two overlapping boxes, pointing from b to a.

    The axis along which they began to overlap last is the side that was hit; if none began within
    the last two ticks, the one of the least depth.
    """
    least, latest = np.inf, 2.0 * dt
    nx, ny, depth, by_time = 1.0, 0.0, 0.0, False
    for box in (a, b):
        cos, sin = math.cos(box[HEADING]), math.sin(box[HEADING])
        for ax, ay in ((cos, sin), (-sin, cos)):
            if (a[CX] - b[CX]) * ax + (a[CY] - b[CY]) * ay < 0.0:
                ax, ay = -ax, -ay
            d = _depth(a, b, ax, ay)
            approach = (b[VX] - a[VX]) * ax + (b[VY] - a[VY]) * ay
            since = d / approach if approach > 0.2 else np.inf
            if since < latest:
                latest, by_time = since, True
                nx, ny, depth = ax, ay, d
            elif not by_time and d < least:
                least = d
                nx, ny, depth = ax, ay, d
    return nx, ny, depth


@njit(cache=True)
def _strike(a: np.ndarray, b: np.ndarray, dt: float) -> tuple[float, float]:
    """Separate two overlapping boxes and exchange momentum, in place; return the impulse (x, y) on a."""
    nx, ny, depth = _normal(a, b, dt)
    total = a[INVERSE_MASS] + b[INVERSE_MASS]
    share = a[INVERSE_MASS] / total
    a[CX] += nx * depth * share
    a[CY] += ny * depth * share
    b[CX] -= nx * depth * (1.0 - share)
    b[CY] -= ny * depth * (1.0 - share)
    vx, vy = a[VX] - b[VX], a[VY] - b[VY]
    normal = vx * nx + vy * ny
    if normal >= 0.0:
        return 0.0, 0.0
    push = -(1.0 + RESTITUTION) * normal / total
    along = -vx * ny + vy * nx
    rub = -math.copysign(min(FRICTION * push, abs(along) / total), along)
    jx, jy = push * nx - rub * ny, push * ny + rub * nx
    a[VX] += jx * a[INVERSE_MASS]
    a[VY] += jy * a[INVERSE_MASS]
    b[VX] -= jx * b[INVERSE_MASS]
    b[VY] -= jy * b[INVERSE_MASS]
    return jx, jy


@njit(cache=True)
def resolve(
    bodies: np.ndarray,
    statics: np.ndarray,
    origin: np.ndarray,
    shape: tuple[int, int],
    first: np.ndarray,
    members: np.ndarray,
    dt: float,
    hits: np.ndarray,
    radii: np.ndarray,
) -> int:
    """Pull overlapping bodies apart, in place, movers against movers and against statics.

    Args:
        bodies: (n, BODY_COLUMNS)
        hits: (MAX_HITS, 4) out: body, other body or -1 - static, impulse x and y on the first
        radii: of the circles around the statics

    Returns:
        the number of hits written
    """
    own = radii_of(bodies)
    count = _resolve_movers(bodies, own, dt, hits)
    for i in range(len(bodies)):
        if bodies[i, INVERSE_MASS] == 0.0:
            continue
        cell_x = int(math.floor((bodies[i, CX] - origin[0]) / CELL_M))
        cell_y = int(math.floor((bodies[i, CY] - origin[1]) / CELL_M))
        start = count
        for cx in range(max(cell_x - 1, 0), min(cell_x + 2, shape[0])):
            for cy in range(max(cell_y - 1, 0), min(cell_y + 2, shape[1])):
                cell = cx * shape[1] + cy
                for k in range(first[cell], first[cell + 1]):
                    number = members[k]
                    if _apart(bodies, i, statics, number, own[i] + radii[number]):
                        continue
                    seen = False
                    for h in range(start, count):
                        seen = seen or hits[h, 1] == -1.0 - number
                    if not seen and count < MAX_HITS and overlap(bodies[i], statics[number]):
                        jx, jy = _strike(bodies[i], statics[number], dt)
                        hits[count, 0], hits[count, 1] = i, -1.0 - number
                        hits[count, 2], hits[count, 3] = jx, jy
                        count += 1
    return count


@njit(cache=True)
def _resolve_movers(bodies: np.ndarray, radii: np.ndarray, dt: float, hits: np.ndarray) -> int:
    """Pull movers apart; return how many hits were written."""
    count = 0
    for i in range(len(bodies)):
        for j in range(i + 1, len(bodies)):
            if _apart(bodies, i, bodies, j, radii[i] + radii[j]):
                continue
            a, b = bodies[i], bodies[j]
            if a[INVERSE_MASS] + b[INVERSE_MASS] > 0.0 and overlap(a, b) and count < MAX_HITS:
                jx, jy = _strike(a, b, dt)
                hits[count, 0], hits[count, 1], hits[count, 2], hits[count, 3] = i, j, jx, jy
                count += 1
    return count


@njit(cache=True)
def _apart(one: np.ndarray, i: int, others: np.ndarray, j: int, reach: float) -> bool:
    """Whether the circles around two bodies are apart: what ``overlap`` asks first, without slicing rows."""
    dx, dy = one[i, CX] - others[j, CX], one[i, CY] - others[j, CY]
    return dx * dx + dy * dy > reach * reach


@njit(cache=True)
def any_overlap(body: np.ndarray, others: np.ndarray) -> bool:
    """Whether a body overlaps one of the others (n, BODY_COLUMNS)."""
    found = False
    for k in range(len(others)):
        found = found or overlap(body, others[k])
    return found


@njit(cache=True)
def first_overlaps(bodies: np.ndarray, boxes: np.ndarray, found: np.ndarray) -> None:
    """Write to ``found`` (n,) the number of the first box that each body overlaps, or -1."""
    own, theirs = radii_of(bodies), radii_of(boxes)
    for i in range(len(bodies)):
        found[i] = -1
        for k in range(len(boxes)):
            if not _apart(bodies, i, boxes, k, own[i] + theirs[k]) and overlap(bodies[i], boxes[k]):
                found[i] = k
                break
