"""Bench2Drive's figures in a report: the official number and, beside it, the corrected one with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from autovla_core.evaluation.report import charts
from autovla_core.evaluation.report.collect import RunResults
from autovla_core.evaluation.report.figures import counted
from autovla_core.evaluation.report.official import RULE, TRAFFIC, Official, Twice
from autovla_core.scoring.bench2drive import OFFICIAL_ROUTES, PERCENT
from autovla_core.scoring.statistics import Interval

EFFICIENCY = "driving efficiency"
LISTED = 12  # ids that stand in a sentence
HEAD = ("figure", "official", "corrected", "note")
READING = (
    f"Official: what Bench2Drive's scripts print for these files, defects included; they divide by {OFFICIAL_ROUTES} "
    "whatever the route file, and are one number without an interval. Corrected: each route of the file once, one "
    "without a record 0, units put right; in brackets 95 % over routes."
)


def official_html(runs: Sequence[RunResults]) -> str:
    """One section a run that was merged as Bench2Drive does it; nothing for any other."""
    return "".join(_section(run.name, run.official) for run in runs if run.official)


def official_lines(run: RunResults) -> list[str]:
    """The same for a terminal: sentences, and the rows of a Markdown table below them."""
    if run.official is None:
        return []
    rows = [[label(f), number(f.official), f"{number(f.corrected)} {bounds(f)}".strip(), f.note] for f in _figures(run)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [list(HEAD), ["---"] * len(HEAD), *rows])
    said = [f"{text}: {', '.join(ids)}" if ids else text for text, ids in remarks(run.official)]
    return [f"{run.name}, Bench2Drive's figures: {_head(run.official)}.", *said, table, READING]


def label(figure: Twice) -> str:
    """With the unit."""
    if figure.name == EFFICIENCY:
        return f"{EFFICIENCY}, % of the traffic's speed"
    return f"{figure.name.replace('_', ' ')} %" if figure.name in PERCENT else figure.name


def number(value: float | None) -> str:
    """Two digits; "-" for a figure that is not defined."""
    return "-" if value is None else f"{value:.2f}"


def bounds(figure: Twice) -> str:
    """In brackets; nothing beside a figure that is not defined."""
    if figure.corrected is None:
        return ""
    if figure.low is None or figure.high is None:
        return "[no interval: too few routes]"
    return f"[{figure.low:.2f}, {figure.high:.2f}]"


def remarks(official: Official) -> list[tuple[str, tuple[str, ...]]]:
    """What a reader must know before the figures, each with the ids or names that it is about."""
    rows = (
        (f"{len(official.missing)} of {counted(official.routes, 'route')} have no record", official.missing),
        (f"{counted(len(official.duplicated), 'route')} recorded twice, the worst counts", official.duplicated),
        ("records of routes that the file lacks, left out of the corrected figures", official.foreign),
        ("folders that do not say on which route file they were driven", official.unproven),
    )
    found = [row for row in rows if row[1]]
    faults = ", ".join(f"{name} {count}" for name, count in sorted(official.faults.items()))
    found += [(f"faults on the way: {faults}", ())] if faults else []
    return found + [(f"{counted(count, 'route')} {what}", ()) for what, count in sorted(official.remarks.items())]


def _figures(run: RunResults) -> Sequence[Twice]:
    return run.official.figures if run.official else ()


def _head(official: Official) -> str:
    driven = official.routes - len(official.missing)
    return (
        f"route file {official.route_file}, sha256 {official.route_file_sha256}; {driven} of "
        f"{counted(official.routes, 'route')} driven; scoring rule {RULE}, traffic {TRAFFIC}"
    )


def _section(name: str, official: Official) -> str:
    said = "".join(map(_remark, remarks(official)))
    said = f'<div class="warning">{said}</div>' if said else ""
    heads = "".join(f'<th scope="col">{column}</th>' for column in HEAD)
    body = "".join(map(_row, official.figures))
    return (
        f'<h3>{escape(name)}: Bench2Drive\'s figures</h3><p class="dim broken">{escape(_head(official))}</p>{said}'
        f'<div class="scroll"><table class="cards"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="dim">{escape(READING)}</p>'
    )


def _remark(row: tuple[str, tuple[str, ...]]) -> str:
    text, ids = row
    if len(ids) <= LISTED:
        return f"<p>{escape(f'{text}: ' if ids else text)}{escape(', '.join(ids))}</p>"
    return f'<details><summary>{escape(text)}</summary><p class="broken">{escape(", ".join(ids))}</p></details>'


def _row(figure: Twice) -> str:
    behind = f'<span class="dim n">{counted(figure.routes, "route")}</span>' if figure.routes else ""
    note = f'<td class="short" data-label="note">{escape(figure.note)}</td>' if figure.note else "<td></td>"
    return (
        f'<tr><th scope="row">{escape(label(figure))}{behind}</th>'
        f'<td class="short" data-label="official">{number(figure.official)}</td>'
        f'<td data-label="corrected">{_corrected(figure)}</td>{note}</tr>'
    )


def _corrected(figure: Twice) -> str:
    if figure.corrected is None:
        return number(None)
    told = (
        f'<span class="figure"><b>{number(figure.corrected)}</b> <span class="interval">{bounds(figure)}</span></span>'
    )
    if figure.low is None or figure.high is None:
        return told
    top = max(100.0, figure.high) if figure.name == EFFICIENCY else 100.0
    return told + charts.whisker(Interval(figure.corrected, figure.low, figure.high), top)
