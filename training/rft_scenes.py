"""Samples as prompts to answer, each with the scene that its answers are judged in.

A route log with ``map.npz`` and ``tracks.npz`` (``logs.truth``) lets plans be scored (PDM), one with ``reasons.jsonl``
lets thoughts be held against what was there; a foreign data set scores plans by its own ``score``. Everything else
knows the expert's poses and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import RULES
from autovla_core.errors import LogError
from autovla_core.logs import truth
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.reasons import REASONS_FILE, has_lines
from autovla_core.model.encoding import CameraView
from autovla_core.scoring import faithfulness, pdm, pdm_logs
from training.datasets import registry
from training.datasets.mixture import Mixture, MixtureConfig, Part, SourceConfig, read_source
from training.datasets.reasons import Reasoned, read_reasons
from training.datasets.routes import RouteDataset, find_routes, sample_weights, split
from training.datasets.sample import DatasetError, Reader
from training.datasets.sampled import Columns, SampledDataset
from training.rewards import Faithful, Judge, Scene

logger = logging.getLogger(__name__)

COMPLEX_RULES = ("lead", "light", "stop_sign", "conflict")  # what binds the expert's speed where a thought may pay
FILES = {"truth": (truth.MAP_FILE, truth.TRACKS_FILE), "reasons": (REASONS_FILE,)}
SAME_PLACE_M = 1.0  # a log and its tracks must tell of the same drive
ROUTES_KEPT, SCENES_KEPT = 256, 512


class Scenes(Protocol):
    """The scenes of one part of the data."""

    usable: np.ndarray  # (S,) bool: which samples can be rewarded

    def scene(self, index: int) -> Scene: ...


@dataclass(frozen=True)
class Pool:
    """Samples of several parts; numbers go through the parts in order."""

    part: Mixture
    frequencies: np.ndarray  # (S,) how often each is drawn; 0 where it cannot be rewarded
    sides: tuple[Scenes, ...]  # of the parts

    def __len__(self) -> int:
        return len(self.frequencies)

    @property
    def columns(self) -> Columns:
        """Of the samples."""
        return self.part.samples

    def scene(self, index: int) -> Scene:
        """The scene of one sample."""
        starts = self.part.starts
        owner = int(np.searchsorted(starts, index, side="right")) - 1
        return self.sides[owner].scene(int(index - starts[owner]))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Samples (count,), with replacement, as often as ``frequencies`` says."""
        heap = np.cumsum(self.frequencies)
        at = np.searchsorted(heap, rng.random(count) * heap[-1], side="right")
        return np.minimum(at, np.flatnonzero(self.frequencies)[-1])

    def choice(self, count: int, seed: int) -> np.ndarray:
        """At most ``count`` different samples, the same for a seed, in order."""
        able = int((self.frequencies > 0.0).sum())
        shares = self.frequencies / self.frequencies.sum()
        picked = np.random.default_rng(seed).choice(len(self), min(count, able), replace=False, p=shares)
        return np.sort(picked)


class RouteScenes:
    """Scenes of route logs.

    Args:
        needs: see ``RewardConfig.needs``; with "truth" only moments that can be scored are usable.

    Raises:
        LogError: tracks of another drive than the log.
    """

    def __init__(self, folders: Sequence[Path], columns: Columns, needs: frozenset[str]) -> None:
        self._folders, self._columns = folders, columns
        judged = "truth" in needs
        logs = [RouteLog(folder) for folder in folders]
        self._starts = np.cumsum([0, *(len(log.plans["tick"]) for log in logs)])
        self._truth = lru_cache(maxsize=ROUTES_KEPT)(self._read_truth)
        self._reasons = lru_cache(maxsize=ROUTES_KEPT)(self._read_reasons)
        self._prepared = lru_cache(maxsize=SCENES_KEPT)(self._prepare)
        self._frames = np.full(len(columns), -1)
        if judged:
            self._frames = np.concatenate([frames_of(log) for log in logs])
        self.usable = self._frames >= 0 if judged else np.ones(len(columns), bool)

    def scene(self, index: int) -> Scene:
        """The scene of one sample."""
        route, frame = int(self._columns.route[index]), int(self._frames[index])
        plan = int(index - self._starts[route])
        judge = None if frame < 0 else self._judge(route, frame)
        scene = _scene(f"{self._folders[route].name}, plan {plan}", self._columns, index, judge)
        if not has_lines(self._folders[route]):
            return scene
        known = self._reasons(route)[plan]
        return replace(scene, complex=bool(known.complex), faithful=faithful(known))

    def _judge(self, route: int, frame: int) -> Judge:
        def judge(plans: np.ndarray) -> dict[str, np.ndarray]:
            prepared = self._prepared(route, frame)
            found = pdm.score(prepared, pdm_logs.axle_plans(plans, prepared.scene.vehicle))
            return {name: getattr(found, name) for name in SUB_SCORES}

        return judge

    def _prepare(self, route: int, frame: int) -> pdm.PreparedScene:
        return pdm.prepare(pdm_logs.scene_at(*self._truth(route), frame))

    def _read_reasons(self, route: int) -> list[Reasoned]:
        return read_reasons(RouteLog(self._folders[route]))

    def _read_truth(self, route: int) -> tuple[truth.RouteMap, truth.RouteTracks]:
        folder = self._folders[route]
        return truth.read_map(folder), truth.read_tracks(folder)


SUB_SCORES = (
    "score",
    "no_at_fault_collisions",
    "drivable_area_compliance",
    "ego_progress",
    "time_to_collision_within_bound",
    "comfort",
)


def faithful(known: Reasoned) -> Faithful:
    """How true thoughts about one moment are, and how far each agrees with its own plan."""

    def judge(thoughts: tuple[str, ...], plans: np.ndarray) -> np.ndarray:
        found = [faithfulness.judge(text, known.facts, known.action, plan) for text, plan in zip(thoughts, plans)]
        return np.array([each.score for each in found])

    return judge


class SampledScenes:
    """Scenes of a foreign data set, scored by its own metrics; each sample is usable that knows a pose."""

    def __init__(self, reader: Reader, numbers: Sequence[int], columns: Columns) -> None:
        self._reader, self._numbers, self._columns = reader, numbers, columns
        self.usable = columns.mask.any(axis=1)

    def scene(self, index: int) -> Scene:
        """The scene of one sample."""
        sample = self._reader[self._numbers[index]]

        def judge(plans: np.ndarray) -> dict[str, np.ndarray]:
            return registry.scores(self._reader.name, plans, sample)

        return _scene(sample.id, self._columns, index, judge)


def frames_of(log: RouteLog) -> np.ndarray:
    """For each plan (P,) of a log the frame of its tracks, -1 where it lies between two or too near to the end.

    Raises:
        LogError: no tracks, or those of another drive.
    """
    tracks = truth.read_tracks(log.folder)
    frames = truth.frames_of(tracks, log.plans["time_s"])
    good = (frames >= 0) & (frames < len(pdm_logs.scorable_frames(tracks)))
    there, logged = tracks.ego[frames[good], :2], log.poses[log.plans["tick"][good], :2]
    gap = np.linalg.norm(there - logged, axis=1).max(initial=0.0)
    if gap > SAME_PLACE_M:
        raise LogError(f"{log.folder}: {truth.TRACKS_FILE} and the log place the ego up to {gap:.1f} m apart")
    return np.where(good, frames, -1)


def open_pools(
    data: MixtureConfig,
    cameras: tuple[CameraView, ...],
    codebook: Codebook,
    needs: frozenset[str],
    threads: int,
    i_know: bool,
) -> tuple[Pool, Pool]:
    """What is trained on and what is held out; without anything held out, the training side again.

    Args:
        needs: see ``RewardConfig.needs``; routes that lack it are left out and counted.

    Raises:
        LogError, DatasetError: nothing to take, or a split that must not be trained on.
    """
    opened: list[tuple[tuple[Part, Scenes], tuple[Part, Scenes], float]] = []
    if data.routes:
        opened.append((*_open_routes(data, cameras, codebook, needs, threads), data.routes_weight))
    for source in data.sources:
        sides = _open_source(source, cameras, codebook, data.cache, threads, i_know)
        opened.append((*sides, source.weight))
    if not opened:
        raise DatasetError("nothing to train on: neither route logs nor another data set is named")
    weights = [weight for *_, weight in opened]
    return tuple(_pool([sides[i] for sides in opened], weights, data.frequency) for i in (0, 1))


def _open_routes(
    data: MixtureConfig, cameras: tuple[CameraView, ...], codebook: Codebook, needs: frozenset[str], threads: int
) -> list[tuple[Part, Scenes]]:
    folders = _able_routes(find_routes(data.routes), data.routes, needs)
    training, held_out = split(folders, data.held_out)
    sides = []
    for side in (training or folders, held_out or folders[:1]):
        part = RouteDataset(side, cameras, codebook, data.cache, threads)
        sides.append((part, RouteScenes(side, Columns.of(part.samples), needs)))
    return sides


def _able_routes(folders: list[Path], roots: Sequence[Path], needs: frozenset[str]) -> list[Path]:
    """The routes that hold all files which the reward needs."""
    files = [name for need in sorted(needs) for name in FILES[need]]
    able = [folder for folder in folders if all((folder / name).is_file() for name in files)]
    if not able:
        raise LogError(
            f"none of {len(folders)} routes below {', '.join(map(str, roots))} holds {' and '.join(files) or 'a log'}: "
            f"collect routes with {' and '.join(sorted(needs))}, or reward ade or progress instead"
        )
    logger.info("%d of %d routes hold what the reward needs", len(able), len(folders))
    return able


def _open_source(
    source: SourceConfig, cameras: tuple[CameraView, ...], codebook: Codebook, cache: Path, threads: int, i_know: bool
) -> list[tuple[Part, Scenes]]:
    reader, (training, held_out) = read_source(source, i_know)
    sides = []
    for numbers in (training, held_out or training):
        part = SampledDataset(reader, cameras, codebook, cache, numbers, threads)
        sides.append((part, SampledScenes(reader, numbers, part.samples)))
    return sides


def _pool(opened: list[tuple[Part, Scenes]], weights: Sequence[float], frequency: Mapping[str, float]) -> Pool:
    parts, sides = zip(*opened)
    own = [sample_weights(part.samples, frequency) * side.usable for part, side in opened]
    if not all(part.any() for part in own):
        raise DatasetError("a part of the data has no sample that can be rewarded: see docs/rft.md, Data")
    whole = Mixture(parts)
    return Pool(whole, whole.frequencies(own, weights), sides)


def _scene(name: str, columns: Columns, index: int, judge: Judge | None) -> Scene:
    binding = RULES[int(columns.rule[index])]
    worth = columns.thought[index] is not None or binding in COMPLEX_RULES
    return Scene(name, columns.poses[index], columns.mask[index], worth, judge)
