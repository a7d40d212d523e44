"""CARLA's own example scripts, from the user's own copy, run unmodified against minicarla.

Runs only when this environment variable is given:
    CARLA_PYTHON_API   CARLA's folder PythonAPI (0.9.16), with examples/ and carla/agents/
"""

from __future__ import annotations

import contextlib
import os
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


def take_a_picture(client: carla.Client) -> None:
    """Let the server build its cameras: on a busy machine that may take longer than the 2 s that a script waits."""
    world = client.get_world()
    for name in ("sensor.camera.rgb", "sensor.lidar.ray_cast"):
        world.spawn_actor(world.get_blueprint_library().find(name), carla.Transform()).destroy()


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
    server = start_minicarla("--town", "Pennyfield")
    take_a_picture(server.client())
    script = Script(path, server.port, tmp_path / "said")
    script.wait_for("World's frame", 22)
    script.interrupt()
    frames = script.said().split("World's frame: ")[3:-1]  # the first ones may compile
    assert "Traceback" not in script.said().split("KeyboardInterrupt")[0]
    for frame in frames:
        number = frame.split()[0]
        assert re.findall(r"Frame: (\d+) ", frame) == [number] * 5, frame
        assert len(set(re.findall(r"Sensor: (\w+)", frame))) == 5


def test_automatic_control_reaches_its_target_with_the_behavior_agent(start_minicarla, tmp_path) -> None:
    path = example("automatic_control.py")
    server = start_minicarla("--town", "Pennyfield")
    arguments = ["--agent", "Behavior", "--sync", "--seed", "3", "--res", "320x240"]
    script = Script(path, server.port, tmp_path / "said", *arguments, "--filter", "vehicle.lincoln.mkz_2020")
    script.wait_for("The target has been reached")
    script.process.wait(timeout=60)
    assert "Traceback" not in script.said()
