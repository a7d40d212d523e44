"""K-disk sampling: draw a motion, drop all within delta of it, repeat until K are drawn (AutoVLA, arXiv 2506.13757).

The distance is the paper's: the mean over the four corners of the vehicle box. The greedy definition looks at every
motion for every draw. Here they lie in square cells of side delta, sorted by cell, and a draw looks at its nine cells
only: the centre of a box moves no further than its corners do on average, so nothing within delta lies elsewhere.
Drawing "a random one of those left" is walking one random order and skipping what was dropped: same distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core import footprints
from autovla_core.action.vehicle import Vehicle
from autovla_core.errors import CodebookError
from training.codebooks.symmetry import fold, mirror_distance, mirrored

DELTA_M = 0.05  # the paper's


@dataclass(frozen=True)
class Disks:
    """What was drawn."""

    centres: np.ndarray  # (K, 3)
    sizes: np.ndarray  # (K,) motions that each draw dropped, itself included
    covered: float  # share of all motions within delta of a centre


class _Cells:
    """Motions sorted by the square cell that their centre lies in."""

    def __init__(self, motions: np.ndarray, side: float, vehicle: Vehicle) -> None:
        cell = np.floor(motions[:, :2] / side).astype(np.int64)
        cell -= cell.min(axis=0) - 1  # a free row and column around: neighbours never wrap
        self.stride = int(cell[:, 1].max()) + 2
        key = cell[:, 0] * self.stride + cell[:, 1]
        order = np.argsort(key, kind="stable")
        self.key = key[order]
        self.place = np.empty(len(order), np.int64)  # of each motion in the sorted order
        self.place[order] = np.arange(len(order))
        corners = footprints.corners(motions[order], vehicle.length, vehicle.width)
        self.corners = np.ascontiguousarray(corners.reshape(-1, 8).T)  # (8, N)
        self.alive = np.ones(len(order), bool)

    def drop_around(self, place: int, corners: np.ndarray, delta: float) -> int:
        """Drop what is within ``delta`` of a box with ``corners`` (8,) in the cell of ``place``; return how many."""
        dropped = 0
        middle = self.key[place]
        for row in (middle - self.stride, middle, middle + self.stride):
            first, last = np.searchsorted(self.key, [row - 1, row + 2])
            near = first + np.flatnonzero(self.alive[first:last])
            gone = near[self._distances(near, corners) <= delta]
            self.alive[gone] = False
            dropped += len(gone)
        return dropped

    def _distances(self, places: np.ndarray, corners: np.ndarray) -> np.ndarray:
        total = np.zeros(len(places))
        for x in range(0, 8, 2):
            dx, dy = self.corners[x, places] - corners[x], self.corners[x + 1, places] - corners[x + 1]
            total += np.sqrt(dx * dx + dy * dy)
        return total / 4.0


def kdisk(motions: np.ndarray, count: int, rng: np.random.Generator, vehicle: Vehicle, delta: float = DELTA_M) -> Disks:
    """Up to ``count`` of motions (N, 3), no two within ``delta`` of each other; standing still is drawn first.

    Fewer come back when every motion is within ``delta`` of a centre before ``count`` are drawn.

    Raises:
        CodebookError: no motions, or ones that are not finite.
    """
    motions = np.asarray(motions, float)
    if motions.ndim != 2 or motions.shape[1] != 3 or not len(motions) or not np.isfinite(motions).all():
        raise CodebookError(f"motions are {motions.shape}, expected finite (N, 3) with N > 0")
    motions = np.concatenate([np.zeros((1, 3)), motions])
    cells = _Cells(motions, delta, vehicle)
    order = np.concatenate([[0], 1 + rng.permutation(len(motions) - 1)])
    drawn, sizes = [], []
    for index in order:
        place = cells.place[index]
        if not cells.alive[place]:
            continue
        drawn.append(index)
        sizes.append(cells.drop_around(place, cells.corners[:, place].copy(), delta))
        if len(drawn) == count:
            break
    return Disks(motions[drawn], np.array(sizes), float(1.0 - cells.alive.mean()))


def mirrored_kdisk(
    motions: np.ndarray, count: int, rng: np.random.Generator, vehicle: Vehicle, delta: float = DELTA_M
) -> Disks:
    """K-disk whose every entry has its mirror image: draw on the left, then unfold.

    Motions are folded to the left half. What is within ``delta`` of its own mirror image would make two names of
    one motion: it is pulled onto the straight line, which moves it by half of ``delta`` at most. So the entries of
    one side are more than ``delta`` apart, and a covered motion is within one and a half ``delta`` of an entry.
    """
    folded = fold(motions)
    nearly = mirror_distance(folded, vehicle) <= delta
    folded[nearly, 1:] = 0.0
    disks = kdisk(folded, count, rng, vehicle, delta)
    turning = disks.centres[:, 1:].any(axis=1)
    weight = np.cumsum(1 + turning)
    kept = weight <= count
    centres, turning = disks.centres[kept], turning[kept]
    covered = float(disks.sizes[kept].sum() / (len(folded) + 1))
    both = np.concatenate([centres, mirrored(centres[turning])])
    return Disks(both, np.concatenate([disks.sizes[kept], disks.sizes[kept][turning]]), covered)
