"""Where motions come from: route logs, Bench2Drive clips, trajectories in npz files.

A drive is a world trajectory (T, 3) at a fixed period. A codebook is built from its motions of 0.5 s at every
phase; it is judged on its plans: ten poses of 0.5 s in the ego frame at the first one.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autovla_core import geometry
from autovla_core.contracts import PLAN_STEPS, STEP_S
from autovla_core.errors import CodebookError
from autovla_core.files import replacing
from autovla_core.logs.reader import RouteLog, route_folders
from training.codebooks.synthetic import motions_of
from training.datasets import bench2drive_files
from training.datasets.sample import DatasetError

PLANS_SCHEMA = "autovla-plans/1"


@dataclass(frozen=True)
class Driving:
    """What was driven, cut both ways."""

    motions: np.ndarray  # (M, 3) of 0.5 s
    plans: np.ndarray  # (N, 10, 3)

    @property
    def digest(self) -> str:
        """sha256 of the motions: what a codebook's provenance names its data by."""
        return hashlib.sha256(np.ascontiguousarray(self.motions, "<f8").tobytes()).hexdigest()


def joined(parts: Iterable[Driving]) -> Driving:
    """All parts as one; empty if there are none."""
    empty = Driving(np.zeros((0, 3)), np.zeros((0, PLAN_STEPS, 3)))
    parts = [empty, *parts]
    return Driving(np.concatenate([p.motions for p in parts]), np.concatenate([p.plans for p in parts]))


def from_trajectory(poses: np.ndarray, period_s: float) -> Driving:
    """Cut a drive (T, 3), one pose every ``period_s``, at every phase.

    Raises:
        CodebookError: 0.5 s is no multiple of the period, or a pose is not finite.
    """
    stride = round(STEP_S / period_s) if period_s > 0 else 0
    if stride < 1 or abs(stride * period_s - STEP_S) > 1e-6:
        raise CodebookError(f"a trajectory has a pose every {period_s} s; {STEP_S} s must be a multiple of that")
    poses = np.asarray(poses, float)
    if poses.ndim != 2 or poses.shape[1] != 3 or not np.isfinite(poses).all():
        raise CodebookError(f"a trajectory is {poses.shape}, expected finite (T, 3)")
    motions = geometry.relative(poses[:-stride], poses[stride:])
    starts = np.arange(max(0, len(poses) - PLAN_STEPS * stride))
    ends = starts[:, None] + stride * np.arange(1, PLAN_STEPS + 1)
    return Driving(motions, geometry.relative(poses[starts][:, None], poses[ends]))


def route_logs(root: Path) -> Driving:
    """What was driven in the route logs below ``root``; perturbed ticks too, for that is how one recovers."""
    logs = [RouteLog(folder) for folder in tqdm(route_folders(root), desc="route logs", leave=False)]
    return joined(_thinned(log.poses, log.meta.tick_s) for log in logs)


def planned(root: Path) -> Driving:
    """What the expert planned in the route logs below ``root``: what a model is taught to say."""
    logs = [RouteLog(folder) for folder in tqdm(route_folders(root), desc="route logs", leave=False)]
    return from_plans(np.concatenate([np.zeros((0, PLAN_STEPS, 3)), *(log.plans["poses"] for log in logs)]))


def _thinned(poses: np.ndarray, tick_s: float) -> Driving:
    """Every other tick: phases 0.1 s apart."""
    return from_trajectory(poses[::2], 2.0 * tick_s)


def bench2drive_clips(root: Path) -> Driving:
    """What the ego drove in the Bench2Drive clips below ``root``.

    Raises:
        CodebookError: no clip, or an annotation that cannot be read.
    """
    try:
        clips = tqdm(bench2drive_files.clip_folders(root), desc="Bench2Drive clips", leave=False)
        drives = [piece for clip in clips for piece in bench2drive_files.ego_drives(clip)]
    except DatasetError as error:
        raise CodebookError(str(error)) from None
    return joined(from_trajectory(drive, bench2drive_files.FRAME_S) for drive in drives)


def from_plans(plans: np.ndarray) -> Driving:
    """Plans (N, 10, 3) as they are."""
    plans = np.asarray(plans, float)
    if plans.ndim != 3 or plans.shape[1:] != (PLAN_STEPS, 3) or not np.isfinite(plans).all():
        raise CodebookError(f"plans are {plans.shape}, expected finite (N, {PLAN_STEPS}, 3)")
    return Driving(motions_of(plans), plans)


def npz_file(path: Path) -> Driving:
    """Read ``plans`` (N, 10, 3), or ``trajectories`` (N, T, 3) with ``period_s`` (a NaN pose ends one), from an npz.

    Raises:
        CodebookError: no such file, or other contents.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CodebookError(f"cannot read trajectories from {path}: {error}") from None
    if "plans" in values:
        return from_plans(values["plans"])
    if set(values) != {"trajectories", "period_s"} or values["trajectories"].ndim != 3:
        raise CodebookError(f"{path} holds {sorted(values)}; expected plans, or trajectories (N, T, 3) and period_s")
    return joined(from_trajectory(known(t), float(values["period_s"])) for t in values["trajectories"])


def known(poses: np.ndarray) -> np.ndarray:
    """The poses (T, 3) before the first that is not known."""
    unknown = ~np.isfinite(poses).all(axis=1)
    return poses[: int(unknown.argmax())] if unknown.any() else poses


def save_plans(path: Path, plans: np.ndarray) -> None:
    """Write plans where ``npz_file`` and ``tools/inspect_codebook.py`` read them."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, schema=np.array(PLANS_SCHEMA), plans=np.asarray(plans, np.float32))


READERS: dict[str, Callable[[Path], Driving]] = {
    "logs": route_logs,
    "planned": planned,
    "bench2drive": bench2drive_clips,
    "npz": npz_file,
}


def read(named: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Driving]]:
    """Each (kind, path) read by its reader, with an error where nothing was found in it."""
    for kind, path in named:
        driving = READERS[kind](path)
        if not len(driving.motions):
            raise CodebookError(f"--{kind} {path} holds no motion of {STEP_S} s")
        yield kind, driving
