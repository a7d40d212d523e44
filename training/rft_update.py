"""From groups of answers to a gradient: each prompt read once, every answer's choices scored, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch

from autovla_core.model.generate import Generated
from autovla_core.model.shared_prefill import (
    Answers,
    Prompts,
    close_leaves,
    lay_out,
    log_probs,
    open_leaves,
    read_prompts,
)
from training.rft_groups import Group
from training.rft_losses import k3, surrogate, token_shares
from training.rft_policy import Policy
from training.rft_settings import RftConfig
from training.rft_tally import Tally


@dataclass(frozen=True)
class Part:
    """Some answers to the prompts of a ``Reading``; C choices in all."""

    answers: Answers
    advantage: torch.Tensor  # (C,)
    share: torch.Tensor  # (C,) of each choice in its answer
    reference: torch.Tensor | None = None  # (C,) log-probabilities under the reference; None: nobody asks
    old: torch.Tensor | None = None  # (C,) when the answers were drawn; None: as of the first update


@dataclass(frozen=True)
class Reading:
    """Prompts of one length, and their answers in parts."""

    ids: torch.Tensor  # (N, L)
    features: tuple[torch.Tensor, ...]  # (N * V, D) each
    parts: tuple[Part, ...]


class Update:
    """Accumulates the gradient of groups, as often as they are learnt from."""

    def __init__(self, policy: Policy, settings: RftConfig) -> None:
        self._policy, self._settings = policy, settings
        self._encoder, self._grammar = policy.sampler.encoder, policy.sampler.grammar

    def readings(self, groups: Sequence[Group]) -> list[Reading]:
        """Groups laid out, with what the reference says about every choice."""
        ordered = sorted(groups, key=lambda group: len(group.prompt))
        found = []
        for _, same in groupby(ordered, key=lambda group: len(group.prompt)):
            for some in _cut(list(same), self._settings.memory.prompts):
                found.append(self._refer(self._lay_out(some)))
        return found

    def backward(self, readings: list[Reading], tally: Tally) -> list[Reading]:
        """Add the gradient of the loss, this rank's share of it; return the readings with ``old`` filled in.

        The loss is the mean over all answers of the step; dead groups count in the mean and add nothing.
        """
        grpo = self._settings.grpo
        scale = 1.0 / (grpo.prompts * grpo.group)
        done = []
        for reading in readings:
            prompts = self._read(reading)
            leaves = open_leaves(prompts)
            parts = tuple(self._part_backward(leaves, part, scale, tally) for part in reading.parts)
            close_leaves(prompts, leaves)
            done.append(replace(reading, parts=parts))
        return done

    def _part_backward(self, leaves: Prompts, part: Part, scale: float, tally: Tally) -> Part:
        grpo = self._settings.grpo
        own = self._score(leaves, part)
        old = own.detach() if part.old is None else part.old
        gain, clipped = surrogate(own, old, part.advantage, grpo.clip if grpo.updates > 1 else None)
        tally.add("ratio_clipped", clipped.cpu().numpy())
        if part.reference is not None:
            divergence = k3(part.reference, own)
            tally.add("kl", divergence.detach().cpu().numpy())
            gain = gain - grpo.beta * divergence
        (-scale * (gain * part.share).sum()).backward()
        return replace(part, old=old)

    def _lay_out(self, groups: Sequence[Group]) -> Reading:
        settings, device = self._settings, self._policy.sampler.device
        rows = [(k, found, adv) for k, g in enumerate(groups) for found, adv in zip(g.answers, g.advantages)]
        rows.sort(key=lambda row: len(row[1].thought))  # answers of like length share little padding
        parts = [self._part(some, device) for some in _cut(rows, settings.memory.answers)]
        features = tuple(torch.cat(outputs) for outputs in zip(*(group.features for group in groups)))
        return Reading(torch.tensor([group.prompt for group in groups], device=device), features, tuple(parts))

    def _part(self, rows: Sequence[tuple[int, Generated, float]], device: torch.device) -> Part:
        numbers, answers, advantages = zip(*rows)
        laid = lay_out(self._grammar, answers, numbers, self._settings.thinking, device)
        advantage = torch.tensor(advantages, dtype=torch.float32, device=device)[laid.row]
        return Part(laid, advantage, token_shares(laid.row, laid.counts, self._settings.grpo.divisor))

    @torch.no_grad()
    def _refer(self, reading: Reading) -> Reading:
        if not self._settings.grpo.beta > 0.0:
            return reading
        with self._policy.reference() as model:
            prompts = read_prompts(model, self._encoder, reading.ids, reading.features)
            arguments = self._encoder, self._grammar, prompts
            thinking = self._settings.thinking
            found = [log_probs(model, *arguments, part.answers, thinking) for part in reading.parts]
        return replace(reading, parts=tuple(replace(p, reference=r) for p, r in zip(reading.parts, found)))

    def _read(self, reading: Reading) -> Prompts:
        return read_prompts(self._policy.scored, self._encoder, reading.ids, reading.features)

    def _score(self, prompts: Prompts, part: Part) -> torch.Tensor:
        scored, thinking = self._policy.scored, self._settings.thinking
        return log_probs(scored, self._encoder, self._grammar, prompts, part.answers, thinking)


def _cut(things: list, most: int) -> Iterator[list]:
    for start in range(0, len(things), most):
        yield things[start : start + most]
