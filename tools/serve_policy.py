"""Serve a model to agents in other processes, on other machines, or in an older Python.

    python tools/serve_policy.py --checkpoint models/autovla-tiny
    python tools/serve_policy.py --checkpoint models/autovla-tiny --host 0.0.0.0 --token-file server.token
    python tools/serve_policy.py --ask 127.0.0.1:7667              # health and statistics of a running one

Simulators that ask within ``--window-ms`` of each other share one forward. Agents: see docs/serving.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autovla_core import frames
from autovla_core.action.vehicle import Vehicle
from autovla_core.carla_bridge.observe import Observer
from autovla_core.contracts import Control, Planner
from autovla_core.driving.driver import Driver
from autovla_core.errors import AutoVLAError
from autovla_core.model.thinking import MODES, ThinkingConfig
from autovla_core.model.vla import AutoVLA
from autovla_core.route.plan import from_poses
from autovla_core.route.progress import project
from autovla_core.sensing import rig as rigs
from autovla_core.serving.client import DEFAULT_PORT, PlannerError
from autovla_core.serving.messages import DriveStart, DriveTick
from autovla_core.serving.remote import RemotePlanner, read_token
from autovla_core.serving.server import PlannerServer, ServerConfig, check

logger = logging.getLogger("serve_policy")


class DrivingCockpit:
    """Observer, driver and tracker for an agent that only carries sensors and controls."""

    def __init__(self, planner: Planner, rig: str, replan_s: float) -> None:
        self._cameras = rigs.rig(rig)
        self._driver = Driver(planner, replan_s=replan_s)

    def start(self, start: DriveStart) -> Mapping[str, object]:
        """Take the route; answer with the sensors that the agent must ask the simulator for."""
        poses = np.array([frames.pose_from_carla(*pose) for pose in start.carla_poses]).reshape(-1, 3)
        self._observer = Observer(self._cameras, from_poses(poses, start.commands))
        self._lost = start.resumed
        return {"sensors": rigs.sensors(self._cameras), "image_period_s": rigs.IMAGE_PERIOD_S}

    def tick(self, tick: DriveTick) -> Control:
        """One tick, as an agent of our own takes it."""
        motion = self._observer.update(tick.input_data, tick.time_s)
        if self._lost:  # progress looks near its last place only, and that is the start
            route = self._observer.progress.plan
            self._observer.progress.s, self._observer.progress.offset = project(route.points, route.s, motion.pose)
            self._lost = False
        return self._driver.step(self._observer.observe, motion.time_s, motion.speed, motion.yaw_rate)


def main() -> int:
    """Return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.ask:
            return _ask(options.ask, read_token(options.token_file))
        _serve(options)
    except (AutoVLAError, PlannerError) as error:
        print(f"serve_policy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("serve_policy: stopped", file=sys.stderr)
    return 0


def _serve(options: argparse.Namespace) -> None:
    config = ServerConfig(
        host=options.host,
        port=options.port,
        token=read_token(options.token_file),
        window_s=options.window_ms * 1e-3,
        max_batch=options.max_batch,
        max_connections=options.max_connections,
    )
    check(config)  # before the model is loaded, which may take a minute
    rigs.rig(options.rig)
    thinking = ThinkingConfig(options.thinking, options.most_tokens, options.deadline_ms)
    planner = AutoVLA.from_pretrained(
        options.checkpoint,
        options.device,
        options.blind,
        options.threads,
        thinking,
        reach=options.reach,
        vehicle=Vehicle(options.length, options.width),
    )
    about = {
        "checkpoint": options.checkpoint.name,
        "cameras": [[camera.id, camera.height, camera.width] for camera in planner.cameras],
        "codebook": planner.record.codebook_hash,
        "blind": options.blind,
    }
    with PlannerServer(
        planner, config, about, lambda batched: DrivingCockpit(batched, options.rig, options.replan_s)
    ) as server:
        print(f"serve_policy: {options.checkpoint} at {server.address}", flush=True)
        try:
            threading.Event().wait()
        finally:
            logger.info("%s", json.dumps(server.statistics.snapshot(), sort_keys=True))


def _ask(address: str, token: str) -> int:
    remote = RemotePlanner(address, token, timeout_s=5.0, reconnect_s=0.0)
    for answer in (remote.client.health(), remote.client.statistics()):
        print(json.dumps(answer, indent=1, sort_keys=True))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/autovla-tiny"))
    parser.add_argument("--host", default="127.0.0.1", help="anything but loopback needs --token-file")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0: any free one")
    parser.add_argument("--token-file", type=Path, help="its first line, 16 characters or more, is the shared token")
    parser.add_argument("--window-ms", type=float, default=4.0, help="how long a batch waits for other simulators")
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--max-connections", type=int, default=64)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--threads", type=int, default=1, help="of the processor")
    parser.add_argument("--blind", action="store_true", help="show the model black images")
    parser.add_argument("--thinking", choices=MODES, default="fast")
    parser.add_argument("--most-tokens", type=int, default=200, help="of a thought; then the answer is forced")
    parser.add_argument("--deadline-ms", type=float, help="of a plan; then the answer is forced")
    parser.add_argument("--reach", action="store_true", help="choose only motions that the car can follow up with")
    parser.add_argument("--length", type=float, default=Vehicle.length, help="m, of the car that is driven")
    parser.add_argument("--width", type=float, default=Vehicle.width, help="m; a model for another size is refused")
    parser.add_argument("--rig", default="front", help=f"of thin agents: {', '.join(rigs.RIGS)}")
    parser.add_argument("--replan-s", type=float, default=0.5, help="of thin agents")
    parser.add_argument("--ask", metavar="HOST:PORT", help="print a running server's health and statistics")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
