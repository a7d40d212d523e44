"""Bench2Drive's files: where clips lie (``<clip>/anno/00000.json.gz``, 10 Hz), and the ego in an annotation.

The ego's pose is that of its box, for the GPS of ``x`` and ``y`` is noisy; CARLA's left hand ends here.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autovla_core import frames
from training.datasets.sample import DatasetError

FRAME_S = 0.1
OFF_CENTRE_M = 3.0  # the box centre lies near the actor; further means the file speaks of another frame
YAW = 2  # of Bench2Drive's rotation: pitch, roll, yaw


def clip_folders(root: Path) -> list[Path]:
    """Clips at or below ``root``, in order of name; hidden ones are those that an export did not finish.

    Raises:
        DatasetError: none.
    """
    clips = sorted(folder.parent for folder in root.rglob("anno") if folder.is_dir())
    found = [clip for clip in clips if not clip.name.startswith(".")]
    if not found:
        raise DatasetError(f"no clip below {root}: expected <clip>/anno/00000.json.gz (unpack the archives)")
    return found


def annotations(clip: Path) -> dict[int, Path]:
    """The files of a clip's annotations by number of the frame, in order."""
    return {int(file.name.split(".")[0]): file for file in sorted(clip.glob("anno/*.json.gz"))}


def read(file: Path) -> tuple[Mapping[str, object], np.ndarray]:
    """One annotation, and the ego's pose (3,) in it: world, right-handed, box centre.

    Raises:
        DatasetError: the file is damaged, no box in it is the ego, or the ego's box is elsewhere.
    """
    try:
        facts = json.loads(gzip.decompress(file.read_bytes()))
        ego = next(box for box in facts["bounding_boxes"] if box["class"] == "ego_vehicle")
        carla_place, carla_centre = (np.asarray(ego[key], float)[:2] for key in ("location", "center"))
        pose = frames.pose_from_carla(carla_centre[0], carla_centre[1], float(ego["rotation"][YAW]))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise DatasetError(f"{file} is no Bench2Drive annotation with an ego: {error!r}") from None
    if not np.isfinite(pose).all() or np.hypot(*(carla_place - carla_centre)) > OFF_CENTRE_M:
        raise DatasetError(f"{file}: the ego's box centre {carla_centre} is not near its location {carla_place}")
    return facts, pose


def ego_drives(clip: Path) -> list[np.ndarray]:
    """World poses (T, 3) of the ego at 10 Hz; cut where frames are missing.

    Raises:
        DatasetError: as ``read``.
    """
    files = annotations(clip)
    poses = np.array([read(file)[1] for file in files.values()]).reshape(-1, 3)
    gaps = np.flatnonzero(np.diff(list(files)) != 1) + 1
    return np.split(poses, gaps)
