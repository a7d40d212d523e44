"""Write one route; it appears under its name only when it is complete."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from autovla_core.contracts import PLAN_STEPS, RULES, Outlook
from autovla_core.errors import LogError
from autovla_core.logs import schema
from autovla_core.logs.schema import RouteMeta, Tick


class RouteWriter:
    """Collects a drive in ``<parent>/.<name>.partial`` and renames it to ``folder`` on ``close``.

    An exception inside a ``with`` block, or ``abort``, leaves nothing behind.
    """

    def __init__(self, folder: str | Path, meta: RouteMeta) -> None:
        self.folder = Path(folder)
        self.meta = meta
        if self.folder.exists():
            raise LogError(f"{self.folder} exists already; a route log is never overwritten, remove it first")
        self._partial = self.folder.with_name(f".{self.folder.name}.partial")
        if self._partial.exists():  # of a run that was killed
            shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True)
        self._ticks: list[Tick] = []
        self._plans: list[tuple[int, np.ndarray, Outlook]] = []
        self._images: dict[str, list[int]] = {camera: [] for camera in meta.rig}

    def tick(self, tick: Tick) -> int:
        """Append one simulation step; return its number, which images and plans refer to."""
        self._ticks.append(tick)
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
        self._plans.append((tick, poses, outlook or Outlook()))

    def close(self, outcome: Mapping[str, object] | None = None) -> Path:
        """Write the tables, rename the folder to its final name and return that."""
        self._save(schema.TICKS_FILE, self._tick_table())
        self._save(schema.PLANS_FILE, self._plan_table())
        document = {
            "schema": schema.SCHEMA,
            "meta": dataclasses.asdict(self.meta),
            "ticks": len(self._ticks),
            "plans": len(self._plans),
            "images": {camera: len(ticks) for camera, ticks in self._images.items()},
            "outcome": dict(outcome or {}),
        }
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (self._partial / schema.META_FILE).write_text(text, encoding="utf-8")
        self._partial.rename(self.folder)
        return self.folder

    def abort(self) -> None:
        """Throw away what was written."""
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

    def _tick_table(self) -> dict[str, np.ndarray]:
        return {
            name: np.array([getattr(tick, name) for tick in self._ticks], dtype)
            for name, dtype in schema.TICK_COLUMNS.items()
        }

    def _plan_table(self) -> dict[str, np.ndarray]:
        rows = [self._ticks[tick] for tick, _, _ in self._plans]
        outlooks = [outlook for _, _, outlook in self._plans]
        values = {
            "time_s": [row.time_s for row in rows],
            "tick": [tick for tick, _, _ in self._plans],
            "poses": [poses for _, poses, _ in self._plans],
            "speed": [row.speed for row in rows],
            "acceleration": [row.acceleration for row in rows],
            "command": [row.command for row in rows],
            "rule": [RULES.index(outlook.rule) for outlook in outlooks],
            **{n: [getattr(outlook, n) for outlook in outlooks] for n in ("red_m", "green_m", "sign_m", "lead_m")},
        }
        return {
            name: np.array(values[name], dtype).reshape(-1, *shape)
            for name, (dtype, shape) in schema.PLAN_COLUMNS.items()
        }

    def _save(self, name: str, table: dict[str, np.ndarray]) -> None:
        # numpy writes its zip entries with the fixed date 1980-01-01, so equal tables are equal bytes
        np.savez_compressed(self._partial / name, **table)
