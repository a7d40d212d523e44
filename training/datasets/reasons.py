"""Route logs with thoughts: ``reasons.jsonl`` of each log turned into the text that a slow answer is taught."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autovla_core.action.codebook import Codebook
from autovla_core.errors import LogError
from autovla_core.logs import reasons
from autovla_core.logs.reader import RouteLog
from autovla_core.model.encoding import CameraView
from autovla_core.prompt.reasoning_action import Action, action_of
from autovla_core.prompt.reasoning_claims import cause_of, thought, why_complex
from autovla_core.prompt.reasoning_facts import Facts, FactsError, from_line
from training.datasets.routes import RouteDataset
from training.datasets.sampled import Columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reasoned:
    """One plan of a log with what was true, what was done and, for a complex scene, the thought."""

    facts: Facts
    action: Action
    complex: tuple[str, ...]  # the rules that call it complex; none: simple
    hidden: bool  # the cause of the action is not in the pictures, so nothing is said
    thought: str | None


def read_reasons(log: RouteLog) -> list[Reasoned]:
    """One for each plan of a log, in order.

    Raises:
        LogError: no reasons, a line that is broken, or lines that are not those of the plans.
    """
    found = []
    for number, (line, poses) in enumerate(zip(reasons.lines_of_plans(log), log.plans["poses"]), start=2):
        try:
            facts = from_line(line)
        except FactsError as error:
            raise LogError(f"{log.folder / reasons.REASONS_FILE}, line {number}: {error}") from None
        found.append(reasoned(facts, poses, reasons.thought_seed(log.meta, facts.tick)))
    return found


def reasoned(facts: Facts, poses: np.ndarray, seed: str) -> Reasoned:
    """What follows from the facts and the plan (10, 3) of one moment; ``seed`` draws the words."""
    action = action_of(poses)
    text = thought(facts, action, seed)
    return Reasoned(facts, action, why_complex(facts, action), cause_of(facts) is None, text)


class ThinkingRoutes(RouteDataset):
    """``RouteDataset`` whose samples have thoughts; those of a log without reasons have none and are not judged."""

    def __init__(
        self,
        folders: Sequence[Path],
        cameras: tuple[CameraView, ...],
        codebook: Codebook,
        cache: Path,
        workers: int = 2,
    ) -> None:
        super().__init__(folders, cameras, codebook, cache, workers)
        found = [(text, reasons.has_lines(folder)) for folder in folders for text in _thoughts(folder)]
        texts = np.full(len(found), None, object)
        texts[:] = [text for text, _ in found]
        judged = np.array([known for _, known in found], bool)
        self.samples = replace(Columns.of(self.samples), thought=texts, judged=judged)
        logger.info("%d of %d samples have a thought", sum(t is not None for t in texts), len(texts))


def _thoughts(folder: Path) -> list[str | None]:
    log = RouteLog(folder)
    if not reasons.has_lines(folder):
        return [None] * len(log.plans["tick"])
    return [row.thought for row in read_reasons(log)]


def summary(rows: Sequence[Reasoned]) -> dict[str, int]:
    """How many are complex, why, and how many of these stay fast because their cause is hidden."""
    counts = Counter(name for row in rows for name in row.complex)
    totals = {
        "plans": len(rows),
        "complex": sum(bool(row.complex) for row in rows),
        "hidden": sum(bool(row.complex) and row.hidden for row in rows),
        "thoughts": sum(row.thought is not None for row in rows),
    }
    return totals | dict(counts)
