"""Hand-built PDM scenes: a straight road along x, one lane of the route and one beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.scoring.pdm_types import AreaKind, EgoState, MapArea, PdmScene, PosePlan, Track, TrackKind

X_LOW, X_HIGH = -50.0, 300.0
LANE_EDGE, ROAD_EDGE = 1.75, 5.25  # m left of the route's centre; the right edge is -LANE_EDGE


def box(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """Corners (4, 2) of an upright rectangle."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def line(y: float = 0.0, x0: float = X_LOW, x1: float = X_HIGH) -> np.ndarray:
    """Poses (M, 3) 1 m apart along x."""
    x = np.arange(x0, x1 + 0.5)
    return np.stack([x, np.full_like(x, y), np.zeros_like(x)], -1)


def road() -> tuple[MapArea, ...]:
    """The route's lane, the lane left of it, and their common surface."""
    return (
        MapArea("route", AreaKind.LANE, box(X_LOW, X_HIGH, -LANE_EDGE, LANE_EDGE), line(), 10.0),
        MapArea("beside", AreaKind.LANE, box(X_LOW, X_HIGH, LANE_EDGE, ROAD_EDGE), line(3.5), 10.0),
        MapArea("surface", AreaKind.ROADBLOCK, box(X_LOW, X_HIGH, -LANE_EDGE, ROAD_EDGE)),
    )


def straight(speed: float, y: float = 0.0, steps: int = 10, period_s: float = 0.5) -> np.ndarray:
    """A plan (steps, 3) at constant speed, heading along x, ``y`` from where the ego is."""
    x = speed * period_s * np.arange(1, steps + 1)
    return np.stack([x, np.full(steps, y), np.zeros(steps)], -1)


def scene(speed: float, y: float = 0.0, reference_speed: float | None = None, **changes: object) -> PdmScene:
    """The ego at the origin (``y`` to the left) with ``speed``; the reference goes straight on, faster or as fast."""
    reference = PosePlan(straight(speed if reference_speed is None else reference_speed))
    ego = EgoState(np.array([0.0, y, 0.0]), speed)
    base = PdmScene(ego, road(), ("route",), line(), reference=reference)
    return dataclasses.replace(base, **changes)


def track(
    states: Sequence[Sequence[float] | None],
    kind: TrackKind = TrackKind.VEHICLE,
    length: float = 4.6,
    width: float = 1.9,
    name: str = "a",
) -> Track:
    """A track from rows (x, y, yaw, vx, vy), None where it is not seen."""
    rows = [[np.nan] * 5 if row is None else row for row in states]
    return Track(name, kind, length, width, np.array(rows, float))


def parked(x: float, y: float = 0.0, **more: object) -> Track:
    """A track that stands for 5 s."""
    return track([(x, y, 0.0, 0.0, 0.0)] * 11, **more)


def moving(x: float, y: float, yaw: float, speed: float, **more: object) -> Track:
    """A track that goes on for 5 s along its heading."""
    vx, vy = speed * np.cos(yaw), speed * np.sin(yaw)
    return track([(x + vx * t, y + vy * t, yaw, vx, vy) for t in 0.5 * np.arange(11)], **more)


@pytest.fixture
def pdm() -> SimpleNamespace:
    """The builders of this file by name."""
    return SimpleNamespace(
        box=box, line=line, road=road, straight=straight, scene=scene, track=track, parked=parked, moving=moving
    )
