"""The index of the Waymo end-to-end data set: where every frame and picture lies, and the small numbers of each frame.

A frame's record holds eight pictures and the states of that moment; the frames of one segment are shuffled over all
shards. So each shard is read once, front to back, into a file of rows; a shard that has one is not read again, which
makes the work resumable. The rows of all shards, sorted by name, are the index; a clip is four rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from autovla_core.contracts import CLIP_IMAGES
from training.datasets.sample import DatasetError
from training.datasets.tfrecord import Record, read_records
from training.datasets.waymo_proto import CAMERAS, Frame, States, decode

SCHEMA = 1
PAST, FUTURE, RATED = 16, 20, 3
IMAGE_STEP = 5  # frames at 10 Hz between two images of a clip
CLIP_OFFSETS = tuple(IMAGE_STEP * (i - CLIP_IMAGES + 1) for i in range(CLIP_IMAGES))  # -15, -10, -5, 0
NAME_BYTES = 64
FARTHEST_STEP_M = 25.0  # 100 m/s over 0.25 s: beyond it the unit or the rate is another
ORIGIN_M = 0.05
MAGIC = (b"\xff\xd8", b"\x89P")  # JPEG, PNG
CAMERA_IDS = tuple(CAMERAS.values())

ROW = np.dtype(
    [
        ("name", f"S{NAME_BYTES}"),
        ("number", "<i4"),  # of the frame within its segment, 10 Hz
        ("shard", "<i4"),
        ("record", "<i4"),
        ("images", "<i8", (len(CAMERA_IDS), 2)),  # offset in the shard, length
        ("past", "<f4", (PAST, 6)),  # x y vx vy ax ay at -3.75 ... 0 s
        ("future", "<f4", (FUTURE, 2)),  # x y at 0.25 ... 5 s
        ("future_count", "<i4"),
        ("intent", "<i4"),
        ("rated", "<f4", (RATED, FUTURE, 2)),
        ("rated_count", "<i4", (RATED,)),  # 0: not rated
        ("scores", "<f4", (RATED,)),
    ]
)
_NAME = re.compile(r"(.+)-(\d+)")


@dataclass(frozen=True)
class Shard:
    """What one shard gave: rows of its sound records and the reasons of the others."""

    rows: np.ndarray  # (N,) of ROW
    broken: list[str]


def segment(name: str) -> str:
    """The drive that a frame belongs to."""
    return name.rpartition("-")[0]


def read_shard(path: Path, cache: Path) -> Shard:
    """The rows of one shard, from ``cache`` when the file has not changed since.

    Raises:
        DatasetError: the shard cannot be read.
    """
    rows_file, facts_file = cache / f"{path.name}.npy", cache / f"{path.name}.json"
    stamp = {"schema": SCHEMA, "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
    if facts_file.exists():
        facts = json.loads(facts_file.read_text())
        if {key: facts.get(key) for key in stamp} == stamp:
            return Shard(np.load(rows_file, allow_pickle=False), facts["broken"])
    shard = _scan(path)
    save_array(rows_file, shard.rows)
    write_text(facts_file, json.dumps({**stamp, "records": len(shard.rows), "broken": shard.broken}))
    return shard


def _scan(path: Path) -> Shard:
    rows, broken = [], []
    with tqdm(total=path.stat().st_size, desc=path.name[-20:], unit="B", unit_scale=True, leave=False) as bar:
        for record in read_records(path):
            try:
                rows.append(_row(record))
            except DatasetError as error:
                broken.append(f"{path.name} record {record.number}: {error}")
            bar.update(record.offset + len(record.data) - bar.n)
    return Shard(np.array(rows, ROW), broken)


def _row(record: Record) -> np.ndarray:
    """One row (), checked."""
    if record.problem:
        raise DatasetError(record.problem)
    frame = decode(record.data)
    match = _NAME.fullmatch(frame.name)
    if match is None or len(frame.name) > NAME_BYTES:
        raise DatasetError(f"the name {frame.name[:80]!r} is not <segment>-<number>")
    row = np.zeros((), ROW)
    row["name"], row["number"], row["record"] = frame.name.encode(), int(match[2]), record.number
    row["images"] = _image_places(frame, record)
    row["past"], row["intent"] = _past(frame.past), frame.intent
    future = _track(frame.future, "future")
    row["future"][: len(future)], row["future_count"] = future, len(future)
    _put_rated(row, frame)
    return row


def _image_places(frame: Frame, record: Record) -> np.ndarray:
    """Offset in the shard and length (8, 2) of each camera's picture."""
    places = np.zeros((len(CAMERA_IDS), 2), np.int64)
    for i, camera in enumerate(CAMERA_IDS):
        start, end = frame.images.get(camera, (0, 0))
        if record.data[start : start + 2] not in MAGIC or end - start < 4:
            raise DatasetError(f"{frame.name}: camera {camera!r} has no JPEG; the frame holds {sorted(frame.images)}")
        places[i] = record.offset + start, end - start
    return places


def _track(states: States, what: str) -> np.ndarray:
    """Points (N, 2) at 4 Hz, N <= 20, checked."""
    points = states.points[:FUTURE] if what == "rated" else states.points
    if len(points) > FUTURE:
        raise DatasetError(f"{what} states: {len(points)}, expected at most {FUTURE}")
    _plausible(points, np.zeros((1, 2)), what)
    return points


def _plausible(points: np.ndarray, start: np.ndarray, what: str) -> None:
    if not np.isfinite(points).all():
        raise DatasetError(f"{what} states hold NaN or infinity")
    steps = np.linalg.norm(np.diff(np.concatenate([start, points]), axis=0), axis=1)
    if steps.size and steps.max() > FARTHEST_STEP_M:
        raise DatasetError(f"{what} states jump by {steps.max():.1f} m within 0.25 s; metres at 4 Hz are expected")


def _past(states: States) -> np.ndarray:
    """x y vx vy ax ay (16, 6), the last one now, at the origin."""
    columns = {name: getattr(states, name) for name in ("x", "y", "vx", "vy", "ax", "ay")}
    lengths = {name: len(values) for name, values in columns.items()}
    if set(lengths.values()) != {PAST}:
        raise DatasetError(f"past states: {lengths}, expected {PAST} of each")
    past = np.stack(list(columns.values()), axis=1)
    if not np.isfinite(past).all():
        raise DatasetError("past states hold NaN or infinity")
    _plausible(past[1:, :2], past[:1, :2], "past")
    if np.abs(past[-1, :2]).max() > ORIGIN_M:
        raise DatasetError(f"the last past state is at {past[-1, :2]}, expected at the origin of the vehicle's frame")
    return past


def _put_rated(row: np.ndarray, frame: Frame) -> None:
    """The first three trajectories with a score; -1 and none at all mean: not rated."""
    scored = [states for states in frame.rated if states.score is not None and not states.score < 0.0]
    for i, states in enumerate(scored[:RATED]):
        points = _track(states, "rated")
        if not len(points) or not states.score <= 10.0:
            raise DatasetError(f"a rated trajectory has {len(points)} points and the score {states.score}")
        row["rated"][i, : len(points)], row["rated_count"][i], row["scores"][i] = points, len(points), states.score


def merge(shards: Iterable[Shard], names: list[str]) -> tuple[np.ndarray, list[str]]:
    """All rows sorted by segment and number, and what is broken, names that come twice among it."""
    rows, broken = [np.zeros(0, ROW)], []
    for i, shard in enumerate(shards):
        part = shard.rows.copy()
        part["shard"] = i
        rows.append(part)
        broken += shard.broken
    merged = np.concatenate(rows)
    merged = merged[np.argsort(merged["name"], kind="stable")]
    twice = np.flatnonzero(merged["name"][1:] == merged["name"][:-1]) + 1
    for row in merged[twice]:
        broken.append(f"{names[row['shard']]} record {row['record']}: {row['name'].decode()} comes twice")
    return np.delete(merged, twice), broken


def clips(rows: np.ndarray) -> np.ndarray:
    """The rows (S, 4) of every whole clip, oldest first: frames 15, 10, 5 and 0 before the moment of the sample."""
    place = {(segment(row["name"].decode()), int(row["number"])): i for i, row in enumerate(rows[["name", "number"]])}
    found = [[place.get((key[0], key[1] + offset), -1) for offset in CLIP_OFFSETS] for key in place]
    table = np.array(found, np.int64).reshape(-1, CLIP_IMAGES)
    return table[(table >= 0).all(axis=1)]


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text)
    partial.rename(path)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write whole or not at all."""
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("wb") as stream:
        np.save(stream, array)
    partial.rename(path)
