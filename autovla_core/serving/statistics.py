"""What the server has done since it was started, for people and for monitors."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import numpy as np

RECENT = 1000  # durations kept per name
PERCENTILES = (50, 95, 99)


class Statistics:
    """Counts by name and the newest durations by name; many threads write, one reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._counts: Counter[str] = Counter()
        self._durations: dict[str, deque[float]] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[name] += by

    def took(self, name: str, milliseconds: float) -> None:
        """Note one duration."""
        with self._lock:
            self._durations.setdefault(name, deque(maxlen=RECENT)).append(milliseconds)

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def snapshot(self) -> dict[str, object]:
        """Plain values: ``counts``, ``recent_ms`` with percentiles by name, ``uptime_s``."""
        with self._lock:
            counts = dict(self._counts)
            durations = {name: np.array(values) for name, values in self._durations.items()}
        recent = {name: _summary(values) for name, values in durations.items()}
        return {"counts": counts, "recent_ms": recent, "uptime_s": self.uptime_s}


def _summary(values: np.ndarray) -> dict[str, float]:
    percentiles = {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES))}
    return {"mean": float(values.mean()), **percentiles, "n": len(values)}
