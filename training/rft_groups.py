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
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.action import tokenizer as actions
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command, Mode
from autovla_core.errors import ActionDecodeError
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import Generated, answer
from autovla_core.model.grammar import Grammar
from autovla_core.model.sampling import Dice
from autovla_core.model.shared_prefill import opening
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vision_cache import ClipFeatures
from training import rewards
from training.rewards import Outcome, RewardConfig, Scene, UnscorableError
from training.rft_losses import ADVANTAGES, dead
from training.rft_scenes import Pool
from training.rft_settings import NoiseConfig, RftConfig
from training.rft_tally import Tally

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


class Sampler:
    """A plain model that looks, answers, and whose answers become plans."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        cameras: tuple[CameraView, ...],
        codebook: Codebook,
        parts: bool,
    ) -> None:
        self.codebook = codebook
        self.encoder = Encoder(model, tokenizer, cameras, len(codebook))
        self._decoder = LeanDecoder(model, self.encoder)
        self._vision = ClipFeatures(model, self.encoder)
        self.grammar = Grammar.of(self.encoder, self._decoder.device, parts)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._decoder.device

    def look(self, clips: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, ...]:
        """Features of clips {camera: (B, 4, H, W, 3) uint8}, fit for training on."""
        found = self._vision.of({camera: torch.from_numpy(images) for camera, images in clips.items()})
        return tuple(part.clone() for part in found)  # inference tensors cannot be trained on

    def answer(
        self,
        prompts: Sequence[tuple[int, ...]],
        features: Sequence[torch.Tensor],
        thinking: ThinkingConfig,
        count: int = 1,
        dice: Dice | None = None,
    ) -> list[Generated]:
        """Answers to prompts of one length, or ``count`` to one prompt."""
        ids = torch.tensor(prompts, device=self.device)
        return answer(self._decoder, self.grammar, ids, features, thinking, count, dice)

    def outcome(self, scene: Scene, answers: Sequence[Generated]) -> Outcome:
        """What rewards judge of answers to one prompt."""
        return Outcome(
            scene,
            actions.decode(self.codebook, np.stack([found.tokens for found in answers])),
            np.array([len(found.thought) for found in answers]),
            np.array([found.mode is Mode.SLOW for found in answers]),
            np.array([bool(found.forced) for found in answers]),
            tuple(self.encoder.decode(found.thought).strip() if found.thought else "" for found in answers),
        )


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
        rng = np.random.default_rng([settings.seed, step, place])
        prompt = noisy_prompt(self.pool, index, sampler.encoder, settings.noise, rng)
        features = sampler.look(self.pool.part.clips(np.array([index])))
        size = settings.grpo.group
        dice = Dice([[settings.seed, step, place, number] for number in range(size)])
        try:
            answers = sampler.answer([prompt], features, settings.thinking, size, dice)
        except ActionDecodeError as error:
            raise ActionDecodeError(
                f"step {step}: {error}; lower the learning rate or start from a sound model"
            ) from None
        earned = self._earned(sampler.outcome(self.pool.scene(index), answers), tally)
        return Group(
            prompt + opening(sampler.grammar, settings.thinking.mode),
            features,
            tuple(answers),
            earned,
            ADVANTAGES[settings.grpo.advantage](earned),
            bool(dead(earned, settings.grpo.least_spread)),
        )

    def _earned(self, outcome: Outcome, tally: Tally) -> np.ndarray:
        """Rewards (G,), their terms in the tally; nothing for anyone where the scene cannot be scored."""
        try:
            earned, terms = rewards.reward(outcome, self.settings.reward)
        except UnscorableError as error:
            logger.warning("left out: %s", error)
            tally.add("unscored", 1.0)
            return np.zeros(len(outcome.plans))
        record(tally, outcome, earned, terms)
        tally.add("unscored", 0.0)
        tally.add("reward_spread", earned.std(ddof=1))
        tally.add("reward_standing", standing(outcome.scene, self.settings.reward))
        tally.add("dead_groups", dead(earned, self.settings.grpo.least_spread))
        return earned


def noisy_prompt(
    pool: Pool, index: int, encoder: Encoder, noise: NoiseConfig, rng: np.random.Generator | None
) -> tuple[int, ...]:
    """Prompt ids of a sample, its state with noise on it; without ``rng`` as it is."""
    columns = pool.columns
    more = np.zeros(2) if rng is None else rng.standard_normal(2) * [noise.speed, noise.acceleration]
    speed, acceleration = columns.speed[index] + more[0], columns.acceleration[index] + more[1]
    return encoder.prompt(speed, acceleration, Command(columns.command[index]), columns.instruction[index])


def record(
    tally: Tally, outcome: Outcome, earned: np.ndarray, terms: Mapping[str, np.ndarray], prefix: str = ""
) -> None:
    """Put rewards, their terms and ways of thinking into a tally; those of complex and simple scenes apart, too."""
    kind = "complex" if outcome.scene.complex else "simple"
    values = {"reward": earned, "thinking_tokens": outcome.thinking_tokens, "slow": outcome.slow}
    for name, value in values.items():
        tally.add(f"{prefix}{name}", value)
        tally.add(f"{prefix}{name}_{kind}", value)
    tally.add(f"{prefix}thought_cut", outcome.forced)
    for name, value in terms.items():
        tally.add(f"{prefix}term_{name}", value)


def standing(scene: Scene, config: RewardConfig) -> float:
    """What a car that stands would earn: beside any reward that pays more for it, driving is not learnt."""
    earned, _ = rewards.reward(rewards.standards(scene), config)
    return float(earned[list(rewards.STANDARDS).index("standing")])
