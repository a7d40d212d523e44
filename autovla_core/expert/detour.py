"""A path that leaves the route for a while: shifted sideways between two places, with smooth ramps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.expert.path import SPACING_M, DrivePath, capped_path

OWN, BESIDE, ONCOMING = "own", "beside", "oncoming"  # where a shifted ego drives
_PER_CURVATURE = math.pi**2 / 2  # a cosine ramp of height a and length L bends by a * this / L**2 at most
_SHORTEST_RAMP_M = 6.0


@dataclass(frozen=True)
class Detour:
    """Full ``offset`` (m, left positive) from ``begin`` to ``end`` (m along the route, of the box centre)."""

    begin: float
    end: float
    offset: float
    ramp_m: float
    lane: str  # OWN, BESIDE or ONCOMING
    actor_id: int  # what it leads around, or makes room for

    @property
    def leaves(self) -> float:
        """Where the ramp begins."""
        return self.begin - self.ramp_m

    @property
    def returns(self) -> float:
        """Where the route is reached again."""
        return self.end + self.ramp_m


def ramp_for(offset: float, curvature: float) -> float:
    """Length (m) of a ramp of so many metres that bends by ``curvature`` (1/m) at most."""
    return max(math.sqrt(_PER_CURVATURE * abs(offset) / curvature), _SHORTEST_RAMP_M)


def offsets(detours: Sequence[Detour], s: np.ndarray) -> np.ndarray:
    """Metres to the left of the route at places ``s`` (N,); of several detours the widest counts."""
    out = np.zeros(len(s))
    for detour in detours:
        share = np.clip(np.minimum(s - detour.leaves, detour.returns - s) / detour.ramp_m, 0.0, 1.0)
        shift = detour.offset * (0.5 - 0.5 * np.cos(np.pi * share))
        out = np.where(np.abs(shift) > np.abs(out), shift, out)
    return out


def shifted(
    path: DrivePath, detours: Sequence[Detour], lateral_acceleration: float, deceleration: float, top_speed: float
) -> DrivePath:
    """The path with detours; places keep their metres along the route, which is a little shorter than the detour."""
    s = np.arange(len(path.x)) * SPACING_M
    shift = offsets(detours, s)
    yaw = np.array(path.yaw)
    points = path.points + shift[:, None] * np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
    return capped_path(points, path.length, lateral_acceleration, deceleration, top_speed)
