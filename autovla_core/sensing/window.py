"""The last two seconds of every camera, and the clip of four images at 2 Hz."""

from __future__ import annotations

from collections import deque

import numpy as np

from autovla_core.contracts import CLIP_IMAGES, CLIP_PERIOD_S, Clip
from autovla_core.errors import ObservationError

_KEPT_S = (CLIP_IMAGES + 1) * CLIP_PERIOD_S
_TOLERANCE_S = 0.03  # an image this little younger than asked for still counts


class ImageWindow:
    """Takes images at any steady rate, every tick or every half second."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._images: dict[str, deque[tuple[float, np.ndarray]]] = {}

    def push(self, id: str, time_s: float, rgb: np.ndarray) -> None:
        """Keep one image (H, W, 3) uint8 of camera ``id``, taken at ``time_s``."""
        images = self._images.setdefault(id, deque())
        images.append((time_s, rgb))
        while images[0][0] < time_s - _KEPT_S:
            images.popleft()

    def clip(self, id: str, time_s: float) -> Clip:
        """The clip of camera ``id`` at ``time_s``: the newest image, and those 0.5, 1.0 and 1.5 s before it.

        Before there is that much history the oldest image is repeated; the times are always the images' own.

        Raises:
            ObservationError: no image of this camera yet.
        """
        images = self._images.get(id)
        if not images or images[0][0] > time_s + _TOLERANCE_S:
            raise ObservationError(f"camera {id!r} has no image before {time_s:.2f} s; cameras: {sorted(self._images)}")
        newest = self._before(images, time_s)[0]
        chosen = [self._before(images, newest - k * CLIP_PERIOD_S) for k in range(CLIP_IMAGES - 1, -1, -1)]
        return Clip(np.stack([rgb for _, rgb in chosen]), np.array([t for t, _ in chosen]))

    @staticmethod
    def _before(images: deque[tuple[float, np.ndarray]], time_s: float) -> tuple[float, np.ndarray]:
        for entry in reversed(images):
            if entry[0] <= time_s + _TOLERANCE_S:
                return entry
        return images[0]
