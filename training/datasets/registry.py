"""The foreign data sets that training and evaluation know, by name: one table, and the guard of their test splits.

A data set's module is imported when it is asked for. It gives two functions:
  prepare(root, out, split, skip_broken=False) -> counts        writes an index below ``out``, once
  open_split(root, out, split, skip_broken=False, **options) -> Reader
and, if it has metrics of its own, ``score(plan, sample) -> {metric: value}`` for a plan (10, 3) in the sample's frame;
where that is cheaper, also ``scores(plans, sample) -> {metric: (P,)}`` for plans (P, 10, 3) of one sample. A challenge
that takes the mean of group means has ``cluster(sample) -> name``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from autovla_core.scoring import open_loop
from training.datasets.sample import DatasetError, Reader, Sample
from training.datasets.sampled import known_poses

Score = Callable[[np.ndarray, Sample], dict[str, float]]
Scores = Callable[[np.ndarray, Sample], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Entry:
    """How one data set is opened, judged and guarded."""

    module: str
    held_out: tuple[str, ...] = ()  # splits that must not be trained on: benchmarks are scored there
    rank: str = "ade_known_5s"  # metric that says which plan is best and which samples are worst
    higher_is_better: bool = False  # of ``rank``
    evaluate: str = ""  # split that is scored unless another is named
    train: str = ""  # split that is trained on unless another is named
    part_of: Mapping[str, str] = field(default_factory=dict)  # split -> the whole that its samples are from
    options: Mapping[str, str] = field(default_factory=dict)  # of ``open_split``: name -> what it means


DATASETS: Mapping[str, Entry] = {
    "nuscenes": Entry(
        "training.datasets.nuscenes",
        held_out=("val", "mini_val", "test"),
        rank="l2_stp3_3s",
        evaluate="val",
        train="train",
        options={"command": "oracle, past or none", "point": "centre, rear_axle or lidar"},
    ),
    "navsim": Entry(
        "training.datasets.navsim",
        held_out=("navtest", "test", "warmup_test_e2e", "private_test_e2e", "navhard_two_stage", "warmup_two_stage"),
        rank="score",
        higher_is_better=True,
        evaluate="navtest",
        train="navtrain",
        part_of={"navmini": "mini", "navtrain": "trainval", "navtest": "test", "navhard_two_stage": "test"},
        options={
            "point": "centre or rear_axle",
            "score": "pdms, epdms or none",
            "cache": "a metric cache of the devkit to score with",
        },
    ),
    "waymo": Entry(
        "training.datasets.waymo",
        held_out=("test", "test_submission"),  # the paper trains on val too
        evaluate="val",
        train="train",
        part_of={"val_rated": "val", "test_submission": "test"},
        options={"point": "centre or rear_axle"},
    ),
    "cot": Entry("training.datasets.cot", held_out=("test", "val"), evaluate="val", train="train"),
    "bench2drive": Entry(
        "training.datasets.bench2drive",
        held_out=("val", "all"),  # all holds val
        evaluate="val",
        train="train",
        options={"command": "near or far: whose waypoint's command is told"},
    ),
}


def entry(name: str) -> Entry:
    """The table's row.

    Raises:
        DatasetError: no such data set.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise DatasetError(f"no data set {name!r}; known: {', '.join(DATASETS)}") from None


def prepare(name: str, root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Write the index of one split below ``out``; return verified counts."""
    return _module(name).prepare(Path(root), Path(out), split, skip_broken)


def open_split(
    name: str, root: Path, out: Path, split: str, skip_broken: bool = False, options: Mapping[str, str] | None = None
) -> Reader:
    """Open one prepared split.

    Raises:
        DatasetError: no such data set or option, or what the data set's own reader finds wrong.
    """
    options = dict(options or {})
    unknown = set(options) - set(entry(name).options)
    if unknown:
        known = ", ".join(f"{key} ({text})" for key, text in entry(name).options.items()) or "none"
        raise DatasetError(f"{name}: unknown options {sorted(unknown)}; it has: {known}")
    return _module(name).open_split(Path(root), Path(out), split, skip_broken, **options)


def score(name: str, plan: np.ndarray, sample: Sample) -> dict[str, float]:
    """Every metric of one plan (10, 3): the distance over known poses, and the data set's own."""
    case = open_loop.Case(known_poses(sample.poses, sample.mask)[:, :2], np.asarray(sample.mask, bool))
    found = open_loop.displacement(plan[:, :2], case)
    own: Score | None = vars(_module(name)).get("score")
    return found if own is None else found | own(plan, sample)


def scores(name: str, plans: np.ndarray, sample: Sample) -> dict[str, np.ndarray]:
    """Metrics (P,) of plans (P, 10, 3) of one sample: the data set's ``scores``, or ``score`` of each plan."""
    together: Scores | None = vars(_module(name)).get("scores")
    if together is not None:
        return together(plans, sample)
    rows = [score(name, plan, sample) for plan in plans]
    return {metric: np.array([row[metric] for row in rows]) for metric in rows[0]}


def share(name: str, split: str, other: str) -> bool:
    """Whether two splits have samples in common: the same one, or one that the other is part of."""
    part_of = entry(name).part_of
    return split == other or part_of.get(split) == other or part_of.get(other) == split


def cluster(name: str, sample: Sample) -> str:
    """The group of a sample over which its challenge takes the mean of means; empty if it has none."""
    of: Callable[[Sample], str] | None = vars(_module(name)).get("cluster")
    return "" if of is None else of(sample)


def refuse_held_out(name: str, split: str, i_know: bool) -> None:
    """Do nothing if ``split`` may be trained on.

    Raises:
        DatasetError: benchmarks are scored on it, and nobody said ``--i-know``.
    """
    if split in entry(name).held_out and not i_know:
        raise DatasetError(
            f"{name} is scored on its split {split!r}; a model trained on it has no score. "
            f"Train on {entry(name).train!r}, or say --i-know if this is meant"
        )


def _module(name: str) -> ModuleType:
    module = entry(name).module
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise DatasetError(f"data set {name!r} has no reader in this checkout: {module} is missing") from None
