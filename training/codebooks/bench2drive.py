"""The ego's drive out of the annotations of a Bench2Drive clip: ``<clip>/anno/00000.json.gz``, 10 Hz."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np

from autovla_core import frames
from autovla_core.errors import CodebookError

PERIOD_S = 0.1
OFF_CENTRE_M = 3.0  # the box centre lies near the actor; further means the file speaks of another frame
YAW = 2  # of Bench2Drive's rotation: pitch, roll, yaw


def clip_folders(root: Path) -> list[Path]:
    """Clips at or below ``root``, in order of name.

    Raises:
        CodebookError: none.
    """
    found = sorted(folder.parent for folder in root.rglob("anno") if folder.is_dir())
    if not found:
        raise CodebookError(
            f"no Bench2Drive clip below {root}: expected <clip>/anno/00000.json.gz (unpack the archives)"
        )
    return found


def ego_drives(clip: Path) -> list[np.ndarray]:
    """World poses (T, 3) of the ego's box centre, right-handed, at 10 Hz; cut where frames are missing."""
    files = {int(file.name.split(".")[0]): file for file in clip.glob("anno/*.json.gz")}
    numbers = sorted(files)
    poses = np.array([ego_pose(files[n]) for n in numbers]).reshape(-1, 3)
    gaps = np.flatnonzero(np.diff(numbers) != 1) + 1
    return np.split(poses, gaps)


def ego_pose(file: Path) -> np.ndarray:
    """The ego's pose (3,) of one annotation; from its box, for the GPS of ``x`` and ``y`` is noisy.

    Raises:
        CodebookError: the file is damaged, or no box in it is the ego.
    """
    try:
        boxes = json.loads(gzip.decompress(file.read_bytes()))["bounding_boxes"]
        ego = next(box for box in boxes if box["class"] == "ego_vehicle")
        carla_place, carla_centre = (np.asarray(ego[key], float)[:2] for key in ("location", "center"))
        pose = frames.pose_from_carla(carla_centre[0], carla_centre[1], float(ego["rotation"][YAW]))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise CodebookError(f"{file} is no Bench2Drive annotation with an ego: {error!r}") from None
    if not np.isfinite(pose).all() or np.hypot(*(carla_place - carla_centre)) > OFF_CENTRE_M:
        raise CodebookError(f"{file}: the ego's box centre {carla_centre} is not near its location {carla_place}")
    return pose
