"""Means of many values over many groups and all ranks, and the ranks themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from torch import distributed

FLOATS = np.ndarray | float | bool
BUCKET = 1 << 26  # values of gradients that travel at once
PATIENCE = timedelta(hours=24)  # the others wait while the first rank decodes all pictures; torch's own is 10 minutes


class Tally:
    """Sums and counts by name."""

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = {}  # (2,) sum, count

    def add(self, name: str, values: FLOATS) -> None:
        """Add one value or an array of them."""
        array = np.asarray(values, float)
        self.sums[name] = self.sums.get(name, np.zeros(2)) + [array.sum(), array.size]

    def means(self, digits: int = 4) -> dict[str, float]:
        """The mean of every name, in the order of the names."""
        return {name: round(float(total / count), digits) for name, (total, count) in sorted(self.sums.items())}


@dataclass(frozen=True)
class Team:
    """The ranks that train together: each takes its share of every step, and all end it with the same weights."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> Team:
        """Under ``torchrun`` the group that it started; else alone."""
        if not distributed.is_torchelastic_launched():
            return cls()
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        """End what ``join`` began."""
        if self.size > 1:
            distributed.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of ``count`` things are this rank's."""
        return range(self.rank, count, self.size)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return self._sum(torch.tensor([float(flag)])).item() > 0.0

    def merge(self, tally: Tally) -> Tally:
        """The tally of all ranks."""
        if self.size == 1:
            return tally
        found: list[dict[str, list[float]] | None] = [None] * self.size
        distributed.all_gather_object(found, {name: pair.tolist() for name, pair in tally.sums.items()})
        merged = Tally()
        for sums in found:
            for name, pair in sums.items():
                merged.sums[name] = merged.sums.get(name, np.zeros(2)) + pair
        return merged

    def first(self, value: float) -> float:
        """What the rank that leads says."""
        if self.size == 1:
            return value
        return self._sum(torch.tensor([value if self.leads else 0.0], dtype=torch.float64)).item()

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value summed over all ranks, which name the same ones in the same order."""
        if self.size == 1:
            return dict(values)
        return dict(zip(values, self._sum(torch.tensor(list(values.values()), dtype=torch.float64)).tolist()))

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Every rank gets the sum of all ranks' gradients."""
        if self.size == 1:
            return
        for bucket in buckets([p.numel() for p in parameters]):
            self._sum_bucket([parameters[i] for i in bucket])

    def _sum_bucket(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        gradients = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in parameters]
        whole = self._sum(torch.cat([gradient.flatten().float() for gradient in gradients]))
        for parameter, part in zip(parameters, whole.split([p.numel() for p in parameters])):
            parameter.grad = part.view(parameter.shape).to(parameter.dtype)

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        if self.size == 1:
            return values
        moved = values.cuda() if distributed.get_backend() == "nccl" else values
        distributed.all_reduce(moved)
        return moved.to(values.device)


def buckets(sizes: Sequence[int], most: int = BUCKET) -> list[range]:
    """Neighbours that together hold ``most`` values or fewer; a larger one is alone."""
    found, first, held = [], 0, 0
    for number, size in enumerate(sizes):
        if number > first and held + size > most:
            found.append(range(first, number))
            first, held = number, 0
        held += size
    return found + ([range(first, len(sizes))] if first < len(sizes) else [])
