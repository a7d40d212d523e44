"""How likely an answer is under a model: the distribution that ``generate.answer`` draws from, over scores of one pass.

For training on drawn answers: sampled and scored log-probabilities agree, masks and temperature included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from autovla_core.contracts import PLAN_STEPS, Mode
from autovla_core.model.generate import Generated
from autovla_core.model.grammar import Grammar
from autovla_core.model.sampling import log_distribution
from autovla_core.model.thinking import ThinkingConfig


@dataclass(frozen=True)
class Choice:
    """One id that the model chose itself: its place in ``spell``, and what stood to choose from."""

    place: int
    id: int
    kind: str  # mode, word, action
    stretch: int = 0  # of the thought, for a word


def spell(grammar: Grammar, found: Generated) -> tuple[int, ...]:
    """All ids of an answer, the end of the turn included."""
    actions = tuple(int(token) + grammar.first_action for token in found.tokens)
    if found.mode is Mode.FAST:
        return grammar.fast + actions + grammar.suffix
    close = grammar.close
    return grammar.slow + found.thought + close.ids[0 if found.forced else close.mark :] + actions + grammar.suffix


def choices(grammar: Grammar, found: Generated, adaptive: bool) -> Iterator[Choice]:
    """The ids of an answer that were chosen, not fixed, in their order."""
    ids = spell(grammar, found)
    if adaptive:
        yield Choice(grammar.shared, ids[grammar.shared], "mode")
    if found.mode is Mode.SLOW:
        place, stretch, last = len(grammar.slow), 0, len(grammar.slow) + len(found.thought)
        while place < last:
            yield Choice(place, ids[place], "word", stretch)
            end = grammar.ends[stretch]
            if ids[place] == end.trigger:
                place, stretch = place + len(end.ids) - end.mark, stretch + 1
            else:
                place += 1
        if not found.forced:
            yield Choice(last, ids[last], "word", stretch)
    first = len(ids) - len(grammar.suffix) - PLAN_STEPS
    yield from (Choice(first + step, ids[first + step], "action") for step in range(PLAN_STEPS))


def log_likelihood(
    scores: torch.Tensor, grammar: Grammar, found: Generated, thinking: ThinkingConfig, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Log-probabilities (C,) of the chosen ids, in the order of ``choices``; differentiable in the scores.

    Args:
        scores: (T, vocabulary) float32; row t is what the model says before id t of ``spell``.
        mask: (10, K) bool, the actions that might follow at each step, where a mask was drawn under.
    """
    first, found_log_probs = grammar.first_action, []
    action = 0
    for choice in choices(grammar, found, thinking.mode == "adaptive"):
        row = scores[choice.place][None]
        if choice.kind == "action":
            own = row[:, first : first + grammar.actions]
            allowed = None if mask is None else mask[action][None]
            log_probs = log_distribution(own, thinking.actions, allowed)[0, choice.id - first]
            action += 1
        elif choice.kind == "mode":
            pair = [grammar.fast[grammar.shared], grammar.slow[grammar.shared]]
            log_probs = log_distribution(row[:, pair], thinking.words)[0, pair.index(choice.id)]
        else:
            log_probs = log_distribution(row, thinking.words, grammar.allowed[choice.stretch])[0, choice.id]
        found_log_probs.append(log_probs)
    return torch.stack(found_log_probs)
