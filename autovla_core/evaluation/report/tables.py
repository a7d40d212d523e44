"""The tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from autovla_core.evaluation.report import charts
from autovla_core.evaluation.report.collect import Drive, RunResults
from autovla_core.evaluation.report.figures import (
    MEASURES,
    SCORE,
    SUCCESS,
    Comparison,
    Figure,
    Measure,
    compare,
    counted,
    figure,
    grouped,
    p_text,
    planner_figures,
    with_missing,
)
from autovla_core.scoring.closed_loop import INFRACTIONS

STATUSES: Mapping[str, str] = {
    "Perfect": "arrived without any infraction",
    "Completed": "arrived, with infractions",
    "Failed - Agent timed out": "the route's simulated time was used up",
    "Failed - Agent deviated from the route": "too far from the route",
    "Failed - Agent got blocked": "stood still too long",
    "Failed - TickRuntime": "4000 ticks (200 s) were used up: Bench2Drive's cap, no speed rule",
    "Failed - Agent couldn't be set up": "setup raised: no drive took place",
    "Failed - Agent crashed": "run_step raised: scored up to there",
    "Failed - Agent's sensors were invalid": "the track does not allow these sensors",
    "Failed - Simulation crashed": "the simulator's fault: drive it again",
}
FOLDED = ("seed", "route")  # groupings with many rows start closed


def benchmark(number: int, count: int, key: tuple[str, str, str], runs: Sequence[RunResults]) -> str:
    """Heading: what these runs have in common."""
    routes, rule, traffic = map(escape, key)
    drives = [drive for run in runs for drive in run.drives]
    seeds = ", ".join(map(str, sorted({drive.seed for drive in drives})))
    said = f"{counted(len({drive.route for drive in drives}), 'route')}, seeds {seeds}"
    heading = "Scores" if count == 1 else f"Benchmark {number}"
    return (
        f'<h2>{heading}</h2><p class="dim">Route file sha256 <code>{routes}</code> · scoring rule {rule} · '
        f"traffic {traffic} · {said}</p>"
    )


def scores(runs: Sequence[RunResults]) -> str:
    """One row a run; missing drives are said below."""
    columns = [m.name for m in MEASURES]
    rows = []
    for run in runs:
        cells = "".join(_cell(m, figure(m, run.drives), _top(m, runs)) for m in MEASURES)
        routes, seeds = (len({getattr(drive, key) for drive in run.drives}) for key in ("route", "seed"))
        n = f"{counted(len(run.drives), 'drive')}, {counted(routes, 'route')}, {counted(seeds, 'seed')}"
        rows.append(f'<tr><th scope="row">{escape(run.name)}<span class="dim n">{n}</span></th>{cells}</tr>')
    return table_html(["run", *columns], rows, "cards") + "".join(map(_missing, runs))


def _missing(run: RunResults) -> str:
    found = with_missing(run)
    if found is None:
        return ""
    return (
        f'<p class="warning"><b>{escape(run.name)}: {run.total - len(run.drives)} of {run.total} drives are missing.'
        f"</b> Counting them 0, as the leaderboard does, its driving score is {number_html(found, 1)}.</p>"
    )


def _top(measure: Measure, runs: Sequence[RunResults]) -> float:
    return measure.top or max(figure(measure, run.drives).interval.high for run in runs)


def _cell(measure: Measure, found: Figure, top: float) -> str:
    digits = 2 if measure.kind == "rate" else 1
    bar = charts.whisker(found.interval, top, found.units > 1)
    return f'<td data-label="{escape(measure.name)}">{number_html(found, digits)}{bar}</td>'


def number_html(found: Figure, digits: int) -> str:
    """A mean and, never without it, its interval."""
    mean, _, bounds = found.text(digits).partition(" ")
    return f'<span class="figure"><b>{mean}</b> <span class="interval">{escape(bounds)}</span></span>'


def comparisons(runs: Sequence[RunResults]) -> str:
    """Every pair of runs; nothing for a single run."""
    if len(runs) < 2:
        return ""
    rows = [row for measure in (SCORE, SUCCESS) for row in _comparison_rows(compare(runs, measure))]
    head = ["pair", "of", "difference", "smallest that could be shown", "p", "verdict"]
    return "<h3>Pair by pair, on the routes and seeds that both drove</h3>" + table_html(head, rows, "cards")


def _comparison_rows(comparisons: Sequence[Comparison]) -> list[str]:
    bounds = [c.paired.difference for c in comparisons if c.paired]
    reach = max((max(abs(i.low), abs(i.high)) for i in bounds), default=1.0)
    return [_comparison_row(c, reach) for c in comparisons]


def _comparison_row(c: Comparison, reach: float) -> str:
    pair = f'<th scope="row">{escape(c.b)} − {escape(c.a)}'
    if c.paired is None:
        return f'<tr>{pair}</th>{_short("of", c.measure)}<td colspan="4">no drive in common</td></tr>'
    p, gap = c.paired, c.paired.difference
    left = f", {c.left_out} left out" if c.left_out else ""
    n = f"{counted(p.pairs, 'drive')}, {counted(p.groups, 'route')}{left}"
    bounds = f"[{gap.low:+.1f}, {gap.high:+.1f}]" if p.groups > 1 else "[no interval: 1 route]"
    least = "not known" if p.detectable is None else f"{p.detectable:.1f}"
    mark = "shown" if c.shown else "unshown"
    return (
        f'<tr class="{mark}">{pair}<span class="dim n">{n}</span></th>{_short("of", c.measure)}'
        f'<td data-label="difference"><span class="figure"><b>{gap.mean:+.1f}</b> '
        f'<span class="interval">{bounds}</span></span>{charts.difference(gap, reach, c.shown)}</td>'
        f"{_short('smallest that could be shown', least)}{_short('p', p_text(c.p_holm))}"
        f"{_short('verdict', c.verdict())}</tr>"
    )


def _short(label: str, text: str) -> str:
    said = f'<span class="{escape(label.split()[0])}">{escape(text)}</span>'
    return f'<td class="short" data-label="{escape(label)}">{said}</td>'


def grouping(runs: Sequence[RunResults], name: str) -> str:
    """Driving score by a key of ``GROUPINGS``; nothing where the results do not hold it."""
    unit = "seed" if name == "route" else "route"
    tables = {run.name: grouped(run.drives, name) for run in runs}
    keys = list(dict.fromkeys(key for table in tables.values() for key in table))
    if not keys:
        return ""
    rows = []
    for key in sorted(keys, key=lambda k: (not k.isdigit(), k.zfill(12), k)):
        largest = max((table.get(key, []) for table in tables.values()), key=len)
        n = f"{counted(len(largest), 'drive')}, {counted(len({getattr(d, unit) for d in largest}), unit)}"
        cells = "".join(_group_cell(run, table.get(key, ()), unit) for run, table in tables.items())
        rows.append(f'<tr><th scope="row">{escape(key)}<span class="dim n">{n}</span></th>{cells}</tr>')
    shut = "" if name not in FOLDED else f" ({len(rows)})"
    note = (
        '<p class="dim">Intervals over the seeds of each route; from few they are rough.</p>' if name == "route" else ""
    )
    opened = "" if name in FOLDED else ' open="open"'
    return (
        f"<details{opened}><summary>Driving score by {name}{shut}</summary>"
        f"{note}{table_html([name, *tables], rows, 'cards')}</details>"
    )


def _group_cell(run: str, drives: Sequence[Drive], unit: str) -> str:
    if not drives:
        return f'<td data-label="{escape(run)}"><span class="dim">not driven</span></td>'
    found = figure(SCORE, drives, unit)
    bar = charts.whisker(found.interval, 100.0, found.units > 1)
    return f'<td data-label="{escape(run)}">{number_html(found, 1)}{bar}</td>'


def fault_table(runs: Sequence[RunResults]) -> str:
    """Infractions and statuses with intervals, then every message."""
    kinds = [k for k in INFRACTIONS if any(f.kind == k for run in runs for d in run.drives for f in d.faults)]
    measures = [_count_of(kind) for kind in kinds]
    top = max((_top(measure, runs) for measure in measures), default=1.0)  # one scale, so that bars can be compared
    rows = [
        f'<tr><th scope="row">{escape(m.name)}</th>{"".join(_fault_cell(m, run, top) for run in runs)}</tr>'
        for m in measures
    ]
    statuses = sorted({d.status for run in runs for d in run.drives})
    for status in statuses:
        measure = Measure(status, lambda d, s=status: float(d.status == s), "share", 100.0)
        cells = "".join(_cell_named(run.name, measure, figure(measure, run.drives)) for run in runs)
        meaning = escape(f"% of drives; {STATUSES[status]}" if status in STATUSES else "% of drives")
        rows.append(f'<tr><th scope="row">{escape(status)}<span class="dim n">{meaning}</span></th>{cells}</tr>')
    head = ["what happened", *(run.name for run in runs)]
    return f"<h3>Faults a drive, and how drives ended</h3>{table_html(head, rows, 'cards')}{_fault_list(runs)}"


def planner_table(runs: Sequence[RunResults]) -> str:
    """One row a run whose records say how its planner thought; nothing if none does."""
    told = [(run, planner_figures(run.drives)) for run in runs if any(drive.planner for drive in run.drives)]
    columns = list(dict.fromkeys(name for _, found in told for name in found))
    rows = []
    for run, found in told:
        plans = sum(drive.planner.get("plans", 0.0) for drive in run.drives)
        n = f'<span class="dim n">{counted(round(plans), "plan")}</span>'
        cells = "".join(
            f'<td data-label="{escape(name)}">{number_html(*found[name])}</td>' if name in found else "<td></td>"
            for name in columns
        )
        rows.append(f'<tr><th scope="row">{escape(run.name)}{n}</th>{cells}</tr>')
    return table_html(["run", *columns], rows, "cards") if rows else ""


def _count_of(kind: str) -> Measure:
    name = kind.replace("_", " ")
    return Measure(name, lambda drive: float(sum(fault.kind == kind for fault in drive.faults)), "rate", None)


def _fault_cell(measure: Measure, run: RunResults, top: float) -> str:
    found, count = figure(measure, run.drives), sum(measure.value(d) for d in run.drives)
    told = f'{number_html(found, 2)}<span class="dim n">{count:.0f} in all</span>'
    return f'<td data-label="{escape(run.name)}">{told}{charts.whisker(found.interval, top, found.units > 1)}</td>'


def _cell_named(run: str, measure: Measure, found: Figure) -> str:
    bar = charts.whisker(found.interval, 100.0, found.units > 1)
    return f'<td data-label="{escape(run)}">{number_html(found, 1)}{bar}</td>'


def _fault_list(runs: Sequence[RunResults]) -> str:
    parts = []
    for run in runs:
        rows = [row for drive in run.drives for row in _fault_rows(drive)]
        if rows:
            table = table_html(["drive", "kind", "message"], rows, "cards")
            parts.append(
                f"<details><summary>Every fault of {escape(run.name)} ({len(rows)})</summary>{table}</details>"
            )
    return "".join(parts)


def _fault_rows(drive: Drive) -> list[str]:
    told = [(fault.kind.replace("_", " "), fault.message + _when(fault.time_s)) for fault in drive.faults]
    told += [("remark", drive.detail)] if drive.detail else []
    name = f'<th scope="row">route {escape(drive.route)}<span class="dim n">seed {drive.seed}</span></th>'
    return [f"<tr>{name}{_short('kind', kind)}{_short('message', message)}</tr>" for kind, message in told]


def _when(time_s: float | None) -> str:
    return "" if time_s is None else f" ({time_s:.1f} s)"


def table_html(head: Sequence[str], rows: Sequence[str], kind: str) -> str:
    """Header and rows; with ``kind`` cards a row becomes a card on a narrow screen."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = f"<thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{body}</table></div>'
