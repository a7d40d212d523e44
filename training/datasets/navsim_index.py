"""The index of a NAVSIM split: made once, log by log, then mapped into memory by ``navsim.NavsimReader``.

One file per column: rows of all records that the samples' logs have, and for each sample the row that is now.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS
from training.datasets import navsim_logs, navsim_splits, navsim_synthetic
from training.datasets.navsim_logs import CAMERAS, Log
from training.datasets.navsim_splits import SYNTHETIC, SceneFilter
from training.datasets.sample import DatasetError

SCHEMA = 2
FRAME_COLUMNS = ("token", "pose", "dynamics", "command", "images")
SAMPLE_COLUMNS = ("frame", "record", "future", "log", "map")


def index_folder(out: Path, split: str) -> Path:
    """Where the index of a split lies."""
    return out / "navsim" / split


def prepare(root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Index a split; one part per log, so that an interrupted run goes on where it stopped.

    Every image that a sample needs is looked for. With ``skip_broken`` what is broken is left out, counted and
    listed in the index; without, it ends the run.

    Returns:
        Counts: logs, records, samples, images, broken.

    Raises:
        DatasetError: a missing folder, or a log, record, image or token that is broken or missing; the text names it.
    """
    root, folder = Path(root), index_folder(Path(out), split)
    chosen = navsim_splits.scene_filter(root, split)
    names = _log_names(root, split, chosen)
    logs = [navsim_splits.log_path(root, split, name) for name in names]
    parts = folder / f"parts-{_digest(chosen, skip_broken, logs)}"
    parts.mkdir(parents=True, exist_ok=True)
    for name in tqdm(names, desc=f"navsim {split}", unit="log"):
        part = _part(parts, name)
        if not part.exists():
            _write_part(part, _index_log(root, split, name, chosen, skip_broken))
    counts = _merge(parts, names, folder, split, chosen, skip_broken)
    shutil.rmtree(parts)
    return counts


def _digest(chosen: SceneFilter, skip_broken: bool, logs: Sequence[Path]) -> str:
    """Names what the parts depend on: an interrupted run goes on with its own parts only."""
    fields = [sorted(value) if isinstance(value, frozenset) else value for value in astuple(chosen)]
    files = [(str(log.resolve()), (stat := log.stat()).st_size, stat.st_mtime_ns) for log in logs]
    return hashlib.sha256(json.dumps([SCHEMA, skip_broken, fields, files]).encode()).hexdigest()[:12]


def _log_names(root: Path, split: str, chosen: SceneFilter) -> list[str]:
    folder = navsim_splits.log_path(root, split, "x").parent
    names = sorted(path.stem for path in folder.glob("*.pkl"))
    if not names:
        raise DatasetError(f"no logs (*.pkl) in {folder}; split {split!r} needs the devkit's logs there")
    wanted = [name for name in names if chosen.logs is None or name in chosen.logs]
    return wanted + (_synthetic_names(root, split) if navsim_splits.split(split).two_stage else [])


def _synthetic_names(root: Path, split: str) -> list[str]:
    folder = navsim_splits.log_path(root, split, f"{SYNTHETIC}x").parent
    names = sorted(path.stem for path in folder.glob("*.pkl"))
    if not names:
        raise DatasetError(f"no synthetic scenes (*.pkl) in {folder}; split {split!r} needs the devkit's there")
    return [SYNTHETIC + name for name in names]


def _part(parts: Path, name: str) -> Path:
    return parts / f"{name.replace('/', '-')}.npz"


def _read_any(path: Path, name: str, broken: dict[int, str] | None) -> tuple[Log, str]:
    """The records up to now of a synthetic scene, or a whole log; and the drive that they belong to."""
    if not name.startswith(SYNTHETIC):
        return navsim_logs.read_log(path, broken), name
    scene = navsim_synthetic.read_scene(path)
    return replace(navsim_logs.log_of(scene.seen, path, broken, every_camera=False), name=name), scene.log


def _moments(log: Log, name: str, chosen: SceneFilter) -> list[int]:
    """What is planned at: what the filter selects, or a synthetic scene's last record."""
    if not name.startswith(SYNTHETIC):
        return navsim_splits.moments(log.tokens, log.has_route, chosen)
    now = len(log) - 1
    return [now] if chosen.synthetic is None or log.tokens[now] in chosen.synthetic else []


def _index_log(root: Path, split: str, name: str, chosen: SceneFilter, skip_broken: bool) -> dict[str, np.ndarray]:
    """Columns of one log's records and samples; a broken log has none, only its reason."""
    reasons: dict[int, str] = {}
    path = navsim_splits.log_path(root, split, name)
    try:
        log, drive = _read_any(path, name, reasons if skip_broken else None)
    except DatasetError as error:
        if not skip_broken:
            raise
        return {"broken": np.array([str(error)]), "broken_token": np.array([], np.bytes_)}
    where = f"log {path}"
    now = _moments(log, name, chosen)
    files = _Files(navsim_splits.blobs(root, split, name))
    problems = {i: problem for i in now if (problem := _problem(log, i, reasons, files, where))}
    if problems and not skip_broken:
        raise DatasetError(next(iter(problems.values())))
    kept = [i for i in now if i not in problems]
    if name.startswith(SYNTHETIC) and not now:
        return {"broken": np.array([], np.str_), "broken_token": np.array([], np.bytes_)}
    return {**_columns(log, kept, problems), "drive": np.array(drive)}


class _Files:
    """Which files exist, a folder listed once: a split has millions of images."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, frozenset[str]] = {}

    def has(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self._listed:
            place = self.root / folder
            self._listed[folder] = frozenset(entry.name for entry in place.iterdir()) if place.is_dir() else frozenset()
        return name in self._listed[folder]


def _problem(log: Log, now: int, reasons: dict[int, str], files: _Files, where: str) -> str:
    """Why there is no sample at this record, or an empty text."""
    first = now - CLIP_IMAGES + 1
    broken = [reasons[i] for i in range(max(first, 0), now + 1) if i in reasons]
    if broken:
        return broken[0]
    moment = f"{where}, record {now} ({log.tokens[now]!r})"
    if not navsim_logs.unbroken(log.times_s, first, now):
        return f"{moment}: the {CLIP_IMAGES} records up to it are not 0.5 s apart"
    for path in log.images[first : now + 1].flat:
        if path and not files.has(path):
            return f"{moment}: no image {files.root / path}; clips need the sensor blobs with history"
    return ""


def _columns(log: Log, now: Sequence[int], broken: Mapping[int, str]) -> dict[str, np.ndarray]:
    index = np.array(now, int)
    return {
        "token": np.array(log.tokens, np.bytes_),
        "pose": log.poses,
        "dynamics": log.dynamics.astype(np.float32),
        "command": log.commands.astype(np.int8),
        "images": np.array([[_short(log.name, path) for path in row] for row in log.images], np.bytes_),
        "frame": index,
        "record": index,
        "future": np.array([_future(log, i) for i in now], int),
        "map": np.array([log.maps[i] for i in now], np.bytes_),
        "broken": np.array(list(broken.values()), np.str_),
        "broken_token": np.array([log.tokens[i] for i in broken], np.bytes_),
    }


def _short(log: str, path: str) -> str:
    """Only the file's name where its folder is the usual one: a third of the index."""
    folder, _, name = path.rpartition("/")
    camera = folder.rpartition("/")[2]
    return f"{camera[-2:]}/{name}" if folder == f"{log}/CAM_{camera[-2:]}" else path


def long_path(log: str, path: str) -> str:
    """The way back."""
    return f"{log}/CAM_{path}" if path.count("/") == 1 and path[2] == "/" else path


def _future(log: Log, now: int) -> int:
    """How many of the next ten records follow without a gap."""
    known = 0
    while known < PLAN_STEPS and navsim_logs.unbroken(log.times_s, now + known, now + known + 1):
        known += 1
    return known


def _write_part(path: Path, columns: dict[str, np.ndarray]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **columns)
    temporary.replace(path)


def _merge(
    parts: Path, names: Sequence[str], folder: Path, split: str, chosen: SceneFilter, skip_broken: bool
) -> dict[str, int]:
    """Join the parts into one file per column, which a reader maps into memory."""
    loaded = [_read_part(_part(parts, name)) for name in names]
    broken = [str(text) for part in loaded for text in part["broken"]]
    kept = [(i, part) for i, part in enumerate(loaded) if len(part.get("frame", ()))]
    if not kept:
        raise DatasetError(
            f"navsim split {split!r}: no sample in {len(names)} logs" + "".join(f"; {b}" for b in broken[:3])
        )
    starts = np.cumsum([0] + [len(part["token"]) for _, part in kept])
    columns = {
        key: np.concatenate([part[key] for _, part in kept]) for key in (*FRAME_COLUMNS, "record", "future", "map")
    }
    columns["frame"] = np.concatenate([part["frame"] + start for (_, part), start in zip(kept, starts)])
    columns["log"] = np.concatenate([np.full(len(part["frame"]), i) for i, part in kept])
    known = {token for part in loaded for token in part["broken_token"]}
    known |= set(columns["token"][columns["frame"]])
    broken += _lost_tokens({token.decode() for token in known}, chosen, skip_broken, split)
    counts = {
        "logs": len(names),
        "records": len(columns["token"]),
        "samples": len(columns["frame"]),
        "images": _image_count(columns["frame"]),
        "broken": len(broken),
    }
    drives = [str(part.get("drive", name)) for name, part in zip(names, loaded)]
    about = {"schema": SCHEMA, "split": split, "logs": list(names), "drives": drives, "counts": counts}
    about["broken"] = broken
    _write_index(folder, columns, about)
    return counts


def _read_part(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _image_count(frames: np.ndarray) -> int:
    """Distinct images of overlapping clips."""
    return len(CAMERAS) * len(np.unique(frames[:, None] - np.arange(CLIP_IMAGES)))


def _lost_tokens(known: set[str], chosen: SceneFilter, skip_broken: bool, split: str) -> list[str]:
    """Tokens of the filter that no readable log or synthetic scene has."""
    wanted = (chosen.tokens or frozenset()) | (chosen.synthetic or frozenset())
    lost = sorted(wanted - known)
    if lost and not skip_broken:
        raise DatasetError(
            f"navsim split {split!r}: {len(lost)} of {len(wanted)} tokens of its filter are in no log "
            f"(the first: {lost[0]}); are all logs of the split there?"
        )
    return [f"token {token}: in no log that can be read" for token in lost]


def _write_index(folder: Path, columns: dict[str, np.ndarray], about: dict) -> None:
    """Columns first, ``index.json`` last: without it there is no index."""
    (folder / "index.json").unlink(missing_ok=True)
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)
    temporary = folder / "index.json.tmp"
    temporary.write_text(json.dumps(about))
    temporary.replace(folder / "index.json")


def read_about(folder: Path, split: str) -> dict:
    """``index.json``, if there is a whole index of this split."""
    path = folder / "index.json"
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(f"no index {path}; run python -m training.prepare navsim --split {split} first") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read the index {path}: {error}; prepare the split again") from None
    if not isinstance(about, dict) or about.get("schema") != SCHEMA or about.get("split") != split:
        raise DatasetError(f"{path} is not an index of split {split!r} in layout {SCHEMA}; prepare the split again")
    return about
