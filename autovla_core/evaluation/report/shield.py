"""Both figures wherever the shield was on: what it did, and the same agent without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from autovla_core.evaluation.report.collect import RunResults
from autovla_core.evaluation.report.figures import SCORE, SUCCESS, Comparison, compare, counted, figure
from autovla_core.evaluation.shielding import TWINS, counts_of, said


def shield_lines(runs: Sequence[RunResults]) -> list[str]:
    """Sentences on the runs of one benchmark that had the shield; none for any other."""
    return [_line(run, runs) for run in runs if run.shielded]


def _line(run: RunResults, runs: Sequence[RunResults]) -> str:
    found = [counts for drive in run.drives if (counts := counts_of(drive.planner))]
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    did = said(total, len(found)) if found else f"its counts are in none of its {counted(len(run.drives), 'drive')}"
    twins = [other for other in runs if _same_without(other, run)]
    if not twins:
        return f"{run.name}: {did}. The same agent without it is not among these results; drive that too."
    return (
        f"{run.name}: {did}. The same agent without it: " + "; ".join(_against(run, twin, runs) for twin in twins) + "."
    )


def _same_without(other: RunResults, run: RunResults) -> bool:
    """Whether ``other`` is the agent of ``run`` without its shield, by the hashes of its YAML and its weights."""
    twins = run.run.get(TWINS)
    if other.shielded or not isinstance(twins, list) or other.run.get("agent_config") not in twins:
        return False
    alike = all(other.run.get(key) == run.run.get(key) for key in ("agent", "weights"))
    return alike and other.benchmark == run.benchmark


def _against(run: RunResults, twin: RunResults, runs: Sequence[RunResults]) -> str:
    parts = []
    for measure in (SCORE, SUCCESS):
        pair = next(c for c in compare(runs, measure) if {c.a, c.b} == {run.name, twin.name})
        without, with_it = figure(measure, twin.drives).text(), figure(measure, run.drives).text()
        parts.append(f"{measure.name} {without} ({twin.name}) against {with_it}: {_difference(pair)}")
    return ", ".join(parts)


def _difference(pair: Comparison) -> str:
    if pair.paired is None or pair.paired.groups < 2:
        return pair.verdict()
    gap = pair.paired.difference
    return f"{pair.b} − {pair.a} is {gap.mean:+.1f} [{gap.low:+.1f}, {gap.high:+.1f}], {pair.verdict()}"
