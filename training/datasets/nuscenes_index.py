"""The index of one nuScenes version: key frames, their poses and pictures, and all annotated boxes, as arrays.

Built once from the tables into ``<out>/<version>/``, part by part; a part that is there and was made from the same
tables is kept, so an interrupted build goes on. Opening maps the arrays and parses no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from training.datasets import drivelm, nuscenes_columns
from training.datasets.sample import DatasetError

SCHEMA = "autovla-nuscenes-index/1"
FRAME_TABLES = ("scene", "log", "sample", "sensor", "calibrated_sensor", "sample_data", "ego_pose")
BOX_TABLES = ("sample_annotation", "instance", "category")


@dataclass(frozen=True)
class KeyFrames:
    """Columns of K key frames, scene by scene in the order of time. Rotations are quaternions w x y z."""

    token: np.ndarray  # (K,) bytes
    time_us: np.ndarray  # (K,) int64
    ego_position: np.ndarray  # (K, 3) m, global, of the rear axle at the lidar's time
    ego_rotation: np.ndarray  # (K, 4)
    lidar_position: np.ndarray  # (K, 3) in the ego frame
    lidar_rotation: np.ndarray  # (K, 4)
    images: np.ndarray  # (K, 6) bytes: path below the root by camera of ``CAMERAS``, empty where there is none
    broken: np.ndarray  # (K,) str: why this key frame cannot be used, or empty
    scene_start: np.ndarray  # (N + 1,) first key frame of each scene
    scene_name: np.ndarray  # (N,) str
    location: np.ndarray  # (N,) str

    def __len__(self) -> int:
        return len(self.token)

    def scene_of(self) -> np.ndarray:
        """Scene number (K,) of each key frame."""
        return np.repeat(np.arange(len(self.scene_name)), np.diff(self.scene_start))


@dataclass(frozen=True)
class Boxes:
    """Columns of B annotated boxes, key frame by key frame, global frame."""

    start: np.ndarray  # (K + 1,) first box of each key frame
    kind: np.ndarray  # (B,) OTHER, VEHICLE, PEDESTRIAN
    pose: np.ndarray  # (B, 3) x, y, yaw
    z: np.ndarray  # (B,) m
    size: np.ndarray  # (B, 2) length, width


def build(root: Path, version: str, out: Path, skip_broken: bool) -> Path:
    """Write what is missing of the index of ``version`` below ``out``; return its folder.

    Raises:
        DatasetError: a table or record is broken; with ``skip_broken`` only if a whole table is.
    """
    folder = out / version
    folder.mkdir(parents=True, exist_ok=True)
    tables = root / version
    frames_stamp = _stamp(tables, FRAME_TABLES, str(skip_broken))
    frames = _part(folder / "frames.npz", frames_stamp, lambda: nuscenes_columns.frames(root, tables, skip_broken))
    if (tables / "sample_annotation.json").exists():
        stamp = _stamp(tables, BOX_TABLES, frames_stamp)
        _part(folder / "boxes.npz", stamp, lambda: nuscenes_columns.boxes(tables, frames["token"], skip_broken))
    else:
        _part(folder / "boxes.npz", frames_stamp, lambda: nuscenes_columns.no_boxes(len(frames["token"])))
    drivelm.build(root, folder / "drivelm.json", {t.decode() for t in frames["token"]}, skip_broken)
    return folder


def load(folder: Path) -> tuple[KeyFrames, Boxes, list[str]]:
    """The arrays of an index, and what was left out of it because it was broken.

    Raises:
        DatasetError: no index, or one of another schema.
    """
    frames, boxes = (_read(folder / name) for name in ("frames.npz", "boxes.npz"))
    others = [str(line) for part in (frames, boxes) for line in part["others"]]
    picked = [cls(**{f.name: part[f.name] for f in fields(cls)}) for cls, part in ((KeyFrames, frames), (Boxes, boxes))]
    return picked[0], picked[1], others


def _read(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            part = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DatasetError(f"no index at {file} ({error}); run python -m training.prepare nuscenes") from None
    if str(part.get("schema", "")) != SCHEMA:
        raise DatasetError(f"{file}: found schema {part.get('schema')}, expected {SCHEMA}; prepare again")
    return part


def _stamp(tables: Path, names: tuple[str, ...], more: str) -> str:
    """What a part was made from: its tables' sizes and times of change."""
    stats = []
    for name in names:
        try:
            found = (tables / f"{name}.json").stat()
        except OSError:
            raise DatasetError(f"no nuScenes table {tables / f'{name}.json'}; is the root right?") from None
        stats.append((name, found.st_size, found.st_mtime_ns))
    return repr((stats, more))


def _part(file: Path, stamp: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """The stored part if it was made from the same tables, else a new one, renamed into place."""
    if file.exists():
        stored = _read(file)
        if str(stored["stamp"]) == stamp:
            return stored
    part = dict(make())
    partial = file.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez(stream, schema=np.array(SCHEMA), stamp=np.array(stamp), **part)
    partial.replace(file)
    return part
