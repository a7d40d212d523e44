"""Row by row beside a log that is being written, so that a killed program loses at most the row it was writing.

    <partial>/journal.json   RouteMeta
    <partial>/ticks.part     rows TICK_ROW
    <partial>/plans.part     rows PLAN_ROW

``logs.salvage`` makes a log of what is left; a log that is closed in order keeps none of these files.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core.contracts import PLAN_STEPS, RULES, Outlook
from autovla_core.errors import LogError
from autovla_core.logs import schema
from autovla_core.logs.schema import RouteMeta, Tick

META_PART, TICKS_PART, PLANS_PART = "journal.json", "ticks.part", "plans.part"
DISTANCES = ("red_m", "green_m", "sign_m", "lead_m")  # of contracts.Outlook
TICK_ROW = np.dtype([(f.name, schema.TICK_COLUMNS[f.name]) for f in dataclasses.fields(Tick)])
PLAN_ROW = np.dtype(
    [
        ("tick", np.int64),
        ("poses", np.float32, (PLAN_STEPS, 3)),
        ("rule", np.int8),
        *((name, np.float32) for name in DISTANCES),
    ]
)


@dataclass(frozen=True)
class PlanRow:
    """A plan as it was handed to the writer."""

    tick: int
    poses: np.ndarray  # (10, 3) float32, ego frame at that tick
    outlook: Outlook


class Journal:
    """Appends rows; each is with the operating system before the call returns."""

    def __init__(self, folder: Path, meta: RouteMeta) -> None:
        self._folder = folder
        (folder / META_PART).write_text(json.dumps(dataclasses.asdict(meta)), encoding="utf-8")
        self._ticks = (folder / TICKS_PART).open("wb", buffering=0)
        self._plans = (folder / PLANS_PART).open("wb", buffering=0)

    def tick(self, tick: Tick) -> None:
        """Append one simulation step."""
        self._ticks.write(np.array(dataclasses.astuple(tick), TICK_ROW).tobytes())

    def plan(self, plan: PlanRow) -> None:
        """Append one plan."""
        distances = (getattr(plan.outlook, name) for name in DISTANCES)
        row = (plan.tick, plan.poses, RULES.index(plan.outlook.rule), *distances)
        self._plans.write(np.array(row, PLAN_ROW).tobytes())

    def close(self) -> None:
        """No more rows; safe to call twice."""
        self._ticks.close()
        self._plans.close()

    def remove(self) -> None:
        """The log is whole: nothing is to be salvaged."""
        for name in (META_PART, TICKS_PART, PLANS_PART):
            (self._folder / name).unlink()


@dataclass(frozen=True)
class Leftovers:
    """What a journal holds."""

    meta: RouteMeta
    ticks: list[Tick]
    plans: list[PlanRow]
    torn_bytes: int  # of rows that were being written


def read_journal(folder: Path) -> Leftovers:
    """Everything that was written whole.

    Raises:
        LogError: the folder holds no journal.
    """
    try:
        meta = RouteMeta(**json.loads((folder / META_PART).read_text(encoding="utf-8")))
        ticks, torn_ticks = _rows(folder / TICKS_PART, TICK_ROW)
        plans, torn_plans = _rows(folder / PLANS_PART, PLAN_ROW)
    except (OSError, ValueError, TypeError) as error:
        raise LogError(f"{folder} holds no journal of a drive: {error}") from None
    rows = [PlanRow(int(p["tick"]), p["poses"].copy(), _outlook(p)) for p in plans if p["tick"] < len(ticks)]
    return Leftovers(meta, [Tick(*row.tolist()) for row in ticks], rows, torn_ticks + torn_plans)


def _rows(file: Path, row: np.dtype) -> tuple[np.ndarray, int]:
    data = file.read_bytes()
    whole = len(data) // row.itemsize * row.itemsize
    return np.frombuffer(data[:whole], row), len(data) - whole


def _outlook(row: np.void) -> Outlook:
    return Outlook(RULES[int(row["rule"])], *(float(row[name]) for name in DISTANCES))
