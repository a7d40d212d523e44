"""Results files as values: every drive with what a table may group it by."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autovla_core.errors import RouteError
from autovla_core.evaluation.identity import is_plain
from autovla_core.evaluation.report.official import FIGURES, Official, read_folder
from autovla_core.evaluation.results import STATUS_RANK
from autovla_core.evaluation.route_file import Route, read_routes
from autovla_core.evaluation.sensor_rules import ANY
from autovla_core.evaluation.shielding import SHIELD, counts_of
from autovla_core.scoring.bench2drive_abilities import ABILITIES, LETTERS

SHIELD_ON = " (shield on)"  # stands behind the name of such a run in every table
UNCOUNTED = "min_speed_infractions"  # Bench2Drive counts it neither as a fault nor against success


@dataclass(frozen=True)
class Fault:
    """One infraction of a drive."""

    kind: str  # of scoring.closed_loop.INFRACTIONS
    message: str
    time_s: float | None = None  # of the drive, when it appeared; only our records tell


@dataclass(frozen=True)
class Drive:
    """One drive of one route; "" where the file does not say."""

    route: str
    repetition: int
    seed: int
    town: str
    status: str
    score: float  # percent, driving score
    completion: float  # percent
    penalty: float  # 0..1
    faults: tuple[Fault, ...]
    length_m: float
    game_s: float
    system_s: float
    detail: str = ""
    scenarios: tuple[str, ...] = ()  # types, each once, in the order of the route
    weather: str = ""
    abilities: tuple[str, ...] = ()
    planner: Mapping[str, float] = field(default_factory=dict)  # ``Driver.summary``; empty where the file does not say

    @property
    def succeeded(self) -> bool:
        """Arrived without a fault other than a low speed: Bench2Drive's success."""
        return self.status in STATUS_RANK and not any(fault.kind != UNCOUNTED for fault in self.faults)


@dataclass(frozen=True)
class RunResults:
    """One results file."""

    name: str
    file: str  # its own name, without the folder it lies in
    file_sha256: str
    drives: tuple[Drive, ...]
    total: int  # drives that the run was to make
    run: Mapping[str, object] = field(default_factory=dict)  # agent, configuration and hashes, as far as told
    official: Official | None = None  # of a folder that was merged as Bench2Drive's scripts do

    @property
    def shielded(self) -> bool:
        """Whether a shield had the last word on the agent's controls."""
        return bool(self.run.get(SHIELD)) or any(counts_of(drive.planner) for drive in self.drives)

    @property
    def benchmark(self) -> tuple[str, str, str]:
        """What must be equal for two runs to stand in one table: route file, scoring rule, traffic and conditions.

        To the conditions belongs the simulator, where it is told and no minicarla with its own towns.
        """
        routes = str(self.run.get("routes") or f"unknown, routes {_routes_hash(self.drives)}")
        routes += " (unproven)" if self.official and self.official.unproven else ""
        traffic = [str(self.run.get("traffic", "not stated"))]
        traffic += [f"{name} {self.run[name]}" for name in ("weather", "faults") if self.run.get(name)]
        traffic += ["any sensors"] if self.run.get("track") == ANY else []
        simulator = str(self.run.get("simulator", ""))
        traffic += [] if is_plain(simulator) else [f"on {simulator}"]
        return routes, str(self.run.get("rule", "not stated")), ", ".join(traffic)


def read_run(name: str, file: str | Path, routes: Sequence[str | Path] = ()) -> RunResults:
    """Read a results file of ours, the leaderboard's or Bench2Drive's, or a folder of tools/run_bench2drive.py.

    Args:
        name: of the run, in tables.
        file: results JSON, or a folder with Bench2Drive's results and their merge.
        routes: route files, among them the one it was driven on (by hash), for weathers and scenarios.

    Raises:
        RouteError: unreadable, no records, a drive twice, or another route file than the results name.
    """
    file, official = Path(file), None
    try:
        if file.is_dir():
            document, official = read_folder(file)
            data = (file / FIGURES).read_bytes()
        else:
            data = file.read_bytes()
            document = json.loads(data)
        records, progress = document["_checkpoint"]["records"], document["_checkpoint"].get("progress") or []
        run = dict(document.get("run", {}))
        known = _known_routes(file, run, routes)
        drives = tuple(_drive(record, known, str(run.get("weather") or "")) for record in records)
    except OSError as error:
        raise RouteError(f"cannot read the results file {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RouteError(f"{file} is not a leaderboard results file: {type(error).__name__} {error}") from None
    if not drives:
        raise RouteError(f"{file} holds no drive yet; expected at least one record")
    _expect_once(file, drives)
    total = int(progress[1]) if len(progress) == 2 else len(drives)
    shown = f"{file.name}/{FIGURES}" if official else file.name
    return RunResults(name, shown, hashlib.sha256(data).hexdigest(), drives, max(total, len(drives)), run, official)


def by_benchmark(runs: Iterable[RunResults]) -> dict[tuple[str, str, str], list[RunResults]]:
    """Runs that may stand in one table, in the order given; a run with the shield says so in its name."""
    found: dict[tuple[str, str, str], list[RunResults]] = {}
    for run in runs:
        named = replace(run, name=run.name + SHIELD_ON) if run.shielded else run
        found.setdefault(run.benchmark, []).append(named)
    return found


def weather_name(fields: Mapping[str, float]) -> str:
    """A short name of CARLA weather parameters: the light, then what is in the air or on the road."""
    value = {key: float(fields.get(key, 0.0)) for key in fields}
    sun, rain = value.get("sun_altitude_angle", 45.0), value.get("precipitation", 0.0)
    light = "night" if sun < 0 else "low sun" if sun < 20 else "day"
    kinds = (
        ("heavy rain", rain >= 60),
        ("rain", rain > 0),
        ("fog", value.get("fog_density", 0.0) >= 40),
        ("wet road", max(value.get("wetness", 0.0), value.get("precipitation_deposits", 0.0)) >= 30),
        ("cloudy", value.get("cloudiness", 0.0) >= 60),
    )
    return f"{light}, {next((name for name, holds in kinds if holds), 'clear')}"


def _known_routes(file: Path, run: Mapping[str, object], routes: Sequence[str | Path]) -> dict[str, Route]:
    if not routes:
        return {}
    given = {hashlib.sha256(Path(name).read_bytes()).hexdigest(): name for name in routes}
    told = str(run.get("routes") or "")
    if not told and len(given) == 1:
        return {route.id: route for route in read_routes(routes[0])}
    if told not in given:
        found = ", ".join(f"{name} ({digest[:12]})" for digest, name in given.items())
        raise RouteError(
            f"{file} was driven on the route file {told or 'unknown'}, given are {found}; give that one too"
        )
    return {route.id: route for route in read_routes(given[told])}


def _drive(record: Mapping, known: Mapping[str, Route], weather: str) -> Drive:
    """``weather``: of the whole run, in place of the routes' own."""
    route, _, repetition = record["route_id"].removeprefix("RouteScenario_").rpartition("_rep")
    scenarios = _scenarios(record, known.get(route))
    letters = "".join(LETTERS.get(scenario, "") for scenario in scenarios)
    scores, meta = record["scores"], record["meta"]
    return Drive(
        route=route,
        repetition=int(repetition),
        seed=int(record.get("seed", repetition)),
        town=str(record.get("town_name", "")),
        status=str(record["status"]),
        score=float(scores["score_composed"]),
        completion=float(scores["score_route"]),
        penalty=float(scores["score_penalty"]),
        faults=_faults(record),
        length_m=float(meta["route_length"]),
        game_s=float(meta["duration_game"]),
        system_s=float(meta["duration_system"]),
        detail=str(record.get("detail", "")),
        scenarios=scenarios,
        weather=weather or _weather(record, known.get(route)),
        abilities=tuple(name for name, letter in ABILITIES.items() if letter in letters),
        planner={str(name): float(value) for name, value in (record.get("planner") or {}).items()},
    )


def _faults(record: Mapping) -> tuple[Fault, ...]:
    times = record.get("infraction_times_s") or {}
    return tuple(
        Fault(kind, str(message), None if time_s is None else float(time_s))
        for kind, messages in record["infractions"].items()
        for message, time_s in itertools.zip_longest(messages, times.get(kind, ())[: len(messages)])
    )


def _scenarios(record: Mapping, route: Route | None) -> tuple[str, ...]:
    named = str(record.get("scenario_name") or "")
    if named:
        return (named.rpartition("_")[0] if named.rpartition("_")[2].isdigit() else named,)
    return tuple(dict.fromkeys(scenario.type for scenario in route.scenarios)) if route else ()


def _weather(record: Mapping, route: Route | None) -> str:
    if route is not None:
        return weather_name(route.weather)
    return f"weather {record['weather_id']}" if record.get("weather_id") not in (None, "None", "") else ""


def _expect_once(file: Path, drives: Sequence[Drive]) -> None:
    seen: set[tuple[str, int]] = set()
    for drive in drives:
        key = (drive.route, drive.repetition)
        if key in seen:
            raise RouteError(f"{file} holds route {drive.route} repetition {drive.repetition} twice; merge it first")
        seen.add(key)


def _routes_hash(drives: Sequence[Drive]) -> str:
    text = "\n".join(sorted({f"{drive.route} {drive.length_m:.0f}" for drive in drives}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
