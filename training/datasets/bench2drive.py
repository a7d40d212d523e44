"""Bench2Drive clips as samples: ``<clip>/{anno/%05d.json.gz, camera/rgb_*/%05d.jpg}`` at 10 Hz, at or below the root.

A sample is a frame with pictures 1.5, 1.0, 0.5 and 0 s ago; two samples of a clip are 0.5 s apart at least. Everything
that a sample shows comes from frames up to its own.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core import geometry
from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS, Command
from training.datasets import bench2drive_files
from training.datasets.bench2drive_files import FRAME_S
from training.datasets.sample import DatasetError, Sample, StoredImage

CAMERAS = ("front", "front_left", "front_right", "back", "back_left", "back_right")
SPLITS = ("all", "train", "val")
SPLIT_FILES = ("bench2drive_base_train_val_split.json", "splits.json")  # {"train": [clips], "val": [clips]}
OWN_VAL = 0.05  # share of clips, by name, where no split file lies below the root
STRIDE = 5  # frames between poses at 2 Hz
SPEED_FRAMES = 2  # an acceleration looks back over 0.2 s
FASTEST = 70.0  # m/s
COMMANDS = ("near", "far")
NOT_KNOWN = 0  # of RoadOption in some files: as VOID


@dataclass(frozen=True)
class Clip:
    """The small numbers of one clip: N annotated frames."""

    number: np.ndarray  # (N,) of the frame, ascending
    pose: np.ndarray  # (N, 3) world, right-handed, box centre
    speed: np.ndarray  # (N,) m/s, signed
    near: np.ndarray  # (N,) Command
    far: np.ndarray  # (N,)


def prepare(root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Read every annotation of a split once; clips that have an index without broken ones are not read again.

    Raises:
        DatasetError: no clips, an unknown split, or a damaged annotation (unless told to skip it).
    """
    folder = Path(out) / "bench2drive"
    folder.mkdir(parents=True, exist_ok=True)
    clips = clips_of(Path(root), split)
    for clip in tqdm(clips, desc=f"bench2drive {split}", unit="clip"):
        file = _index_file(folder, clip)
        if not file.exists() or _load(file)[1]:  # a broken annotation may have been mended
            _index(clip, file, skip_broken)
    reader = open_split(root, out, split, skip_broken=True)
    return {"clips": len(clips), "samples": len(reader), "broken": len(reader.broken)}


def open_split(root: Path, out: Path, split: str, skip_broken: bool = False, command: str = "near") -> Bench2Drive:
    """Open a prepared split.

    Args:
        command: whose command is told: of the ``near`` waypoint or the ``far`` one.

    Raises:
        DatasetError: not prepared, an unknown option, or frames were left out without leave.
    """
    if command not in COMMANDS:
        raise DatasetError(f"bench2drive: found command {command!r}, expected one of {', '.join(COMMANDS)}")
    reader = Bench2Drive(clips_of(Path(root), split), Path(out) / "bench2drive", split, command)
    if reader.broken and not skip_broken:
        raise DatasetError(f"bench2drive: {len(reader.broken)} broken frames, first: {reader.broken[0]}; --skip-broken")
    return reader


class Bench2Drive:
    """An opened split; see ``training.datasets.sample.Reader``. Holds arrays only, so threads may share it."""

    name = "bench2drive"

    def __init__(self, clips: list[Path], index: Path, split: str, command: str) -> None:
        self.split, self._command, self._folders = split, command, clips
        self.broken: list[str] = []
        self._clips: list[Clip] = []
        chosen = []
        for i, folder in enumerate(clips):
            clip, broken = _load(_index_file(index, folder))
            self._clips.append(clip)
            self.broken += broken
            chosen += [(i, now) for now in usable(clip, _pictured(folder))]
        self._numbers = np.array(chosen, np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Sample:
        which, now = (int(v) for v in self._numbers[index])
        clip, folder = self._clips[which], self._folders[which]
        number = int(clip.number[now])
        poses, mask = future(clip, now)
        return Sample(
            id=f"{folder.name}/{number:05d}",
            images=_images(folder, number),
            speed=float(clip.speed[now]),
            acceleration=acceleration(clip, now),
            command=Command(int((clip.near if self._command == "near" else clip.far)[now])),
            history=geometry.relative(clip.pose[now], clip.pose[now - STRIDE * np.arange(CLIP_IMAGES - 1, 0, -1)]),
            poses=poses,
            mask=mask,
            scene=folder.name,
        )


def clips_of(root: Path, split: str) -> list[Path]:
    """Folders of a split's clips, in order of name.

    Raises:
        DatasetError: an unknown split, none found, two of one name, or a split file that names none of them.
    """
    if split not in SPLITS:
        raise DatasetError(f"bench2drive has no split {split!r}; it has {', '.join(SPLITS)}")
    found = bench2drive_files.clip_folders(root)
    names = [clip.name for clip in found]
    if len(set(names)) != len(names):
        raise DatasetError(f"{root}: two clips are called {next(n for n in names if names.count(n) > 1)!r}")
    held_out = _held_out(root, names)
    wanted = [clip for clip in found if split == "all" or (clip.name in held_out) == (split == "val")]
    if not wanted:
        raise DatasetError(f"{root}: none of {len(found)} clips belongs to the split {split!r}")
    return wanted


def usable(clip: Clip, pictured: set[int]) -> list[int]:
    """Rows with whole clips of pictures and an unbroken past; at least 0.5 s apart."""
    found: list[int] = []
    past = STRIDE * (CLIP_IMAGES - 1)
    for row in range(past, len(clip.number)):
        number = int(clip.number[row])
        whole = int(clip.number[row - past]) == number - past
        seen = all(number - STRIDE * k in pictured for k in range(CLIP_IMAGES))
        if whole and seen and (not found or number - int(clip.number[found[-1]]) >= STRIDE):
            found.append(row)
    return found


def future(clip: Clip, now: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses (10, 3) in the ego frame at row ``now``, and which are known (10,): not past the end or a gap."""
    wanted = int(clip.number[now]) + STRIDE * np.arange(1, PLAN_STEPS + 1)
    rows = np.minimum(now + STRIDE * np.arange(1, PLAN_STEPS + 1), len(clip.number) - 1)
    known = clip.number[rows] == wanted
    return np.where(known[:, None], geometry.relative(clip.pose[now], clip.pose[rows]), 0.0), known


def acceleration(clip: Clip, now: int) -> float:
    """m/s2, from the speeds of the last 0.2 s; the IMU's is noisy."""
    return float(clip.speed[now] - clip.speed[now - SPEED_FRAMES]) / (SPEED_FRAMES * FRAME_S)


def _held_out(root: Path, names: list[str]) -> set[str]:
    """Clips to validate on: those of the split file below the root, or a share by name alone."""
    for name in SPLIT_FILES:
        file = root / name
        if not file.exists():
            continue
        try:
            listed = {Path(clip).name for clip in json.loads(file.read_text())["val"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{file} is no split file: {error!r}") from None
        return listed & set(names)
    return {name for name in names if int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8 < OWN_VAL}


def _pictured(clip: Path) -> set[int]:
    """Frames at which every camera of the clip has a picture."""
    sets = [
        {int(file.stem) for file in folder.glob("*.jpg")}
        for camera in CAMERAS
        if (folder := clip / "camera" / f"rgb_{camera}").is_dir()
    ]
    return set.intersection(*sets) if sets else set()


def _images(clip: Path, number: int) -> dict[str, tuple[StoredImage, ...]]:
    numbers = [number - STRIDE * k for k in range(CLIP_IMAGES - 1, -1, -1)]
    folders = {camera: clip / "camera" / f"rgb_{camera}" for camera in CAMERAS}
    return {
        camera: tuple(StoredImage(folder / f"{n:05d}.jpg") for n in numbers)
        for camera, folder in folders.items()
        if folder.is_dir()
    }


def _index_file(index: Path, clip: Path) -> Path:
    """Where a clip's index lies; names repeat between roots, so its place and its annotations' last change count."""
    anno = (clip / "anno").resolve()
    stamp = hashlib.sha256(f"{anno} {anno.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    return index / f"{clip.name}-{stamp}.npz"


def _index(clip: Path, file: Path, skip_broken: bool) -> None:
    rows, broken = [], []
    for number, source in bench2drive_files.annotations(clip).items():
        try:
            rows.append((number, *_row(source)))
        except DatasetError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
    if not rows:
        raise DatasetError(f"{clip}: no sound annotation")
    table = np.array(rows, float)
    partial = file.with_name(f".{file.stem}.partial.npz")
    np.savez(partial, rows=table, broken=np.array(broken, np.str_))
    partial.rename(file)


def _load(file: Path) -> tuple[Clip, list[str]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            rows, broken = archive["rows"], archive["broken"].tolist()
    except FileNotFoundError:
        raise DatasetError(
            f"bench2drive: {file.stem} is not prepared, or changed since; run python -m training.prepare bench2drive"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        raise DatasetError(f"{file} is damaged ({error!r}); remove it and prepare again") from None
    order = rows[np.argsort(rows[:, 0])]
    told = np.isnan(order[:, 4])  # the speedometer may say nothing: the poses know
    speed = np.where(told, _driven_speed(order), order[:, 4])
    commands = order[:, 5:7].astype(np.int64)
    return Clip(order[:, 0].astype(np.int64), order[:, 1:4], speed, commands[:, 0], commands[:, 1]), broken


def _driven_speed(rows: np.ndarray) -> np.ndarray:
    """m/s along the heading, from the frame before; the first frame takes 0."""
    step = np.diff(rows[:, 1:3], axis=0, prepend=rows[:1, 1:3])
    span = np.maximum(np.diff(rows[:, 0], prepend=rows[0, 0] - 1), 1) * FRAME_S
    return (step[:, 0] * np.cos(rows[:, 3]) + step[:, 1] * np.sin(rows[:, 3])) / span


def _row(file: Path) -> tuple[float, float, float, float, int, int]:
    """Pose, speed (NaN: not told) and both commands of one annotation.

    Raises:
        DatasetError: damaged, without an ego, or numbers that cannot be.
    """
    facts, pose = bench2drive_files.read(file)
    try:
        speed = float("nan") if facts["speed"] is None else float(facts["speed"])
        commands = tuple(_command(facts[f"command_{name}"]) for name in COMMANDS)
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{file} is no Bench2Drive annotation: {error!r}") from None
    if abs(speed) > FASTEST:
        raise DatasetError(f"{file}: speed {speed}, expected m/s")
    return (*(float(v) for v in pose), speed, *commands)


def _command(value: object) -> int:
    number = int(value)
    return int(Command.VOID) if number == NOT_KNOWN else int(Command(number))
