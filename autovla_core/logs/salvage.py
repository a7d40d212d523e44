"""Make a log of what a killed program left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from autovla_core.errors import LogError
from autovla_core.logs import schema
from autovla_core.logs.journal import META_PART, PLANS_PART, TICKS_PART, read_journal
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.writer import write_tables

BROKEN_OFF = "the recording broke off"


@dataclass(frozen=True)
class Salvaged:
    """What could be saved."""

    folder: Path
    ticks: int
    torn: int  # rows and images that were being written, at most one of each kind


def is_broken_off(folder: Path) -> bool:
    """Whether a folder ``.<name>.partial`` holds something to salvage."""
    return (folder / META_PART).is_file() or (folder / schema.META_FILE).is_file()


def salvage(partial: str | Path, target: str | Path) -> Salvaged:
    """Turn the folder ``.<name>.partial`` of a killed program into a log at ``target``.

    Raises:
        LogError: nothing to salvage, or ``target`` exists.
    """
    partial, target = Path(partial), Path(target)
    if target.exists():
        raise LogError(f"{target} exists already; a route log is never overwritten, choose another folder")
    if (partial / schema.META_FILE).is_file() and not (partial / META_PART).is_file():  # killed just before the rename
        whole = RouteLog(partial.rename(target))
        return Salvaged(target, len(whole), 0)
    found = read_journal(partial)
    images, broken = {}, 0
    for camera in found.meta.rig:
        files = sorted((partial / f"camera_{camera}").glob("*.jpg"))
        if files and not _is_whole(files[-1]):  # only the newest can be torn
            files.pop().unlink()
            broken += 1
        images[camera] = [int(file.stem) for file in files]
    write_tables(partial, found.meta, found.ticks, found.plans, images, {"status": "", "reason": BROKEN_OFF})
    for name in (META_PART, TICKS_PART, PLANS_PART):
        (partial / name).unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    return Salvaged(target, len(found.ticks), broken + (found.torn_bytes > 0))


def _is_whole(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except OSError:
        return False
    return True
