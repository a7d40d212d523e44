"""The nuScenes tables as they lie on disk: thirteen JSON arrays of flat rows, and the lists of scenes of a split.

A table is read row by row, so that ``sample_data.json`` (1.2 GB in trainval) never lies in memory whole.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from training.datasets.sample import DatasetError

Row = dict[str, object]
CHUNK_CHARS = 1 << 22
LONGEST_ROW_CHARS = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")

VERSIONS = {  # split -> folder of its tables
    "mini_train": "v1.0-mini",
    "mini_val": "v1.0-mini",
    "train": "v1.0-trainval",
    "val": "v1.0-trainval",
    "test": "v1.0-test",
}
MINI_VAL = ("scene-0103", "scene-0916")  # the other eight scenes of v1.0-mini are mini_train
OFFICIAL_SIZES = {  # scenes and key frames of each official split, to tell a user whether his are whole
    "mini_train": (8, 323),
    "mini_val": (2, 81),
    "train": (700, 28130),
    "val": (150, 6019),
    "test": (150, 6008),
}


def version_of(split: str) -> str:
    """The folder that holds the tables of ``split``.

    Raises:
        DatasetError: no such split.
    """
    try:
        return VERSIONS[split]
    except KeyError:
        raise DatasetError(f"nuScenes has no split {split!r}; known: {', '.join(VERSIONS)}") from None


def rows(file: Path) -> Iterator[Row]:
    """The rows of one table, in order, with a progress bar for a large one.

    Raises:
        DatasetError: the file is missing, truncated, or holds something else than an array of objects.
    """
    try:
        stream = file.open(encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"cannot open the nuScenes table {file}: {error.strerror}") from None
    size = file.stat().st_size
    with stream, tqdm(total=size, desc=file.stem, unit="B", unit_scale=True, disable=size < CHUNK_CHARS) as bar:
        for count, row in enumerate(_decode(stream, file, bar)):
            if not isinstance(row, dict):
                raise DatasetError(f"{file}, row {count}: found {type(row).__name__}, expected an object")
            yield row


def _decode(stream, file: Path, bar: tqdm) -> Iterator[object]:
    decoder, buffer, place, count = json.JSONDecoder(), "", 0, 0
    chunk = stream.read(CHUNK_CHARS)
    if not chunk.lstrip().startswith("["):
        raise DatasetError(f"{file}: found {chunk[:20]!r} at the start, expected a JSON array")
    buffer, place = chunk, chunk.index("[") + 1
    while True:
        place = _BETWEEN.match(buffer, place).end()
        if buffer[place : place + 1] == "]":
            return
        try:
            row, place = decoder.raw_decode(buffer, place)
        except json.JSONDecodeError as error:
            bar.update(len(chunk))
            chunk = stream.read(CHUNK_CHARS)
            if not chunk or len(buffer) - place > LONGEST_ROW_CHARS:
                raise DatasetError(f"{file}, row {count}: truncated or no JSON: {error.msg}") from None
            buffer, place = buffer[place:] + chunk, 0
            continue
        count += 1
        yield row


def field(row: Row, name: str, file: Path) -> object:
    """``row[name]``, or an error that names table, record and what is missing."""
    try:
        return row[name]
    except KeyError:
        raise DatasetError(f"{file}, record {row.get('token')!r}: no field {name!r}; it has {sorted(row)}") from None


def split_scenes(root: Path, split: str, names: list[str]) -> list[str]:
    """Names of the scenes of ``split`` among ``names``, the scenes of its version.

    train and val are lists of 700 and 150 names that belong to the devkit and are not copied here. They are
    read from, in this order: ``<root>/<version>/splits.json`` or ``<root>/splits.json`` ({split: [names]}, the
    devkit's own format for custom splits), ``<root>/splits.py`` (the devkit's file, parsed and never run),
    and ``splits.py`` of an installed nuscenes-devkit.

    Raises:
        DatasetError: no list can be found.
    """
    version = version_of(split)
    for file in (root / version / "splits.json", root / "splits.json"):
        if file.exists():
            return _chosen(names, _json_split(file, split), file)
    if version == "v1.0-test":
        return names
    if version == "v1.0-mini":
        return [name for name in names if (name in MINI_VAL) == (split == "mini_val")]
    file = _devkit_file(root)
    if file is None:
        raise DatasetError(
            f"which scenes are {split!r}? Found neither splits.json nor splits.py below {root}, nor an installed "
            f"nuscenes-devkit; copy the devkit's nuscenes/utils/splits.py to {root}/splits.py"
        )
    return _chosen(names, _python_split(file, split), file)


def _chosen(names: list[str], wanted: list[str], file: Path) -> list[str]:
    found = [name for name in names if name in set(wanted)]
    if not found:
        raise DatasetError(f"{file}: none of its {len(wanted)} scenes is in the tables, which start with {names[:3]}")
    return found


def _json_split(file: Path, split: str) -> list[str]:
    try:
        document = json.loads(file.read_text())
        wanted = document[split]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DatasetError(f"{file}: no list of scenes {split!r}: {error!r}") from None
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise DatasetError(f"{file}: {split!r} is no list of scene names")
    return wanted


def _devkit_file(root: Path) -> Path | None:
    if (root / "splits.py").exists():
        return root / "splits.py"
    found = importlib.util.find_spec("nuscenes")  # locates the package without running it
    if found is None or not found.submodule_search_locations:
        return None
    file = Path(next(iter(found.submodule_search_locations))) / "utils" / "splits.py"
    return file if file.exists() else None


def _python_split(file: Path, split: str) -> list[str]:
    """The list of a module's top level, literals and sorted sums of other lists; nothing is run."""
    assigned = {
        node.targets[0].id: node.value
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    def names(node: ast.expr) -> list[str]:
        if isinstance(node, ast.List):
            return [str(value) for value in ast.literal_eval(node)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return names(node.left) + names(node.right)
        if isinstance(node, ast.Name) and node.id in assigned:
            return names(assigned[node.id])
        wrapped = [part for part in ast.iter_child_nodes(node) if isinstance(part, (ast.List, ast.BinOp, ast.Call))]
        wrapped = wrapped or [part for part in getattr(node, "args", []) if isinstance(part, ast.Name)]
        return [name for part in wrapped for name in names(part)]

    if split not in assigned:
        raise DatasetError(f"{file}: no list {split!r}; it assigns {sorted(assigned)}")
    return names(assigned[split])
