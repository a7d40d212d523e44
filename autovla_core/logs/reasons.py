"""``reasons.jsonl`` of a route: for each plan, one line of what was true and seen there (``prompt.reasoning_facts``).

The text of a thought is not stored: it follows from the facts and the wording, so a better wording needs no new drive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from autovla_core.errors import LogError
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta

REASONS_FILE = "reasons.jsonl"
REASONS_SCHEMA = "autovla-reasons/1"


def write_lines(folder: str | Path, lines: Iterable[str]) -> Path:
    """Write the file: a heading, then one line of facts for each plan; it appears when it is whole."""
    file = Path(folder) / REASONS_FILE
    partial = file.with_name(f".{REASONS_FILE}.partial")
    body = [json.dumps({"schema": REASONS_SCHEMA}), *lines]
    partial.write_text("\n".join(body) + "\n", encoding="utf-8")
    return partial.rename(file)


def has_lines(folder: str | Path) -> bool:
    """Whether this route was logged with reasons."""
    return (Path(folder) / REASONS_FILE).is_file()


def read_lines(folder: str | Path) -> list[str]:
    """The lines of facts, in order of the plans.

    Raises:
        LogError: no such file, another schema, or a last line that was cut off.
    """
    file = Path(folder) / REASONS_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LogError(f"no {REASONS_FILE} in {file.parent}: this route was logged without reasons") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"{file} is damaged: {error}") from None
    head, *lines = text.split("\n")
    expected = json.dumps({"schema": REASONS_SCHEMA})
    if head != expected:
        raise LogError(f"{file}: found {head[:80]!r}, expected {expected!r}")
    if not lines or lines[-1] != "":
        raise LogError(f"{file} is damaged: its last line is cut off")
    return lines[:-1]


def lines_of_plans(log: RouteLog) -> list[str]:
    """The lines of facts of a log, the first for its first plan, and so on.

    Raises:
        LogError: as ``read_lines``, or lines that are not those of the plans.
    """
    lines, ticks = read_lines(log.folder), log.plans["tick"]
    if len(lines) != len(ticks):
        raise LogError(f"{log.folder}: {len(lines)} lines of reasons for {len(ticks)} plans")
    for number, (line, tick) in enumerate(zip(lines, ticks), start=2):
        try:
            found = json.loads(line)["tick"]
        except (ValueError, KeyError, TypeError) as error:
            raise LogError(f"{log.folder / REASONS_FILE}, line {number}: no facts ({error!r})") from None
        if found != tick:
            raise LogError(f"{log.folder}: line {number} of the reasons is of tick {found}, the plan of {tick}")
    return lines


def thought_seed(meta: RouteMeta, tick: int) -> str:
    """What draws the words of the thought at one tick of a log."""
    return f"{meta.town}/{meta.route_id}/{meta.seed}/{tick}"
