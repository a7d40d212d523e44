"""The planner: a vision-language-action model, from an observation to a plan."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from autovla_core.action import tokenizer as actions
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import CLIP_IMAGES, Mode, Observation, Plan
from autovla_core.errors import ObservationError
from autovla_core.model import checkpoint
from autovla_core.model.checkpoint import Record
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import decode_actions
from autovla_core.model.images import fit
from autovla_core.model.patches import batch_vision

logger = logging.getLogger(__name__)


class AutoVLA:
    """Plans fast: ten greedy action tokens after the fixed text of the answer. Holds no state between plans.

    Attributes:
        record: what the model folder says about itself.
        cameras: views that an observation must hold.
    """

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        codebook: Codebook,
        record: Record,
        blind: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        batch_vision(self.model)
        self.codebook = codebook
        self.record = record
        self.cameras = record.cameras
        self.encoder = Encoder(self.model, tokenizer, record.cameras, len(codebook))
        self._blind = blind
        self._clock = clock

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str = "cpu", blind: bool = False, threads: int | None = None
    ) -> AutoVLA:
        """Load a model folder; float32 on the CPU, bfloat16 on a GPU.

        Args:
            folder: written by ``checkpoint.save``; the tiny model or a 3B one.
            blind: show the model black images, whatever the cameras see: the control of an evaluation.
            threads: set torch's CPU threads of this whole process; the tiny model is fastest with 1 beside a simulator.

        Raises:
            CheckpointError: a file is missing, or the folder's hashes do not fit each other or this code.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        record = checkpoint.read_record(folder)
        codebook = checkpoint.read_codebook(folder, record)
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
        model, tokenizer = checkpoint.load(folder, dtype)
        logger.info("loaded %s, %.1f M parameters", folder, sum(p.numel() for p in model.parameters()) / 1e6)
        return cls(model.to(device), tokenizer, codebook, record, blind)

    def plan(self, observation: Observation) -> Plan:
        """Ten poses, 0.5 s apart. A plan is ready when it was observed: simulated time waits for it.

        Raises:
            ObservationError: a camera is missing, an image has another size, or a state is not finite.
        """
        started = self._clock()
        clips = {camera.id: self._clip(observation, camera) for camera in self.cameras}
        _check_state(observation)
        ids = self.encoder.fast_prefix(
            observation.speed, observation.acceleration, observation.command, observation.instruction
        )
        device = self.model.device
        inputs = torch.tensor([ids], device=device), self.encoder.patches(clips).to(device)
        prepared = self._clock()
        tokens, log_probs = decode_actions(self.model, self.encoder, *inputs)
        chosen = tokens[0].cpu().numpy()
        return Plan(
            poses=actions.decode(self.codebook, chosen),
            observed_at_s=observation.time_s,
            ready_at_s=observation.time_s,
            tokens=chosen,
            mode=Mode.FAST,
            log_probs=log_probs[0].cpu().numpy(),
            timings_ms={"prepare": (prepared - started) * 1e3, "model": (self._clock() - prepared) * 1e3},
        )

    def reset(self) -> None:
        """Nothing to forget: every plan starts from its observation alone."""

    def _clip(self, observation: Observation, camera: CameraView) -> torch.Tensor:
        """The clip (1, 4, H, W, 3) of one camera, or black."""
        clip = observation.clips.get(camera.id)
        if clip is None:
            raise ObservationError(
                f"no clip of camera {camera.id!r}; the observation holds {sorted(observation.clips)}"
            )
        if len(clip.images) != CLIP_IMAGES:
            raise ObservationError(f"clip of {camera.id!r} has {len(clip.images)} images, expected {CLIP_IMAGES}")
        images = np.ascontiguousarray(fit(clip.images, camera.height, camera.width))
        if self._blind:
            images = np.zeros_like(images)
        return torch.from_numpy(images)[None]


def _check_state(observation: Observation) -> None:
    for name in ("speed", "acceleration"):
        value = getattr(observation, name)
        if not math.isfinite(value):
            raise ObservationError(f"{name} is {value}, expected a finite number")
