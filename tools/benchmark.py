"""How fast it is on this machine: the simulator, the cameras, one plan. Ratios within one run.

    python tools/benchmark.py --out docs/benchmark.json

Runs alone on an idle machine; the figures of a busy one mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import carla
import numpy as np

from autovla_core.carla_bridge.session import TICK_S, Session, connect
from autovla_core.contracts import CLIP_IMAGES, Clip, Command, Observation
from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.server_process import MinicarlaServer

ROOT = Path(__file__).resolve().parents[1]
CAMERA_YAWS_DEG = (0.0, -55.0, 55.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models" / "autovla-tiny")
    parser.add_argument("--ticks", type=int, default=400, help="ticks a measurement")
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    args = parser.parse_args()
    try:
        figures = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"}
        figures |= measure_simulator(args.ticks)
        figures |= measure_planner(args.checkpoint)
        figures |= measure_model(args.checkpoint)
    except AutoVLAError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    for name, value in figures.items():
        print(f"{name:<58} {value if isinstance(value, str) else format(value, '.3g')}")
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def measure_simulator(ticks: int) -> dict[str, float]:
    """Ticks a second without sensors, and simulated over wall time with three cameras."""
    started = time.perf_counter()
    with MinicarlaServer(seed=1) as server:
        figures = {"start to first answer, s": time.perf_counter() - started}
        with Session(connect("127.0.0.1", server.port)) as session:
            ego = session.spawn_ego(session.map.get_spawn_points()[0])
            figures["ticks/s, 1 vehicle"] = rate(session.tick, ticks)
            _add_traffic(session, 19)
            figures["ticks/s, 20 vehicles driven by the server"] = rate(session.tick, ticks)
            tick = _with_cameras(session, ego)
            per_s = rate(tick, ticks)
            figures["ticks/s, 20 vehicles, 3 cameras 448x224"] = per_s
            figures["simulated s / wall s, the same at 20 Hz"] = per_s * TICK_S
    return figures


def rate(step: Callable[[], object], ticks: int) -> float:
    """Calls a second, after a warm-up of a tenth."""
    for _ in range(max(ticks // 10, 1)):
        step()
    started = time.perf_counter()
    for _ in range(ticks):
        step()
    return ticks / (time.perf_counter() - started)


def _add_traffic(session: Session, count: int) -> None:
    points = session.map.get_spawn_points()
    for point in points[5 :: max(1, (len(points) - 5) // count)][:count]:
        session.spawn("vehicle.tesla.model3", point, {"role_name": "minicarla_traffic"})


def _with_cameras(session: Session, ego: carla.Actor) -> Callable[[], None]:
    """A tick that waits for one image of each of three cameras."""
    images: queue.Queue = queue.Queue()
    blueprint = session.world.get_blueprint_library().find("sensor.camera.rgb")
    for key, value in (("image_size_x", "448"), ("image_size_y", "224"), ("fov", "70")):
        blueprint.set_attribute(key, value)
    cameras = []  # the client forgets a sensor that nobody holds
    for yaw_deg in CAMERA_YAWS_DEG:
        place = carla.Transform(carla.Location(x=0.8, z=1.6), carla.Rotation(yaw=yaw_deg))
        cameras.append(session.world.spawn_actor(blueprint, place, attach_to=ego))
        cameras[-1].listen(images.put)

    def tick() -> None:
        session.tick()
        for _ in cameras:
            images.get(timeout=60.0)

    return tick


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
