"""The alphabet of motion: K short motions of 0.5 s, each one action token."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from autovla_core import footprints
from autovla_core.action import search
from autovla_core.errors import CodebookError
from autovla_core.files import replacing

SCHEMA = "autovla-codebook/1"
KEYS = {"schema", "motions", "vehicle", "provenance", "hash"}
NEIGHBOURS = 64  # that each entry lists
SHIPPED = Path(__file__).parent / "codebooks" / "tiny_2048.npz"


@dataclass(frozen=True)
class Codebook:
    """Motions that action tokens stand for.

    Attributes:
        motions: (K, 3) float64 (dx, dy, dyaw) of the box centre over 0.5 s, in the ego frame at
            the start; entry 0 is exactly zero, so that standing still does not drift.
        length, width: metres, of the vehicle box whose corners measure the distance of two poses.
        provenance: how it was built; not part of the hash.

    Raises:
        CodebookError: wrong shape, a value that is not finite, or an entry 0 that moves.
    """

    motions: np.ndarray
    length: float = 4.89
    width: float = 1.84
    provenance: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        motions = np.array(self.motions, np.float64)
        if motions.ndim != 2 or motions.shape[1] != 3 or not len(motions) or not np.isfinite(motions).all():
            raise CodebookError(f"motions are {motions.shape}, expected finite (K, 3)")
        if motions[0].any():
            raise CodebookError(f"entry 0 is {motions[0].tolist()}, expected exactly zero (standing still)")
        motions.flags.writeable = False
        object.__setattr__(self, "motions", motions)

    def __len__(self) -> int:
        return len(self.motions)

    @cached_property
    def corners(self) -> np.ndarray:
        """Corners (K, 4, 2) float32 of the vehicle box at every entry."""
        return footprints.corners(self.motions, self.length, self.width).astype(np.float32)

    @cached_property
    def tables(self) -> search.Tables:
        """The entries as encoding needs them."""
        return search.tables(self.motions, self.length, self.width)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """The entries (K, up to 64) nearest to each entry, itself at the head."""
        return search.nearest_entries(self.tables, NEIGHBOURS)

    @cached_property
    def hash(self) -> str:
        """sha256 over the motions and the vehicle box: equal hash, equal meaning of every token."""
        digest = hashlib.sha256(f"{SCHEMA} {self.length:.6f} {self.width:.6f} {len(self)}\n".encode())
        digest.update(np.ascontiguousarray(self.motions, "<f8").tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write one npz, whole or not at all; the same codebook gives the same bytes."""
        with replacing(Path(path)) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                schema=np.array(SCHEMA),
                motions=self.motions,
                vehicle=np.array([self.length, self.width]),
                provenance=np.array(json.dumps(dict(self.provenance), sort_keys=True)),
                hash=np.array(self.hash),
            )

    @classmethod
    def load(cls, path: str | Path) -> Codebook:
        """Read what ``save`` wrote.

        Raises:
            CodebookError: no such file, another schema, or motions that do not fit the stored hash.
        """
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                values = {key: archive[key] for key in archive.files}
        except FileNotFoundError:
            raise CodebookError(f"no codebook at {path}; build one with python -m training.build_codebook") from None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise CodebookError(f"{path} is not a codebook: {error}") from None
        if set(values) != KEYS or str(values["schema"]) != SCHEMA:
            found = str(values.get("schema", "none"))
            raise CodebookError(f"{path}: found keys {sorted(values)}, schema {found!r}; expected {SCHEMA!r}")
        length, width = values["vehicle"].tolist()
        book = cls(values["motions"], length, width, json.loads(str(values["provenance"])))
        if book.hash != str(values["hash"]):
            raise CodebookError(f"{path}: motions hash to {book.hash[:12]}, the file says {str(values['hash'])[:12]}")
        return book
