"""A plain model that answers prompts, and its greedy answers to many samples: how both kinds of training validate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.action import tokenizer as actions
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Command, Mode
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import Generated, answer
from autovla_core.model.grammar import Grammar
from autovla_core.model.sampling import Dice
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vision_cache import ClipFeatures
from training.datasets.sampled import Columns
from training.rewards import Outcome, Scene


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

    def plans(self, answers: Sequence[Generated]) -> np.ndarray:
        """Poses (N, 10, 3) of answers."""
        return actions.decode(self.codebook, np.stack([found.tokens for found in answers]))

    def outcome(self, scene: Scene, answers: Sequence[Generated]) -> Outcome:
        """What rewards judge of answers to one prompt."""
        return Outcome(
            scene,
            self.plans(answers),
            np.array([len(found.thought) for found in answers]),
            np.array([found.mode is Mode.SLOW for found in answers]),
            np.array([bool(found.forced) for found in answers]),
            tuple(found.said(self.encoder, self.grammar) for found in answers),
        )


def prompt_of(
    encoder: Encoder, columns: Columns, index: int, more: Sequence[float] | np.ndarray = (0.0, 0.0)
) -> tuple[int, ...]:
    """Prompt ids of a sample; ``more`` is added to its speed and acceleration."""
    speed, acceleration = columns.speed[index] + more[0], columns.acceleration[index] + more[1]
    return encoder.prompt(speed, acceleration, Command(columns.command[index]), columns.instruction[index])


def greedy_answers(
    sampler: Sampler,
    prompts: Mapping[int, tuple[int, ...]],
    clips: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    ways: Mapping[str, ThinkingConfig],
    batch: int,
) -> Iterator[tuple[int, dict[str, Generated]]]:
    """For each sample of ``prompts`` its answer by each way of thinking; its clips are looked at once.

    Prompts of one length are answered together, ``batch`` at a time.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, prompt in prompts.items():
        groups[len(prompt)].append(index)
    for same in groups.values():
        for start in range(0, len(same), batch):
            numbers = same[start : start + batch]
            features = sampler.look(clips(np.array(numbers)))
            asked = [prompts[number] for number in numbers]
            found = {name: sampler.answer(asked, features, thinking) for name, thinking in ways.items()}
            for row, number in enumerate(numbers):
                yield number, {name: answers[row] for name, answers in found.items()}
