"""What is run: by whom, in which place of the machine, and the evaluator's command line for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autovla_core.errors import SetupError
from autovla_core.evaluation.bench2drive.clone import Clone, RouteFile
from autovla_core.evaluation.bench2drive.jobs import Job
from autovla_core.evaluation.bench2drive.watch import Limits
from autovla_core.evaluation.server_process import is_free

LAUNCHER = Path(__file__).with_name("launcher.py")
PORTS_APART = 20  # between two simulators: each takes three, and a fresh set after a crash
PORTS_OF_SERVER = 3


@dataclass(frozen=True)
class Run:
    """What is driven by whom; a folder holds one run."""

    clone: Clone
    routes: RouteFile
    agent: Path
    agent_config: str
    carla_root: Path
    out: Path
    python: str
    seed: int = 0
    track: str = "SENSORS"
    weights_sha256: str = ""  # of the model, where the agent's YAML names one
    timeout_s: float = 600.0  # of the evaluator's own watchdogs
    limits: Limits = field(default_factory=Limits)

    def identity(self) -> dict[str, object]:
        """What makes two calls the same run."""
        config = Path(self.agent_config.split("+")[0])
        return {
            "routes": self.routes.path.name,
            "routes_sha256": self.routes.sha256,
            "agent": self.agent.name,
            "agent_sha256": _hash(self.agent),
            "agent_config": self.agent_config,
            "agent_config_sha256": _hash(config) if config.is_file() else "",
            "weights_sha256": self.weights_sha256,
            "clone_commit": self.clone.commit,
            "seed": self.seed,
            "track": self.track,
        }


@dataclass(frozen=True)
class Slot:
    """One simulator's place on the machine."""

    index: int
    port: int
    traffic_manager_port: int
    gpu: str  # CUDA index of the model, and Vulkan adapter of the simulator unless that is given
    adapter: str

    def free_ports(self) -> tuple[int, int]:
        """Ports for the server and the Traffic Manager that nobody holds now.

        Raises:
            SetupError: all of this slot are taken.
        """
        for offset in range(0, PORTS_APART - PORTS_OF_SERVER, PORTS_OF_SERVER):
            port, manager = self.port + offset, self.traffic_manager_port + offset
            if all(is_free(port + i, "0.0.0.0") for i in range(PORTS_OF_SERVER)) and is_free(manager, "0.0.0.0"):
                return port, manager
        last = self.port + PORTS_APART - 1
        raise SetupError(f"ports {self.port} to {last} are taken by other programs; choose others with --base-port")


def slots_of(workers: int, gpus: Sequence[str], adapters: Sequence[str], port: int, manager: int) -> list[Slot]:
    """Slots side by side; GPUs are dealt in turn."""
    return [
        Slot(i, port + i * PORTS_APART, manager + i * PORTS_APART, gpus[i % len(gpus)], adapters[i % len(adapters)])
        for i in range(workers)
    ]


def command(
    run: Run, job: Job, slot: Slot, ports: tuple[int, int], result: Path, metrics: Path, scenario: Path
) -> list[str]:
    """The evaluator's command line for one route; the launcher writes ``metrics`` and ``scenario`` beside."""
    options = {
        "--port": ports[0],
        "--traffic-manager-port": ports[1],
        "--traffic-manager-seed": run.seed,
        "--routes": run.routes.path,
        "--routes-subset": job.route,
        "--repetitions": 1,
        "--track": run.track,
        "--checkpoint": result.resolve(),
        "--debug-checkpoint": result.resolve().with_suffix(".live.txt"),
        "--agent": run.agent.resolve(),
        "--agent-config": run.agent_config,
        "--gpu-rank": slot.adapter,
        "--timeout": run.timeout_s,
    }
    start = [run.python, "-u", LAUNCHER, "--clone", run.clone.folder]
    records = ["--metrics", metrics.resolve(), "--scenario", scenario.resolve(), "evaluate"]
    return [str(part) for part in [*start, *records, *(f"{name}={value}" for name, value in options.items())]]


def environment(run: Run, slot: Slot, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the official scripts set."""
    return {
        "SDL_VIDEODRIVER": "dummy",
        **inherited,
        "CARLA_ROOT": str(run.carla_root.resolve()),
        "SAVE_PATH": str((run.out / "metrics").resolve()),
        "IS_BENCH2DRIVE": "True",
        "CUDA_VISIBLE_DEVICES": slot.gpu,
        "PYTHONUNBUFFERED": "1",
    }


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
