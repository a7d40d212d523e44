"""Training routes by the number: route i of a seed is always the same route, weather, traffic and kicks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core.carla_bridge.route_planner import LaneGraph
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.episode import EpisodeConfig, run_episode
from autovla_core.evaluation.evaluator import Simulator, simulator
from autovla_core.evaluation.lapses import LapsingPilot
from autovla_core.evaluation.reason_recording import ReasonRecorder
from autovla_core.evaluation.recording import ExpertPilot, Kicks, Recorder
from autovla_core.evaluation.route_file import Route, read_routes
from autovla_core.evaluation.route_generator import Pair, RouteStyle, lane_pair, random_route
from autovla_core.evaluation.scenarios.decoration import with_scenarios
from autovla_core.evaluation.teaching import TaughtPilot
from autovla_core.evaluation.truth_recording import TruthRecorder
from autovla_core.evaluation.weathers import random_weather
from autovla_core.logs import schema
from autovla_core.sensing import rig as rigs

FAILED = "failed"
SCENARIOS_ALONG = 2


@dataclass(frozen=True)
class Collection:
    """What all routes of a collection share."""

    root: Path
    seed: int = 0
    rig: str = "front"
    town: str = "Havenbrook"
    traffic: tuple[int, int] = (10, 25)
    kicks: bool = True
    lapses: bool = True  # the expert's pedals are late and lazy at times (evaluation.lapses)
    held_out: tuple[str, ...] = ()  # route files whose pairs of lanes must not be driven
    style: RouteStyle = RouteStyle()
    port: int = 0  # of a running server; 0 = minicarla of our own
    server_threads: int = 1
    truth: bool = False  # log what scores plans and what thoughts are written from (docs/logs.md)
    student: str = ""  # agent file that drives while the expert plans; "" = the expert drives itself
    student_config: str = ""
    scenarios: float = 0.0  # share of the routes with scenarios along, up to ``SCENARIOS_ALONG`` of them

    def name(self, number: int) -> str:
        """Folder of a route."""
        return f"{self.seed:03d}_{number:05d}"

    def is_done(self, number: int) -> bool:
        """Driven already, well or badly."""
        name = self.name(number)
        return (self.root / name).exists() or (self.root / FAILED / name).exists()


@dataclass(frozen=True)
class Collected:
    """One route that was driven."""

    name: str
    simulated_s: float
    wall_s: float
    size: int  # bytes on disk
    reason: str  # why it failed, or ""


def collect_jobs(collection: Collection, numbers: Iterable[int], answer: Callable[[Collected], None]) -> None:
    """One worker: one simulator, one route after the other."""
    with simulator(port=collection.port, threads=collection.server_threads) as there:
        there.session.load(collection.town)
        graph = LaneGraph(there.session.map)
        held_out = held_out_pairs(graph, collection.held_out, collection.town)
        for number in numbers:
            answer(collect(collection, there, graph, held_out, number))


def collect(
    collection: Collection, there: Simulator, graph: LaneGraph, held_out: frozenset[Pair], number: int
) -> Collected:
    """Drive route ``number`` and write its log."""
    began = time.monotonic()
    rng = np.random.default_rng((collection.seed, number))
    weather = random_weather(rng)
    name = collection.name(number)
    route, _ = random_route(graph, there.session.map, rng, name, weather, collection.style, held_out)
    route = _decorated(collection, route, graph, there, number)
    config = EpisodeConfig(traffic=int(rng.integers(collection.traffic[0], collection.traffic[1] + 1)))
    kicks = Kicks(rng) if collection.kicks else None
    pilot = _pilot(collection, there, number)
    cameras = rigs.rig(collection.rig)
    recorder = Recorder(collection.root, name, cameras)
    truth = [TruthRecorder(recorder), ReasonRecorder(recorder, cameras)] if collection.truth else []
    seed = int(rng.integers(2**31))
    record = run_episode(there.session, route, pilot, "", seed, 0, config, [pilot, recorder, *truth], kicks)
    size = sum(f.stat().st_size for f in recorder.folder.rglob("*") if f.is_file())
    return Collected(name, record.duration_game, time.monotonic() - began, size, recorder.reason)


def _decorated(collection: Collection, route: Route, graph: LaneGraph, there: Simulator, number: int) -> Route:
    """The route, or the route with scenarios along; by chance of its own, so that nothing else of it changes."""
    rng = np.random.default_rng((collection.seed, number, 2))
    if rng.random() >= collection.scenarios:
        return route
    return with_scenarios(route, graph, there.session.map, rng, SCENARIOS_ALONG)


def _pilot(collection: Collection, there: Simulator, number: int) -> ExpertPilot:
    if not collection.student:
        rng = np.random.default_rng((collection.seed, number, 1))
        return LapsingPilot(rng) if collection.lapses else ExpertPilot()
    student = load_agent_class(collection.student)(there.host, there.port, False)
    return TaughtPilot(student, collection.student_config)


def held_out_pairs(graph: LaneGraph, files: Iterable[str], town: str) -> frozenset[Pair]:
    """Pairs of lanes of the routes in ``files`` that lie in ``town``."""
    routes: list[Route] = [route for file in files for route in read_routes(file)]
    return frozenset(lane_pair(graph, route) for route in routes if route.town == town)


def simulated_seconds(root: Path) -> float:
    """What the finished routes below ``root`` add up to."""
    total = 0.0
    for file in root.glob(f"*/{schema.META_FILE}"):
        document = json.loads(file.read_text(encoding="utf-8"))
        total += document["ticks"] * document["meta"]["tick_s"]
    return total
