"""The JSON files of AutoVLA's own preprocessing, one per sample, as samples: ``<root>/<split>/<token>.json``.

Images are looked for below ``root``: of a stored path the longest end that exists there. Poses stay those of the point
that the file was made with (rear axle; nuScenes: lidar). Of a longer clip the last four images count.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm.auto import tqdm

from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS, STEP_S, Command
from training.datasets.sample import DatasetError, Sample, StoredImage

CAMERAS = ("front", "front_left", "front_right", "back", "back_left", "back_right", "left", "right")
COMMANDS = {
    "turn left": Command.LEFT,
    "go left": Command.LEFT,
    "turn right": Command.RIGHT,
    "go right": Command.RIGHT,
    "go straight": Command.STRAIGHT,
    "keep forward": Command.FOLLOW,
    "unknown": Command.VOID,
}
FASTEST = 70.0  # m/s
SPEED_GAP = 5.0  # m/s between the speed told and that of the first step: 10 m/s2 over half a second


def prepare(root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Read every file of a split once and write the list of sound ones; a second call reads again.

    Raises:
        DatasetError: no files, or a broken one (unless told to skip them).
    """
    paths = sorted((root / split).glob("*.json"))
    sound, broken = [], []
    for path in tqdm(paths, desc=f"cot {split}", unit="file"):
        try:
            load(path, root)
            sound.append(path.name)
        except DatasetError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
    if not sound:
        raise DatasetError(f"{root / split}: {len(paths)} JSON files, none is sound: {broken[:1]}")
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f"cot_{split}.json.partial"
    partial.write_text(json.dumps({"files": sound, "broken": broken}))
    partial.rename(out / f"cot_{split}.json")
    return {"samples": len(sound), "broken": len(broken)}


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
    """One file as a sample; a thought stays text, in ``extra["cot"]``.

    Raises:
        DatasetError: unreadable, a key missing, a unit that cannot be, an image not found.
    """
    try:
        data = json.loads(path.read_text())
        poses = np.array(data["gt_trajectory"], float)
        velocity, acceleration = np.atleast_1d(data["velocity"]), np.atleast_1d(data["acceleration"])
        speed, signed = float(np.linalg.norm(velocity.astype(float))), float(acceleration.astype(float)[0])
        mask = np.array(data.get("future_mask", [1] * PLAN_STEPS), bool)
        word, token, dataset = str(data["instruction"]).lower(), str(data["token"]), str(data["dataset_name"])
        paths = {c: _names(data[f"{c}_camera_paths"]) for c in CAMERAS if data.get(f"{c}_camera_paths")}
        names = [PurePosixPath(name) for name in paths["front"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DatasetError(f"{path}: no sample of AutoVLA's preprocessing: {error!r}") from None
    if word not in COMMANDS:
        raise DatasetError(f"{path}: instruction {word!r}; known: {', '.join(COMMANDS)}")
    _check(path, poses, mask, speed, signed)
    images = {camera: _clip(path, root, found) for camera, found in paths.items()}
    extra = {"cot": data.get("cot_output") or "", "dataset": dataset}
    poses = np.where(mask[:, None], poses, 0.0)
    none, scene = np.zeros((0, 3)), _scene(token, names[-1])
    return Sample(token, images, speed, signed, COMMANDS[word], none, poses, mask, scene=scene, extra=extra)


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
    if speed > FASTEST or (mask[0] and abs(speed - first) > SPEED_GAP):
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
