"""Samples to one batch of tensors. The prompt and the answer come from the same code that drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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
WHOLE = torch.ones(3)


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
    all_known: bool  # asking the tensor would wait for a GPU and break a compiled graph
    shares: torch.Tensor = WHOLE  # (3,) of the batch that this is a part of: of samples, known poses, known rules
    seed: int = 0  # of what is dropped out of the model

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        if device.type == "cpu":
            return self
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {n: v.to(device, non_blocking=True) for n, v in moved.items() if isinstance(v, torch.Tensor)}
        clips = {camera: images.to(device, non_blocking=True) for camera, images in self.clips.items()}
        return replace(self, **moved, clips=clips)


@dataclass(frozen=True)
class Draws:
    """What chance chose for B samples: which they are, and how each is changed."""

    indices: np.ndarray  # (B,)
    speed: np.ndarray  # (B,) m/s
    acceleration: np.ndarray  # (B,) m/s2
    fed: np.ndarray  # (B, 10) action tokens that the model reads
    right: np.ndarray  # (B, 10) those it should say
    gain: np.ndarray  # (B,)
    offset: np.ndarray  # (B,)
    shifts: Mapping[str, np.ndarray]  # {camera: (B, 2)} pixels

    def rows(self, chosen: np.ndarray) -> Draws:
        """Some of the samples."""
        own = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "shifts"}
        return Draws(**own, shifts={camera: shifts[chosen] for camera, shifts in self.shifts.items()})


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
        return self.build(self._drawn(step))

    def parts(self, step: int, count: int, own: Sequence[int]) -> list[Batch]:
        """Parts ``own`` of the batch of one step, cut into ``count``; the losses of all parts add up to the batch's."""
        draws = self._drawn(step)
        cuts = np.array_split(np.arange(self.batch_size), count)
        seeds = np.random.default_rng([self.seed, step, count]).integers(2**62, size=count)
        whole = self._counts(draws.indices).clip(min=1)
        found = []
        for number in own:
            part = draws.rows(cuts[number])
            shares = torch.from_numpy((self._counts(part.indices) / whole).astype(np.float32))
            found.append(replace(self.build(part), shares=shares, seed=int(seeds[number])))
        return found

    def collate(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        """Augmented samples ``indices`` (B,)."""
        return self.build(self.draw(indices, rng))

    def _drawn(self, step: int) -> Draws:
        rng = np.random.default_rng([self.seed, step])
        cumulative = np.cumsum(self.frequencies)
        draws = rng.random(self.batch_size) * cumulative[-1]
        return self.draw(np.minimum(np.searchsorted(cumulative, draws, side="right"), len(cumulative) - 1), rng)

    def _counts(self, indices: np.ndarray) -> np.ndarray:
        """Numbers (3,) of samples, known poses and known rules: what the means of the loss are over."""
        samples = self._columns
        return np.array([len(indices), samples.mask[indices].sum(), (samples.rule[indices] > 0).sum()])

    def draw(self, indices: np.ndarray, rng: np.random.Generator) -> Draws:
        """How samples ``indices`` (B,) are augmented."""
        samples, count, reach = self._columns, len(indices), self.augment.shift_px
        speed = samples.speed[indices] + self.augment.speed_noise * rng.standard_normal(count)
        acceleration = samples.acceleration[indices] + self.augment.acceleration_noise * rng.standard_normal(count)
        fed = right = samples.tokens[indices]
        if self.augment.token_noise > 0:
            fed, right = augment.noisy_tokens(self.codebook, samples.poses[indices], self.augment.token_noise, rng)
        gain, offset = augment.light(count, self.augment, rng)
        shifts = {camera: rng.integers(-reach, reach + 1, (count, 2)) for camera in self.encoder.camera_ids}
        return Draws(indices, speed, acceleration, fed, right, gain, offset, shifts)

    def build(self, draws: Draws) -> Batch:
        """The tensors of drawn samples."""
        samples, indices = self._columns, draws.indices
        prompts = [
            self.encoder.prompt(v, a, Command(c), wish)
            for v, a, c, wish in zip(
                draws.speed, draws.acceleration, samples.command[indices], samples.instruction[indices]
            )
        ]
        answers = [(self._answer(i, f), self._answer(i, t)) for i, f, t in zip(indices, draws.fed, draws.right)]
        thinking = np.array([int(i) in self.openings for i in indices])
        known = torch.from_numpy(samples.mask[indices])
        return Batch(
            **self._text(
                prompts,
                answers,
                known,
                torch.from_numpy(np.where(thinking, self.reasoning_weight, 1.0)),
                torch.from_numpy(samples.judged[indices]),
            ),
            clips=self._clips(draws),
            gain=torch.from_numpy(draws.gain),
            offset=torch.from_numpy(draws.offset),
            poses=torch.from_numpy(samples.poses[indices].astype(np.float32)),
            rule=torch.from_numpy(samples.rule[indices]),
            nearness=torch.from_numpy(np.exp(-np.maximum(samples.ahead_m[indices], 0.0) / NEAR_M).astype(np.float32)),
            known=known,
            all_known=bool(known.all()),
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

    def _clips(self, draws: Draws) -> dict[str, torch.Tensor]:
        clips = self.dataset.clips(draws.indices)
        for camera, images in clips.items():
            for row, (dx, dy) in enumerate(draws.shifts[camera]):
                if dx or dy:
                    images[row] = augment.shift(images[row], int(dx), int(dy))
        return {camera: torch.from_numpy(images) for camera, images in clips.items()}


def _pad(rows: list[tuple[int, ...]], length: int) -> torch.Tensor:
    padded = torch.zeros((len(rows), length), dtype=torch.long)
    for row, ids in zip(padded, rows):
        row[: len(ids)] = torch.tensor(ids)
    return padded
