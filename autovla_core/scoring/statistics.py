"""How sure a mean is, and whether two agents differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds between which it lies with the asked confidence."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def bounded(found: Interval, units: int, digits: int = 1, unit: str = "route") -> str:
    """A mean and its bounds; from a single unit no spread can be known, and the text says so."""
    mean = f"{found.mean:.{digits}f}"
    if units < 2:
        return f"{mean} [no interval: 1 {unit}]"
    return f"{mean} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


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
    labels = _labels(groups, len(values))
    sums = np.bincount(labels, values)
    counts = np.bincount(labels)
    drawn = rng.integers(0, len(sums), (resamples, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def bootstrap_share(
    hits: Sequence[bool],
    rng: np.random.Generator,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> Interval:
    """A share of drives in percent.

    Where all drives agree no resample differs and the bootstrap would claim certainty; the exact binomial
    bound for the number of groups stands in: 20 successes on 20 routes are 100 [83, 100].
    """
    found = bootstrap_mean(100.0 * np.asarray(hits, float), rng, groups, confidence)
    if found.low < found.high or found.mean not in (0.0, 100.0):
        return found
    doubt = 100.0 * (1.0 - ((1.0 - confidence) / 2) ** (1.0 / _group_count(groups, len(hits))))
    return Interval(0.0, 0.0, doubt) if found.mean == 0.0 else Interval(100.0, 100.0 - doubt, 100.0)


def bootstrap_rate(
    counts: Sequence[float],
    rng: np.random.Generator,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Faults a drive; never seen is not never: with no fault at all the exact Poisson bound stands in."""
    found = bootstrap_mean(counts, rng, groups, confidence)
    if found.high > 0.0:
        return found
    return Interval(0.0, 0.0, -math.log((1.0 - confidence) / 2) / _group_count(groups, len(counts)))


def bootstrap_quantile(
    values: Sequence[float],
    share: float,
    rng: np.random.Generator,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 500,
) -> Interval:
    """A quantile, such as the median at ``share`` 0.5, in place of the mean; see ``bootstrap_mean``."""
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected at least one value, found shape {values.shape}")
    labels = _labels(groups, len(values))
    parts = [values[labels == label] for label in range(labels.max() + 1)]
    draws = rng.integers(0, len(parts), (resamples, len(parts)))
    found = [np.quantile(np.concatenate([parts[i] for i in draw]), share) for draw in draws]
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(np.quantile(values, share)), float(low), float(high))


@dataclass(frozen=True)
class Paired:
    """Agent B minus agent A on the same drives."""

    mean_a: float
    mean_b: float
    difference: Interval
    pairs: int
    groups: int  # routes: what is independent
    p_value: float  # two-sided, of "the two are alike", by flipping the signs of whole groups
    detectable: float | None  # smallest true difference shown with ``power``; None: one group, or never any gap
    shown: bool  # p_value at or below the level, and the interval leaves zero out


def paired_difference(
    a: Mapping[tuple[Hashable, Hashable], float],
    b: Mapping[tuple[Hashable, Hashable], float],
    rng: np.random.Generator,
    confidence: float = 0.95,
    power: float = 0.8,
) -> Paired:
    """Compare two agents on the drives that both made.

    Args:
        a: value by (route, seed).
        b: likewise; drives of one agent only are left out of everything here.
        rng: the only source of chance.
        confidence: of the interval; the level of the test is ``1 - confidence``.
        power: chance with which a difference of ``detectable`` is found.

    Raises:
        ValueError: no drive in common.
    """
    common = sorted(set(a) & set(b), key=repr)
    if not common:
        raise ValueError(f"expected drives of one route and seed in both, found none among {len(a)} and {len(b)}")
    routes = [route for route, _ in common]
    gaps = np.array([b[key] - a[key] for key in common], float)
    interval = bootstrap_mean(gaps, rng, routes, confidence)
    labels = _labels(routes, len(gaps))
    sums, counts = np.bincount(labels, gaps), np.bincount(labels)
    p_value = sign_flip(sums, rng)
    outside = interval.low > 0.0 or interval.high < 0.0
    deviations = (sums - interval.mean * counts) / counts.mean()
    return Paired(
        float(np.mean([a[key] for key in common])),
        float(np.mean([b[key] for key in common])),
        interval,
        len(gaps),
        len(sums),
        p_value,
        detectable_difference(deviations, 1.0 - confidence, power) if gaps.any() else None,
        outside and p_value <= 1.0 - confidence,
    )


def sign_flip(sums: np.ndarray, rng: np.random.Generator, draws: int = 10000) -> float:
    """Two-sided p of a sum of N group differences (N,): how often chance signs reach it; exact up to 12 groups."""
    sums = np.asarray(sums, float)
    if len(sums) <= 12:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sums))))
        return float(np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9))
    signs = rng.integers(0, 2, (draws, len(sums))) * 2.0 - 1.0
    reached = np.sum(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9)
    return float((reached + 1) / (draws + 1))


def detectable_difference(deviations: np.ndarray, level: float = 0.05, power: float = 0.8) -> float | None:
    """Smallest true mean that a two-sided t-test of N group differences with this spread finds; None for N < 2."""
    count = len(deviations)
    if count < 2:
        return None
    error = float(np.std(deviations, ddof=1)) / math.sqrt(count)
    return (_student(1.0 - level / 2, count - 1) + _student(power, count - 1)) * error


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: with many comparisons some look different by chance; these p-values allow for it."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(order), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(p_values[index])))
        adjusted[index] = highest
    return adjusted


def _student(probability: float, freedom: int) -> float:
    """Quantile of Student's t; exact for 1 and 2 degrees, else Abramowitz and Stegun 26.7.5 (within 1 %)."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / freedom**k for k, term in enumerate(terms))


def _group_count(groups: Sequence[Hashable] | None, count: int) -> int:
    return count if groups is None else len(set(groups))


def _labels(groups: Sequence[Hashable] | None, count: int) -> np.ndarray:
    return np.arange(count) if groups is None else _numbered(groups, count)


def _numbered(groups: Sequence[Hashable], count: int) -> np.ndarray:
    if len(groups) != count:
        raise ValueError(f"found {len(groups)} groups for {count} values")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])
