"""The file of thoughts that an annotator wrote: a heading, then one line a sample; it survives being killed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from autovla_core.prompt.reasoning import Reasoning
from training.datasets.sample import DatasetError

SCHEMA = "autovla-annotations/1"


class Annotations:
    """An open file that lines are added to."""

    def __init__(self, stream: IO[str], ids: set[str]) -> None:
        self._stream, self.ids = stream, ids

    @classmethod
    def open(cls, file: Path, heading: Mapping[str, str]) -> Annotations:
        """Go on with ``file``, or begin it; half a last line is cut off.

        Raises:
            DatasetError: it was written under another heading.
        """
        file = Path(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        first = {"schema": SCHEMA, **heading}
        if not file.exists() or not _whole_lines(file):
            file.write_text(json.dumps(first, sort_keys=True) + "\n", encoding="utf-8")
        found, thoughts = _parse(file)
        if found != first:
            raise DatasetError(f"{file} was written for {found}, now asked for {first}; take another file")
        return cls(file.open("a", encoding="utf-8"), set(thoughts))

    def add(self, id: str, parts: Reasoning) -> None:
        """Append one sample, so that it is there even if the machine dies now."""
        self._stream.write(json.dumps({"id": id, **dataclasses.asdict(parts)}, ensure_ascii=False) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.ids.add(id)

    def __enter__(self) -> Annotations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def read(file: Path) -> dict[str, Reasoning]:
    """Thoughts by sample.

    Raises:
        DatasetError: no such file, or a line that is not one of ours.
    """
    try:
        return _parse(Path(file))[1]
    except OSError as error:
        raise DatasetError(f"no thoughts at {file} ({error}); run python -m training.annotate") from None


def _whole_lines(file: Path) -> int:
    """How many bytes of whole lines there are; what follows them was cut off by a kill and goes."""
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(file, whole)
    return whole


def _parse(file: Path) -> tuple[dict[str, str], dict[str, Reasoning]]:
    head, *lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    found: dict[str, Reasoning] = {}
    try:
        heading = json.loads(head)
        if not isinstance(heading, dict) or heading.get("schema") != SCHEMA:
            raise DatasetError(f"{file}: found {head[:80]!r}, expected a heading of {SCHEMA!r}")
        for line in lines:
            row = json.loads(line)
            id = str(row.pop("id"))
            found[id] = Reasoning(**row)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{file}, after {len(found)} samples: {error!r}") from None
    return heading, found
