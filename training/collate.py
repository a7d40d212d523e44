"""Samples to one batch of tensors. The prompt and the answer come from the same code that drives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command
from autovla_core.model.encoding import Encoder
from autovla_core.model.grammar import Grammar
from training import augment
from training.augment import AugmentConfig
from training.datasets.mixture import Part
from training.datasets.sampled import Columns
from training.losses import token_weights

NEAR_M = 15.0  # m at which nearness has fallen to 1/e


@dataclass(frozen=True)
class Batch:
    """B samples, L places (padded on the right), T places of the answer (padded on the right)."""

    ids: torch.Tensor  # (B, L) what the model reads
    places: torch.Tensor  # (B, T) place in ``ids`` whose output predicts each token of the answer
    labels: torch.Tensor  # (B, T) ids
    action: torch.Tensor  # (B, T) bool
    weights: torch.Tensor  # (B, T) of the loss
    clips: dict[str, torch.Tensor]  # {camera: (B, 4, H, W, 3) uint8}
    gain: torch.Tensor  # (B,) of pixel values
    offset: torch.Tensor  # (B,) in 0..255
    poses: torch.Tensor  # (B, 10, 3) float32
    rule: torch.Tensor  # (B,) index into contracts.RULES; 0 = not known
    nearness: torch.Tensor  # (B, 4) in 0..1: a red light, a green one, a stop sign, a leader
    known: torch.Tensor  # (B, 10) bool: which poses are known; only these are learnt


@dataclass(frozen=True)
class Collator:
    """Draws and builds batches; batch ``step`` depends on the seed and ``step`` alone, so a run can resume anywhere."""

    dataset: Part
    encoder: Encoder
    codebook: Codebook
    frequencies: np.ndarray  # (S,) relative
    augment: AugmentConfig
    batch_size: int
    lambda_action: float
    seed: int
    openings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # sample -> ids of a thought's text
    reasoning_weight: float = 1.0  # of a sample with a thought: lambda_cot of the paper
    mode_weight: float | None = None  # of the token that chooses the mode, outside the mean; None: inside

    @cached_property
    def mode_place(self) -> int:
        """Which token of an answer chooses the mode."""
        return len(Grammar.of(self.encoder, torch.device("cpu")).opening("adaptive"))

    @cached_property
    def _columns(self) -> Columns:
        return Columns.of(self.dataset.samples)

    def batch(self, step: int) -> Batch:
        """The training batch of one step."""
        rng = np.random.default_rng([self.seed, step])
        cumulative = np.cumsum(self.frequencies)
        draws = rng.random(self.batch_size) * cumulative[-1]
        indices = np.minimum(np.searchsorted(cumulative, draws, side="right"), len(cumulative) - 1)
        return self.collate(indices, rng)

    def collate(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        """Augmented samples ``indices`` (B,)."""
        samples, count = self._columns, len(indices)
        speed = samples.speed[indices] + self.augment.speed_noise * rng.standard_normal(count)
        acceleration = samples.acceleration[indices] + self.augment.acceleration_noise * rng.standard_normal(count)
        fed = labels = samples.tokens[indices]
        if self.augment.token_noise > 0:
            fed, labels = augment.noisy_tokens(self.codebook, samples.poses[indices], self.augment.token_noise, rng)
        prompts = [
            self.encoder.prompt(v, a, Command(c), wish)
            for v, a, c, wish in zip(speed, acceleration, samples.command[indices], samples.instruction[indices])
        ]
        answers = [(self._answer(i, f), self._answer(i, t)) for i, f, t in zip(indices, fed, labels)]
        thinking = np.array([int(i) in self.openings for i in indices])
        known = torch.from_numpy(samples.mask[indices])
        gain, offset = augment.light(count, self.augment, rng)
        return Batch(
            **self._text(
                prompts,
                answers,
                known,
                torch.from_numpy(np.where(thinking, self.reasoning_weight, 1.0)),
                torch.from_numpy(samples.judged[indices]),
            ),
            clips=self._clips(indices, rng),
            gain=torch.from_numpy(gain),
            offset=torch.from_numpy(offset),
            poses=torch.from_numpy(samples.poses[indices].astype(np.float32)),
            rule=torch.from_numpy(samples.rule[indices]),
            nearness=torch.from_numpy(np.exp(-np.maximum(samples.ahead_m[indices], 0.0) / NEAR_M).astype(np.float32)),
            known=known,
        )

    def _answer(self, index: int, tokens: np.ndarray) -> tuple[int, ...]:
        """Ids of the whole answer: a slow one for a sample with a thought."""
        opening = self.openings.get(int(index))
        if opening is None:
            return self.encoder.fast_answer(tokens)
        return opening + tuple(int(t) + self.encoder.first_action for t in tokens) + self.encoder.suffix_ids

    def _text(
        self,
        prompts: list[tuple[int, ...]],
        answers: list[tuple[tuple[int, ...], tuple[int, ...]]],
        known: torch.Tensor,
        sample_weight: torch.Tensor,
        judged: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Ids, places, labels, action mask and weights of prompts and (fed, right) answers.

        ``judged`` (B,) bool: where not, the token that chooses the mode is not learnt, if it weighs by itself.
        """
        longest = max(len(answer) for answer, _ in answers)
        rows = [prompt + answer for prompt, (answer, _) in zip(prompts, answers)]
        ids = _pad(rows, max(map(len, rows)))
        labels = _pad([right for _, right in answers], longest)
        starts = torch.tensor([len(prompt) - 1 for prompt in prompts])
        lengths = torch.tensor([len(answer) for answer, _ in answers])
        inside = torch.arange(longest)[None] < lengths[:, None]
        first = self.encoder.first_action
        action = inside & (labels >= first) & (labels < first + self.encoder.actions)
        places = (starts[:, None] + torch.arange(longest)).clamp(max=ids.shape[1] - 1)
        unknown = torch.zeros_like(action)
        unknown[action] = ~known.flatten()
        mode = None
        if self.mode_weight is not None:
            mode = torch.zeros_like(action)
            mode[:, self.mode_place] = True
        weights = token_weights(
            inside & ~unknown,
            action & ~unknown,
            sample_weight.float(),
            self.lambda_action,
            mode,
            self.mode_weight or 0.0,
        )
        if self.mode_weight is not None:
            weights[~judged, self.mode_place] = 0.0
        return {"ids": ids, "places": places, "labels": labels, "action": action, "weights": weights}

    def _clips(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        reach = self.augment.shift_px
        clips = self.dataset.clips(indices)
        for images in clips.values():
            for row, (dx, dy) in enumerate(rng.integers(-reach, reach + 1, (len(indices), 2))):
                if dx or dy:
                    images[row] = augment.shift(images[row], int(dx), int(dy))
        return {camera: torch.from_numpy(images) for camera, images in clips.items()}


def _pad(rows: list[tuple[int, ...]], length: int) -> torch.Tensor:
    padded = torch.zeros((len(rows), length), dtype=torch.long)
    for row, ids in zip(padded, rows):
        row[: len(ids)] = torch.tensor(ids)
    return padded
