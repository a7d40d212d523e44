"""What a planner server costs, and what batching brings, on this machine: ratios within one run.

    python tools/measure_serving.py

Three 448x224 cameras (3.6 MB an observation) over loopback; the server runs in a process of its own. The model is a
tiny one with random weights that sees all three, because a client sends only what the model sees; ``--checkpoint``
takes another. The added latency is the median remote minus the median in-process plan, asked in turn, so that other
work hits both. Figures of a busy machine mean little: see the load that is printed with them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import Clip, Command, Observation
from autovla_core.errors import AutoVLAError, SetupError
from autovla_core.files import write_whole
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView
from autovla_core.model.vla import AutoVLA
from autovla_core.serving.remote import RemotePlanner

HEIGHT, WIDTH = 224, 448
CAMERAS = ("front", "front_left", "front_right")


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="default: made on the spot, three cameras of 280x140")
    parser.add_argument("--plans", type=int, default=200, help="a measurement")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as made:
            folder = options.checkpoint or _three_cameras(Path(made) / "model")
            figures = measure(folder, options.plans, options.clients)
    except AutoVLAError as error:
        print(f"measure_serving: {error}", file=sys.stderr)
        return 1
    for name, value in figures.items():
        print(f"{name:<58} {value:.3g}")
    if options.out:
        write_whole(options.out, json.dumps(figures, indent=2) + "\n")
    return 0


def _three_cameras(folder: Path) -> Path:
    """A model of the shipped one's size with three cameras and random weights."""
    codebook = Codebook.load(SHIPPED)
    tokenizer = tiny.build_tokenizer(len(codebook))
    views = tuple(CameraView(camera, 140, 280) for camera in CAMERAS)
    checkpoint.save(folder, tiny.build_model("n2", tokenizer, codebook, 140, 280), tokenizer, codebook, views, {})
    return folder


def measure(folder: Path, plans: int, clients: int) -> dict[str, float]:
    """Milliseconds and plans a second by name."""
    figures = {"load of the last minute at the start": os.getloadavg()[0]}
    with _Server(folder) as server:
        figures |= _latency(AutoVLA.from_pretrained(folder, threads=1), RemotePlanner(server.address), plans)
        one = _throughput(server.address, 1, plans)
        many = _throughput(server.address, clients, plans)
        figures |= {"plans/s, 1 client": one, f"plans/s, {clients} clients": many, "throughput ratio": many / one}
        counts = RemotePlanner(server.address).client.statistics()["counts"]
        batches = {int(k.split()[-1]): n for k, n in counts.items() if k.startswith("batches of ")}
        figures["largest batch"] = max(batches)
    return figures


def _latency(local: AutoVLA, remote: RemotePlanner, plans: int) -> dict[str, float]:
    observations = [_observation(seed) for seed in range(8)]
    near, far, wire, cpu = [], [], [], []
    for turn in range(plans + 10):
        observation = observations[turn % len(observations)]
        here, a = _timed(lambda o=observation: local.plan(o))
        busy = time.process_time()
        there, b = _timed(lambda o=observation: remote.plan(o))
        cpu.append((time.process_time() - busy) * 1e3)
        if not np.array_equal(a.tokens, b.tokens):
            raise SetupError(f"the server's tokens {b.tokens} differ from the tokens {a.tokens} made here")
        near.append(here)
        far.append(there)
        wire.append(there - b.timings_ms["server"])
    figures = {"in process, ms": near, "remote, ms": far, "of it on the wire, ms": wire, "of it client CPU, ms": cpu}
    medians = {name: statistics.median(values[10:]) for name, values in figures.items()}
    return {**medians, "added by the server, ms": medians["remote, ms"] - medians["in process, ms"]}


def _throughput(address: str, clients: int, plans: int) -> float:
    remotes = [RemotePlanner(address) for _ in range(clients)]
    each = max(plans // clients, 5)

    def drive(remote: RemotePlanner) -> None:
        for turn in range(each):
            remote.plan(_observation(turn % 8))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda remote: remote.plan(_observation(0)), remotes))
        started = time.perf_counter()
        list(pool.map(drive, remotes))
        return clients * each / (time.perf_counter() - started)


def _timed(call):
    started = time.perf_counter()
    result = call()
    return (time.perf_counter() - started) * 1e3, result


_OBSERVATIONS: dict[int, Observation] = {}


def _observation(seed: int) -> Observation:
    if seed not in _OBSERVATIONS:
        rng = np.random.default_rng(seed)
        clips = {
            camera: Clip(rng.integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8), np.arange(4) * 0.5)
            for camera in CAMERAS
        }
        state = {"speed": 5.0 + seed, "acceleration": 0.1, "pose": np.zeros(3), "command": Command.FOLLOW}
        _OBSERVATIONS[seed] = Observation(time_s=1.5, clips=clips, route=np.zeros((0, 2)), **state)
    return _OBSERVATIONS[seed]


class _Server:
    """``tools/serve_policy.py`` in a process of its own."""

    def __init__(self, checkpoint: Path) -> None:
        program = Path(__file__).with_name("serve_policy.py")
        command = [sys.executable, str(program), "--checkpoint", str(checkpoint), "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> _Server:
        line = self._process.stdout.readline()
        if " at " not in line:
            self._process.wait()
            raise SetupError(f"the server did not start: {line!r}")
        self.address = line.split(" at ")[-1].strip()
        return self

    def __exit__(self, *args: object) -> None:
        self._process.terminate()
        self._process.communicate()


if __name__ == "__main__":
    sys.exit(main())
