"""What supervised fine-tuning trains on and is validated on, as a recipe names it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core.action.codebook import Codebook
from autovla_core.model.encoding import Encoder
from training.datasets.mixture import Mixture, Part, open_source
from training.datasets.reasons import ThinkingRoutes
from training.datasets.routes import RouteDataset, find_routes, sample_weights, split
from training.datasets.sample import DatasetError
from training.datasets.sampled import Columns
from training.run_record import hash_columns
from training.sft_settings import SftConfig


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it is validated on."""

    training: Part
    held_out: Part
    frequencies: np.ndarray  # (S,) of the training samples
    held_out_frequencies: np.ndarray
    scenes: int  # routes and scenes of the training side

    def hashes(self) -> dict[str, str]:
        """Names both sides: every state, plan, thought and frequency; pictures are not hashed."""
        sides = (self.training, self.frequencies), (self.held_out, self.held_out_frequencies)
        return dict(zip(("data", "held_out"), (_hash(part, frequencies) for part, frequencies in sides)))


def load_data(settings: SftConfig, codebook: Codebook, i_know: bool = False) -> Data:
    """Open what the recipe names: route logs alone, or with other data sets as one mixture.

    Raises:
        LogError, DatasetError: nothing there, or a split that must not be trained on.
    """
    data, cameras = settings.data, settings.model.cameras
    sides: list[tuple[Part, Part, float]] = []
    if data.routes or not data.sources:
        training, held_out = split(find_routes(data.routes), data.held_out)
        opened = (training, held_out or training[:1])
        kind = ThinkingRoutes if data.thoughts else RouteDataset
        logs = [kind(side, cameras, codebook, data.cache, settings.threads) for side in opened]
        if not data.sources:
            own = [sample_weights(part.samples, data.frequency) for part in logs]
            return Data(*logs, *own, len(training))
        sides.append((*logs, data.routes_weight))
    for source in data.sources:
        training, held_out = open_source(source, cameras, codebook, data.cache, settings.threads, i_know)
        sides.append((training, held_out or training, source.weight))
    weights = [weight for *_, weight in sides]
    mixed = [Mixture([side[i] for side in sides]) for i in (0, 1)]
    own = [[sample_weights(side[i].samples, data.frequency) for side in sides] for i in (0, 1)]
    scenes = int(mixed[0].samples.route.max()) + 1
    return Data(*mixed, *(mix.frequencies(part, weights) for mix, part in zip(mixed, own)), scenes)


def thought_ids(dataset: Part, encoder: Encoder) -> dict[int, tuple[int, ...]]:
    """For every sample with a thought, the ids of a slow answer up to its first action."""
    thoughts = enumerate(Columns.of(dataset.samples).thought)
    return {i: encoder.slow_ids + encoder.ids(text) + encoder.close_ids for i, text in thoughts if text is not None}


def validation_samples(data: Data, settings: SftConfig) -> np.ndarray:
    """A fixed, balanced choice of held-out samples.

    Raises:
        DatasetError: no pose of any is known, so no model could be told from another.
    """
    frequencies = data.held_out_frequencies
    count = min(settings.data.held_out_samples, int((frequencies > 0).sum()))
    rng = np.random.default_rng(settings.seed)
    chosen = np.sort(rng.choice(len(data.held_out), count, replace=False, p=frequencies / frequencies.sum()))
    if not Columns.of(data.held_out.samples).mask[chosen].any():
        raise DatasetError(f"none of {count} held-out samples has a known pose: take other data, or more of it")
    return chosen


def _hash(part: Part, frequencies: np.ndarray) -> str:
    found = Columns.of(part.samples)
    numbers = found.speed, found.acceleration, found.command, found.poses, found.mask, found.rule, found.ahead_m
    return hash_columns((*numbers, found.thought, found.instruction, frequencies))
