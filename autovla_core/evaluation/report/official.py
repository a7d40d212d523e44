"""A folder of tools/run_bench2drive.py or tools/merge_bench2drive.py: its drives, and Bench2Drive's own figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autovla_core.errors import RouteError
from autovla_core.scoring.bench2drive import PERCENT, Entry, once, route_of

RULE, TRAFFIC = "product", "Bench2Drive's own"  # of its evaluator; no option changes them
FIGURES, MERGED, RUN = "figures.json", "merged.json", "run.json"
REMEDY = "call tools/merge_bench2drive.py --routes <route file> --out {0} {0}"


@dataclass(frozen=True)
class Twice:
    """One figure of Bench2Drive's tables; shares are in percent."""

    name: str
    official: float | None  # as its scripts print it
    corrected: float | None
    low: float | None  # of the corrected one, 95 % over routes; None: too few for an interval
    high: float | None
    routes: int  # behind the corrected one; 0 without an interval
    note: str = ""


@dataclass(frozen=True)
class Official:
    """What a merge says beside its records."""

    route_file: str
    route_file_sha256: str
    routes: int
    missing: tuple[str, ...]
    duplicated: tuple[str, ...]
    foreign: tuple[str, ...]
    unproven: tuple[str, ...]  # folders that do not say on which route file they were driven
    faults: Mapping[str, int]
    remarks: Mapping[str, int]
    figures: tuple[Twice, ...]


def read_folder(folder: Path) -> tuple[dict[str, object], Official]:
    """A results document with each route once, the worst of several, and what stands beside it.

    Raises:
        RouteError: a file is missing or damaged, or the merge is older than the results.
    """
    told, merged = (_document(folder, name) for name in (FIGURES, MERGED))
    try:
        official = _official(told)
        records = list(merged["_checkpoint"]["records"])
        run = _run(told["run"], official)
        expected = int(told["records"])
        single = _each_once(records, official.foreign)
        for record in single:
            record.setdefault("seed", int(run.get("seed", 0)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RouteError(
            f"{folder}: {FIGURES} or {MERGED} is damaged or of another version ({error!r}); {_again(folder)}"
        ) from None
    _expect_fresh(folder, len(records), expected, official)
    progress = [len(single), max(official.routes, len(single))]
    return {"_checkpoint": {"records": single, "progress": progress}, "run": run}, official


def _document(folder: Path, name: str) -> dict:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RouteError(f"{folder} holds no {name}; for a folder of Bench2Drive's results {_again(folder)}") from None
    except (OSError, ValueError) as error:
        raise RouteError(f"{folder / name} cannot be read: {error}; {_again(folder)}") from None


def _again(folder: Path) -> str:
    return REMEDY.format(folder)


def _official(told: Mapping) -> Official:
    ids = ("missing", "duplicated", "foreign", "route_file_unproven")
    return Official(
        str(told["route_file"]),
        str(told["route_file_sha256"]),
        int(told["routes"]),
        *(tuple(map(str, told[name])) for name in ids),
        dict(told["faults"]),
        dict(told["remarks"]),
        tuple(_twice(name, figure) for name, figure in told["figures"].items()),
    )


def _twice(name: str, figure: Mapping) -> Twice:
    scale = 100.0 if name in PERCENT else 1.0
    bounds = figure["corrected_95"] or (None, None)
    values = (figure["official"], figure["corrected"], *bounds)
    scaled = [None if value is None else scale * float(value) for value in values]
    return Twice(name, *scaled, int(figure["routes_behind"] or 0), str(figure["note"]))


def _run(told: Mapping, official: Official) -> dict[str, object]:
    """The run's own facts under the names that our results files have."""
    known = dict(told)
    config = str(known.pop("agent_config_sha256", ""))
    facts = {
        "routes": official.route_file_sha256,
        "route_file": official.route_file,
        "rule": RULE,
        "traffic": TRAFFIC,
    }
    known.pop("routes_sha256", None)
    return {**known, **facts, **({"agent_config": config} if config else {})}


def _each_once(records: list[dict], foreign: tuple[str, ...]) -> list[dict]:
    ids = [id for id in dict.fromkeys(map(route_of, records)) if id not in foreign]
    return [dict(record) for record in once([Entry(id, "", "") for id in ids], records).values()]


def _expect_fresh(folder: Path, found: int, expected: int, official: Official) -> None:
    """The three files belong together, and no route was driven since.

    Raises:
        RouteError: they do not, or there was.
    """
    if found != expected:
        raise RouteError(f"{folder}: {FIGURES} is of {expected} records, {MERGED} holds {found}; {_again(folder)}")
    if not (folder / RUN).is_file():  # of several shards, or of folders of others
        return
    driven = len(list((folder / "results").glob("route_*.json")))
    if driven != found:
        raise RouteError(f"{folder} holds {driven} results, its merge is of {found}; {_again(folder)}")
    sha256 = _document(folder, RUN).get("run", {}).get("routes_sha256")
    if sha256 != official.route_file_sha256:
        raise RouteError(f"{folder} was driven on another route file than its {FIGURES} says; {_again(folder)}")
