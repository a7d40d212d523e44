"""The Waymo end-to-end data set (WOD-E2E): its TFRecord shards as samples, without TensorFlow.

``prepare`` reads every shard once and writes an index; ``open_split`` opens it in a moment. Pictures stay where they
are, inside the shards. The states are those of the rear axle; a sample holds those of the box centre, see rear_axle.py.

Splits: train, val, test, and two parts: val_rated (the frames that people scored) and test_submission (the frames that
the challenge asks for). A sample needs its whole clip: the frame itself and those 0.5, 1.0 and 1.5 s before it. As the
frames of a segment are shuffled over all shards, a split must be downloaded whole.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.contracts import Command
from autovla_core.scoring.rater_feedback import Rated, ade, best_rated, rater_feedback_score
from training.datasets import waymo_index as index
from training.datasets.rear_axle import future_poses, past_poses, waypoints
from training.datasets.sample import DatasetError, Sample, StoredImage

logger = logging.getLogger(__name__)

POINTS: Mapping[str, float] = {  # what poses are those of: m ahead of the rear axle
    "centre": 1.495,  # of the box: half the wheel base of the Jaguar I-PACE, as the data set does not say
    "rear_axle": 0.0,  # as the challenge counts
}
CLUSTER_FILE = "val_sequence_name_to_scenario_cluster.json"
SUBMISSION_FILE = "test_sequence_frames_for_submission.json"
COMMANDS = (Command.VOID, Command.STRAIGHT, Command.LEFT, Command.RIGHT)  # by EgoIntent
_OF = re.compile(r"-(\d+)-of-(\d+)$")


@dataclass(frozen=True)
class Split:
    """Which shards, and which of their whole clips."""

    base: str
    pattern: str
    part: str  # of selections.npz


SPLITS: Mapping[str, Split] = {
    "train": Split("train", "training*.tfrecord*", "future"),
    "val": Split("val", "val*.tfrecord*", "future"),
    "val_rated": Split("val", "val*.tfrecord*", "rated"),
    "test": Split("test", "test*.tfrecord*", "all"),
    "test_submission": Split("test", "test*.tfrecord*", "submission"),
}


@dataclass(frozen=True)
class Truth:
    """What only the metrics may see (``Sample.extra["waymo"]``), as the challenge counts: rear axle, 4 Hz."""

    future: np.ndarray  # (N, 2); empty in the test split
    rated: tuple[Rated, ...]
    speed: float  # m/s, of the rater feedback score
    ahead_m: float  # how far ahead of the rear axle the sample's poses are
    cluster: str  # of scenarios; empty where not told


def cluster(sample: Sample) -> str:
    """The scenario cluster of a sample, over which the challenge takes its mean; empty where not told."""
    return truth_of(sample).cluster


def truth_of(sample: Sample) -> Truth:
    """What the metrics compare with.

    Raises:
        ValueError: a sample of another data set.
    """
    truth = sample.extra.get("waymo")
    if not isinstance(truth, Truth):
        raise ValueError(f"{sample.id} is no sample of the Waymo data set")
    return truth


def prepare(root: Path, out: Path, split: str, skip_broken: bool = False) -> dict[str, int]:
    """Index the shards of a split below ``root`` and return verified counts; interrupted, it goes on where it was.

    Raises:
        DatasetError: no shards, a broken record (unless told to skip them), no whole clip.
    """
    wanted = _known(split)
    paths = _shards(root, wanted)
    folder = out / f"waymo_{wanted.base}"
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    shards = []
    for path in tqdm(paths, desc=f"waymo {wanted.base}", unit="shard"):
        shards.append(index.read_shard(path, folder / "shards"))
        _refuse(shards[-1].broken, skip_broken)
    rows, broken = index.merge(shards, [path.name for path in paths])
    _refuse(broken, skip_broken)
    clips = index.clips(rows)
    parts = _parts(rows, clips, root)
    counts = _counts(paths, shards, rows, clips, parts, broken)
    index.save_array(folder / "rows.npy", rows)
    for name, part in parts.items():
        index.save_array(folder / f"{name}.npy", clips[part])
    facts = {
        "schema": index.SCHEMA,
        "shards": {path.name: path.stat().st_size for path in paths},
        "clusters": _clusters(root),
        "broken": broken,
        "counts": counts,
    }
    index.write_text(folder / "index.json", json.dumps(facts, indent=1))  # last: an index without it is not whole
    if not parts.get(wanted.part, np.zeros(0, bool)).any():
        raise DatasetError(f"{root}: no sample for {split!r} in {counts}; a clip needs all shards of the split")
    return counts


def open_split(root: Path, out: Path, split: str, skip_broken: bool = False, point: str = "centre") -> WaymoReader:
    """Open what ``prepare`` wrote; poses are those of ``point`` of ``POINTS``.

    Raises:
        DatasetError: not prepared, another schema, shards missing or changed, or records left out without leave.
    """
    wanted = _known(split)
    folder = out / f"waymo_{wanted.base}"
    again = f"run: python -m training.prepare waymo --split {split} --root {root} --out {out}"
    try:
        facts = json.loads((folder / "index.json").read_text())
        rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
        clips = np.load(folder / f"{wanted.part}.npy", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder} holds no whole index of {split!r} ({error}); {again}") from None
    if facts["schema"] != index.SCHEMA or rows.dtype != index.ROW:
        raise DatasetError(f"{folder} has the schema {facts['schema']}, expected {index.SCHEMA}; {again}")
    for name, size in facts["shards"].items():
        if not (root / name).is_file() or (root / name).stat().st_size != size:
            raise DatasetError(f"{root / name} is missing or has not the {size} bytes it had; {again}")
    _refuse(facts["broken"], skip_broken)
    if point not in POINTS:
        raise DatasetError(f"waymo knows no point {point!r}; known: {', '.join(POINTS)}")
    source = Source(tuple(root / name for name in facts["shards"]), facts["clusters"], POINTS[point])
    return WaymoReader(split, facts["broken"], rows, clips, source)


@dataclass(frozen=True)
class Source:
    """What the samples of a split share."""

    files: Sequence[Path]  # the shards
    clusters: Mapping[str, str]  # by segment
    ahead_m: float


class WaymoReader:
    """An opened split; see ``training.datasets.sample.Reader``."""

    name = "waymo"

    def __init__(self, split: str, broken: list[str], rows: np.ndarray, clips: np.ndarray, source: Source) -> None:
        self.split, self.broken = split, broken
        self._rows, self._clips, self._source = rows, clips, source

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, position: int) -> Sample:
        return _sample(self._rows[self._clips[position]], self._source)


def score(plan: np.ndarray, sample: Sample) -> dict[str, float]:
    """The challenge's metrics of a plan (10, 3): ``rfs``, ``ade_3s`` and ``ade_5s`` against the best rated trajectory,
    ``log_ade_3s`` and ``log_ade_5s`` against what was driven; those without a truth are left out.

    Raises:
        ValueError: no sample of this data set.
    """
    truth = truth_of(sample)
    points = waypoints(plan, truth.ahead_m)
    terms = {f"log_ade_{s}s": ade(points, truth.future, s) for s in (3, 5) if len(truth.future)}
    if truth.rated:
        terms["rfs"] = rater_feedback_score(points, truth.rated, truth.speed)
        best = best_rated(truth.rated).points
        terms |= {f"ade_{s}s": ade(points, best, s) for s in (3, 5)}
    return terms


def _sample(clip: np.ndarray, source: Source) -> Sample:
    """The sample of four rows, oldest first. Only ``poses``, ``mask`` and ``extra`` come from the future."""
    now = clip[-1]
    name, past = now["name"].decode(), now["past"].astype(float)
    speed = float(np.hypot(*past[-1, 2:4]))
    poses, mask = future_poses(now["future"][: now["future_count"]].astype(float), source.ahead_m)
    scene = index.segment(name)
    return Sample(
        id=name,
        images={camera: _images(clip, c, source.files) for c, camera in enumerate(index.CAMERA_IDS)},
        speed=math.copysign(speed, past[-1, 2]),
        acceleration=float(past[-1, 4]),
        command=COMMANDS[now["intent"]],
        history=past_poses(past[:, :2], source.ahead_m),
        poses=poses,
        mask=mask,
        scene=scene,
        extra={"waymo": _truth(now, speed, source, scene)},
    )


def _images(clip: np.ndarray, camera: int, files: Sequence[Path]) -> tuple[StoredImage, ...]:
    places = clip["images"][:, camera].tolist()
    return tuple(StoredImage(files[row["shard"]], *place) for row, place in zip(clip, places))


def _truth(now: np.ndarray, speed: float, source: Source, scene: str) -> Truth:
    rated = tuple(
        Rated(points[:count].astype(float), float(value))
        for points, count, value in zip(now["rated"], now["rated_count"], now["scores"])
        if count
    )
    future = now["future"][: now["future_count"]].astype(float)
    return Truth(future, rated, speed, source.ahead_m, source.clusters.get(scene, ""))


def _known(split: str) -> Split:
    if split not in SPLITS:
        raise DatasetError(f"waymo has no split {split!r}; known: {', '.join(SPLITS)}")
    return SPLITS[split]


def _shards(root: Path, split: Split) -> list[Path]:
    paths = sorted(path for path in root.glob(split.pattern) if path.is_file())
    if not paths:
        raise DatasetError(f"{root} holds no {split.pattern}; download the shards of WOD-E2E into it")
    return paths


def _refuse(broken: list[str], skip_broken: bool) -> None:
    if broken and not skip_broken:
        raise DatasetError(f"{len(broken)} broken records, first: {broken[0]}; --skip-broken leaves them out")


def _parts(rows: np.ndarray, clips: np.ndarray, root: Path) -> dict[str, np.ndarray]:
    """Which clips (S,) belong to each part of a split."""
    now = rows[clips[:, -1]]
    parts = {
        "all": np.ones(len(clips), bool),
        "future": now["future_count"] == index.FUTURE,
        "rated": (now["rated_count"] > 0).any(axis=1),
    }
    if (root / SUBMISSION_FILE).is_file():
        parts["submission"] = np.isin(now["name"], np.array(submission_frames(root), now["name"].dtype))
    return parts


def submission_frames(root: Path) -> list[str]:
    """The names of the frames that the challenge wants plans for.

    Raises:
        DatasetError: the file is missing or is not {segment: number}.
    """
    asked = _json_object(root / SUBMISSION_FILE)
    if not all(isinstance(number, int) for number in asked.values()):
        raise DatasetError(f"{root / SUBMISSION_FILE} is not an object of segment names and frame numbers")
    return [f"{name}-{number:03d}" for name, number in asked.items()]


def _clusters(root: Path) -> dict[str, str]:
    """Scenario cluster of each segment; empty without the file."""
    if not (root / CLUSTER_FILE).is_file():
        return {}
    told = _json_object(root / CLUSTER_FILE).items()
    return {name: str(entry["scenario_cluster"] if isinstance(entry, dict) else entry) for name, entry in told}


def _json_object(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: no readable JSON ({error}); download it from the bucket of the data set") from None
    if not isinstance(found, dict):
        raise DatasetError(f"{path} holds a {type(found).__name__}, expected an object")
    return found


def _counts(
    paths: list[Path],
    shards: list[index.Shard],
    rows: np.ndarray,
    clips: np.ndarray,
    parts: Mapping[str, np.ndarray],
    broken: list[str],
) -> dict[str, int]:
    """Counts, checked against each other."""
    total = {int(match[2]) for path in paths if (match := _OF.search(path.name))}
    missing = max(total, default=len(paths)) - len(paths)
    if missing > 0:
        logger.warning("%d of %d shards are not here; most clips will be incomplete", missing, max(total))
    records = sum(len(shard.rows) for shard in shards) + sum(len(shard.broken) for shard in shards)
    if len(rows) + len(broken) != records:
        raise DatasetError(f"{records} records were read, but {len(rows)} indexed and {len(broken)} listed as broken")
    return {
        "shards": len(paths),
        "shards_missing": max(missing, 0),
        "records": len(rows),
        "broken": len(broken),
        "segments": len({index.segment(name.decode()) for name in rows["name"]}),
        "without_clip": len(rows) - len(clips),
        **{name: int(part.sum()) for name, part in parts.items()},
    }
