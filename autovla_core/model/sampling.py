"""From scores to a token: one distribution, used to draw, to report log-probabilities and to score a drawn answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autovla_core.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen; temperature 0 takes the likeliest.

    Raises:
        ConfigError: a value that makes no distribution.
    """

    temperature: float = 0.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise ConfigError(f"temperature {self.temperature}: expected 0 (greedy) or more")
        if self.top_k < 0 or not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_k {self.top_k}, top_p {self.top_p}: expected 0 or more, and more than 0 up to 1")

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off the distribution."""
        return self.top_k == 0 and self.top_p == 1.0

    @property
    def greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.temperature == 0.0


GREEDY = Sampling()


def log_distribution(scores: torch.Tensor, sampling: Sampling, allowed: torch.Tensor | None = None) -> torch.Tensor:
    """Log-probabilities (B, N) of what is drawn, minus infinity where nothing is; differentiable in the scores.

    Temperature, then top-k, then top-p, as in Hugging Face's warpers, all among ``allowed`` (N,) or (B, N) bool.
    Greedy choices report the plain distribution (temperature 1, nothing cut).
    """
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    if sampling.greedy:
        return torch.log_softmax(scores, dim=-1)
    scores = scores / sampling.temperature
    if 0 < sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p < 1.0:
        order = scores.sort(dim=-1, descending=True)
        shares = order.values.softmax(dim=-1)
        beyond = shares.cumsum(dim=-1) - shares >= sampling.top_p  # mass of the likelier ones alone is enough
        scores = scores.masked_fill(torch.zeros_like(beyond).scatter(-1, order.indices, beyond), -torch.inf)
    return torch.log_softmax(scores, dim=-1)


class Dice:
    """One stream of chance for each row: row r draws the same whatever other rows are drawn beside it."""

    def __init__(self, seeds: Sequence[Sequence[int]]) -> None:
        self._generators = [torch.Generator().manual_seed(_mixed(seed)) for seed in seeds]

    @classmethod
    def of(cls, seed: int, rows: int) -> Dice:
        """Streams of rows 0, 1, 2 ... of one seed."""
        return cls([[seed, row] for row in range(rows)])

    def rows(self, numbers: Sequence[int]) -> Dice:
        """The streams of some rows, shared with this object."""
        some = Dice([])
        some._generators = [self._generators[number] for number in numbers]
        return some

    def throw(self, device: torch.device, count: int = 1) -> torch.Tensor:
        """``count`` uniform numbers in [0, 1) for each row: (rows, count) float64."""
        drawn = [torch.rand(count, generator=generator, dtype=torch.float64) for generator in self._generators]
        return torch.stack(drawn).to(device)


def choose(
    scores: torch.Tensor, sampling: Sampling, dice: Dice | None, allowed: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B,) and their log-probabilities (B,) in the distribution that they were drawn from."""
    shares = log_distribution(scores, sampling, allowed)
    if sampling.greedy or dice is None:
        best = shares.max(dim=-1)
        return best.indices, best.values
    heap = shares.exp().cumsum(dim=-1, dtype=torch.float64)
    whole = heap[:, -1:]
    at = torch.minimum(dice.throw(heap.device) * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    tokens = torch.searchsorted(heap, at, right=True)  # the first whose heap is higher: never one without a share
    return tokens[:, 0], shares.gather(-1, tokens)[:, 0]


def _mixed(seed: Sequence[int]) -> int:
    """One seed of several numbers, none negative; neighbours give unrelated streams."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
