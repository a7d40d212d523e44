"""Many routes, several seeds, some workers, one results file."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autovla_core.carla_bridge.session import Session, connect
from autovla_core.errors import SimulatorError
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.episode import Disturbance, EpisodeConfig, Subscriber, run_episode
from autovla_core.evaluation.results import Record, ResultsFile, route_id
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.server_process import MinicarlaServer
from autovla_core.evaluation.workers import run_jobs


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


def jobs_of(routes: Sequence[Route], seeds: Sequence[int]) -> list[Job]:
    """Every route with every seed, seed by seed, so that an early look covers all routes."""
    return [Job(route, k, seed) for k, seed in enumerate(seeds) for route in routes]


def fingerprint(run: Run, route_file: Path, seeds: Sequence[int]) -> dict[str, object]:
    """What must be equal for a results file to be continued."""
    config = Path(run.agent_config)
    return {
        "agent": run.agent.name,
        "agent_config": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else run.agent_config,
        "routes": hashlib.sha256(route_file.read_bytes()).hexdigest(),
        "seeds": list(seeds),
        "traffic": run.episode.traffic,
        "rule": run.episode.rule,
    }


def evaluate(
    run: Run, jobs: Sequence[Job], results: ResultsFile, workers: int, on_record: Callable[[Record], None]
) -> None:
    """Drive what the results do not hold yet.

    Raises:
        SimulatorError: a simulator failed; what was driven until then is in the results.
    """

    def take(record: Record) -> None:
        results.add(record)
        on_record(record)

    open_jobs = [job for job in jobs if not results.has(job.route_id)]
    run_jobs(drive_jobs, run, open_jobs, workers, take)


def drive_jobs(run: Run, jobs: Iterable[Job], answer: Callable[[Record], None]) -> None:
    """One worker: one simulator, one job after the other."""
    agent_class = load_agent_class(run.agent)
    with simulator(run.host, run.port, run.server_threads) as there:
        for job in jobs:
            answer(drive(run, agent_class, there, job))


@dataclass(frozen=True)
class Simulator:
    """A session and where its server listens, which agents are told."""

    session: Session
    host: str
    port: int


def drive(
    run: Run,
    agent_class: type,
    there: Simulator,
    job: Job,
    subscribers: Sequence[Subscriber] = (),
    disturbance: Disturbance | None = None,
) -> Record:
    """One drive of one route by a new agent."""
    agent = agent_class(there.host, there.port, False)
    return run_episode(
        there.session,
        job.route,
        agent,
        run.agent_config,
        job.seed,
        job.repetition,
        run.episode,
        subscribers,
        disturbance,
    )


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
            server = stack.enter_context(MinicarlaServer(port=own_port, threads=threads))
            host, port = server.host, server.port
        try:
            with Session(connect(host, port)) as session:
                yield Simulator(session, host, port)
        except (SimulatorError, RuntimeError) as error:
            gone = server.death() if server else ""
            if gone:
                raise SimulatorError(gone) from None
            if isinstance(error, SimulatorError):
                raise
            raise SimulatorError(f"the simulator on {host}:{port} failed: {error}") from error
