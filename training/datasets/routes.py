"""Route logs as training samples.

All images are decoded once into memory-mapped uint8 arrays, all plans tokenised once; both are kept
in a cache folder, named by what they depend on. A sample is one row of ``plans.npz``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.action import tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import CLIP_IMAGES, RULES, STEP_S, Command
from autovla_core.errors import LogError, ObservationError
from autovla_core.logs.reader import RouteLog, route_folders
from autovla_core.model.encoding import CameraView
from autovla_core.model.images import fit

logger = logging.getLogger(__name__)

SIGNAL_M = 25.0  # a light so near, red or green, decides what to do
AHEAD = ("red_m", "green_m", "sign_m", "lead_m")  # of contracts.Outlook


@dataclass(frozen=True)
class Samples:
    """Columns of S samples; ``poses`` in the ego frame, SI units."""

    route: np.ndarray  # (S,) index of the route
    images: np.ndarray  # (S, C, 4) image numbers within the route, per camera, oldest first
    speed: np.ndarray  # (S,)
    acceleration: np.ndarray  # (S,)
    command: np.ndarray  # (S,) contracts.Command
    poses: np.ndarray  # (S, 10, 3)
    tokens: np.ndarray  # (S, 10)
    perturbed: np.ndarray  # (S,) bool: the ego was pushed within the last second
    rule: np.ndarray  # (S,) index into contracts.RULES
    ahead_m: np.ndarray  # (S, 4) to a red light, a green one, a stop sign, a leader; inf where there is none

    def __len__(self) -> int:
        return len(self.route)


def _end_speed(samples: Samples) -> np.ndarray:
    last = np.diff(samples.poses[:, -2:, :2], axis=1)[:, 0]
    return np.linalg.norm(last, axis=1) / STEP_S


def _reach(samples: Samples) -> np.ndarray:
    return np.linalg.norm(samples.poses[:, -1, :2], axis=1)


EVENTS: dict[str, Callable[[Samples], np.ndarray]] = {
    "turn": lambda s: (np.abs(s.poses[:, -1, 2]) > 0.3) & (_reach(s) > 2.0),
    "stop": lambda s: (s.speed > 1.5) & (_end_speed(s) < 0.5 * s.speed),
    "start": lambda s: (s.speed < 2.0) & (_end_speed(s) > 2.5),
    "standing": lambda s: (s.speed < 0.3) & (_reach(s) < 0.5),
    "lane_change": lambda s: np.isin(s.command, (Command.CHANGE_LEFT, Command.CHANGE_RIGHT)),
    "perturbed": lambda s: s.perturbed,
    "light": lambda s: (s.rule == RULES.index("light")) & (s.speed > 0.5),
    "signal": lambda s: (s.ahead_m[:, :2].min(axis=1) < SIGNAL_M) & (s.speed > 3.0),
    "stop_sign": lambda s: (s.rule == RULES.index("stop_sign")) & (s.speed > 0.5),
}


def sample_weights(samples: Samples, weights: Mapping[str, float]) -> np.ndarray:
    """Relative frequency (S,) of each sample: the product of the weights of its events.

    Raises:
        ValueError: an event that ``EVENTS`` does not hold.
    """
    unknown = set(weights) - set(EVENTS)
    if unknown:
        raise ValueError(f"unknown events {sorted(unknown)}; known: {', '.join(EVENTS)}")
    total = np.ones(len(samples))
    for name, weight in weights.items():
        total[EVENTS[name](samples)] *= weight
    return total


def split(folders: Iterable[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Training and held-out routes; a route's name alone decides, so that new data never moves an old route."""
    training, held_out = [], []
    for folder in folders:
        draw = int(hashlib.sha256(folder.name.encode()).hexdigest()[:8], 16) / 16**8
        (held_out if draw < share else training).append(folder)
    return training, held_out


def find_routes(roots: Sequence[Path]) -> list[Path]:
    """Finished route folders below all ``roots``."""
    return [folder for root in roots for folder in route_folders(root)]


class RouteDataset:
    """Samples of many routes, with their images behind memory maps.

    Raises:
        LogError: no routes, a route without the wanted cameras, or images of another size.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        cameras: tuple[CameraView, ...],
        codebook: Codebook,
        cache: Path,
        workers: int = 2,
    ) -> None:
        if not folders:
            raise LogError("no route logs to train on; collect some with tools/collect_routes.py")
        cache.mkdir(parents=True, exist_ok=True)
        self.cameras = cameras
        with ThreadPoolExecutor(workers) as pool:
            load = pool.map(lambda folder: _Route.load(folder, cameras, codebook, cache), folders)
            routes = list(tqdm(load, total=len(folders), desc="routes", unit="route"))
        self._images = [route.images for route in routes]
        self.samples = _concatenate([route.samples for route in routes])
        logger.info("%d routes, %d samples", len(routes), len(self.samples))

    def __len__(self) -> int:
        return len(self.samples)

    def clips(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Clips {camera: (B, 4, H, W, 3) uint8} of samples ``indices`` (B,)."""
        found = {}
        for c, camera in enumerate(self.cameras):
            out = np.empty((len(indices), CLIP_IMAGES, camera.height, camera.width, 3), np.uint8)
            for row, index in enumerate(indices):
                images = self._images[self.samples.route[index]][c]
                for slot, number in enumerate(self.samples.images[index, c]):
                    out[row, slot] = images[number]
            found[camera.id] = out
        return found


@dataclass(frozen=True)
class _Route:
    images: list[np.ndarray]  # per camera (N, H, W, 3) uint8, memory-mapped
    samples: Samples

    @classmethod
    def load(cls, folder: Path, cameras: tuple[CameraView, ...], codebook: Codebook, cache: Path) -> _Route:
        log = RouteLog(folder)
        missing = {camera.id for camera in cameras} - set(log.cameras)
        if missing:
            raise LogError(f"{folder}: no camera {sorted(missing)}; the rig holds {list(log.cameras)}")
        if not len(log.plans["tick"]):
            raise LogError(f"{folder}: the log holds no plans")
        images = [_image_array(log, camera, cache) for camera in cameras]
        return cls(images, _samples(log, cameras, _tokens(log, codebook, cache)))


def _fingerprint(log: RouteLog, *parts: object) -> str:
    """Names a cache file: the route's own plans and whatever else it depends on."""
    digest = hashlib.sha256(log.plans["poses"].tobytes() + log.plans["tick"].tobytes())
    digest.update(repr((log.meta.route_id, log.meta.seed, *parts)).encode())
    return f"{log.folder.name}-{digest.hexdigest()[:16]}"


def _cached(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in ``file``, memory-mapped; made and renamed into place when it is not there."""
    if not file.exists():
        partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")  # a folder may be named twice
        with partial.open("wb") as stream:
            np.save(stream, make())
        partial.rename(file)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def _image_array(log: RouteLog, camera: CameraView, cache: Path) -> np.ndarray:
    ticks = log.image_ticks[camera.id]
    shape = (camera.height, camera.width, 3)

    def decode() -> np.ndarray:
        array = np.empty((len(ticks), *shape), np.uint8)
        for row, tick in enumerate(ticks):
            image = log.image(camera.id, tick)
            try:
                array[row] = fit(image, camera.height, camera.width)
            except ObservationError as error:
                raise LogError(f"{log.folder}, camera {camera.id!r}: {error}") from None
        return array

    return _cached(cache / f"{_fingerprint(log, camera, len(ticks))}.images.npy", decode)


def _tokens(log: RouteLog, codebook: Codebook, cache: Path) -> np.ndarray:
    file = cache / f"{_fingerprint(log, codebook.hash)}.tokens.npy"
    return _cached(file, lambda: tokenizer.encode(codebook, log.plans["poses"]))


def _samples(log: RouteLog, cameras: tuple[CameraView, ...], tokens: np.ndarray) -> Samples:
    plan_ticks = log.plans["tick"]
    numbers = [
        [np.searchsorted(log.image_ticks[camera.id], log.clip_ticks(camera.id, tick)) for camera in cameras]
        for tick in plan_ticks
    ]
    second = round(1.0 / log.meta.tick_s)
    pushes = np.concatenate([[0], np.cumsum(log.ticks["perturbed"])])
    return Samples(
        route=np.zeros(len(plan_ticks), np.int64),
        images=np.array(numbers, np.int64).reshape(len(plan_ticks), len(cameras), CLIP_IMAGES),
        speed=log.plans["speed"].astype(float),
        acceleration=log.plans["acceleration"].astype(float),
        command=log.plans["command"].astype(np.int64),
        poses=log.plans["poses"].astype(float),
        tokens=np.array(tokens),
        rule=log.plans["rule"].astype(np.int64),
        ahead_m=np.stack([log.plans[name] for name in AHEAD], axis=1).astype(float),
        perturbed=pushes[plan_ticks + 1] > pushes[np.maximum(plan_ticks - second, 0)],
    )


def _concatenate(parts: list[Samples]) -> Samples:
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in Samples.__dataclass_fields__}
    columns["route"] = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    return Samples(**columns)
