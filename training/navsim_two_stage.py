"""NAVSIM v2's pseudo closed loop: scores of a two-stage split, brought together as the devkit's result table has them.

A group is one moment of a log and the synthetic moments that may follow it 4 s later. The nearer such a moment starts
to where the plan of the first one ends, the more it counts (a Gaussian of 0.1 m2, weights that sum to 1). Everything is
done twice, for the moment itself and for the one 0.5 s before, and the two plans of such a pair are compared: extended
comfort, which both get. A group scores the mean of its two products, first stage times second.

The devkit lets other cars react to the plan in both stages; here they drive as they were recorded or simulated.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from autovla_core.geometry import transform_points
from autovla_core.scoring.pdm import weighing
from autovla_core.scoring.pdm_types import GRID_S, GRID_STEPS, TRACK_PERIOD_S, Version
from training.datasets.navsim_judge import TERMS, Judge
from training.datasets.navsim_splits import SYNTHETIC, Group, Pair
from training.datasets.rear_axle import rear_from_centre
from training.datasets.sample import DatasetError, Sample

NAMES = list(TERMS[Version.V2])  # the devkit's columns; the last is the score
COMFORT = "two_frame_extended_comfort"
SIGMA_M2 = 0.1  # the kernel's variance
NO_WEIGHT = 1e-8  # below this the weights are said to sum to nothing, and all count alike
STAGES = ("stage_one", "stage_two")
LAST = round(GRID_S * GRID_STEPS / TRACK_PERIOD_S) - 1  # the pose of a plan at the end of what is scored


@dataclass(frozen=True)
class Planned:
    """An evaluation on a two-stage split, by token."""

    samples: Mapping[str, Sample]
    plans: Mapping[str, np.ndarray]  # (10, 3); only those that were made
    terms: Mapping[str, Mapping[str, float | None] | None]  # as scored alone; None: no plan


@dataclass(frozen=True)
class Scored:
    """What is in the table."""

    rows: Mapping[str, tuple[bool, bool, np.ndarray]]  # token: valid, synthetic, (T,) in the order of ``NAMES``
    first: np.ndarray  # (T,) mean over groups and both moments
    second: np.ndarray
    both: np.ndarray  # mean over groups of the products


def score(planned: Planned, groups: Sequence[Group], judge: Judge) -> Scored:
    """Bring an evaluation's scenes together; a moment without a plan gets zeros and stands where it was.

    Groups of which nothing was planned for are left out, as when ``--limit`` was given.

    Raises:
        DatasetError: no group at all, or a scene of one is not among the samples.
    """
    here = [group for group in groups if {group.first.now, group.first.before} & set(planned.samples)]
    if not here:
        raise DatasetError(f"none of {len(groups)} groups of the split has a sample in this evaluation")
    _expect_all(here, planned)
    rows = {}
    for pair in tqdm([pair for group in here for pair in _pairs(group)], desc="extended comfort", unit="pair"):
        rows |= _rows(pair, planned, judge)
    sides = [side for group in here for side in _sides(group, planned)]
    means = [(_mean(rows, [token], np.ones(1)), _mean(rows, tokens, weights)) for token, tokens, weights in sides]
    first, second = (np.array(column) for column in zip(*means))
    return Scored(rows, first.mean(0), second.mean(0), (first * second).mean(0))


def _pairs(group: Group) -> Iterable[Pair]:
    return group.first, *group.second


def _expect_all(groups: Sequence[Group], planned: Planned) -> None:
    wanted = [token for group in groups for pair in _pairs(group) for token in (pair.now, pair.before)]
    lost = [token for token in wanted if token not in planned.samples]
    if lost:
        raise DatasetError(
            f"{len(lost)} of {len(wanted)} scenes of {len(groups)} groups are not in this evaluation, the first is "
            f"{lost[0]}; a two-stage score needs all, so evaluate without --limit and with whole data"
        )


def _rows(pair: Pair, planned: Planned, judge: Judge) -> dict[str, tuple[bool, bool, np.ndarray]]:
    """Both moments of a pair; they share their extended comfort."""
    shared = _extended_comfort(pair, planned, judge)
    found = {}
    for token in (pair.now, pair.before):
        terms = planned.terms[token]
        synthetic = str(planned.samples[token].extra["log"]).startswith(SYNTHETIC)
        found[token] = (terms is not None, synthetic, _with_comfort(terms, shared))
    return found


def _extended_comfort(pair: Pair, planned: Planned, judge: Judge) -> float:
    """0 where one of the two has no plan."""
    if pair.now not in planned.plans or pair.before not in planned.plans:
        return 0.0
    before = planned.plans[pair.before], planned.samples[pair.before]
    return float(judge(planned.plans[pair.now][None], planned.samples[pair.now], before).extended_comfort[0])


def _with_comfort(terms: Mapping[str, float | None] | None, comfort: float) -> np.ndarray:
    """(T,) the terms with this extended comfort, and the score that they make."""
    if terms is None:
        return np.zeros(len(NAMES))
    values = {name: comfort if name == COMFORT else terms[name] for name in NAMES[:-1]}
    fields = {TERMS[Version.V2][name]: np.array([value], float) for name, value in values.items()}
    return np.array([*values.values(), weighing.aggregate(fields, Version.V2)[0]], float)


def _sides(group: Group, planned: Planned) -> Iterable[tuple[str, list[str], np.ndarray]]:
    """(first-stage token, its second-stage tokens, their weights): now, and 0.5 s before."""
    for first, seconds in (
        (group.first.now, [pair.now for pair in group.second]),
        (group.first.before, [pair.before for pair in group.second]),
    ):
        starts = np.array([planned.samples[token].extra["rear_axle"][:2] for token in seconds])
        yield first, seconds, weights(end_of(planned.samples[first], planned.plans.get(first)), starts)


def end_of(sample: Sample, plan: np.ndarray | None) -> np.ndarray:
    """(2,) world: where the rear axle is after 4 s of a plan; without one, where it is now."""
    rear = np.asarray(sample.extra["rear_axle"], float)
    if plan is None:
        return rear[:2]
    return transform_points(rear, rear_from_centre(np.asarray(plan, float), float(sample.extra["ahead_m"]))[LAST, :2])


def weights(end: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(N,) how much each scene that starts at ``starts`` (N, 2) counts after a plan that ends at ``end`` (2,)."""
    kernel = np.exp(-((starts - end) ** 2).sum(1) / (2.0 * SIGMA_M2))
    return np.full(len(starts), 1.0 / len(starts)) if kernel.sum() <= NO_WEIGHT else kernel / kernel.sum()


def _mean(rows: Mapping[str, tuple[bool, bool, np.ndarray]], tokens: Sequence[str], share: np.ndarray) -> np.ndarray:
    return share @ np.array([rows[token][2] for token in tokens])


def table(scored: Scored) -> str:
    """CSV: every scene, then both stages and the two of them together, under the devkit's names."""
    head = ["", "token", "valid", *(f"{name}_{stage}" for stage in STAGES for name in NAMES[:-1]), NAMES[-1]]
    empty = [""] * (len(NAMES) - 1)
    lines = []
    for token, (valid, synthetic, values) in scored.rows.items():
        terms = values[:-1].tolist() if valid else empty
        both = [*empty, *terms] if synthetic else [*terms, *empty]
        lines.append([token, valid, *both, values[-1] if valid else ""])
    whole = all(valid for valid, _, _ in scored.rows.values())
    one, two = scored.first[:-1].tolist(), scored.second[:-1].tolist()
    lines.append(["extended_pdm_score_stage_one", whole, *one, *empty, scored.first[-1]])
    lines.append(["extended_pdm_score_stage_two", whole, *empty, *two, scored.second[-1]])
    lines.append(["extended_pdm_score_combined", whole, *one, *two, scored.both[-1]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([i, *line] for i, line in enumerate(lines))
    return text.getvalue()
