"""A route log as a clip in the layout of Bench2Drive-base: ``anno/%05d.json.gz`` and ``camera/rgb_*/%05d.jpg``."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np

from autovla_core.errors import LogError
from autovla_core.files import sha256
from autovla_core.logs import schema, truth
from autovla_core.logs.bench2drive_anno import Annotator
from autovla_core.logs.reader import RouteLog

SCENARIO = "RandomRoute"
DECIMALS = 6
SOURCE_FILE = "source.json"  # in a clip: the drive that it shows; no part of Bench2Drive's layout


def clip_name(log: RouteLog, scenario: str = SCENARIO, weather: int = 0) -> str:
    """``<Scenario>_<Town>_Route<number>_Weather<number>``; the digits of a route's id make its number."""
    number = "".join(re.findall(r"\d", log.meta.route_id)) or "0"
    return f"{scenario}_{log.meta.town}_Route{number}_Weather{weather}"


def export(folder: Path, out: Path, scenario: str = SCENARIO, weather: int = 0, fill: bool = False) -> dict[str, int]:
    """Write one clip below ``out``; return how many frames and pictures it has. A clip of this drive is left alone.

    Args:
        folder: a route log with ``map.npz`` and ``tracks.npz``.
        fill: give frames between two pictures the newest one before them; else they have none.

    Raises:
        LogError: no such log, one without truth, or a clip of its name shows another drive.
    """
    log = RouteLog(folder)
    target = Path(out) / clip_name(log, scenario, weather)
    annotator = Annotator(log, truth.read_tracks(folder), truth.read_map(folder))
    if target.exists():
        _same_drive(target, log)
        return {"frames": len(annotator), "pictures": sum(1 for _ in target.glob("camera/*/*.jpg")), "new": 0}
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "anno").mkdir(parents=True)
    for frame in range(len(annotator)):
        _write(partial / "anno" / f"{frame:05d}.json.gz", annotator.frame(frame))
    (partial / SOURCE_FILE).write_text(json.dumps(_source(log)) + "\n")
    pictures = sum(_copy_pictures(log, camera, annotator.ticks, partial, fill) for camera in log.cameras)
    if not pictures:
        shutil.rmtree(partial)
        raise LogError(f"{folder}: no picture was taken at a frame of the tracks")
    partial.rename(target)
    return {"frames": len(annotator), "pictures": pictures, "new": 1}


def _source(log: RouteLog) -> dict[str, object]:
    """What tells this drive from any other; a log may be moved and renamed."""
    drive = {"town": log.meta.town, "route_id": log.meta.route_id, "seed": log.meta.seed}
    return drive | {"ticks_sha256": sha256(log.folder / schema.TICKS_FILE)}


def _same_drive(clip: Path, log: RouteLog) -> None:
    """Names of clips lack the seed and what was driven, so logs of two collections may share one."""
    try:
        found = json.loads((clip / SOURCE_FILE).read_text())
    except (OSError, ValueError) as error:
        raise LogError(
            f"{clip} does not say which drive it shows ({error!r}); remove it or take another --out"
        ) from None
    if found != _source(log):
        raise LogError(f"{clip} shows another drive ({found}) than {log.folder}; take another --out or --scenario")


def _write(file: Path, annotation: dict[str, object]) -> None:
    text = json.dumps(_rounded(annotation), separators=(",", ":"))
    file.write_bytes(gzip.compress(text.encode(), mtime=0))  # the same log gives the same bytes


def _copy_pictures(log: RouteLog, camera: str, ticks: np.ndarray, clip: Path, fill: bool) -> int:
    """Copy the JPEG files as they are; return how many frames have one."""
    folder, taken, count = clip / "camera" / f"rgb_{camera}", log.image_ticks[camera], 0
    folder.mkdir(parents=True)
    for frame, tick in enumerate(ticks):
        newest = int(np.searchsorted(taken, tick, side="right")) - 1
        if newest < 0 or (taken[newest] != tick and not fill):
            continue
        shutil.copyfile(schema.image_file(log.folder, camera, int(taken[newest])), folder / f"{frame:05d}.jpg")
        count += 1
    return count


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value
