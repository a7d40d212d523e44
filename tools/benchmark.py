"""How fast it is on this machine: the simulator, the cameras, one plan. Ratios within one run.

    python tools/benchmark.py --out docs/benchmark.json [--only simulator]

Runs alone on an idle machine; the figures of a busy one mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autovla_core.contracts import CLIP_IMAGES, Clip, Command, Observation
from autovla_core.errors import AutoVLAError
from autovla_core.evaluation import simulator_speed

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models" / "autovla-tiny")
    parser.add_argument("--ticks", type=int, default=400, help="ticks a measurement")
    parser.add_argument("--only", choices=("simulator", "model"), help="measure half of it")
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    args = parser.parse_args()
    try:
        figures = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"}
        if args.only != "model":
            figures |= measure_simulator(args.ticks)
        if args.only != "simulator":
            figures |= measure_planner(args.checkpoint)
            figures |= measure_model(args.checkpoint)
    except AutoVLAError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    for name, value in figures.items():
        print(f"{name:<72} {value if isinstance(value, str) else format(value, '.3g')}")
    if args.out:
        partial = args.out.with_suffix(".partial")
        partial.write_text(json.dumps(figures, indent=2) + "\n")
        os.replace(partial, args.out)
    return 0


def measure_simulator(ticks: int) -> dict[str, float]:
    """What autovla_core.evaluation.simulator_speed measures, with a bar."""
    with tqdm(total=len(simulator_speed.PARTS), desc="simulator", disable=None) as bar:

        def say(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        return simulator_speed.measure(simulator_speed.Extent(ticks=ticks), say)


def measure_planner(checkpoint: Path, plans: int = 60) -> dict[str, float]:
    """Milliseconds of one fast plan, in process, on one thread."""
    from autovla_core.model.vla import AutoVLA

    planner = AutoVLA.from_pretrained(checkpoint, threads=1)
    rng = np.random.default_rng(0)
    durations = []
    for i in range(plans + 5):
        observation = _random_observation(planner, rng, 0.5 * i)
        started = time.perf_counter()
        planner.plan(observation)
        durations.append((time.perf_counter() - started) * 1e3)
    kept = durations[5:]
    return {"one fast plan, ms, median": statistics.median(kept), "one fast plan, ms, 95 %": np.percentile(kept, 95)}


def measure_model(checkpoint: Path) -> dict[str, float]:
    """CPU milliseconds of plans beside Hugging Face's generate; more of it in tools/benchmark_model.py."""
    from autovla_core.model import measure

    return measure.compare(measure.Contest.of_folder(checkpoint), rounds=9)


def _random_observation(planner: object, rng: np.random.Generator, time_s: float) -> Observation:
    times = time_s + 0.5 * np.arange(1 - CLIP_IMAGES, 1)
    clips = {
        c.id: Clip(rng.integers(0, 256, (CLIP_IMAGES, c.height, c.width, 3), dtype=np.uint8), times)
        for c in planner.cameras
    }
    return Observation(time_s, clips, 5.0, 0.1, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)))


if __name__ == "__main__":
    sys.exit(main())
