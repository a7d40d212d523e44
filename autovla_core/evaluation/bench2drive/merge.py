"""Result files of one or many folders, checked against one route file and put into one table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autovla_core.errors import RouteError
from autovla_core.evaluation.bench2drive.clone import RouteFile
from autovla_core.evaluation.bench2drive.jobs import read_events, read_records
from autovla_core.files import write_whole
from autovla_core.scoring.bench2drive import PERCENT, Figure, Report, report
from autovla_core.scoring.bench2drive_abilities import junction_mark
from autovla_core.scoring.bench2drive_comfort import Motion, motion_of
from autovla_core.scoring.bench2drive_intervals import Bounds, bounds_of

SKIPPED = ("merged.json", "merged_ability.json")  # what the official tools write beside their input
DRIVER = ("agent_sha256", "agent_config_sha256", "weights_sha256", "clone_commit", "seed", "track")
LISTED = 12  # ids that are printed of a long list


@dataclass(frozen=True)
class Merged:
    """Everything that a table needs."""

    routes: RouteFile
    folders: tuple[Path, ...]
    unclaimed: tuple[Path, ...]  # folders that do not say on which route file they were driven
    run: Mapping[str, object]  # who drove, as the run folders say
    records: tuple[dict, ...]
    report: Report
    faults: Mapping[str, int]  # by name, of the journals
    remarks: Mapping[str, int]
    bounds: Mapping[str, Bounds]  # of the corrected figures, by name


def merge(routes: RouteFile, folders: Sequence[Path], metrics: Sequence[Path], junctions: Path | None) -> Merged:
    """Read and work out.

    Args:
        folders: run folders of run_bench2drive, folders of result files, or result files.
        metrics: further folders with ``<save_name>/metric_info.json``; those of run folders are known.
        junctions: what ``launcher.py junctions`` wrote.

    Raises:
        RouteError: a file is no results file, or a folder was driven on another route file.
    """
    runs = {folder: run for folder in folders if (run := _run_of(folder))}
    for folder, run in runs.items():
        _expect_same(folder, run, routes, next(iter(runs.items())))
    records = [record for folder in folders for file in result_files(folder) for record in read_records(file)]
    places = [*(folder / "metrics" for folder in folders if folder.is_dir()), *metrics]
    motions = {r["save_name"]: m for r in records if "save_name" in r and (m := _motion(places, r["save_name"]))}
    records = [{"save_name": "", **record} for record in records]
    events = [event for folder in folders for event in read_events(folder / "journal.jsonl")[0]]
    marks = _marks(junctions)
    return Merged(
        routes,
        tuple(folders),
        tuple(folder for folder in folders if folder not in runs),
        next(iter(runs.values()), {}),
        tuple(records),
        report(routes.entries, records, motions, marks),
        Counter(str(e["state"]) for e in events if e["event"] == "fault"),
        Counter(str(r) for e in _last_done(events) for r in e.get("remarks", ())),
        bounds_of(routes.entries, records, motions, marks),
    )


def result_files(folder: Path) -> list[Path]:
    """Result files of a run folder, a folder of them, or the file itself.

    Raises:
        RouteError: there is none.
    """
    if folder.is_file():
        return [folder]
    inner = folder / "results" if (folder / "results").is_dir() else folder
    files = sorted(file for file in inner.glob("*.json") if file.name not in SKIPPED and file.name != "run.json")
    if not files and not (folder / "run.json").is_file():  # a run may have failed on every route
        raise RouteError(f"no result files in {inner}; expected *.json of the leaderboard's evaluator")
    return files


def official_merged(merged: Merged) -> dict[str, object]:
    """The ``merged.json`` that Bench2Drive's own merge writes, for its further tools."""
    rows = [{k: v for k, v in r.items() if k != "index"} for r in merged.records]
    rows.sort(key=lambda record: record["route_id"], reverse=True)
    return {
        "_checkpoint": {"records": rows},
        "driving score": merged.report["driving score"].official,
        "success rate": merged.report["success rate"].official,
        "eval num": len(rows),
    }


def as_text(merged: Merged) -> str:
    """One page: what was driven, how complete, both numbers of each figure."""
    cover = merged.report.coverage
    lines = [
        f"route file   {merged.routes.path.name}",
        f"sha256       {merged.routes.sha256}",
        f"records      {cover.records} for {cover.routes} routes",
        f"missing      {_listed(cover.missing)}",
    ]
    lines += [f"duplicated   {_listed(cover.duplicated)}"] if cover.duplicated else []
    lines += [f"foreign      {_listed(cover.foreign)} (not in this route file)"] if cover.foreign else []
    if merged.run:
        who = {name: str(merged.run.get(name, ""))[:12] for name in ("weights_sha256", "clone_commit", "seed")}
        said = ", ".join(f"{name.split('_')[0]} {value or 'unknown'}" for name, value in who.items())
        lines.append(f"driven by    {merged.run.get('agent')}, {said}")
    for folder in merged.unclaimed:
        lines.append(f"unproven     {folder} does not say on which route file it was driven")
    lines += [f"faults       {name}: {count}" for name, count in sorted(merged.faults.items())]
    lines += [f"remark       {count} routes {name}" for name, count in sorted(merged.remarks.items())]
    lines += ["", f"{'':20s}{'official':>14s}{'corrected':>14s}  95 % of the corrected, over routes"]
    for figure in merged.report.figures:
        cells = "".join(f"{_number(figure.name, value):>14s}" for value in (figure.official, figure.corrected))
        lines.append(f"{figure.name:20s}{cells}  {_interval(merged, figure):22s}{figure.note}".rstrip())
    lines += ["", "official: as Bench2Drive's scripts compute it, defects included; corrected: docs/bench2drive.md"]
    return "\n".join(lines)


def _interval(merged: Merged, figure: Figure) -> str:
    """Of the corrected figure; one route has no spread, and few may hold no draw with all abilities."""
    bounds = merged.bounds.get(figure.name)
    if figure.corrected is None:
        return ""
    return "[too few routes]" if bounds is None else f"[{_short(figure, bounds.low)}, {_short(figure, bounds.high)}]"


def _short(figure: Figure, value: float) -> str:
    return f"{100.0 * value if figure.name in PERCENT else value:.2f}"


def as_json(merged: Merged) -> dict[str, object]:
    """The same for programs."""
    cover = merged.report.coverage
    return {
        "route_file": merged.routes.path.name,
        "route_file_sha256": merged.routes.sha256,
        "routes": cover.routes,
        "records": cover.records,
        "missing": list(cover.missing),
        "duplicated": list(cover.duplicated),
        "foreign": list(cover.foreign),
        "run": dict(merged.run),
        "route_file_unproven": [folder.name for folder in merged.unclaimed],
        "faults": dict(merged.faults),
        "remarks": dict(merged.remarks),
        "figures": {
            figure.name: _figure_json(figure, merged.bounds.get(figure.name)) for figure in merged.report.figures
        },
    }


def _figure_json(figure: Figure, bounds: Bounds | None) -> dict[str, object]:
    return {
        "official": figure.official,
        "corrected": figure.corrected,
        "corrected_95": None if bounds is None else [bounds.low, bounds.high],
        "routes_behind": None if bounds is None else bounds.routes,
        "note": figure.note,
    }


def write_json(file: Path, document: Mapping[str, object]) -> None:
    """Replace a file as a whole."""
    write_whole(file, json.dumps(document, indent=4) + "\n")


def _run_of(folder: Path) -> dict[str, object]:
    """What a run folder says of itself, empty where nothing is said.

    Raises:
        RouteError: its run.json cannot be read.
    """
    file = folder / "run.json"
    if not file.is_file():
        return {}
    try:
        run = json.loads(file.read_text(encoding="utf-8"))["run"]
        return {**run, "routes": str(run["routes"]), "routes_sha256": str(run["routes_sha256"])}
    except (ValueError, KeyError, TypeError):
        raise RouteError(f"{file} cannot be read") from None


def _expect_same(folder: Path, run: Mapping, routes: RouteFile, first: tuple[Path, Mapping]) -> None:
    """Refuse what does not belong into one table.

    Raises:
        RouteError: another route file than ``routes``, or another driver than of the ``first`` folder.
    """
    if run["routes_sha256"] != routes.sha256:
        raise RouteError(
            f"{folder} was driven on {run['routes']} (sha256 {run['routes_sha256'][:12]}), not on {routes}: another "
            "benchmark, whose results do not belong into one table; merge it by itself with its own --routes"
        )
    differing = [name for name in DRIVER if run.get(name) != first[1].get(name)]
    if differing:
        raise RouteError(f"{folder} and {first[0]} differ in {', '.join(differing)}: two runs, not parts of one")


def _motion(places: Sequence[Path], save_name: str) -> Motion | None:
    """How a drive moved; None without a file of ticks, which a route that ended before its first tick has not."""
    for place in places:
        file = place / str(save_name) / "metric_info.json"
        if file.is_file():
            try:
                ticks = json.loads(file.read_text(encoding="utf-8"))
                return motion_of(ticks) if ticks else None
            except (ValueError, AttributeError) as error:
                raise RouteError(f"{file}: {error}") from None
    return None


def _marks(file: Path | None) -> dict[str, float]:
    if file is None:
        return {}
    try:
        pairs = json.loads(file.read_text(encoding="utf-8"))
        return {str(id): junction_mark(int(first), int(count)) for id, (first, count) in pairs.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise RouteError(f"{file} is not what launcher.py junctions writes") from None


def _last_done(events: Sequence[Mapping]) -> list[Mapping]:
    return list({event["route"]: event for event in events if event["event"] == "done"}.values())


def _listed(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:LISTED]) + (" ..." if len(ids) > LISTED else "")
    return f"{len(ids)}: {shown}" if ids else "0"


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100.0 * value:.4f} %" if name in PERCENT else f"{value:.4f}"
