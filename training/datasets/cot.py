"""The JSON files of AutoVLA's own preprocessing, one per sample, as samples: ``<root>/<split>/<token>.json``.

Images are looked for below ``root``: of a stored path the longest end that exists there. Poses stay those of the point
that the file was made with (rear axle; nuScenes: lidar). Of a longer clip the last four images count. The way back is
``cot_writer``.
"""

from __future__ import annotations

import json
import logging
import math
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm

from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS, STEP_S
from training.datasets.cot_format import command_of, reasoning_of
from training.datasets.sample import DatasetError, Sample, StoredImage

logger = logging.getLogger(__name__)

CAMERAS = ("front", "front_left", "front_right", "back", "back_left", "back_right", "left", "right")
FASTEST = 70.0  # m/s
SPEED_GAP = 5.0  # m/s between the speed told and that of the first step: 10 m/s2 over half a second


def prepare(root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Read every file of a split once and write the list of sound ones; interrupted, it goes on where it was.

    Raises:
        DatasetError: no files, or a broken one (unless told to skip them).
    """
    paths = sorted((root / split).glob("*.json"))
    out.mkdir(parents=True, exist_ok=True)
    progress = out / f"cot_{split}.progress.jsonl"
    seen = _seen(progress)
    verdicts = []
    with progress.open("a", encoding="utf-8", buffering=1) as stream:
        for path in tqdm(paths, desc=f"cot {split}", unit="file"):
            stamp = _stamp(path)
            verdict = seen.get(path.name)
            if verdict is None or verdict["stamp"] != stamp:
                verdict = {"file": path.name, "stamp": stamp, **_verdict(path, root)}
                stream.write(json.dumps(verdict) + "\n")
            if verdict["problem"] and not skip_broken:
                raise DatasetError(verdict["problem"])
            verdicts.append(verdict)
    counts = _finish(verdicts, root / split, out / f"cot_{split}.json")
    progress.unlink()
    return counts


def _stamp(path: Path) -> str:
    """Another one when the file has changed, or is another one of this name."""
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def _seen(progress: Path) -> dict[str, dict]:
    """What an interrupted run found out about the sound files; the others are read again, for they may be mended."""
    found = {}
    for line in progress.read_text(encoding="utf-8").splitlines() if progress.exists() else ():
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut by the kill
            verdict = json.loads(line)
            if not verdict["problem"]:
                found[verdict["file"]] = verdict
    if found:
        progress.write_text("".join(json.dumps(verdict) + "\n" for verdict in found.values()), encoding="utf-8")
    return found


def _verdict(path: Path, root: Path) -> dict[str, object]:
    try:
        sample = load(path, root)
    except DatasetError as error:
        return {"problem": str(error), "thought": False, "unread": False}
    thought = sample.reasoning is not None
    return {"problem": "", "thought": thought, "unread": bool(sample.extra["cot"]) and not thought}


def _finish(verdicts: list[dict], folder: Path, index: Path) -> dict[str, int]:
    sound = [verdict["file"] for verdict in verdicts if not verdict["problem"]]
    broken = [verdict["problem"] for verdict in verdicts if verdict["problem"]]
    if not sound:
        raise DatasetError(f"{folder}: {len(verdicts)} JSON files, none is sound: {broken[:1]}")
    counts = {
        "samples": len(sound),
        "broken": len(broken),
        "with_thought": sum(verdict["thought"] for verdict in verdicts),
        "thought_without_parts": sum(verdict["unread"] for verdict in verdicts),
    }
    if counts["thought_without_parts"]:
        logger.warning("%s: %d thoughts without the four parts are not taught", folder, counts["thought_without_parts"])
    partial = index.with_suffix(".json.partial")
    partial.write_text(json.dumps({"files": sound, "broken": broken}))
    partial.replace(index)
    return counts


def open_split(root: Path, out: Path, split: str, skip_broken: bool = False) -> CotReader:
    """Open what ``prepare`` listed.

    Raises:
        DatasetError: not prepared, or files were left out without leave.
    """
    try:
        facts = json.loads((out / f"cot_{split}.json").read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(f"cot {split!r} is not prepared ({error}); run training.prepare cot") from None
    if facts["broken"] and not skip_broken:
        raise DatasetError(f"{len(facts['broken'])} broken files, first: {facts['broken'][0]}")
    return CotReader(root, split, facts["files"], facts["broken"])


class CotReader:
    """An opened split; see ``training.datasets.sample.Reader``."""

    name = "cot"

    def __init__(self, root: Path, split: str, files: list[str], broken: list[str]) -> None:
        self.split, self.broken = split, broken
        self._root, self._files = root, files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        return load(self._root / self.split / self._files[index], self._root)


def load(path: Path, root: Path) -> Sample:
    """One file as a sample; what the file calls ``cot_output`` stays as it is in ``extra["cot"]``.

    Raises:
        DatasetError: unreadable, a key missing, a unit that cannot be, an image not found.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        poses = np.array(data["gt_trajectory"], float)
        speed, acceleration = _speed(data["velocity"]), _along(data["acceleration"])
        mask = np.array(data.get("future_mask", [1] * PLAN_STEPS), bool)
        word, token, dataset = str(data["instruction"]), str(data["token"]), str(data["dataset_name"])
        history = _history(data.get("his_trajectory"))
        paths = {c: _names(data[f"{c}_camera_paths"]) for c in CAMERAS if data.get(f"{c}_camera_paths")}
        names = [PurePosixPath(name) for name in paths["front"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DatasetError(f"{path}: no sample of AutoVLA's preprocessing: {error!r}") from None
    try:
        command = command_of(word)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    _check(path, poses, mask, speed, acceleration)
    return Sample(
        id=token,
        images={camera: _clip(path, root, found) for camera, found in paths.items()},
        speed=speed,
        acceleration=acceleration,
        command=command,
        history=history,
        poses=np.where(np.isfinite(poses), poses, 0.0),
        mask=mask,
        reasoning=reasoning_of(data.get("cot_output")),
        scene=_scene(token, names[-1]),
        extra={"cot": data.get("cot_output") or "", "dataset": dataset},
    )


def _speed(stored: object) -> float:
    """Signed speed of ``[along, left]``, or of a number along the car."""
    if not isinstance(stored, list):
        return float(stored)
    return math.copysign(math.hypot(*map(float, stored)), float(stored[0]))


def _along(stored: object) -> float:
    return float(stored[0] if isinstance(stored, list) else stored)


def _history(stored: object) -> np.ndarray:
    """Past poses (H, 3) without now; none where the file has places without headings (Waymo) or nothing."""
    if not isinstance(stored, list) or not stored or len(stored[0]) != 3:
        return np.zeros((0, 3))
    rows = np.array(stored, float)
    if rows.shape != (len(stored), 3) or not np.isfinite(rows).all():
        raise ValueError(f"his_trajectory has the shape {rows.shape} or holds NaN, expected (H, 3)")
    return rows[:-1]


def _names(stored: object) -> list[str]:
    if not isinstance(stored, list):
        raise TypeError(f"camera paths are {type(stored).__name__}, expected a list")
    return [str(name) for name in stored]


def _scene(token: str, image: PurePosixPath) -> str:
    """The drive that a sample belongs to, so that held-out sets never cut through one.

    nuScenes names its pictures ``<log>__<camera>__<time>``, nuPlan keeps them in ``<log>/<camera>/``; a Waymo token
    is ``<segment>-<frame>``. A file that tells none of these is a scene of its own.
    """
    if image.stem.count("__") == 2:
        return image.stem.split("__")[0]
    if image.parent.name.startswith("CAM_") and len(image.parents) > 1:
        return image.parents[1].name
    segment, dash, frame = token.rpartition("-")
    return segment if dash and frame.isdigit() else token


def _check(path: Path, poses: np.ndarray, mask: np.ndarray, speed: float, acceleration: float) -> None:
    if poses.shape != (PLAN_STEPS, 3) or mask.shape != (PLAN_STEPS,):
        raise DatasetError(
            f"{path}: gt_trajectory has the shape {poses.shape} and its mask {mask.shape}, expected ({PLAN_STEPS}, 3)"
        )
    known = poses[mask]
    if not np.isfinite([*known.ravel(), speed, acceleration]).all():
        raise DatasetError(f"{path}: NaN or infinity")
    if np.abs(known[:, 2]).max(initial=0.0) > np.pi + 0.01:
        raise DatasetError(f"{path}: heading {np.abs(known[:, 2]).max():.2f}, expected radians in [-pi, pi]")
    first = float(np.hypot(*poses[0, :2])) / STEP_S
    if abs(speed) > FASTEST or (mask[0] and abs(abs(speed) - first) > SPEED_GAP):
        raise DatasetError(f"{path}: speed {speed:.2f}, but the first step makes {first:.2f} m/s; expected m/s")


def _clip(path: Path, root: Path, found: list[str]) -> tuple[StoredImage, ...]:
    if len(found) < CLIP_IMAGES:
        raise DatasetError(f"{path}: {len(found)} images of a camera, expected at least {CLIP_IMAGES}")
    return tuple(StoredImage(_reroot(path, root, PurePosixPath(name))) for name in found[-CLIP_IMAGES:])


def _reroot(path: Path, root: Path, stored: PurePosixPath) -> Path:
    parts = [part for part in stored.parts if part != "/"]
    if ".." not in parts:
        for start in range(len(parts)):
            if (candidate := root.joinpath(*parts[start:])).is_file():
                return candidate
    raise DatasetError(f"{path}: image {stored} is not below {root}; link the sensor folder there")
