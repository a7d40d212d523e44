"""Read a codebook in the layout that the AutoVLA authors released, without trusting it.

Their file is a pickle ``{"token_all": {"veh": float32 (K, S, 4, 2), "ped": ..., "cyc": ...}}``: K motions, the box at
S times (the first at the start, the last half a second later; S may be 1), its four corners left front, right front,
right back, left back, in metres. Only arrays are read, whatever else the file asks for is refused by name. None of
their data is in this project: whoever has the file may convert it for own use, under its licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autovla_core import restricted_pickle
from autovla_core.action.codebook import Codebook
from autovla_core.errors import CodebookError

KIND = "veh"
SQUARE_M = 0.02  # by which the corners of a box may miss a rectangle: float32, and means of many boxes
STILL_M = 0.05  # corner distance from standing still, below which an entry may stand for it
LIMIT_BYTES = 256 * 2**20


def read(path: str | Path, kind: str = KIND) -> Codebook:
    """Convert such a file.

    The codebook keeps the order of the file's entries but for one: the one that stands stillest changes places with
    entry 0 and becomes exactly zero, as every codebook here demands. ``provenance`` tells which it was and what moved.

    Raises:
        CodebookError: no such file, another layout, no entry that stands still.
        PickleRefused: it asks for anything but arrays.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= LIMIT_BYTES else None
    except OSError as error:
        raise CodebookError(f"cannot read {path}: {error}") from None
    if data is None:
        raise CodebookError(f"{path} is larger than {LIMIT_BYTES} bytes; a codebook is a few megabytes")
    contours = _contours(restricted_pickle.load(data, restricted_pickle.NUMPY, str(path)), kind, path)
    motions, length, width = motions_of(contours, str(path))
    motions, moved = _standing_first(motions, length, width, str(path))
    provenance = {"source": path.name, "sha256": hashlib.sha256(data).hexdigest(), "kind": kind, **moved}
    return Codebook(motions, length, width, provenance)


def _contours(document: object, kind: str, path: Path) -> np.ndarray:
    tokens = document.get("token_all") if isinstance(document, Mapping) else None
    if not isinstance(tokens, Mapping) or not isinstance(tokens.get(kind), np.ndarray):
        keys = sorted(map(str, tokens)) if isinstance(tokens, Mapping) else type(document).__name__
        raise CodebookError(f"{path}: found {keys}, expected a dict token_all with an array {kind!r}")
    contours = np.asarray(tokens[kind])
    if contours.ndim != 4 or contours.shape[2:] != (4, 2) or not contours.size or contours.dtype.kind != "f":
        raise CodebookError(f"{path}: {kind!r} is {contours.dtype} {contours.shape}, expected floats (K, S, 4, 2)")
    if not np.isfinite(contours).all():
        raise CodebookError(f"{path}: {kind!r} holds values that are not finite")
    return contours.astype(float)


def motions_of(contours: np.ndarray, what: str) -> tuple[np.ndarray, float, float]:
    """Motions (K, 3) of the box centre, and length and width of the box, from contours (K, S, 4, 2).

    Raises:
        CodebookError: the last contours are not all the same rectangle.
    """
    front_left, front_right, rear_right, rear_left = np.moveaxis(contours[:, -1], 1, 0)
    ahead = (front_left + front_right - rear_right - rear_left) / 2.0
    aside = (front_left - front_right + rear_left - rear_right) / 2.0
    lengths, widths = np.linalg.norm(ahead, axis=1), np.linalg.norm(aside, axis=1)
    length, width = float(np.median(lengths)), float(np.median(widths))
    skew = np.abs((ahead * aside).sum(1)) / np.maximum(lengths, 1e-9)
    twist = np.linalg.norm(front_left + rear_right - front_right - rear_left, axis=1)
    handed = ahead[:, 0] * aside[:, 1] - ahead[:, 1] * aside[:, 0]
    off = np.max([np.abs(lengths - length), np.abs(widths - width), skew, twist], axis=0)
    if off.max() > SQUARE_M or (handed <= 0.0).any() or min(length, width) <= 0.0:
        raise CodebookError(
            f"{what}: {int((off > SQUARE_M).sum())} of {len(off)} contours are no box of {length:.2f} x {width:.2f} m "
            f"with corners left front, right front, right back, left back (worst by {off.max():.3f} m)"
        )
    centre = contours[:, -1].mean(axis=1)
    return np.column_stack([centre, np.arctan2(ahead[:, 1], ahead[:, 0])]), length, width


def _standing_first(
    motions: np.ndarray, length: float, width: float, what: str
) -> tuple[np.ndarray, dict[str, object]]:
    reach = np.hypot(motions[:, 0], motions[:, 1]) + 0.5 * np.hypot(length, width) * np.abs(motions[:, 2])
    still = int(reach.argmin())
    if reach[still] > STILL_M:
        raise CodebookError(f"{what}: no entry stands still; the stillest moves its corners by {reach[still]:.3f} m")
    moved = motions.copy()
    moved[[0, still]] = moved[[still, 0]]
    moved[0] = 0.0
    return moved, {"standing_entry": still, "standing_entry_moved_m": round(float(reach[still]), 5)}
