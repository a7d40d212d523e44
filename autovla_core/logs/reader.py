"""Read one route back, with everything checked that training relies on."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from autovla_core.contracts import CLIP_IMAGES, CLIP_PERIOD_S, Clip
from autovla_core.errors import LogError
from autovla_core.logs import schema
from autovla_core.logs.schema import RouteMeta


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """One planning time of a log: what the planner saw besides images, and what the expert planned."""

    time_s: float
    tick: int
    poses: np.ndarray  # (10, 3) float32, ego frame at ``tick``
    speed: float
    acceleration: float
    command: int


class RouteLog:
    """A finished route folder.

    Attributes:
        meta: the ``RouteMeta`` it was written with.
        outcome: what the writer was told at the end (status, scores), may be empty.
        ticks: columns of ``schema.TICK_COLUMNS``, each (T,).
        plans: columns of ``schema.PLAN_COLUMNS``, each (P, ...).

    Raises:
        LogError: a missing file, another schema, a table whose columns or lengths do not fit.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        document = self._document()
        self.meta = self._meta(document)
        self.outcome: dict[str, object] = document.get("outcome", {})
        self.ticks = self._table(schema.TICKS_FILE, {n: (t, ()) for n, t in schema.TICK_COLUMNS.items()})
        self.plans = self._table(schema.PLANS_FILE, schema.PLAN_COLUMNS)
        self._expect_rows("ticks", self.ticks["time_s"], document.get("ticks"))
        self._expect_rows("plans", self.plans["tick"], document.get("plans"))
        plan_ticks = self.plans["tick"]
        if len(plan_ticks) and not 0 <= plan_ticks.min() <= plan_ticks.max() < len(self):
            raise LogError(f"{self.folder}: a plan refers to tick {plan_ticks.max()}, the log holds {len(self)}")

    def __len__(self) -> int:
        """Number of ticks."""
        return len(self.ticks["time_s"])

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera ids of the rig."""
        return tuple(self.meta.rig)

    @cached_property
    def poses(self) -> np.ndarray:
        """World poses (T, 3) x, y, yaw, of every tick."""
        return np.stack([self.ticks["x"], self.ticks["y"], self.ticks["yaw"]], -1)

    @cached_property
    def image_ticks(self) -> dict[str, np.ndarray]:
        """Ticks at which each camera has an image, ascending."""
        found = {}
        for camera in self.cameras:
            files = (self.folder / f"camera_{camera}").glob("*.jpg")
            found[camera] = np.array(sorted(int(file.stem) for file in files), np.int64)
        return found

    def plan_rows(self) -> Iterator[PlanRow]:
        """Every planning time in order."""
        for i, tick in enumerate(self.plans["tick"]):
            yield PlanRow(
                float(self.plans["time_s"][i]),
                int(tick),
                self.plans["poses"][i],
                float(self.plans["speed"][i]),
                float(self.plans["acceleration"][i]),
                int(self.plans["command"][i]),
            )

    def clip_ticks(self, camera: str, tick: int) -> np.ndarray:
        """Ticks (4,) of the images that a clip at ``tick`` holds, oldest first.

        The newest image at or before ``tick``, and those 0.5, 1.0 and 1.5 s before it; where the
        drive is younger than that, its first image is repeated.
        """
        if camera not in self.meta.rig:
            raise LogError(f"{self.folder}: no camera {camera!r}; the rig holds {list(self.cameras)}")
        taken = self.image_ticks[camera]
        newest = np.searchsorted(taken, tick, side="right") - 1
        if newest < 0:
            raise LogError(f"{self.folder}: camera {camera!r} has no image at or before tick {tick}")
        stride = round(CLIP_PERIOD_S / self.meta.tick_s)
        wanted = taken[newest] - stride * np.arange(CLIP_IMAGES - 1, -1, -1)
        return taken[np.maximum(np.searchsorted(taken, wanted, side="right") - 1, 0)]

    def clip(self, camera: str, tick: int) -> Clip:
        """The four images that a driver would have had at ``tick``; see ``clip_ticks``."""
        ticks = self.clip_ticks(camera, tick)
        images = {t: self.image(camera, t) for t in np.unique(ticks)}
        return Clip(np.stack([images[t] for t in ticks]), self.ticks["time_s"][ticks])

    def image(self, camera: str, tick: int) -> np.ndarray:
        """One image (H, W, 3) uint8 RGB."""
        file = schema.image_file(self.folder, camera, int(tick))
        try:
            with Image.open(file) as image:
                return np.asarray(image.convert("RGB"))
        except (FileNotFoundError, OSError) as error:
            raise LogError(f"cannot read the image {file}: {error}") from None

    def _document(self) -> dict[str, object]:
        file = self.folder / schema.META_FILE
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise LogError(f"{self.folder} is not a route log: {schema.META_FILE} is missing") from None
        except json.JSONDecodeError as error:
            raise LogError(f"{file} is not JSON: {error}") from None
        if not isinstance(document, dict) or document.get("schema") != schema.SCHEMA:
            found = document.get("schema") if isinstance(document, dict) else document
            raise LogError(f"{file}: found schema {found!r}, expected {schema.SCHEMA!r}")
        return document

    def _meta(self, document: dict[str, object]) -> RouteMeta:
        try:
            return RouteMeta(**document["meta"])
        except (KeyError, TypeError) as error:
            raise LogError(f"{self.folder / schema.META_FILE}: bad or missing 'meta': {error}") from None

    def _table(self, name: str, columns: dict[str, tuple[type, tuple[int, ...]]]) -> dict[str, np.ndarray]:
        file = self.folder / name
        try:
            with np.load(file, allow_pickle=False) as archive:
                table = {key: archive[key] for key in archive.files}
        except FileNotFoundError:
            raise LogError(f"{self.folder} is not a complete route log: {name} is missing") from None
        except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
            raise LogError(f"{file} is damaged: {error}") from None
        if set(table) != set(columns):
            raise LogError(f"{file}: found columns {sorted(table)}, expected {sorted(columns)}")
        rows = len(next(iter(table.values())))
        for key, (dtype, shape) in columns.items():
            if table[key].shape != (rows, *shape) or table[key].dtype != np.dtype(dtype):
                found = f"{table[key].shape} {table[key].dtype}"
                raise LogError(f"{file}: column {key!r} is {found}, expected {(rows, *shape)} {np.dtype(dtype)}")
            unknown = np.argwhere(np.isnan(table[key]))
            if len(unknown):
                raise LogError(f"{file}: column {key!r} is NaN in row {unknown[0, 0]}; move this route away")
        return table

    def _expect_rows(self, what: str, column: np.ndarray, expected: object) -> None:
        if len(column) != expected:
            raise LogError(f"{self.folder}: found {len(column)} {what}, {schema.META_FILE} says {expected}")


def route_folders(root: str | Path) -> list[Path]:
    """Finished route logs directly below ``root``, in order of name; ``failed/`` is not among them."""
    root = Path(root)
    if not root.is_dir():
        raise LogError(f"no folder of route logs at {root}")
    return sorted(f.parent for f in root.glob(f"*/{schema.META_FILE}") if not f.parent.name.startswith("."))
