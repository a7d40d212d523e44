"""What one server-driven car intends, and what it sees of the others. State and values; the rules are in traffic.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.world import lane_change
from autovla_core.minicarla.world.actor import Vehicle
from autovla_core.minicarla.world.lane_change import Change
from autovla_core.minicarla.world.layout import Lane
from autovla_core.minicarla.world.right_of_way import Cars, Crossing
from autovla_core.minicarla.world.traffic_path import Path

SLOWEST, FASTEST = 0.70, 0.85  # of the speed limit
LINE_MARGIN_M = 0.5  # stop this far before the end of the approach lane


class Driver:
    """One car's intentions."""

    def __init__(self, vehicle: Vehicle, seed: int, number: int) -> None:
        self.vehicle = vehicle
        self.rng = np.random.default_rng((seed, number))
        self.factor = float(self.rng.uniform(SLOWEST, FASTEST))
        self.path: Path | None = None
        self.crossings: list[Crossing] = []
        self.patience_s = float(np.random.default_rng((seed, number, 1)).uniform(*lane_change.PATIENCE_S))
        self.change: Change | None = None


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What one driver sees of the others."""

    cars: Cars
    bodies: np.ndarray  # (n, BODY_COLUMNS), vehicles first
    me: int  # own row of it
    vehicles: int


@dataclass(frozen=True, eq=False)
class Seats:
    """Where the drivers sit in a fleet, as long as its members stay."""

    row_of: dict[int, int]  # the fleet's, which is another whenever its members change
    members: np.ndarray  # (drivers,) rows of the fleet
    driven: np.ndarray  # (vehicles,) bool
    numbers: list[int]  # of the driver of each vehicle; -1: somebody else drives it


def predecessors_of(lanes: Sequence[Lane]) -> dict[int, tuple[int, ...]]:
    """For each lane those that lead into it."""
    found: dict[int, list[int]] = {lane.index: [] for lane in lanes}
    for lane in lanes:
        for following in lane.successors:
            found[following].append(lane.index)
    return {index: tuple(before) for index, before in found.items()}


def crossings_along(lanes: Sequence[Lane], path: Path) -> list[Crossing]:
    """The junctions along a window, in order; one that the car is already in has its line behind."""
    found, index = [], 0
    while index < len(path.spans):
        if lanes[path.spans[index].lane].junction_id < 0:
            index += 1
            continue
        first = index
        while index < len(path.spans) and lanes[path.spans[index].lane].junction_id >= 0:
            index += 1
        spans = path.spans[first:index]
        approach = path.spans[first - 1].lane if first > 0 else spans[0].lane
        leaving = path.spans[index].lane if index < len(path.spans) else -1
        line = spans[0].start - LINE_MARGIN_M
        found.append(Crossing(approach, tuple(s.lane for s in spans), leaving, line, spans[-1].end))
    return found
