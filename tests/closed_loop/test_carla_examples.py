"""CARLA's own example scripts, from the user's own copy, run unmodified against minicarla.

Runs only when this environment variable is given:
    CARLA_PYTHON_API   CARLA's folder PythonAPI (0.9.16), with examples/ and carla/agents/
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import carla
import pytest

PATIENCE_S = 1500.0
# The scripts stay as they are; one has its port in its text, so each one's client is led to the test's server.
RUN = """
import runpy, sys, carla
connect, port = carla.Client, int(sys.argv[1])
carla.Client = lambda host, its_port, *rest: connect("127.0.0.1", port, *rest)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def example(name: str) -> Path:
    if not os.environ.get("CARLA_PYTHON_API"):
        pytest.skip("CARLA_PYTHON_API is not given")
    return Path(os.environ["CARLA_PYTHON_API"]).expanduser().resolve() / "examples" / name


class Script:
    """A running example, and what it has said so far."""

    def __init__(self, path: Path, port: int, said: Path, *arguments: str) -> None:
        self._said = said
        command = [sys.executable, "-u", "-c", RUN, str(port), str(path), *arguments]
        environment = {**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "OMP_NUM_THREADS": "1"}
        with said.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)

    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Wait until it has said this so often.

        Raises:
            AssertionError: it ended, or took too long, before.
        """
        until = time.monotonic() + PATIENCE_S
        while len(re.findall(pattern, self.said())) < times:
            assert self.process.poll() is None, self.said()[-3000:]
            assert time.monotonic() < until, self.said()[-3000:]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.5)

    def interrupt(self) -> None:
        """Press Ctrl+C and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=PATIENCE_S)


def measure_once(client: carla.Client) -> None:
    """Let the server build its cameras and rays: on a busy machine that may take longer than the script's 2 s."""
    world, measured = client.get_world(), queue.Queue()
    for name in ("sensor.camera.rgb", "sensor.lidar.ray_cast", "sensor.other.radar"):
        sensor = world.spawn_actor(world.get_blueprint_library().find(name), carla.Transform())
        sensor.listen(measured.put)
        measured.get(timeout=120.0)
        sensor.destroy()


def test_generate_traffic_spawns_drives_and_takes_all_away(start_minicarla, tmp_path) -> None:
    path = example("generate_traffic.py")
    server = start_minicarla("--town", "Pennyfield")
    arguments = ["-n", "10", "-w", "5", "-s", "1", "--tm-port", "8413"]
    script = Script(path, server.port, tmp_path / "said", *arguments)
    script.wait_for(r"spawned \d+ vehicles and \d+ walkers")
    vehicles, walkers = map(int, re.findall(r"spawned (\d+) vehicles and (\d+) walkers", script.said())[0])
    assert vehicles >= 8 and walkers >= 3
    world = server.client().get_world()
    world.wait_for_tick(60.0)
    begin = {car.id: car.get_location() for car in world.get_actors().filter("vehicle.*")}
    first = world.get_snapshot().timestamp.elapsed_seconds
    while world.get_snapshot().timestamp.elapsed_seconds < first + 5.0:
        world.wait_for_tick(60.0)
    moved = [car.get_location().distance(begin[car.id]) for car in world.get_actors().filter("vehicle.*")]
    assert len(moved) == vehicles and sum(metres > 2.0 for metres in moved) > vehicles / 2
    script.interrupt()
    assert f"destroying {vehicles} vehicles" in script.said() and "Traceback" not in script.said()


def test_sensor_synchronization_misses_no_sensor(start_minicarla, tmp_path) -> None:
    path = example("sensor_synchronization.py")
    sensors = path.read_text(encoding="utf-8").count("sensor_list.append(")
    server = start_minicarla("--town", "Pennyfield")
    measure_once(server.client())
    said = _synchronized(path, server.port, tmp_path)
    frames = said.split("World's frame: ")[2:-1]
    assert sensors >= 5 and len(frames) >= 10 and "missed" not in "".join(frames)
    for frame in frames:
        number = frame.split()[0]
        assert re.findall(r"Frame: (\d+) ", frame) == [number] * sensors, frame
        assert len(set(re.findall(r"Sensor: (\w+)", frame))) == sensors


def _synchronized(path: Path, port: int, folder: Path) -> str:
    """What it says in twelve frames; the script gives a tick 2 s, so a busy machine gets three tries."""
    for attempt in range(3):
        script = Script(path, port, folder / f"said_{attempt}")
        try:
            script.wait_for("World's frame", 12)
        except AssertionError:
            if attempt < 2 and "time-out of 2000ms" in script.said():
                continue
            raise
        script.interrupt()
        return script.said()
    raise AssertionError("unreachable")


def test_automatic_control_reaches_its_target_with_the_behavior_agent(start_minicarla, tmp_path) -> None:
    path = example("automatic_control.py")
    server = start_minicarla("--town", "Pennyfield")
    arguments = ["--agent", "Behavior", "--sync", "--seed", "3", "--res", "320x240"]
    script = Script(path, server.port, tmp_path / "said", *arguments, "--filter", "vehicle.lincoln.mkz_2020")
    script.wait_for("The target has been reached")
    script.process.wait(timeout=60)
    assert "Traceback" not in script.said()
