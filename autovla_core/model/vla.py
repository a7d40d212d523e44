"""The planner: a vision-language-action model, from an observation to a plan."""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.action import tokenizer as actions
from autovla_core.action.codebook import Codebook
from autovla_core.action.vehicle import Vehicle, require_vehicle
from autovla_core.contracts import CLIP_IMAGES, Observation, Plan
from autovla_core.errors import CheckpointError, ObservationError, SetupError
from autovla_core.model import checkpoint
from autovla_core.model.action_tokens import ReachMask
from autovla_core.model.checkpoint import Record
from autovla_core.model.decoder import LeanDecoder
from autovla_core.model.eager import EagerDecoder
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import ActionMask, Decoder, Generated, answer
from autovla_core.model.grammar import Grammar
from autovla_core.model.images import fit
from autovla_core.model.patches import batch_vision
from autovla_core.model.sampling import Dice
from autovla_core.model.thinking import Deadline, ThinkingConfig
from autovla_core.model.vision_cache import ClipFeatures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What the model reads of one observation: prompt ids, and clips {camera: (1, 4, H, W, 3) uint8}."""

    prompt: tuple[int, ...]
    clips: dict[str, torch.Tensor]


class AutoVLA:
    """Thinks as ``thinking`` says, then answers with ten action tokens. Without a deadline a plan depends on its
    observation alone.

    Images that were seen before are not looked at again; that changes no bit of a plan on a CPU.

    Attributes:
        record: what the model folder says about itself.
        cameras: views that an observation must hold.
        thinking: way and length of thinking.
        grammar: what an answer may consist of.
        decoder, vision: what reads and writes tokens, and what looks at images.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        codebook: Codebook,
        record: Record,
        blind: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        thinking: ThinkingConfig | None = None,
        lean: bool = True,
        reach: bool = False,
        quantise: str = "",
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        batch_vision(self.model)
        self.codebook = codebook
        self.record = record
        self.cameras = record.cameras
        self.encoder = Encoder(self.model, tokenizer, record.cameras, len(codebook))
        self.thinking = thinking or ThinkingConfig()
        self.decoder, self.vision = _engines(self.model, self.encoder, lean, quantise)
        self.grammar = Grammar.of(self.encoder, self.decoder.device, self.thinking.parts)
        self._reach = ReachMask.of(codebook, self.decoder.device) if reach else None
        self._blind = blind
        self._clock = clock
        self._deadline = Deadline(clock, self.thinking.deadline_ms)
        self._on_words: Callable[[str], None] | None = None
        self._lock = threading.Lock()  # the cache of keys and values belongs to one plan at a time

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str = "cpu",
        blind: bool = False,
        threads: int | None = None,
        thinking: ThinkingConfig | None = None,
        lean: bool = True,
        reach: bool = False,
        quantise: str = "",
        vehicle: Vehicle | None = None,
    ) -> AutoVLA:
        """Load a model folder; float32 on the CPU, bfloat16 on a GPU.

        Args:
            folder: written by ``checkpoint.save``; the tiny model or a 3B one.
            blind: show the model black images, whatever the cameras see: the control of an evaluation.
            threads: set torch's CPU threads of this whole process; the tiny model is fastest with 1 beside a simulator.
            thinking: fast if not given.
            lean: decode by our own code; else by the library's modules, with the same tokens.
            reach: choose only among motions that the car can follow up with, see ``action.reach``.
            quantise: "int8" or "fp8": decode with weights of one byte, by torchao; for large models on a GPU.
            vehicle: the car that will be driven; without, its size is not looked at.

        Raises:
            CheckpointError: a file is missing, or the folder's hashes do not fit each other or this code.
            CodebookError: the folder's motions are those of a car of another size than ``vehicle``.
            SetupError: a GPU is asked for and there is none, or torchao for ``quantise``.
        """
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise SetupError(f"device {device!r}: this torch sees no GPU; use device cpu, or a torch built for CUDA")
        if threads is not None:
            torch.set_num_threads(threads)
        record = checkpoint.read_record(folder)
        codebook = checkpoint.read_codebook(folder, record)
        if vehicle is not None:
            require_vehicle(codebook, vehicle.length, vehicle.width)
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
        model, tokenizer = checkpoint.load(folder, dtype)
        logger.info("loaded %s, %.1f M parameters", folder, sum(p.numel() for p in model.parameters()) / 1e6)
        return cls(
            model.to(device),
            tokenizer,
            codebook,
            record,
            blind,
            thinking=thinking,
            lean=lean,
            reach=reach,
            quantise=quantise,
        )

    def thinking_as(self, thinking: ThinkingConfig, on_words: Callable[[str], None] | None = None) -> AutoVLA:
        """The same planner, weights and memory included, that thinks in another way.

        Args:
            on_words: given the thought so far whenever a word was added, where one plan is made at a time.
        """
        other = copy.copy(self)
        other._on_words = on_words
        other.thinking = thinking
        other.grammar = Grammar.of(self.encoder, self.decoder.device, thinking.parts)
        other._deadline = Deadline(self._clock, thinking.deadline_ms)
        return other

    def plan(self, observation: Observation) -> Plan:
        """Ten poses, 0.5 s apart. A plan is ready when it was observed: simulated time waits for it.

        Raises:
            ObservationError: a camera is missing, an image has another size, or a state is not finite.
            ActionDecodeError: the model's scores are no numbers.
        """
        return self.plan_many([observation])[0]

    def plan_many(self, observations: Sequence[Observation]) -> list[Plan]:
        """A plan for each observation; those whose prompts are equally long are made together."""
        started = self._clock()
        inputs = [self.inputs(observation) for observation in observations]
        groups: dict[int, list[int]] = defaultdict(list)
        for place, each in enumerate(inputs):
            groups[len(each.prompt)].append(place)
        plans: dict[int, Plan] = {}
        with self._lock:
            for places in groups.values():
                made = self._plans([observations[i] for i in places], [inputs[i] for i in places], started)
                plans.update(zip(places, made))
        return [plans[place] for place in range(len(observations))]

    def sample(self, observation: Observation, count: int) -> list[Plan]:
        """``count`` plans for one observation, drawn as ``thinking`` says; images and prompt are read once."""
        started = self._clock()
        inputs = self.inputs(observation)
        with self._lock:
            return self._plans([observation], [inputs], started, count)

    def inputs(self, observation: Observation) -> Inputs:
        """What the model will read.

        Raises:
            ObservationError: see ``plan``.
        """
        clips = {camera.id: self._clip(observation, camera) for camera in self.cameras}
        _check_state(observation)
        return Inputs(
            self.encoder.prompt(
                observation.speed, observation.acceleration, observation.command, observation.instruction
            ),
            clips,
        )

    def reset(self) -> None:
        """Forget the images of the last episode."""
        self.vision.reset()

    def _plans(
        self, observations: Sequence[Observation], inputs: Sequence[Inputs], started: float, count: int = 1
    ) -> list[Plan]:
        """Plans of observations with equally long prompts, or ``count`` plans of one."""
        prepared = self._clock()
        self._deadline.begin(started)
        device, rows = self.decoder.device, len(observations) * count
        clips = {name: torch.cat([each.clips[name] for each in inputs]) for name in inputs[0].clips}
        features = self.vision.of(clips)
        seen = self._clock()
        prompts = torch.tensor([each.prompt for each in inputs], device=device)
        answers = answer(
            self.decoder,
            self.grammar,
            prompts,
            features,
            self.thinking,
            count,
            self._dice(observations, count),
            self._mask(observations),
            self._deadline.late,
            self._heard,
        )
        self._deadline.end()
        timings = {"prepare": prepared - started, "vision": seen - prepared, "model": self._clock() - seen}
        timings = {name: 1e3 * seconds for name, seconds in timings.items()}
        poses = actions.decode(self.codebook, np.stack([found.tokens for found in answers]))
        return [self._plan(observations[row // count], answers[row], poses[row], timings) for row in range(rows)]

    def _plan(self, observation: Observation, found: Generated, poses: np.ndarray, timings: dict[str, float]) -> Plan:
        return Plan(
            poses=poses,
            observed_at_s=observation.time_s,
            ready_at_s=observation.time_s,
            tokens=found.tokens,
            thought=found.said(self.encoder, self.grammar),
            mode=found.mode,
            log_probs=found.log_probs,
            timings_ms=timings,
            thinking_tokens=len(found.thought),
            forced=found.forced,
        )

    def _heard(self, thought: Sequence[int]) -> None:
        if self._on_words is not None:
            self._on_words(self.encoder.decode(self.grammar.header + tuple(thought)).strip())

    def _dice(self, observations: Sequence[Observation], count: int) -> Dice | None:
        """Chance for each row, from the seed and the time of its observation: a drive can be replayed."""
        if self.thinking.words.greedy and self.thinking.actions.greedy:
            return None
        moments = [round(1e3 * observation.time_s) % 2**63 for observation in observations]
        return Dice([[self.thinking.seed, moment, row] for moment in moments for row in range(count)])

    def _mask(self, observations: Sequence[Observation]) -> ActionMask | None:
        reach = self._reach
        if reach is None:
            return None
        first = reach.first(np.array([observation.speed for observation in observations]))
        return lambda before: first if before is None else reach.after(before)

    def _clip(self, observation: Observation, camera: CameraView) -> torch.Tensor:
        """The clip (1, 4, H, W, 3) of one camera, or black."""
        clip = observation.clips.get(camera.id)
        if clip is None:
            raise ObservationError(
                f"no clip of camera {camera.id!r}; the observation holds {sorted(observation.clips)}"
            )
        shape = getattr(clip.images, "shape", ())
        if len(shape) != 4 or shape[0] != CLIP_IMAGES:
            raise ObservationError(f"clip of {camera.id!r} is {shape}, expected ({CLIP_IMAGES}, H, W, 3)")
        images = np.ascontiguousarray(fit(clip.images, camera.height, camera.width))
        if self._blind:
            images = np.zeros_like(images)
        return torch.from_numpy(images)[None]


def _engines(model: PreTrainedModel, encoder: Encoder, lean: bool, quantise: str) -> tuple[Decoder, ClipFeatures]:
    """Our own decoder and tower, or the library's where ours cannot read the weights (adapters, quantised layers)."""
    if lean:
        try:
            return LeanDecoder(model, encoder, quantise=quantise), ClipFeatures(model, encoder)
        except CheckpointError as error:
            logger.warning("planning by the library's modules: %s", error)
    return EagerDecoder(model, encoder), ClipFeatures(model, encoder, lean=False)


def _check_state(observation: Observation) -> None:
    for name in ("speed", "acceleration"):
        value = getattr(observation, name)
        if not math.isfinite(value):
            raise ObservationError(f"{name} is {value}, expected a finite number")
