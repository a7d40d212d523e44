"""Left and right: a car is as good at one as at the other, whatever the logs hold more of."""

from __future__ import annotations

import numpy as np

from autovla_core import footprints
from autovla_core.action.vehicle import Vehicle


def mirrored(motions: np.ndarray) -> np.ndarray:
    """Motions (N, 3) with left and right exchanged."""
    return motions * [1.0, -1.0, -1.0]


def fold(motions: np.ndarray) -> np.ndarray:
    """Motions (N, 3) mirrored where they turn right, so that all turn left."""
    right = (motions[:, 2] < 0) | ((motions[:, 2] == 0) & (motions[:, 1] < 0))
    return np.where(right[:, None], mirrored(motions), motions)


def mirror_distance(motions: np.ndarray, vehicle: Vehicle) -> np.ndarray:
    """Mean corner distance (N,) in metres between each motion and its mirror image."""
    sides = (motions, mirrored(motions))
    left, right = (footprints.corners(m, vehicle.length, vehicle.width) for m in sides)
    return np.linalg.norm(left - right, axis=-1).mean(-1)
