"""How sure the corrected figures of Bench2Drive are: 95 % bootstrap intervals that draw whole routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.scoring.bench2drive import Entry, is_success, mean_speed, once
from autovla_core.scoring.bench2drive_abilities import ABILITIES, abilities_of
from autovla_core.scoring.bench2drive_comfort import Motion, comfort
from autovla_core.scoring.statistics import bootstrap_mean, bootstrap_share

RESAMPLES = 5000
ENOUGH = 0.5  # share of resamples that must hold a route of every ability


@dataclass(frozen=True)
class Bounds:
    """Of one corrected figure, in its unit."""

    low: float
    high: float
    routes: int  # behind the figure


def bounds_of(
    entries: Sequence[Entry],
    records: Sequence[Mapping],
    motions: Mapping[str, Motion],
    junctions: Mapping[str, float],
) -> dict[str, Bounds]:
    """Bounds by the names of ``scoring.bench2drive.report``, which has the same arguments.

    A figure that rests on fewer than two routes has none.
    """
    best = once(entries, records)
    chosen = [best.get(entry.id) for entry in entries]
    moved = [motions[r["save_name"]] for r in best.values() if len(motions.get(r["save_name"], ())) >= 3]
    table = ability_table(entries, best, junctions)
    found = {
        "driving score": _mean([0.0 if r is None else r["scores"]["score_composed"] for r in chosen]),
        "success rate": _share([r is not None and is_success(r) for r in chosen]),
        "driving efficiency": _mean([speed for r in best.values() if (speed := mean_speed(r)) is not None]),
        "driving smoothness": _mean([comfort(motion, official=False) for motion in moved]),
        **{name: _share(column[~np.isnan(column)] > 0.0) for name, column in zip(ABILITIES, table.T)},
        "mean ability": _mean_of_abilities(table),
    }
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def ability_table(entries: Sequence[Entry], best: Mapping[str, Mapping], junctions: Mapping[str, float]) -> np.ndarray:
    """(routes, abilities): 1 for a success, 0 for none, NaN where the route does not test the ability."""
    rows = [abilities_of([(e.id, e.type, best.get(e.id))], junctions, is_success)[0].values() for e in entries]
    return np.array([[np.nan if value is None else value for value in row] for row in rows], float).reshape(
        len(rows), len(ABILITIES)
    )


def _mean(values: Sequence[float]) -> Bounds | None:
    if len(values) < 2:
        return None
    found = bootstrap_mean(values, np.random.default_rng(0), resamples=RESAMPLES)
    return Bounds(found.low, found.high, len(values))


def _share(hits: Sequence[bool]) -> Bounds | None:
    if len(hits) < 2:
        return None
    found = bootstrap_share(hits, np.random.default_rng(0))
    return Bounds(found.low / 100.0, found.high / 100.0, len(hits))


def _mean_of_abilities(table: np.ndarray) -> Bounds | None:
    """Routes are drawn together for all abilities, since many test two; draws that lack one are left out."""
    tests = ~np.isnan(table)
    used = tests.any(axis=1)
    if used.sum() < 2 or not tests.any(axis=0).all():
        return None
    good, tests = np.nan_to_num(table[used]), tests[used].astype(float)
    drawn = np.random.default_rng(0).multinomial(len(good), np.full(len(good), 1.0 / len(good)), size=RESAMPLES)
    counts = drawn @ tests  # (resamples, abilities)
    whole = (counts > 0).all(axis=1)
    if whole.mean() < ENOUGH:
        return None
    means = ((drawn @ good)[whole] / counts[whole]).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Bounds(float(low), float(high), len(good))
