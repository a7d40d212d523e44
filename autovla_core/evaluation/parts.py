"""One small file a drive beside the results file: several programs may write at once, a damaged whole is made anew."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from autovla_core.errors import RouteError
from autovla_core.evaluation.identity import changed
from autovla_core.files import write_whole

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Parts:
    """The folder of one run's drives.

    Args:
        folder: where they lie or will lie.
        run: what makes a run, as in ``ResultsFile``.
    """

    def __init__(self, folder: Path, run: Mapping[str, object]) -> None:
        self.folder = folder
        self._run = json.loads(json.dumps(dict(run)))
        self.runs: list[Mapping[str, object]] = []  # of the files that ``read`` found

    def write(self, record: Mapping[str, object]) -> None:
        """Store one record; it is on the disk when this returns."""
        text = json.dumps({"run": self._run, "record": record}, indent=1) + "\n"
        file = self.folder / f"{quote(str(record['route_id']), safe='')}.json"
        write_whole(file, text)

    def read(self) -> dict[str, dict[str, object]]:
        """Records by their ``route_id``. A file that broke off is no record: its route is to be driven again.

        Raises:
            RouteError: a file of another run.
        """
        found: dict[str, dict[str, object]] = {}
        self.runs = []
        for file in sorted(self.folder.glob("[!.]*.json")):
            try:
                part = json.loads(file.read_text(encoding="utf-8"))
                run, record = part["run"], part["record"]
                name = str(record["route_id"])
            except (ValueError, KeyError, TypeError):
                logger.warning("%s broke off; its route is driven again", file)
                continue
            if differs := changed(run, self._run):
                raise RouteError(f"{file} is of another run (differs in {', '.join(differs)}); choose another --out")
            found[name] = record
            self.runs.append(run)
        return found


def share(items: Sequence[T], text: str) -> Sequence[T]:
    """Part ``i/n`` (from 1) of a list, every n-th of it; "" for all.

    Raises:
        RouteError: not of that form.
    """
    if not text:
        return items
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise RouteError(f"found shard {text!r}, expected i/n with 1 <= i <= n, such as 2/8")
    return items[int(index) - 1 :: int(count)]
