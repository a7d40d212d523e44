"""How sure a mean is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds between which it lies with the asked confidence."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def bootstrap_mean(
    values: Sequence[float],
    rng: np.random.Generator,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 5000,
) -> Interval:
    """Percentile bootstrap of the mean.

    Args:
        values: (N,) one number a drive.
        rng: the only source of chance.
        groups: (N,) what belongs together, such as the route of each drive: three seeds of one
            route are no three independent routes, so whole groups are drawn.
        confidence: share of resampled means between the bounds.
        resamples: number of draws.

    Raises:
        ValueError: no values, a group list of another length, or a confidence outside (0, 1).
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected at least one value, found shape {values.shape}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} lies outside (0, 1)")
    labels = np.arange(len(values)) if groups is None else _numbered(groups, len(values))
    sums = np.bincount(labels, values)
    counts = np.bincount(labels)
    drawn = rng.integers(0, len(sums), (resamples, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _numbered(groups: Sequence[Hashable], count: int) -> np.ndarray:
    if len(groups) != count:
        raise ValueError(f"found {len(groups)} groups for {count} values")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])
