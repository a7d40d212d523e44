"""A planner whose plans tell what it saw, and a server around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from autovla_core.contracts import PLAN_STEPS, Clip, Command, Mode, Observation, Plan, Planner
from autovla_core.errors import ObservationError
from autovla_core.serving.client import Client
from autovla_core.serving.server import PlannerServer, ServerConfig


def make_observation(seed: int = 0, cameras: tuple[str, ...] = ("front",), **changes: object) -> Observation:
    rng = np.random.default_rng(seed)
    times = np.arange(4) * 0.5
    clips = {c: Clip(rng.integers(0, 256, (4, 28, 56, 3), dtype=np.uint8), times) for c in cameras}
    values = {
        "time_s": 1.5 + seed,
        "clips": clips,
        "speed": 5.0 + seed,
        "acceleration": -0.25,
        "pose": np.array([1.0, 2.0, 0.5]),
        "command": Command.LEFT,
        "route": np.array([[2.0, 0.0], [4.0, 0.1]]),
    }
    return Observation(**{**values, **changes})


class SumPlanner:
    """Straight on at the observed speed; the tokens are sums over what was seen. Fails on a negative speed."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.resets = 0
        self.gate: threading.Event | None = None  # when set, plans wait for it

    def plan(self, observation: Observation) -> Plan:
        return self._all([observation])[0]

    def plan_many(self, observations: Sequence[Observation]) -> list[Plan]:
        return self._all(observations)

    def reset(self) -> None:
        self.resets += 1

    def _all(self, observations: Sequence[Observation]) -> list[Plan]:
        if self.gate is not None:
            assert self.gate.wait(timeout=30.0)
        self.batches.append(len(observations))
        return [self._one(observation) for observation in observations]

    @staticmethod
    def _one(observation: Observation) -> Plan:
        if observation.speed < 0.0:
            raise ObservationError(f"speed is {observation.speed}")
        if observation.speed > 100.0:
            raise ZeroDivisionError("a mistake in the planner")
        forward = observation.speed * 0.5 * np.arange(1, PLAN_STEPS + 1)
        seen = [int(clip.images.sum()) for clip in observation.clips.values()]
        facts = [len(seen), *seen, observation.command, len(observation.instruction or ""), len(observation.route)]
        return Plan(
            poses=np.column_stack([forward, np.zeros_like(forward), np.zeros_like(forward)]),
            observed_at_s=observation.time_s,
            ready_at_s=observation.time_s + 0.1,
            tokens=np.resize(np.array(facts), PLAN_STEPS),
            thought=f"ü {observation.instruction}",
            mode=Mode.SLOW,
            log_probs=np.linspace(-1.0, 0.0, PLAN_STEPS),
            timings_ms={"model": 1.5},
            thinking_tokens=12,
            forced="deadline",
        )


@pytest.fixture
def planner() -> SumPlanner:
    return SumPlanner()


@pytest.fixture
def serve() -> Iterator[Callable[..., PlannerServer]]:
    """Start servers on free ports; all are closed at the end."""
    servers = []

    def start(planner: Planner, cockpit: object = None, **config: object) -> PlannerServer:
        servers.append(PlannerServer(planner, ServerConfig(**{"port": 0, **config}), {"name": "sum"}, cockpit))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    clients = []

    def start(address: str, **options: object) -> Client:
        clients.append(Client(address, **{"timeout_s": 20.0, "reconnect_s": 0.0, **options}))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def observe() -> Callable[..., Observation]:
    return make_observation
