"""Write one route; it appears under its name only when it is complete."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from autovla_core.contracts import PLAN_STEPS, RULES, Outlook
from autovla_core.errors import LogError
from autovla_core.logs import schema
from autovla_core.logs.journal import DISTANCES, Journal, PlanRow
from autovla_core.logs.schema import RouteMeta, Tick


class RouteWriter:
    """Collects a drive in ``<parent>/.<name>.partial`` and renames it to ``folder`` on ``close``.

    An exception inside a ``with`` block, or ``abort``, leaves nothing behind. What a killed program leaves behind
    can be made a log again by ``logs.salvage``.
    """

    def __init__(self, folder: str | Path, meta: RouteMeta) -> None:
        self.folder = Path(folder)
        self.meta = meta
        if self.folder.exists():
            raise LogError(f"{self.folder} exists already; a route log is never overwritten, remove it first")
        self._partial = partial_folder(self.folder)
        if self._partial.exists():  # of a run that was killed
            shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True)
        self._journal = Journal(self._partial, meta)
        self._ticks: list[Tick] = []
        self._plans: list[PlanRow] = []
        self._images: dict[str, list[int]] = {camera: [] for camera in meta.rig}

    @property
    def working_folder(self) -> Path:
        """Where the log lies until ``close``; others may put files of theirs beside ours."""
        return self._partial

    def tick(self, tick: Tick) -> int:
        """Append one simulation step; return its number, which images and plans refer to."""
        self._ticks.append(tick)
        self._journal.tick(tick)
        return len(self._ticks) - 1

    def image(self, camera: str, tick: int, rgb: np.ndarray) -> None:
        """Store an image (H, W, 3) uint8 RGB taken at ``tick``.

        Raises:
            LogError: a camera that the rig lacks, an unknown tick, or an image of another shape.
        """
        if camera not in self._images:
            raise LogError(f"camera {camera!r} is not in the rig {sorted(self._images)}")
        self._check_tick(tick)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise LogError(f"image of {camera!r}: found {rgb.shape} {rgb.dtype}, expected (H, W, 3) uint8")
        file = schema.image_file(self._partial, camera, tick)
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(rgb)).save(file, quality=schema.JPEG_QUALITY)
        self._images[camera].append(tick)

    def plan(self, tick: int, poses: np.ndarray, outlook: Outlook | None = None) -> None:
        """Store the plan (10, 3) made at ``tick``, in the ego frame there; state and command come from that tick."""
        self._check_tick(tick)
        poses = np.asarray(poses, np.float32)
        if poses.shape != (PLAN_STEPS, 3) or not np.isfinite(poses).all():
            raise LogError(f"plan at tick {tick}: found {poses.shape} or NaN, expected finite ({PLAN_STEPS}, 3)")
        self._plans.append(PlanRow(tick, poses, outlook or Outlook()))
        self._journal.plan(self._plans[-1])

    def close(self, outcome: Mapping[str, object] | None = None, elsewhere: Path | None = None) -> Path:
        """Write the tables, rename the folder to its final name, or to ``elsewhere``, and return that.

        Raises:
            LogError: ``elsewhere`` exists.
        """
        target = elsewhere or self.folder
        if target.exists():
            raise LogError(f"{target} exists already; a route log is never overwritten, remove it first")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._journal.close()
        write_tables(self._partial, self.meta, self._ticks, self._plans, self._images, outcome or {})
        self._journal.remove()
        self._partial.rename(target)
        return target

    def abort(self) -> None:
        """Throw away what was written."""
        self._journal.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def __enter__(self) -> RouteWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._partial.exists():
            self.close()

    def _check_tick(self, tick: int) -> None:
        if not 0 <= tick < len(self._ticks):
            raise LogError(f"tick {tick} was not written; the log holds {len(self._ticks)} ticks")


def partial_folder(folder: Path) -> Path:
    """Where a log lies while it is written."""
    return folder.with_name(f".{folder.name}.partial")


def write_tables(
    folder: Path,
    meta: RouteMeta,
    ticks: Sequence[Tick],
    plans: Sequence[PlanRow],
    images: Mapping[str, Sequence[int]],
    outcome: Mapping[str, object],
) -> None:
    """The tables and ``route.json`` of a log whose images lie in ``folder`` already."""
    _save(folder / schema.TICKS_FILE, _tick_table(ticks))
    _save(folder / schema.PLANS_FILE, _plan_table(ticks, plans))
    document = {
        "schema": schema.SCHEMA,
        "meta": dataclasses.asdict(meta),
        "ticks": len(ticks),
        "plans": len(plans),
        "images": {camera: len(taken) for camera, taken in images.items()},
        "outcome": dict(outcome),
    }
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (folder / schema.META_FILE).write_text(text, encoding="utf-8")


def _tick_table(ticks: Sequence[Tick]) -> dict[str, np.ndarray]:
    return {
        name: np.array([getattr(tick, name) for tick in ticks], dtype) for name, dtype in schema.TICK_COLUMNS.items()
    }


def _plan_table(ticks: Sequence[Tick], plans: Sequence[PlanRow]) -> dict[str, np.ndarray]:
    rows = [ticks[plan.tick] for plan in plans]
    outlooks = [plan.outlook for plan in plans]
    values = {
        "time_s": [row.time_s for row in rows],
        "tick": [plan.tick for plan in plans],
        "poses": [plan.poses for plan in plans],
        "speed": [row.speed for row in rows],
        "acceleration": [row.acceleration for row in rows],
        "command": [row.command for row in rows],
        "rule": [RULES.index(outlook.rule) for outlook in outlooks],
        **{n: [getattr(outlook, n) for outlook in outlooks] for n in DISTANCES},
    }
    return {
        name: np.array(values[name], dtype).reshape(-1, *shape) for name, (dtype, shape) in schema.PLAN_COLUMNS.items()
    }


def _save(file: Path, table: dict[str, np.ndarray]) -> None:
    # numpy writes its zip entries with the fixed date 1980-01-01, so equal tables are equal bytes
    np.savez_compressed(file, **table)
