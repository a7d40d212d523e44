"""One moment of a drive, as every reader of a foreign data set gives it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from autovla_core.contracts import Command
from autovla_core.errors import AutoVLAError


class DatasetError(AutoVLAError):
    """A data set's file or record is missing, broken or not what its format says; the text names it."""


@dataclass(frozen=True)
class StoredImage:
    """A JPEG or PNG: a file of its own, or ``length`` bytes from ``offset`` inside a larger one."""

    path: Path
    offset: int = 0
    length: int | None = None  # None: to the end of the file

    def read(self) -> np.ndarray:
        """The picture (H, W, 3) uint8 RGB.

        Raises:
            DatasetError: missing, truncated or no picture.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read() if self.length is None else file.read(self.length)
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise DatasetError(f"cannot read the image {self.path} (offset {self.offset}): {error}") from None


@dataclass(frozen=True)
class Reasoning:
    """The four parts of a thought, in the paper's order; the text of each without its heading."""

    scene: str
    objects: str
    intention: str
    action: str


@dataclass(frozen=True)
class Sample:
    """What the planner may see at one moment, and what it should have done. SI, ego frame at that moment, y left."""

    id: str  # unique in its data set; errors and result files name it
    images: Mapping[str, tuple[StoredImage, ...]]  # by camera id (front, front_left, ...): 4, oldest first, 2 Hz
    speed: float  # m/s, signed
    acceleration: float  # m/s2, longitudinal, signed
    command: Command
    history: np.ndarray  # (H, 3) past poses, oldest first, 2 Hz, without the pose now; H may be 0
    poses: np.ndarray  # (10, 3) the future at 0.5 ... 5.0 s
    mask: np.ndarray  # (10,) bool, which of them are known
    reasoning: Reasoning | None = None
    instruction: str | None = None  # free text beside the command
    scene: str = ""  # which drive it belongs to: splits and held-out sets never cut through one
    extra: Mapping[str, object] = field(default_factory=dict)  # what only this data set's metrics need


class Reader(Protocol):
    """An opened split of a data set. Opening reads an index only; ``__getitem__`` may be called from threads."""

    name: str  # nuscenes, navsim, waymo, cot
    split: str
    broken: list[str]  # records left out by ``skip_broken``, each with its reason

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...
