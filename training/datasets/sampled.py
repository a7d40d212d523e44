"""A ``Reader`` of a foreign data set as columns and clips: what the collator and the trainer take.

Every picture is decoded once, cropped to the model's shape, resized, and kept in a memory-mapped file of the cache
folder; a second epoch, or a second run, reads pixels only.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS
from autovla_core.model.encoding import CameraView
from autovla_core.model.images import crop, fit
from autovla_core.prompt import reasoning
from training.datasets.routes import AHEAD, Samples
from training.datasets.sample import DatasetError, Reader, Sample, StoredImage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns(Samples):
    """``Samples``, and what only foreign data has; ``route`` numbers the scene, unknown poses repeat the last known."""

    mask: np.ndarray  # (S, 10) bool: which poses are known
    instruction: np.ndarray  # (S,) object: str in the command's place, or None
    thought: np.ndarray  # (S,) object: str, or None
    judged: np.ndarray  # (S,) bool: whether no thought means that none is needed, or only that none was written

    @classmethod
    def of(cls, samples: Samples) -> Columns:
        """The same samples; those of route logs know every pose and have neither instruction nor thought."""
        if isinstance(samples, cls):
            return samples
        count = len(samples)
        nothing = np.full(count, None, object)
        known, judged = np.ones((count, PLAN_STEPS), bool), np.ones(count, bool)
        return cls(**vars(samples), mask=known, instruction=nothing, thought=nothing, judged=judged)


class SampledDataset:
    """Samples ``chosen`` of a reader; sample numbers count the chosen ones.

    Raises:
        DatasetError: nothing chosen, or a sample without a wanted camera or with a state that is not finite.
    """

    def __init__(
        self,
        reader: Reader,
        cameras: tuple[CameraView, ...],
        codebook: Codebook,
        cache: Path,
        chosen: Sequence[int] | None = None,
        workers: int = 2,
    ) -> None:
        numbers = range(len(reader)) if chosen is None else chosen
        if not len(numbers):
            raise DatasetError(f"{reader.name} {reader.split}: no samples to take")
        self.cameras = cameras
        label = f"{reader.name} {reader.split}"
        taken = [_checked(reader[i], cameras) for i in tqdm(numbers, desc=label, unit="sample")]
        self.ids = [sample.id for sample in taken]
        self.scenes = [sample.scene or sample.id for sample in taken]
        stored, slots = _unique_images(taken, cameras)
        self._pictures = [PictureCache(cache, label, camera, images) for camera, images in zip(cameras, stored)]
        self._workers = workers
        self.samples = _columns(taken, self.scenes, slots, codebook)
        logger.info("%s: %d samples, %d with a thought", label, len(taken), sum(s.reasoning is not None for s in taken))

    def __len__(self) -> int:
        return len(self.samples)

    def clips(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Clips {camera: (B, 4, H, W, 3) uint8} of samples ``indices`` (B,).

        Raises:
            DatasetError: a picture cannot be read.
        """
        with ThreadPoolExecutor(self._workers) as pool:
            return {
                camera.id: self._pictures[c].read(self.samples.images[indices, c], pool)
                for c, camera in enumerate(self.cameras)
            }


class PictureCache:
    """All pictures of one camera at one size: a sparse file that fills as they are asked for."""

    def __init__(self, folder: Path, label: str, camera: CameraView, images: Sequence[StoredImage]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._camera, self._stored = camera, images
        digest = hashlib.sha256(repr([(i.path.as_posix(), i.offset, i.length) for i in images]).encode()).hexdigest()
        name = f"{label.replace(' ', '-')}-{camera.id}-{camera.height}x{camera.width}-{digest[:16]}"
        shape = (len(images), camera.height, camera.width, 3)
        self._pixels = _sparse(folder / f"{name}.pixels", shape)
        self._done = _sparse(folder / f"{name}.done", (len(images),))

    def read(self, slots: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
        """Pictures (..., H, W, 3) of ``slots`` (...); those seen for the first time are decoded by ``pool``."""
        new = [slot for slot in np.unique(slots) if not self._done[slot]]
        list(pool.map(self._decode, new))
        return self._pixels[slots]

    def _decode(self, slot: int) -> None:
        camera = self._camera
        picture = crop(self._stored[slot].read(), camera.height, camera.width)
        self._pixels[slot] = fit(picture, camera.height, camera.width)
        self._done[slot] = 1  # after the pixels: a run that dies between the two decodes again


def _sparse(file: Path, shape: tuple[int, ...]) -> np.memmap:
    """A file of zeros that takes no room until it is written to; an old one of this name is kept."""
    if not file.exists():
        partial = file.with_suffix(".partial")
        with partial.open("wb") as stream:
            stream.truncate(int(np.prod(shape, dtype=np.int64)))
        partial.replace(file)
    return np.memmap(file, np.uint8, "r+", shape=shape)


def _checked(sample: Sample, cameras: tuple[CameraView, ...]) -> Sample:
    missing = [camera.id for camera in cameras if len(sample.images.get(camera.id, ())) != CLIP_IMAGES]
    if missing:
        raise DatasetError(f"sample {sample.id}: no clip of {missing}; it has {sorted(sample.images)}")
    state = np.array([sample.speed, sample.acceleration])
    if not np.isfinite(state).all() or not np.isfinite(sample.poses[sample.mask]).all():
        raise DatasetError(f"sample {sample.id}: speed, acceleration or a known pose is not finite: {state}")
    return sample


def _unique_images(
    samples: Sequence[Sample], cameras: tuple[CameraView, ...]
) -> tuple[list[list[StoredImage]], np.ndarray]:
    """Per camera its different pictures, and which of them (S, C, 4) make each sample's clip."""
    found: list[dict[StoredImage, int]] = [{} for _ in cameras]
    slots = np.zeros((len(samples), len(cameras), CLIP_IMAGES), np.int64)
    for row, sample in enumerate(samples):
        for c, camera in enumerate(cameras):
            for k, image in enumerate(sample.images[camera.id]):
                slots[row, c, k] = found[c].setdefault(image, len(found[c]))
    return [list(images) for images in found], slots


def _columns(samples: Sequence[Sample], scenes: Sequence[str], images: np.ndarray, codebook: Codebook) -> Columns:
    count = len(samples)
    poses = np.stack([known_poses(sample.poses, sample.mask) for sample in samples])
    numbers = {scene: i for i, scene in enumerate(dict.fromkeys(scenes))}
    return Columns(
        route=np.array([numbers[scene] for scene in scenes]),
        images=images,
        speed=np.array([s.speed for s in samples], float),
        acceleration=np.array([s.acceleration for s in samples], float),
        command=np.array([int(s.command) for s in samples], np.int64),
        poses=poses,
        tokens=tokenizer.encode(codebook, poses),
        perturbed=np.zeros(count, bool),
        rule=np.zeros(count, np.int64),
        ahead_m=np.full((count, len(AHEAD)), np.inf),
        mask=np.stack([s.mask for s in samples]).astype(bool),
        instruction=_objects([s.instruction for s in samples]),
        thought=_objects([thought_of(s) for s in samples]),
        judged=np.ones(count, bool),
    )


def known_poses(poses: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Poses (10, 3) with each unknown one replaced by the last known one before it, at first by standing still."""
    found, last = np.empty((PLAN_STEPS, 3)), np.zeros(3)
    for step in range(PLAN_STEPS):
        last = poses[step] if mask[step] else last
        found[step] = last
    return found


def thought_of(sample: Sample) -> str | None:
    """The text of a sample's thought, or None.

    Raises:
        DatasetError: a part is empty, or holds what only the answer's own structure may hold.
    """
    if sample.reasoning is None:
        return None
    parts = sample.reasoning
    try:
        return reasoning.write(reasoning.Reasoning(parts.scene, parts.objects, parts.intention, parts.action))
    except reasoning.ReasoningError as error:
        raise DatasetError(f"sample {sample.id}: {error}") from None


def _objects(values: Sequence[str | None]) -> np.ndarray:
    column = np.full(len(values), None, object)
    column[:] = values
    return column
