"""Who makes the plans of an open-loop evaluation: a checkpoint, fast or thinking, or a baseline."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from autovla_core.action import tokenizer
from autovla_core.contracts import CLIP_IMAGES, CLIP_PERIOD_S, PLAN_STEPS, STEP_S, Clip, Mode, Observation, Plan
from autovla_core.errors import AutoVLAError
from autovla_core.model.encoding import CameraView
from autovla_core.model.generate import decode_actions
from autovla_core.model.images import crop, fit
from autovla_core.model.vla import AutoVLA
from training.best_of import sample_actions
from training.datasets.sample import DatasetError, Sample, StoredImage
from training.datasets.sampled import known_poses

STOPPED = np.zeros((PLAN_STEPS, 3))


@dataclass(frozen=True)
class Planned:
    """The plans for one sample; without any, ``error`` says why."""

    poses: np.ndarray  # (1 + N, 10, 3) in the sample's frame: the plan, then N drawn ones; (0, 10, 3) if it failed
    log_probs: np.ndarray  # (1 + N,) of each whole plan
    mode: str = Mode.FAST.value
    thought: str = ""
    ms: float = 0.0
    error: str = ""


class OpenLoopPlanner(Protocol):
    """Plans for a list of samples, in their order; a failure is an answer, not an exception."""

    def plan(self, samples: Sequence[Sample]) -> list[Planned]: ...


def failure(error: Exception) -> Planned:
    """A sample without a plan."""
    return Planned(np.zeros((0, PLAN_STEPS, 3)), np.zeros(0), error=f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Sampling:
    """How many plans are drawn beside the greedy one, and how."""

    count: int = 0
    temperature: float = 1.0
    seed: int = 0


class Batched:
    """A checkpoint that plans fast, many samples at once: as it drives, ten greedy tokens after the fixed text."""

    def __init__(self, vla: AutoVLA, sampling: Sampling, workers: int = 2, blind: bool = False) -> None:
        self._vla, self._sampling, self._blind = vla, sampling, blind
        self._pictures = Pictures(vla.cameras, workers)

    def plan(self, samples: Sequence[Sample]) -> list[Planned]:
        """See ``OpenLoopPlanner``."""
        found: list[Planned | None] = [None] * len(samples)
        clips: dict[int, dict[str, np.ndarray]] = {}
        groups = defaultdict(list)  # prompts of one length decode together
        prompts = {}
        for row, sample in enumerate(samples):
            try:
                clips[row] = self._pictures.clips(sample)
            except AutoVLAError as error:
                found[row] = failure(error)
                continue
            prompts[row] = self._vla.encoder.fast_prefix(
                sample.speed, sample.acceleration, sample.command, sample.instruction
            )
            groups[len(prompts[row])].append(row)
        for rows in groups.values():
            made = self._decode([samples[r] for r in rows], [prompts[r] for r in rows], [clips[r] for r in rows])
            for row, planned in zip(rows, made):
                found[row] = planned
        return found

    def _decode(
        self, samples: Sequence[Sample], prompts: Sequence[tuple[int, ...]], clips: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Planned]:
        vla, started = self._vla, time.perf_counter()
        device = vla.model.device
        stacked = {c.id: torch.from_numpy(np.stack([clip[c.id] for clip in clips])) for c in vla.cameras}
        if self._blind:
            stacked = {camera: torch.zeros_like(images) for camera, images in stacked.items()}
        inputs = torch.tensor(prompts, device=device), vla.encoder.patches(stacked).to(device)
        tokens, log_probs = decode_actions(vla.model, vla.encoder, *inputs)
        tokens, log_probs = tokens[:, None].cpu(), log_probs[:, None].sum(-1).cpu()
        ms = (time.perf_counter() - started) * 1e3 / len(samples)
        if self._sampling.count:
            drawn, likely = self._draw(samples, *inputs)
            tokens, log_probs = torch.cat([tokens, drawn], 1), torch.cat([log_probs, likely.sum(-1)], 1)
        poses = tokenizer.decode(vla.codebook, tokens.numpy())
        return [Planned(p, lp.astype(float), ms=ms) for p, lp in zip(poses, log_probs.numpy())]

    def _draw(
        self, samples: Sequence[Sample], ids: torch.Tensor, patches: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Seeded by the first sample's id, so that a run that is resumed draws what it would have drawn."""
        generator = torch.Generator(ids.device)
        generator.manual_seed(self._sampling.seed + int.from_bytes(samples[0].id.encode()[-6:], "big"))
        drawn = sample_actions(
            self._vla.model,
            self._vla.encoder,
            ids,
            patches,
            self._sampling.count,
            self._sampling.temperature,
            generator,
        )
        return drawn[0].cpu(), drawn[1].cpu()


class Thinking:
    """A checkpoint that plans as it drives with thinking switched on; a thought and its mode are kept."""

    def __init__(self, vla: AutoVLA, workers: int = 2) -> None:
        self._vla = vla
        self._pictures = Pictures(vla.cameras, workers)

    def plan(self, samples: Sequence[Sample]) -> list[Planned]:
        """See ``OpenLoopPlanner``."""
        found: list[Planned | None] = [None] * len(samples)
        ready: dict[int, Observation] = {}
        for row, sample in enumerate(samples):
            try:
                ready[row] = self._observation(sample)
            except AutoVLAError as error:
                found[row] = failure(error)
        for row, planned in zip(ready, self._plan_together(list(ready.values()))):
            found[row] = planned
        return found

    def _plan_together(self, observations: Sequence[Observation]) -> list[Planned]:
        """One batch; if it fails, each alone, so that one bad sample does not take others with it."""
        started = time.perf_counter()
        try:
            plans = self._vla.plan_many(observations) if observations else []
        except AutoVLAError as error:
            if len(observations) == 1:
                return [failure(error)]
            return [self._plan_together([observation])[0] for observation in observations]
        ms = (time.perf_counter() - started) * 1e3 / max(len(plans), 1)
        return [_planned(plan, ms) for plan in plans]

    def _observation(self, sample: Sample) -> Observation:
        times = CLIP_PERIOD_S * np.arange(1 - CLIP_IMAGES, 1)
        clips = {camera: Clip(images, times) for camera, images in self._pictures.clips(sample).items()}
        state = sample.speed, sample.acceleration, np.zeros(3), sample.command, np.zeros((0, 2))
        return Observation(0.0, clips, *state, instruction=sample.instruction)


def _planned(plan: Plan, ms: float) -> Planned:
    likely = np.zeros(1) if plan.log_probs is None else np.array([float(plan.log_probs.sum())])
    return Planned(plan.poses[None], likely, Mode(plan.mode).value, plan.thought, ms)


class Pictures:
    """Clips as the model wants them; pictures that neighbouring samples share are decoded once."""

    def __init__(self, cameras: tuple[CameraView, ...], workers: int) -> None:
        self._cameras = cameras
        self._pool = ThreadPoolExecutor(workers)
        self._decoded = lru_cache(maxsize=512)(_decode)

    def clips(self, sample: Sample) -> dict[str, np.ndarray]:
        """Clips {camera: (4, H, W, 3) uint8}.

        Raises:
            DatasetError: a camera or a picture is missing or broken.
        """
        found = {}
        for camera in self._cameras:
            stored = sample.images.get(camera.id, ())
            if len(stored) != CLIP_IMAGES:
                raise DatasetError(f"sample {sample.id}: no clip of {camera.id!r}; it has {sorted(sample.images)}")
            shape = [(camera.height, camera.width)] * CLIP_IMAGES
            found[camera.id] = np.stack(list(self._pool.map(self._decoded, stored, *zip(*shape))))
        return found


def _decode(image: StoredImage, height: int, width: int) -> np.ndarray:
    return fit(np.ascontiguousarray(crop(image.read(), height, width)), height, width)


def stopped(sample: Sample) -> np.ndarray:
    """Never move."""
    return STOPPED


def constant_velocity(sample: Sample) -> np.ndarray:
    """Straight on, as fast as now."""
    return np.outer(STEP_S * np.arange(1, PLAN_STEPS + 1) * sample.speed, [1.0, 0.0, 0.0])


def constant_turn(sample: Sample) -> np.ndarray:
    """As fast as now, turning as over the last half second."""
    if not len(sample.history):
        return constant_velocity(sample)
    yaw = -sample.history[-1, 2] * np.arange(1, PLAN_STEPS + 1)
    chord = sample.speed * STEP_S * np.exp(1j * (yaw - 0.5 * yaw[0]))  # each half step turns half before it moves
    path = np.cumsum(chord)
    return np.column_stack([path.real, path.imag, yaw])


def truth(sample: Sample) -> np.ndarray:
    """What was driven: the score of a perfect plan."""
    return known_poses(sample.poses, sample.mask)


BASELINES: dict[str, Callable[[Sample], np.ndarray]] = {
    "stopped": stopped,
    "constant_velocity": constant_velocity,
    "constant_turn": constant_turn,
    "truth": truth,
}


class Baseline:
    """A rule instead of a model: the ruler that a model's numbers are held against."""

    def __init__(self, name: str) -> None:
        if name not in BASELINES:
            raise DatasetError(f"no baseline {name!r}; known: {', '.join(BASELINES)}")
        self._rule = BASELINES[name]

    def plan(self, samples: Sequence[Sample]) -> list[Planned]:
        """See ``OpenLoopPlanner``."""
        return [Planned(self._rule(sample)[None], np.zeros(1)) for sample in samples]
