"""Several data sets as one to train on, each drawn as often as its recipe's weight says, whatever its size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from autovla_core.action.codebook import Codebook
from autovla_core.model.encoding import CameraView
from training import annotation_file
from training.datasets import registry
from training.datasets.annotated import Annotated
from training.datasets.routes import Samples
from training.datasets.sample import DatasetError, Reader
from training.datasets.sampled import Columns, SampledDataset


@dataclass(frozen=True)
class SourceConfig:
    """One data set of a mixture."""

    dataset: str  # of ``registry.DATASETS``
    root: Path  # of the downloaded files
    index: Path  # what ``python -m training.prepare`` wrote
    split: str = ""  # empty: the data set's training split
    weight: float = 1.0  # share of the draws, relative to the other sources
    held_out: float = 0.02  # share of scenes, by name, that are only validated on
    thoughts: Path | None = None  # of ``python -m training.annotate``
    options: dict[str, str] = field(default_factory=dict)  # of the data set, such as command: none
    skip_broken: bool = False
    limit: int | None = None  # the first so many samples of each side; None: all


@dataclass(frozen=True)
class MixtureConfig:
    """Where samples come from and how often each kind is drawn."""

    routes: tuple[Path, ...] = ()  # folders of route logs
    cache: Path = Path("data/cache")  # decoded images and tokens
    sources: tuple[SourceConfig, ...] = ()  # other data sets, prepared by training.prepare
    routes_weight: float = 1.0  # share of the draws that route logs get beside ``sources``
    held_out: float = 0.08  # share of routes, by name
    frequency: dict[str, float] = field(default_factory=dict)  # event (datasets.routes.EVENTS) -> weight


class Part(Protocol):
    """What a mixture is made of: ``RouteDataset`` or ``SampledDataset``."""

    samples: Samples

    def __len__(self) -> int: ...

    def clips(self, indices: np.ndarray) -> dict[str, np.ndarray]: ...


class Mixture:
    """One data set of several; sample numbers go through the parts in order."""

    def __init__(self, parts: Sequence[Part]) -> None:
        if not parts:
            raise DatasetError("nothing to train on: neither route logs nor another data set is named")
        self._parts = tuple(parts)
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.samples = _concatenate([Columns.of(part.samples) for part in parts])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def clips(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Clips {camera: (B, 4, H, W, 3) uint8} of samples ``indices`` (B,)."""
        indices = np.asarray(indices)
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        found: dict[str, np.ndarray] = {}
        for number in np.unique(owner):
            rows = np.flatnonzero(owner == number)
            for camera, clips in self._parts[number].clips(indices[rows] - self.starts[number]).items():
                if camera not in found:
                    found[camera] = np.empty((len(indices), *clips.shape[1:]), np.uint8)
                found[camera][rows] = clips
        return found

    def frequencies(self, own: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """How often each sample (S,) is drawn: ``own`` frequencies inside a part, ``weights`` between the parts."""
        return np.concatenate([weight * part / part.sum() for part, weight in zip(own, weights)])


def open_source(
    source: SourceConfig, cameras: tuple[CameraView, ...], codebook: Codebook, cache: Path, workers: int, i_know: bool
) -> tuple[SampledDataset, SampledDataset | None]:
    """The training side of a source and its held-out side (None when no scene fell to it).

    Raises:
        DatasetError: see ``read_source``.
    """
    reader, sides = read_source(source, i_know)
    made = [SampledDataset(reader, cameras, codebook, cache, side, workers) if side else None for side in sides]
    return made[0], made[1]


def read_source(source: SourceConfig, i_know: bool) -> tuple[Reader, tuple[list[int], list[int]]]:
    """A source's reader, and the numbers of its training samples and of its held-out ones, which may be none.

    Raises:
        DatasetError: a split that benchmarks are scored on, what opening it finds wrong, or nothing left to train on.
    """
    split = source.split or registry.entry(source.dataset).train
    registry.refuse_held_out(source.dataset, split, i_know)
    reader = registry.open_split(source.dataset, source.root, source.index, split, source.skip_broken, source.options)
    if source.thoughts is not None:
        reader = Annotated(reader, annotation_file.read(source.thoughts))
    training, held_out = split_scenes(reader, source.held_out)
    if not training:
        raise DatasetError(f"{source.dataset} {split}: every scene is held out; lower held_out ({source.held_out})")
    return reader, (training[: source.limit], held_out[: source.limit])


def split_scenes(reader: Reader, share: float) -> tuple[list[int], list[int]]:
    """Numbers of training and held-out samples; a scene's name alone decides, so that new data moves no old one."""
    training: list[int] = []
    held_out: list[int] = []
    for index in range(len(reader)):
        sample = reader[index]
        draw = int(hashlib.sha256((sample.scene or sample.id).encode()).hexdigest()[:8], 16) / 16**8
        (held_out if draw < share else training).append(index)
    return training, held_out


def _concatenate(parts: Sequence[Columns]) -> Columns:
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in Columns.__dataclass_fields__}
    shift = np.cumsum([0, *(int(part.route.max()) + 1 for part in parts[:-1])])
    columns["route"] = np.concatenate([part.route + first for part, first in zip(parts, shift)])
    return Columns(**columns)
