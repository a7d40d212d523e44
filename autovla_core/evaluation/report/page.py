"""One HTML file that needs nothing else: no script, no network, dark and light, broad and narrow."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

import numpy as np

from autovla_core.evaluation.report import charts
from autovla_core.evaluation.report.collect import RunResults, by_benchmark
from autovla_core.evaluation.report.figures import GROUPINGS, Figure, counted
from autovla_core.evaluation.report.gallery import FAILED, PlanNote, Scene
from autovla_core.evaluation.report.official_table import official_html
from autovla_core.evaluation.report.shield import shield_lines
from autovla_core.evaluation.report.style import CSS
from autovla_core.evaluation.report.tables import (
    benchmark,
    comparisons,
    fault_table,
    grouping,
    number_html,
    planner_table,
    scores,
)
from autovla_core.scoring.statistics import bootstrap_quantile, bootstrap_share

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def page(
    title: str,
    runs: Sequence[RunResults],
    scenes: Sequence[Scene] = (),
    plans: Mapping[str, Sequence[Sequence[PlanNote]]] | None = None,
    facts: Mapping[str, Mapping[str, str]] | None = None,
    filmed: int = 0,
) -> str:
    """The whole report.

    Args:
        title: of the page.
        runs: at least one, names distinct.
        scenes: the gallery.
        plans: plans that were logged, by run, drive by drive.
        facts: further rows of the configuration table, by run: checkpoint, agent YAML ...
        filmed: faults that the gallery could have shown, if there are more than ``scenes``.

    Raises:
        ValueError: no run, or two with one name.
    """
    if not runs or len({run.name for run in runs}) < len(runs):
        raise ValueError(f"expected runs with distinct names, found {[run.name for run in runs]}")
    tables = by_benchmark(runs)
    parts = [_warning(len(tables))] if len(tables) > 1 else []
    for number, (key, found) in enumerate(tables.items(), 1):
        parts += [benchmark(number, len(tables), key, found), scores(found), official_html(found)]
        parts += [_shield(found), comparisons(found)]
        parts += [grouping(found, name) for name in GROUPINGS]
        parts += [fault_table(found), _thinking(found)]
    parts += [_gallery(scenes, filmed), _logged_plans(plans or {}), _configuration(runs, facts or {}), _reading()]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>'
        f'<meta name="color-scheme" content="light dark"/><style>{CSS}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{''.join(parts)}</main></body></html>\n"
    )


def _warning(count: int) -> str:
    return (
        f'<p class="warning"><b>{count} different benchmarks.</b> The runs differ in route file, scoring rule or '
        "traffic. Each has tables of its own below; figures of different tables must not be compared.</p>"
    )


def _gallery(scenes: Sequence[Scene], filmed: int) -> str:
    if not scenes:
        return ""
    said = f'<p class="dim">{_chosen(scenes, filmed)}</p>' if filmed > len(scenes) else ""
    return f'<h2>The seconds before a fault</h2>{said}<div class="gallery">{"".join(map(_figure, scenes))}</div>'


def _chosen(scenes: Sequence[Scene], filmed: int) -> str:
    """How many are shown, and of whom."""
    counts = Counter(scene.run for scene in scenes)
    of_runs = ", ".join(f"{count} of {escape(run)}" for run, count in counts.items())
    return f"{len(scenes)} of {filmed} faults are shown, the first ones of each run ({of_runs}); --clips shows more."


def _figure(scene: Scene) -> str:
    picture = f'<p class="nothing">no picture: {escape(scene.trouble)}</p>'
    if scene.clip:
        poster, clip = (b64encode(data).decode() for data in (scene.poster, scene.clip))
        picture = (
            '<video controls="controls" loop="loop" muted="muted" playsinline="playsinline" preload="metadata" '
            f'poster="data:image/jpeg;base64,{poster}" src="data:video/mp4;base64,{clip}"></video>'
        )
    when = "" if scene.time_s is None else f" · {scene.time_s:.1f}\u00a0s"
    thought = ""
    if scene.note is not None:
        said = escape(scene.note.thought) or "no thought"
        thought = f'<p class="thought">{escape(scene.note.mode)}, {scene.note.observed_at_s:.1f} s: {said}</p>'
    return (
        f"<figure>{picture}<figcaption><b>{escape(scene.fault.kind.replace('_', ' '))}</b> "
        f'<span class="dim">{escape(scene.run)} · route {escape(scene.drive.route)} seed {scene.drive.seed}{when}'
        "</span>"
        f"<br/>{escape(scene.fault.message)}{thought}</figcaption></figure>"
    )


def _thinking(runs: Sequence[RunResults]) -> str:
    """Of one benchmark: other routes, weathers or faults make other plans."""
    table = planner_table(runs)
    return f"<h3>Planner</h3>{table}" if table else ""


def _shield(runs: Sequence[RunResults]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in shield_lines(runs))


def _logged_plans(plans: Mapping[str, Sequence[Sequence[PlanNote]]]) -> str:
    parts = [_plan_figures(name, drives) for name, drives in plans.items() if any(drives)]
    return f"<h2>Plans in the logs</h2>{''.join(parts)}" if parts else ""


def _plan_figures(name: str, drives: Sequence[Sequence[PlanNote]]) -> str:
    asked = [(number, note) for number, drive in enumerate(drives) for note in drive]
    notes = [(number, note) for number, note in asked if note.mode != FAILED]
    if not notes:
        return f"<h3>{escape(name)}</h3><p>All of {counted(len(asked), 'plan')} failed.</p>"
    groups = [number for number, _ in notes]  # plans of one drive are alike: whole drives are drawn
    slow = bootstrap_share([note.mode == "slow" for _, note in notes], np.random.default_rng(0), groups)
    share = number_html(Figure(slow, len(notes), len(set(groups)), "drive"), 1)
    said = f"{counted(len(notes), 'plan')} in {counted(len(set(groups)), 'drive')}"
    said += f" ({counted(len(asked) - len(notes), 'further plan')} failed)" if len(asked) > len(notes) else ""
    return f"<h3>{escape(name)}</h3><p>Slow thinking: {share} % of {said}.</p>{_latencies(notes)}"


def _latencies(notes: Sequence[tuple[int, PlanNote]]) -> str:
    timed = [(number, note.latency_ms) for number, note in notes if isfinite(note.latency_ms)]
    if not timed:
        return '<p class="dim">No plan says how long it took.</p>'
    groups, times = zip(*timed)
    said = []
    for words, share in (("median", 0.5), ("95 % within", 0.95)):
        interval = bootstrap_quantile(times, share, np.random.default_rng(0), groups)
        said.append(f"{words} {number_html(Figure(interval, len(times), len(set(groups)), 'drive'), 0)} ms")
    return f"<p>Latency: {', '.join(said)}, longest {max(times):.0f} ms.</p>{charts.histogram(times, 'ms')}"


def _configuration(runs: Sequence[RunResults], facts: Mapping[str, Mapping[str, str]]) -> str:
    parts = []
    for run in runs:
        told = {"results file": run.file, "results sha256": run.file_sha256, **{k: str(v) for k, v in run.run.items()}}
        told |= facts.get(run.name, {})
        rows = [
            f'<tr><th scope="row">{escape(key)}</th><td><code>{escape(value)}</code></td></tr>'
            for key, value in told.items()
        ]
        parts.append(f'<h3>{escape(run.name)}</h3><table class="facts"><tbody>{"".join(rows)}</tbody></table>')
    return f"<h2>Configuration and hashes</h2>{''.join(parts)}"


def _reading() -> str:
    return (
        '<h2>How to read the figures</h2><p class="dim">In brackets: 95 % bootstrap intervals that draw whole routes, '
        "since several seeds of one route are no several routes. Where nothing ever happened or everything succeeded, "
        "the exact bound for that many routes stands in; another interval without width means only that the few routes "
        "of that row agreed. A difference counts as shown when its paired interval leaves "
        "zero out and a sign-flip test over routes, Holm-corrected for all pairs of that measure, gives p at most "
        "0.05. &quot;No difference shown&quot; does not mean equal: anything below the smallest difference that could "
        "be shown (80 % power, before the correction) may have gone unseen.</p>"
    )
