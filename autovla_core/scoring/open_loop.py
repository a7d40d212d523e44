"""Open-loop planning metrics: distance from the driven path, and collisions with what stood or drove there.

Frames: metric frame x forward, y left, origin at the planning point (nuScenes: the lidar) at t = 0; T steps of 0.5 s.

Two ways to sum up one set of numbers per step, both at 1, 2 and 3 s:
  uniad  the value at the horizon;                 stp3  the mean over all steps up to the horizon.
What is published for both is averaged over all samples, a step without truth counting 0 in the sum and 1 in the number
of samples; ``known`` values average over the steps whose truth is known. ``vad`` is VAD's form of stp3: pedestrians
are obstacles too, and only samples with a complete future of 3 s count (NaN otherwise).

Collisions are found on a grid of 0.5 m cells over +-50 m, as the definitions have it. Obstacles grow to it: their
corners are rounded to cells and every cell that the closed outline touches is occupied, up to 0.25 m more on a side and
half a cell of offset. The ego is a box of 4.084 x 1.85 m, 0.5 m ahead of the planning point and never turned: 8 x 4
cells. A step counts only if the truth's own box is free there.

Sources: ST-P3 (arXiv 2207.07601), UniAD (2212.10156), VAD (2303.12077), how their public code behaves; own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autovla_core import footprints

CELL_M = 0.5
CELLS = 200  # along each side
FIRST_CENTRE_M = -49.75  # of the first cell
EGO_LENGTH_M, EGO_WIDTH_M, EGO_AHEAD_M = 4.084, 1.85, 0.5
HORIZONS = {"1s": 2, "2s": 4, "3s": 6}  # steps
STEPS = 6
ADE_HORIZONS = {"1s": 2, "2s": 4, "3s": 6, "5s": 10}


@dataclass(frozen=True)
class Case:
    """The truth of one sample."""

    truth: np.ndarray  # (T, 2) m, T >= 6; steps that are not known hold anything finite
    mask: np.ndarray  # (T,) bool, which steps are known
    vehicles: Sequence[np.ndarray] | None = None  # per step (M, 5): x, y, yaw, length, width; None: not annotated
    pedestrians: Sequence[np.ndarray] = field(default_factory=tuple)


def at_horizon(values: np.ndarray, steps: int) -> float:
    """UniAD: the value of the last of ``steps`` steps."""
    return float(values[steps - 1])


def up_to_horizon(values: np.ndarray, steps: int) -> float:
    """ST-P3: the mean of the first ``steps`` steps."""
    return float(values[:steps].mean())


PROTOCOLS: Mapping[str, Callable[[np.ndarray, int], float]] = {"uniad": at_horizon, "stp3": up_to_horizon}


def scores(plan: np.ndarray, case: Case) -> dict[str, float]:
    """L2 and collisions of one plan (T, 2), T >= 6; the mean over samples is the benchmark's number.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    _check(plan, case)
    known = case.mask[:STEPS].astype(float)
    distance = np.linalg.norm(plan[:STEPS] - case.truth[:STEPS], axis=1) * known
    found = _both("l2", distance)
    if case.vehicles is not None:
        found |= _both("collision", collisions(plan, case, case.vehicles).astype(float))
        everyone = [np.concatenate(pair) for pair in zip(case.vehicles, case.pedestrians)] or case.vehicles
        found |= _vad(distance, collisions(plan, case, everyone).astype(float), bool(known.all()))
    return found


def displacement(plan: np.ndarray, case: Case) -> dict[str, float]:
    """Mean distance over the known steps up to 1, 2, 3, 5 s, and the last known one's; NaN where none is known."""
    steps = min(len(plan), len(case.truth))
    distance = np.linalg.norm(plan[:steps] - case.truth[:steps], axis=1)
    mask = case.mask[:steps]
    found = {}
    for name, until in ADE_HORIZONS.items():
        if until <= steps:
            found[f"ade_known_{name}"] = float(distance[:until][mask[:until]].mean()) if mask[:until].any() else np.nan
    found["fde_known"] = float(distance[np.flatnonzero(mask)[-1]]) if mask.any() else np.nan
    return found


def _both(name: str, values: np.ndarray) -> dict[str, float]:
    found: dict[str, float] = {}
    for protocol, pick in PROTOCOLS.items():
        found |= _horizons(f"{name}_{protocol}", values, pick)
    return found


def _vad(distance: np.ndarray, hits: np.ndarray, whole: bool) -> dict[str, float]:
    found = _horizons("l2_vad", distance, up_to_horizon) | _horizons("collision_vad", hits, up_to_horizon)
    return found if whole else dict.fromkeys(found, np.nan)


def _horizons(name: str, values: np.ndarray, pick: Callable[[np.ndarray, int], float]) -> dict[str, float]:
    """The values at 1, 2 and 3 s, and their mean, the fourth column of the published tables."""
    found = {f"{name}_{horizon}": pick(values, steps) for horizon, steps in HORIZONS.items()}
    return {**found, f"{name}_avg": float(np.mean(list(found.values())))}


def _check(plan: np.ndarray, case: Case) -> None:
    for name, points in (("plan", plan), ("truth", case.truth)):
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < STEPS or not np.isfinite(points).all():
            raise ValueError(f"{name} is {points.shape}, expected finite (T, 2) with T >= {STEPS}")
    if case.mask.shape != (len(case.truth),):
        raise ValueError(f"mask is {case.mask.shape}, the truth has {len(case.truth)} steps")
    if case.vehicles is not None and len(case.vehicles) < STEPS:
        raise ValueError(f"obstacles of {len(case.vehicles)} steps, expected {STEPS}")


def collisions(plan: np.ndarray, case: Case, obstacles: Sequence[np.ndarray]) -> np.ndarray:
    """Steps (6,) at which the plan's box touches an obstacle, the truth's box does not, and the truth is known."""
    found = np.zeros(STEPS, bool)
    for step in np.flatnonzero(case.mask[:STEPS]):
        near = _within_reach(obstacles[step], plan[step], case.truth[step])
        if len(near):
            occupied = occupancy(near)
            found[step] = box_hits(plan[step], occupied) and not box_hits(case.truth[step], occupied)
    return found


def _within_reach(boxes: np.ndarray, *points: np.ndarray) -> np.ndarray:
    """Those boxes (M, 5) that could touch the ego at one of ``points``, or at the grid's edge where such a point is."""
    edge = -FIRST_CENTRE_M
    reach = np.hypot(boxes[:, 3], boxes[:, 4]) / 2.0 + EGO_LENGTH_M + 4.0 * CELL_M
    near = [np.linalg.norm(boxes[:, :2] - np.clip(p, -edge, edge), axis=1) <= reach for p in points]
    return boxes[np.any(near, axis=0)]


def ego_cells() -> np.ndarray:
    """Rows and columns (32, 2) of the ego's box at the origin: every cell whose centre lies in it."""
    along = np.array([-0.5, 0.5]) * EGO_LENGTH_M + EGO_AHEAD_M
    across = np.array([-0.5, 0.5]) * EGO_WIDTH_M
    spans = []
    for low, high in (along, across):
        first, last = (low - FIRST_CENTRE_M) / CELL_M, (high - FIRST_CENTRE_M) / CELL_M
        spans.append(np.arange(np.ceil(first), np.floor(last) + 1, dtype=int))
    return np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 2)


_EGO_CELLS = ego_cells()


def box_hits(point: np.ndarray, occupied: np.ndarray) -> bool:
    """Whether the ego's box at ``point`` (2,) covers an occupied cell; beyond the grid its edge counts."""
    shift = np.array([point[0], -point[1]]) / CELL_M  # rows count forward, columns to the right
    cells = np.clip((_EGO_CELLS + shift).astype(int), 0, CELLS - 1)
    return bool(occupied[cells[:, 0], cells[:, 1]].any())


def occupancy(boxes: np.ndarray) -> np.ndarray:
    """Grid (200, 200) bool, rows forward and columns to the right, of obstacles (M, 5)."""
    grid = np.zeros((CELLS, CELLS), bool)
    corners = footprints.corners(boxes[:, :3], boxes[:, 3], boxes[:, 4])
    places = np.stack([corners[..., 0], -corners[..., 1]], axis=-1)  # row, column in m
    for outline in np.round((places - FIRST_CENTRE_M + CELL_M / 2.0) / CELL_M).astype(int):
        _fill(grid, outline)
    return grid


def _fill(grid: np.ndarray, outline: np.ndarray) -> None:
    """Occupy the cells inside a convex outline (4, 2) of whole rows and columns, and those its edges pass."""
    low, high = np.maximum(outline.min(0), 0), np.minimum(outline.max(0), CELLS - 1)
    if (low > high).any():
        return
    rows, columns = np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
    sides = []
    for (r0, c0), (r1, c1) in zip(outline, np.roll(outline, -1, axis=0)):
        sides.append((r1 - r0) * (columns - c0) - (c1 - c0) * (rows - r0))
    inside = np.all([side >= 0 for side in sides], axis=0) | np.all([side <= 0 for side in sides], axis=0)
    grid[low[0] : high[0] + 1, low[1] : high[1] + 1] |= inside
    for start, end in zip(outline, np.roll(outline, -1, axis=0)):
        cells = _line(start, end)
        cells = cells[((cells >= 0) & (cells < CELLS)).all(axis=1)]
        grid[cells[:, 0], cells[:, 1]] = True


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Cells (N, 2) of Bresenham's line, from the left end to the right one; a tie stays on the old row or column."""
    if end[1] < start[1]:
        start, end = end, start
    delta = end - start
    longer = int(np.abs(delta).max())
    done = np.arange(longer + 1)[:, None]
    moved = -((longer - 2 * done * np.abs(delta)) // (2 * max(longer, 1)))  # ceil(done * delta / longer - 1/2)
    return start + np.sign(delta) * moved
