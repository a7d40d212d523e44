"""Many routes, several seeds, some workers, one results file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autovla_core.carla_bridge.session import Session, connect
from autovla_core.errors import RouteError, SetupError, SimulatorError
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.episode import EpisodeConfig, EpisodeLost, EpisodeUnfinished, run_episode
from autovla_core.evaluation.flight_recorder import recorders
from autovla_core.evaluation.identity import SimulatorFacts, ask, own_simulator
from autovla_core.evaluation.provenance import Provenance, versions, weights
from autovla_core.evaluation.queue import Cluster, run_jobs
from autovla_core.evaluation.results import CRASHED, Record, ResultsFile, route_id
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.sensor_rules import OWN
from autovla_core.evaluation.server_process import MinicarlaServer
from autovla_core.evaluation.shielding import shield_facts
from autovla_core.evaluation.watchdog import AgentSilent
from autovla_core.evaluation.watching import Disturbance, Subscriber
from autovla_core.evaluation.weathers import preset
from autovla_core.files import sha256
from autovla_core.scoring.closed_loop import score
from autovla_core.sensing.faults import NO_FAULTS

logger = logging.getLogger(__name__)

ATTEMPTS = 2  # at one drive, if the simulator spoils the first or the agent falls silent in it
SILENT, LOST = "silent", "lost"  # what an attempt may come to; all else is a result
MOST_LOST = 3  # attempts in a row that the simulator spoils; then something is wrong with the machine


@dataclass(frozen=True)
class Job:
    """One drive."""

    route: Route
    repetition: int
    seed: int

    @property
    def route_id(self) -> str:
        """As in the results."""
        return route_id(self.route.id, self.repetition)


@dataclass(frozen=True)
class Run:
    """What all drives of an evaluation share."""

    agent: Path
    agent_config: str = ""
    episode: EpisodeConfig = field(default_factory=EpisodeConfig)
    host: str = "127.0.0.1"
    port: int = 0  # of a running server; 0 = start minicarla, one for each worker
    server_threads: int = 2
    weather: str = ""  # a preset in place of the routes' own
    logs: Path | None = None  # folder of flight logs, one a drive
    log_rig: str = ""  # cameras of the logs in place of the agent's; "": the agent's


def jobs_of(routes: Sequence[Route], seeds: Sequence[int]) -> list[Job]:
    """Every route with every seed, seed by seed, so that an early look covers all routes."""
    return [Job(route, k, seed) for k, seed in enumerate(seeds) for route in routes]


def fingerprint(run: Run, route_file: Path, seeds: Sequence[int], simulator: str = "") -> dict[str, object]:
    """What must be equal for a results file to be continued; ``simulator`` as ``identity`` names it, "" if unknown."""
    config, weights_of = Path(run.agent_config), weights(run.agent, run.agent_config)
    return {
        "agent": run.agent.name,
        **({"agent_sha256": sha256(run.agent)} if run.agent.is_file() else {}),
        **({"simulator": simulator} if simulator else {}),
        "agent_config": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else run.agent_config,
        "routes": hashlib.sha256(route_file.read_bytes()).hexdigest(),
        "seeds": list(seeds),
        "traffic": run.episode.traffic,
        "rule": run.episode.rule,
        **({"weights": weights_of} if weights_of else {}),
        **conditions(run),
        **shield_facts(config),
    }


def simulator_name(run: Run, routes: Sequence[Route]) -> str:
    """As ``identity`` names it for the towns of these routes; "" when nobody answers, as the first drive will say."""
    if not run.port:
        return own_simulator()
    try:
        return ask(connect(run.host, run.port)).name(route.town for route in routes)
    except (SetupError, RuntimeError):
        return ""


def conditions(run: Run) -> dict[str, object]:
    """What makes a drive harder than its route file; empty when nothing does."""
    faults = run.episode.faults
    changed = {f.name: getattr(faults, f.name) for f in dataclasses.fields(faults)} if faults != NO_FAULTS else {}
    return {
        **({"weather": run.weather} if run.weather else {}),
        **({"track": run.episode.track} if run.episode.track != OWN else {}),
        **({"faults": {name: value for name, value in changed.items() if value}} if changed else {}),
    }


def evaluate(
    run: Run,
    jobs: Sequence[Job],
    results: ResultsFile,
    workers: int,
    on_record: Callable[[Record], None],
    cluster: Cluster | None = None,
) -> None:
    """Drive what the results do not hold yet. What a simulator or a worker spoils is driven again.

    Args:
        on_record: sees each record before it is stored; if it raises, the run ends without that record.

    Raises:
        SimulatorError: no drive comes through; what was driven until then is in the results.
        SetupError: no simulator, or no cluster, can be had.
        EpisodeUnfinished: a log could not be written; the record of its drive is in the results.
    """

    def take(record: Record) -> None:
        on_record(record)
        results.add(record)

    open_jobs = [job for job in jobs if not results.has(job.route_id)]
    run_jobs(drive_jobs, run, open_jobs, workers, take, cluster)


def drive_jobs(run: Run, jobs: Iterable[Job], answer: Callable[[Record], None]) -> None:
    """One worker: one job after the other, on one simulator as long as it lasts.

    Raises:
        SimulatorError: ``MOST_LOST`` attempts in a row were lost.
        SetupError: no simulator can be had.
        EpisodeUnfinished: a log could not be written; its record was answered.
    """
    agent_class = load_agent_class(run.agent)
    waiting, lost = _Attempts(jobs), 0
    for job in waiting:
        with simulator(run.host, run.port, run.server_threads) as there:
            for current in itertools.chain([job], waiting):
                try:
                    record, fate = _attempt(run, agent_class, there, current)
                except EpisodeUnfinished as error:
                    answer(error.record)
                    raise
                lost = lost + 1 if fate == LOST else 0
                again = fate and lost < MOST_LOST and waiting.again(current)
                if again:
                    logger.warning("%s: %s; it is driven again", record.route_id, record.detail)
                else:
                    answer(record)
                if lost == MOST_LOST:
                    raise SimulatorError(f"{lost} drives in a row were lost, the last one: {record.detail}")
                if fate == LOST:  # on with a new simulator
                    break


class _Attempts(Iterator[Job]):
    """Jobs in their order; each may be put back in front, up to ``ATTEMPTS`` attempts in all."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs, self._back, self._number = iter(jobs), None, 0

    def __next__(self) -> Job:
        if self._back is None:
            self._number = 0
            return next(self._jobs)
        job, self._back = self._back, None
        return job

    def again(self, job: Job) -> bool:
        """Put the job that was drawn last back; False if it had all its attempts."""
        self._number += 1
        if self._number < ATTEMPTS:
            self._back = job
        return self._back is not None


def _attempt(run: Run, agent_class: type, there: Simulator, job: Job) -> tuple[Record, str]:
    """The record of one drive, and its fate: "" if the record is a result."""
    try:
        record = drive(run, agent_class, there, job, _recorders(run, job))
    except RouteError as error:
        return _undriven(run, job, str(error)), ""
    except EpisodeLost as error:
        return dataclasses.replace(error.record, detail=there.death() or error.record.detail), LOST
    return record, SILENT if record.detail.startswith(AgentSilent.__name__) else ""


def _recorders(run: Run, job: Job) -> list[Subscriber]:
    """Those of one drive; none without a folder for logs."""
    if run.logs is None:
        return []
    return recorders(run.logs, job.route_id, Provenance(run.agent, run.agent_config, run.episode), run.log_rig)


def _undriven(run: Run, job: Job, detail: str) -> Record:
    """The official record of a route that cannot be driven."""
    nothing, route = score(0.0, (), run.episode.rule), job.route
    return Record(route.id, job.repetition, job.seed, route.town, CRASHED, nothing, (), 0.0, 0.0, 0.0, detail)


@dataclass(frozen=True)
class Simulator:
    """A session and where its server listens, which agents are told."""

    session: Session
    host: str
    port: int
    death: Callable[[], str] = lambda: ""  # why our own server is gone
    facts: SimulatorFacts = SimulatorFacts()


def drive(
    run: Run,
    agent_class: type,
    there: Simulator,
    job: Job,
    subscribers: Sequence[Subscriber] = (),
    disturbance: Disturbance | None = None,
) -> Record:
    """One drive of one route by a new agent; the record, also one that an error carries, says what it was made with."""
    made_with = {"simulator": there.facts.name([job.route.town]), **versions()}
    agent = agent_class(there.host, there.port, False)
    try:
        record = run_episode(
            there.session,
            in_weather(job.route, run.weather),
            agent,
            run.agent_config,
            job.seed,
            job.repetition,
            run.episode,
            subscribers,
            disturbance,
        )
    except (EpisodeLost, EpisodeUnfinished) as error:
        error.record = dataclasses.replace(error.record, made_with=made_with)
        raise
    return dataclasses.replace(record, made_with=made_with)


def _own_server(port: int, threads: int) -> MinicarlaServer:
    """One that runs. On a port of its own choice it has two attempts: another program may be quicker to take that."""
    try:
        return MinicarlaServer(port=port, threads=threads).start()
    except SetupError as error:
        if port:
            raise
        logger.warning("%s; it is started once more", error)
        return MinicarlaServer(threads=threads).start()


def in_weather(route: Route, weather: str) -> Route:
    """The route in a preset, or as it is."""
    return dataclasses.replace(route, weathers=((0.0, preset(weather)),)) if weather else route


@contextlib.contextmanager
def simulator(host: str = "127.0.0.1", port: int = 0, threads: int = 2, own_port: int = 0) -> Iterator[Simulator]:
    """A synchronous session with the server on ``port``, or with a minicarla of our own (on ``own_port``) if 0.

    Raises:
        SetupError: no server can be had.
        SimulatorError: what happens inside, with the reason why our own server ended, if it did.
    """
    with contextlib.ExitStack() as stack:
        server = None
        if port == 0:
            server = _own_server(own_port, threads)
            stack.callback(server.stop)
            host, port = server.host, server.port
        try:
            with Session(connect(host, port)) as session:
                death = server.death if server else lambda: ""
                yield Simulator(session, host, port, death, ask(session.client))
        except (SimulatorError, RuntimeError) as error:
            gone = server.death() if server else ""
            if gone:
                raise SimulatorError(gone) from None
            if isinstance(error, SimulatorError):
                raise
            raise SimulatorError(f"the simulator on {host}:{port} failed: {error}") from error
