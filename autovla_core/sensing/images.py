"""Camera payloads."""

from __future__ import annotations

import numpy as np

from autovla_core.errors import ObservationError


def rgb_from_bgra(bgra: np.ndarray) -> np.ndarray:
    """Copy CARLA's (H, W, 4) uint8 BGRA into (H, W, 3) uint8 RGB.

    Raises:
        ObservationError: another shape or type.
    """
    bgra = np.asarray(bgra)
    if bgra.ndim != 3 or bgra.shape[2] != 4 or bgra.dtype != np.uint8:
        raise ObservationError(f"camera payload is {bgra.dtype} {bgra.shape}; expected uint8 (H, W, 4)")
    return np.ascontiguousarray(bgra[:, :, 2::-1])
