"""Groups of answers to one prompt: drawn, turned into plans, rewarded.

What is drawn depends on (seed, step, place in the step, number in the group) and the weights alone: not on the number
of ranks, nor on what is drawn beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autovla_core.errors import ActionDecodeError
from autovla_core.model.generate import Generated
from autovla_core.model.sampling import Dice
from training import rewards
from training.rewards import Outcome, UnscorableError
from training.rft_losses import ADVANTAGES, dead
from training.rft_scenes import Pool
from training.rft_settings import RftConfig
from training.rft_tally import Tally
from training.sampler import Sampler, prompt_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """G answers to one prompt, what they earned, and what each earned more than the others."""

    prompt: tuple[int, ...]  # ids, the opening that all answers share included
    features: tuple[torch.Tensor, ...]  # of its clips, (V, D) each
    answers: tuple[Generated, ...]
    rewards: np.ndarray  # (G,)
    advantages: np.ndarray  # (G,)
    dead: bool = False  # nothing is to be learnt from it


@dataclass(frozen=True)
class Dealer:
    """Deals the groups of a step."""

    pool: Pool
    sampler: Sampler
    settings: RftConfig

    def indices(self, step: int) -> np.ndarray:
        """The samples (prompts,) of a step, over all ranks."""
        return self.pool.draw(self.settings.grpo.prompts, np.random.default_rng([self.settings.seed, step]))

    def group(self, step: int, place: int, index: int, tally: Tally) -> Group:
        """The group at one place of a step.

        Raises:
            RewardError: a reward is no number; the text names the sample.
            ActionDecodeError: the model's scores are no numbers.
        """
        settings, sampler = self.settings, self.sampler
        rng = np.random.default_rng([settings.seed, step, place + 1])  # 0 at the end names the stream of ``indices``
        noise = rng.standard_normal(2) * [settings.noise.speed, settings.noise.acceleration]
        prompt = prompt_of(sampler.encoder, self.pool.columns, index, noise)
        features = sampler.look(self.pool.part.clips(np.array([index])))
        size = settings.grpo.group
        dice = Dice([[settings.seed, step, place, number] for number in range(size)])
        try:
            answers = sampler.answer([prompt], features, settings.thinking, size, dice)
        except ActionDecodeError as error:
            raise ActionDecodeError(
                f"step {step}: {error}; lower the learning rate or start from a sound model"
            ) from None
        found = earned(sampler.outcome(self.pool.scene(index), answers), settings, tally)
        return group_of(prompt + sampler.grammar.opening(settings.thinking.mode), features, answers, found, settings)


def group_of(
    prompt: tuple[int, ...],
    features: tuple[torch.Tensor, ...],
    answers: Sequence[Generated],
    earned: np.ndarray,
    settings: RftConfig,
) -> Group:
    """A group with its advantages; ``prompt`` includes the opening that all answers share."""
    advantages = ADVANTAGES[settings.grpo.advantage](earned)
    return Group(prompt, features, tuple(answers), earned, advantages, bool(dead(earned, settings.grpo.least_spread)))


def earned(outcome: Outcome, settings: RftConfig, tally: Tally) -> np.ndarray:
    """Rewards (G,), their terms in the tally; nothing for anyone where the scene cannot be scored.

    A car that stands is judged with them: beside any reward that pays more for it, driving is not learnt.

    Raises:
        RewardError: a reward is no number; the text names the sample.
    """
    own = slice(len(outcome.plans))
    whole = rewards.joined(outcome, rewards.standards(outcome.scene, ("standing",)))
    try:
        found, terms = rewards.reward(whole, settings.reward)
    except UnscorableError as error:
        logger.warning("left out: %s", error)
        tally.add("unscored", 1.0)
        return np.zeros(len(outcome.plans))
    record(tally, whole, found, terms, own)
    tally.add("unscored", 0.0)
    tally.add("reward_standing", found[-1])
    tally.add("reward_spread", found[own].std(ddof=1))
    tally.add("dead_groups", dead(found[own], settings.grpo.least_spread))
    return found[own]


def record(
    tally: Tally,
    outcome: Outcome,
    earned: np.ndarray,
    terms: Mapping[str, np.ndarray],
    rows: slice,
    prefix: str = "",
) -> None:
    """Put rewards of some rows, their terms and ways of thinking into a tally; complex and simple scenes apart, too."""
    kind = "complex" if outcome.scene.complex else "simple"
    values = {"reward": earned, "thinking_tokens": outcome.thinking_tokens, "slow": outcome.slow}
    for name, value in values.items():
        tally.add(f"{prefix}{name}", value[rows])
        tally.add(f"{prefix}{name}_{kind}", value[rows])
    tally.add(f"{prefix}thought_cut", outcome.forced[rows])
    for name, value in terms.items():
        tally.add(f"{prefix}term_{name}", value[rows])
