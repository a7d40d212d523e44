"""What is read from, and checked about, a user's clone of Bench2Drive; nothing is ever written into it."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from autovla_core.errors import RouteError, SetupError
from autovla_core.evaluation.route_file import Route, read_routes
from autovla_core.scoring.bench2drive import Entry

EVALUATOR = "leaderboard/leaderboard/leaderboard_evaluator.py"
NEEDED = (
    EVALUATOR,
    "leaderboard/data/weather.xml",
    "scenario_runner/srunner/scenariomanager/carla_data_provider.py",
    "tools/merge_route_json.py",
)
GPU_OPTION = "--gpu-rank"  # Bench2Drive's evaluator has it, CARLA's own leaderboard does not
ROUTE_FILES = {"220": "leaderboard/data/bench2drive220.xml", "0.0.4": "leaderboard/data/bench2drive_0.0.4_val.xml"}


@dataclass(frozen=True)
class Clone:
    """A clone that holds what is needed."""

    folder: Path
    commit: str  # "" when it is no git checkout

    @property
    def evaluator(self) -> Path:
        """The program that drives routes."""
        return self.folder / EVALUATOR


@dataclass(frozen=True)
class RouteFile:
    """A route file and what names it: results on different ones are different benchmarks."""

    path: Path
    sha256: str
    routes: tuple[Route, ...]

    @property
    def entries(self) -> list[Entry]:
        """What the metrics need of it."""
        return [Entry(route.id, route.town, route.scenarios[0].type) for route in self.routes]

    def __str__(self) -> str:
        return f"{self.path.name} (sha256 {self.sha256[:12]}, {len(self.routes)} routes)"


def open_clone(folder: str | Path) -> Clone:
    """Look at a clone.

    Raises:
        SetupError: it lacks a file, or is CARLA's leaderboard instead of Bench2Drive.
    """
    folder = Path(folder).expanduser().resolve()
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise SetupError(
            f"{folder} lacks {', '.join(missing)}; expected a clone: "
            "git clone https://github.com/Thinklab-SJTU/Bench2Drive"
        )
    if GPU_OPTION not in (folder / EVALUATOR).read_text(encoding="utf-8"):
        raise SetupError(f"{folder / EVALUATOR} knows no {GPU_OPTION}: this is CARLA's leaderboard, not Bench2Drive")
    return Clone(folder, _commit(folder))


def open_routes(name: str | Path, clone: Clone | None = None) -> RouteFile:
    """Read a route file, by path or by the name of one of the clone's ``ROUTE_FILES``.

    Raises:
        RouteError: it cannot be read, or a route has not exactly one scenario.
    """
    path = clone.folder / ROUTE_FILES[str(name)] if clone and str(name) in ROUTE_FILES else Path(name)
    routes = read_routes(path)
    wrong = [route.id for route in routes if len(route.scenarios) != 1]
    if wrong:
        raise RouteError(
            f"{path}: routes {', '.join(wrong[:5])} have not exactly one scenario each, as Bench2Drive needs; "
            "tools/evaluate_routes.py drives such a file"
        )
    return RouteFile(path.resolve(), hashlib.sha256(path.read_bytes()).hexdigest(), tuple(routes))


def choose(file: RouteFile, subset: str) -> list[str]:
    """Route ids of ``subset``: "" for all, else ids and ranges in the file's order, "12,40-55,7".

    Raises:
        RouteError: an id that the file has not.
    """
    ids = [route.id for route in file.routes]
    if not subset:
        return ids
    wanted: set[str] = set()
    for part in subset.split(","):
        first, _, last = part.strip().partition("-")
        for id in (first, last or first):
            if id not in ids:
                raise RouteError(f"route {id!r} is not in {file}; it begins with {', '.join(ids[:5])}")
        wanted.update(ids[ids.index(first) : ids.index(last or first) + 1])
    return [id for id in ids if id in wanted]


def shard(ids: list[str], text: str) -> list[str]:
    """Part ``i/n`` (from 1) of the routes, for one of n machines; "" for all.

    Raises:
        RouteError: not of that form.
    """
    if not text:
        return ids
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise RouteError(f"shard {text!r} is not of the form i/n with 1 <= i <= n")
    return ids[int(index) - 1 :: int(count)]


def _commit(folder: Path) -> str:
    if not (folder / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
