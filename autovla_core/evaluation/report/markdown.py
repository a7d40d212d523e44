"""The tables of a report for a README or a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autovla_core.evaluation.report.collect import RunResults
from autovla_core.evaluation.report.figures import (
    MEASURES,
    SCORE,
    SUCCESS,
    Comparison,
    compare,
    counted,
    figure,
    p_text,
    with_missing,
)
from autovla_core.evaluation.report.official_table import official_lines
from autovla_core.evaluation.report.shield import shield_lines


def as_markdown(benchmarks: Mapping[tuple[str, str, str], Sequence[RunResults]]) -> str:
    """Tables for each benchmark; more than one is said, not mixed."""
    parts = []
    if len(benchmarks) > 1:
        parts.append(f"{len(benchmarks)} different benchmarks: figures of different tables must not be compared.")
    for (routes, rule, traffic), runs in benchmarks.items():
        parts.append(f"Route file {routes[:12]}, rule {rule}, traffic {traffic}:")
        parts += [_scores(runs), *filter(None, map(_missing, runs)), *shield_lines(runs)]
        parts += [line for run in runs for line in official_lines(run)]
        parts += [_comparisons(runs)] if len(runs) > 1 else []
    return "\n\n".join(parts)


def _scores(runs: Sequence[RunResults]) -> str:
    rows = [["agent", "drives", "routes", *(measure.name for measure in MEASURES)]]
    for run in runs:
        counts = [str(len(run.drives)), str(len({drive.route for drive in run.drives}))]
        cells = [figure(m, run.drives).text(2 if m.kind == "rate" else 1) for m in MEASURES]
        rows.append([run.name, *counts, *cells])
    return _table(rows)


def _missing(run: RunResults) -> str:
    found = with_missing(run)
    if found is None:
        return ""
    return f"{run.name}: {run.total - len(run.drives)} of {run.total} drives missing; counted 0: {found.text()}."


def _comparisons(runs: Sequence[RunResults]) -> str:
    rows = [["pair", "of", "drives", "difference", "smallest that could be shown", "p (Holm)", "verdict"]]
    return _table(rows + [_row(c) for measure in (SCORE, SUCCESS) for c in compare(runs, measure)])


def _row(c: Comparison) -> list[str]:
    pair = f"{c.b} − {c.a}"
    if c.paired is None:
        return [pair, c.measure, "0", "", "", "", c.verdict()]
    p, gap = c.paired, c.paired.difference
    bounds = f"[{gap.low:+.1f}, {gap.high:+.1f}]" if p.groups > 1 else "[no interval: 1 route]"
    least = "unknown" if p.detectable is None else f"{p.detectable:.1f}"
    drives = f"{p.pairs} on {counted(p.groups, 'route')}"
    return [pair, c.measure, drives, f"{gap.mean:+.1f} {bounds}", least, p_text(c.p_holm), c.verdict()]


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
