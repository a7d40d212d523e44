"""Drives with a planner server; runs inside an old evaluator (Python 3.7 and newer) with numpy and carla only.

It carries sensors to ``tools/serve_policy.py`` and controls back; observing, planning and steering happen there.
Copy this file, ``autovla_leaderboard.py`` and ``autovla_core/serving/client.py`` (as ``autovla_client.py``) into one
folder, or use them where they are. Nothing of autovla_core is imported: it needs a newer Python.

Configuration: ``host:port``, or a file of ``key: value`` lines (leaderboard_configs/autovla_server_agent.yaml) with
``server`` and, if the server wants one, ``token_file``. Bench2Drive may append ``+name``.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from pathlib import Path

import carla
import numpy as np
from autovla_leaderboard import AutonomousAgent, Track

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
CLIENT_FILES = (HERE / "autovla_client.py", HERE.parent / "autovla_core" / "serving" / "client.py")
KEYS = ("server", "token_file", "rig", "replan_s")  # the last two are the server's to decide here
EARLY_S = 1e-3  # simulators report 0.05 s as a float32


def _load_client():
    """The client module, from a file: importing it as part of its package would import what needs a new Python."""
    for file in CLIENT_FILES:
        if file.is_file():
            spec = importlib.util.spec_from_file_location("autovla_client", str(file))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ImportError(f"no client at {' or '.join(map(str, CLIENT_FILES))}")


wire = _load_client()
_CLIENTS: dict = {}  # a new agent is made for every route; a connection is made once


def get_entry_point():
    """Name of the agent class, for the evaluator."""
    return "ThinAgent"


class ThinAgent(AutonomousAgent):
    """Sensors out, controls in; brakes while there is no answer."""

    def setup(self, path_to_conf_file, *args, **kwargs):
        """Connect and hand the route over."""
        self.track = Track.SENSORS
        settings = read_settings(path_to_conf_file)
        self.failures = 0
        self._client = _client(settings)
        self._speed = 0.0
        self._start(resumed=False)

    def _start(self, resumed):
        """Begin the episode, or go on with it at a server that was restarted."""
        poses, commands = carla_route(self._global_plan_world_coord)
        facts = self._client.start_drive(poses, commands, resumed)
        self._connections = self._client.connections
        self._sensors, self._image_period_s = facts["sensors"], float(facts["image_period_s"])
        self._next_image_s = -math.inf

    def sensors(self):
        """What the server's rig needs."""
        return [dict(sensor) for sensor in self._sensors]

    def run_step(self, input_data, timestamp):
        """One tick: ``{id: (frame, payload)}`` and seconds in, ``carla.VehicleControl`` out."""
        try:
            if not self._client.connected or self._client.connections != self._connections:
                self._start(resumed=True)
            wanted = self._client.drive(timestamp, *self._payloads(input_data, timestamp))
        except wire.PlannerError as error:  # a raised error would end the route
            self.failures += 1
            logger.warning("no control at %.2f s, braking (failure %d): %s", timestamp, self.failures, error)
            return carla.VehicleControl(brake=1.0)
        return carla.VehicleControl(
            throttle=wanted.throttle, steer=-wanted.steer, brake=wanted.brake, reverse=wanted.reverse
        )

    def _payloads(self, input_data, timestamp):
        """Speed and arrays of one tick; images only as often as the server looks at them."""
        arrays = {}
        images_due = timestamp >= self._next_image_s - EARLY_S
        if images_due:
            self._next_image_s = max(self._next_image_s, timestamp) + self._image_period_s
        for sensor in self._sensors:
            if sensor["id"] not in input_data:
                continue
            payload = input_data[sensor["id"]][1]
            if sensor["type"] == "sensor.speedometer":
                speed = payload["speed"]
                self._speed = self._speed if speed is None else float(speed)  # None: the simulator missed it
            elif images_due or not sensor["type"].startswith("sensor.camera"):
                arrays[sensor["id"]] = np.asarray(payload)
        return self._speed, arrays

    def destroy(self, *args, **kwargs):
        """Report failures; the connection stays open for the next route."""
        if getattr(self, "failures", 0):  # setup may have failed
            logger.warning("%d ticks without an answer", self.failures)


def carla_route(plan):
    """Poses (N, 3) x, y in metres and yaw in degrees, and commands, of the leaderboard's plan in world coordinates."""
    poses = [(t.location.x, t.location.y, t.rotation.yaw) for t, _ in plan]
    return np.array(poses, float).reshape(-1, 3), [int(getattr(option, "value", option)) for _, option in plan]


def read_settings(config):
    """``{key: value}`` of a ``host:port`` or of a file with ``key: value`` lines.

    Raises:
        ValueError: an unknown key, or no server.
    """
    config = str(config).split("+")[0]
    found = [path for path in (Path(config), HERE.parent / config) if path.is_file()]
    if not found:
        return {"server": config, "token_file": ""}
    lines = [line.split("#")[0].strip() for line in found[0].read_text().splitlines()]
    settings = {"token_file": "", **dict(_pair(line, found[0]) for line in lines if line)}
    if "server" not in settings:
        raise ValueError(f"{found[0]}: no 'server', expected a line such as 'server: 127.0.0.1:7667'")
    return settings


def _pair(line, file):
    key, colon, value = line.partition(":")
    if not colon or key.strip() not in KEYS:
        raise ValueError(f"{file}: found {line!r}, expected 'key: value' with a key of {KEYS}")
    return key.strip(), value.strip().strip("'\"")


def _client(settings):
    key = settings["server"], settings["token_file"]
    if key not in _CLIENTS:
        file = settings["token_file"]
        path = Path(file) if Path(file).is_absolute() else HERE.parent / file
        token = path.read_text().splitlines()[0].strip() if file else ""
        _CLIENTS[key] = wire.Client(settings["server"], token, name="thin agent")
    return _CLIENTS[key]
