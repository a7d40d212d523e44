"""Fast look-ups on the ground: how high is it here, and which lane is nearest? CARLA's frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from autovla_core.minicarla.world.layout import Lane, TownError

CELL_M = 2.0
MARGIN_M = 160.0
SAMPLE_ACROSS_M = np.arange(-7.0, 7.01, 1.0)
LANE_CELL_M = 5.0
MOST_CELLS = 10_000_000  # 40 km2, at some 0.7 GB while they are surveyed


@dataclass(frozen=True, eq=False)
class Ground:
    """Heights on a grid, bilinear between."""

    origin: np.ndarray  # (2,) of cell corner [0, 0]
    heights: np.ndarray  # (nx, ny), CELL_M apart
    surveyed: np.ndarray  # (nx, ny) bool: measured on a road, not interpolated

    def height(self, x: float, y: float) -> float:
        """Return the ground's z in metres; beyond the grid that of its border."""
        nx, ny = self.heights.shape
        u = min(max((x - self.origin[0]) / CELL_M, 0.0), nx - 1.000001)
        v = min(max((y - self.origin[1]) / CELL_M, 0.0), ny - 1.000001)
        i, j = int(u), int(v)
        fu, fv = u - i, v - j
        low = self.heights[i, j] * (1 - fu) + self.heights[i + 1, j] * fu
        high = self.heights[i, j + 1] * (1 - fu) + self.heights[i + 1, j + 1] * fu
        return float(low * (1 - fv) + high * fv)

    def heights_at(self, xy: np.ndarray) -> np.ndarray:
        """Return z (...) for points (..., 2)."""
        limits = np.array(self.heights.shape) - 1.000001
        uv = np.clip((np.asarray(xy, float) - self.origin) / CELL_M, 0.0, limits)
        i, j = uv[..., 0].astype(int), uv[..., 1].astype(int)
        fu, fv = uv[..., 0] - i, uv[..., 1] - j
        low = self.heights[i, j] * (1 - fu) + self.heights[i + 1, j] * fu
        high = self.heights[i, j + 1] * (1 - fu) + self.heights[i + 1, j + 1] * fu
        return low * (1 - fv) + high * fv


def build_ground(lanes: Sequence[Lane]) -> Ground:
    """Survey the roads' heights and let the land between them follow smoothly.

    Raises:
        TownError: the roads lie too far apart.
    """
    points, slopes, headings = _road_samples(lanes)
    origin = np.floor((points[:, :2].min(0) - MARGIN_M) / CELL_M) * CELL_M
    size = np.ceil((points[:, :2].max(0) + MARGIN_M - origin) / CELL_M) + 1
    if not size.prod() <= MOST_CELLS:
        wide, high = (size * CELL_M / 1000.0).tolist()
        most = MOST_CELLS * CELL_M**2 / 1e6
        raise TownError(f"a town may cover {most:.0f} km2; the roads of this one lie in {wide:.1f} by {high:.1f} km")
    shape = tuple(size.astype(int))
    nodes = np.rint((points[:, :2] - origin) / CELL_M).astype(int)
    to_node = nodes * CELL_M + origin - points[:, :2]
    heights = points[:, 2] + slopes * (to_node * headings).sum(1)  # carried along the slope to the node
    weights = np.exp(-(to_node**2).sum(1))
    flat = nodes[:, 0] * shape[1] + nodes[:, 1]
    total = np.bincount(flat, weights, shape[0] * shape[1]).reshape(shape)
    summed = np.bincount(flat, weights * heights, shape[0] * shape[1]).reshape(shape)
    known = total > 0
    return Ground(origin, _fill(np.where(known, summed / np.where(known, total, 1.0), 0.0), known), known)


def _road_samples(lanes: Sequence[Lane]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points (n, 3) across all lanes, their slopes (n,) and unit headings (n, 2)."""
    points, slopes, headings = [], [], []
    for lane in lanes:
        yaw = np.radians(lane.yaw_deg)
        forward = np.stack([np.cos(yaw), np.sin(yaw)], 1)
        right = np.stack([-np.sin(yaw), np.cos(yaw)], 1)
        slope = np.gradient(lane.points[:, 2], np.maximum.accumulate(lane.s + 1e-9 * np.arange(len(lane.s))))
        across = SAMPLE_ACROSS_M if lane.junction_id < 0 else SAMPLE_ACROSS_M[3:-3]
        offsets = right[:, None, :] * across[None, :, None]
        xy = lane.points[:, None, :2] + offsets
        z = np.broadcast_to(lane.points[:, None, 2:], (*xy.shape[:2], 1))
        points.append(np.concatenate([xy, z], 2).reshape(-1, 3))
        slopes.append(np.repeat(slope, len(across)))
        headings.append(np.repeat(forward, len(across), axis=0))
    return np.concatenate(points), np.concatenate(slopes), np.concatenate(headings)


def _fill(heights: np.ndarray, known: np.ndarray, rounds: int = 12) -> np.ndarray:
    """Interpolate the unknown cells: solve on half the resolution, then relax towards the neighbours' mean."""
    if min(heights.shape) > 4 and not known.all():
        even = tuple(n + n % 2 for n in heights.shape)
        pad = [(0, e - n) for e, n in zip(even, heights.shape, strict=True)]
        weight = np.pad(known.astype(float), pad).reshape(even[0] // 2, 2, even[1] // 2, 2)
        value = np.pad(np.where(known, heights, 0.0), pad).reshape(weight.shape)
        counted = weight.sum((1, 3))
        half = _fill(value.sum((1, 3)) / np.maximum(counted, 1.0), counted > 0, rounds)
        coarse = half.repeat(2, 0).repeat(2, 1)[: heights.shape[0], : heights.shape[1]]
        heights = np.where(known, heights, coarse)
    else:
        heights = np.where(known, heights, heights[known].mean() if known.any() else 0.0)
    for _ in range(rounds):
        border = np.pad(heights, 1, mode="edge")
        mean = (border[2:, 1:-1] + border[:-2, 1:-1] + border[1:-1, 2:] + border[1:-1, :-2]) / 4
        heights = np.where(known, heights, mean)
    return heights


class LaneGrid:
    """Centre-line points of all lanes, sorted into square cells."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._xy = np.concatenate([lane.points[:, :2] for lane in lanes])
        self._lane_of = np.concatenate([np.full(len(lane.points), lane.index) for lane in lanes])
        self._first = np.cumsum([0] + [len(lane.points) for lane in lanes])
        cells: dict[tuple[int, int], list[int]] = {}
        for number, (i, j) in enumerate(np.floor(self._xy / LANE_CELL_M).astype(int).tolist()):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    cells.setdefault((i + di, j + dj), []).append(number)
        self._cells = {cell: np.array(numbers) for cell, numbers in cells.items()}

    def nearest(self, x: float, y: float) -> tuple[int, float, float]:
        """Return (lane index, s along it, lateral offset to the right of its centre line), in metres.

        The lane whose centre line is nearest; between equals the one with the lower index.
        """
        best = self._nearest_point(x, y)
        index = int(self._lane_of[best])
        return index, *project(self._lanes[index], best - int(self._first[index]), x, y)

    def nearest_lane(self, x: float, y: float) -> int:
        """Return the lane index of ``nearest`` alone, in a third of its time."""
        return int(self._lane_of[self._nearest_point(x, y)])

    def _nearest_point(self, x: float, y: float) -> int:
        numbers = self._cells.get((math.floor(x / LANE_CELL_M), math.floor(y / LANE_CELL_M)))
        best, distance = _closest(self._xy, numbers, x, y) if numbers is not None else (0, math.inf)
        if distance > LANE_CELL_M:  # the cells around hold every point this near, but not further ones
            best, _ = _closest(self._xy, np.arange(len(self._xy)), x, y)
        return best


@njit(cache=True)
def _closest(xy: np.ndarray, numbers: np.ndarray, x: float, y: float) -> tuple[int, float]:
    """The number of the nearest of some points (n, 2), the first of equals, and how far it is."""
    least, best = np.inf, numbers[0]
    for number in numbers:
        dx, dy = xy[number, 0] - x, xy[number, 1] - y
        squared = dx * dx + dy * dy
        if squared < least:
            least, best = squared, number
    return best, math.sqrt(least)


def project(lane: Lane, near: int, x: float, y: float) -> tuple[float, float]:
    """Return (s, lateral offset, right positive) of a point on a lane's segments beside the point ``near``."""
    best = (math.inf, 0.0, 0.0)
    for start in (near - 1, near):
        if 0 <= start < len(lane.points) - 1:
            ax, ay, _ = lane.points[start].tolist()
            bx, by, _ = lane.points[start + 1].tolist()
            length = math.hypot(bx - ax, by - ay) or 1e-9
            ux, uy = (bx - ax) / length, (by - ay) / length
            along = min(max((x - ax) * ux + (y - ay) * uy, 0.0), length)
            dx, dy = x - ax - along * ux, y - ay - along * uy
            distance = math.hypot(dx, dy)
            if distance < best[0]:
                best = (distance, float(lane.s[start]) + along, (y - ay) * ux - (x - ax) * uy)
    return best[1], best[2]
