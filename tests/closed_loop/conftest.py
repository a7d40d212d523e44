"""minicarla as a process of its own, and the real client connected to it.

The client's blocking calls hold the interpreter, so a server in a thread could never answer them.
"""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import carla
import pytest

READY = re.compile(r"minicarla 0\.9\.16 listening on 127\.0\.0\.1:(\d+) \(town (\w+)\)")
TICK_S = 0.05
SENSOR_TIMEOUT_S = 20.0  # the first picture compiles the renderer
STRAIGHT_M = 70.0


class MinicarlaProcess:
    """A server on free ports; ``port`` is known once it says that it listens."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "autovla_core.minicarla", "--port", "0", *arguments]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  a pipe that nobody reads would fill up
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self.ready_line = self._process.stdout.readline()
        found = READY.match(self.ready_line)
        if found is None:
            raise RuntimeError(f"minicarla did not start: {self.ready_line}{self.stop()[1]}")
        self.port = int(found[1])

    def stop(self, by: int = signal.SIGTERM) -> tuple[int, str]:
        """End it; return its exit code and what it wrote to stderr."""
        if self._process.poll() is None:
            self._process.send_signal(by)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        return self._process.returncode, self.log()

    def log(self) -> str:
        """What it has written to stderr so far."""
        self._log.seek(0)
        return self._log.read()

    def client(self) -> carla.Client:
        """A new client of this server."""
        client = carla.Client("127.0.0.1", self.port)
        client.set_timeout(30.0)
        return client


class Stage:
    """What a test puts into the world, and takes out again at its end."""

    def __init__(self, world: carla.World) -> None:
        self.world = world
        self.map = world.get_map()
        self.library = world.get_blueprint_library()
        self._spawned: list[carla.Actor] = []

    def blueprint(self, type_id: str, **attributes: object) -> carla.ActorBlueprint:
        """A blueprint with attributes set."""
        blueprint = self.library.find(type_id)
        for name, value in attributes.items():
            blueprint.set_attribute(name, str(value))
        return blueprint

    def spawn(
        self, type_id: str, transform: carla.Transform, attach_to: carla.Actor | None = None, **attributes: object
    ) -> carla.Actor:
        """Spawn an actor that goes when the test ends."""
        actor = self.world.spawn_actor(self.blueprint(type_id, **attributes), transform, attach_to=attach_to)
        self._spawned.append(actor)
        return actor

    def straight(self, metres: float = STRAIGHT_M, number: int = 0) -> carla.Transform:
        """A spawn point with so much straight road ahead, the ``number``-th of them."""
        fitting = (point for point in self.map.get_spawn_points() if self._is_straight(point, metres))
        for _ in range(number):
            next(fitting)
        return next(fitting)

    def _is_straight(self, point: carla.Transform, metres: float) -> bool:
        waypoint = self.map.get_waypoint(point.location)
        for _ in range(int(metres / 5.0)):
            ahead = waypoint.next(5.0)
            if not ahead or ahead[0].is_junction:
                return False
            waypoint = ahead[0]
            turned = abs((waypoint.transform.rotation.yaw - point.rotation.yaw + 180.0) % 360.0 - 180.0)
            if turned > 1.0:
                return False
        return True

    def car(self, transform: carla.Transform | None = None, **attributes: object) -> carla.Vehicle:
        """A car on a straight road, settled on its wheels."""
        vehicle = self.spawn("vehicle.lincoln.mkz_2020", transform or self.straight(), **attributes)
        self.tick(10)
        return vehicle

    def sensor(
        self, type_id: str, parent: carla.Actor, transform: carla.Transform | None = None, **attributes: object
    ) -> Listener:
        """An attached sensor with somebody listening."""
        return Listener(self.spawn(type_id, transform or carla.Transform(), parent, **attributes))

    def tick(self, count: int = 1) -> int:
        """Tick so often; return the last tick's number."""
        return [self.world.tick() for _ in range(count)][-1]

    def clear(self) -> None:
        """Take everything out again."""
        for actor in reversed(self._spawned):
            if isinstance(actor, carla.Sensor) and actor.is_listening():
                actor.stop()
            if actor.is_alive:
                actor.destroy()
        self.world.tick()


class Listener:
    """A sensor and the queue of what it said."""

    def __init__(self, sensor: carla.Sensor) -> None:
        self.sensor = sensor
        self._queue: queue.Queue = queue.Queue()
        sensor.listen(self._queue.put)

    def get(self) -> carla.SensorData:
        """The next measurement."""
        return self._queue.get(timeout=SENSOR_TIMEOUT_S)

    def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes."""
        try:
            self._queue.get(timeout=seconds)
        except queue.Empty:
            return True
        return False


def make_synchronous(world: carla.World, delta_s: float = TICK_S) -> None:
    """Let the client tick the world."""
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, delta_s
    world.apply_settings(settings)


@pytest.fixture(scope="session")
def start_minicarla() -> Iterator[Callable[..., MinicarlaProcess]]:
    """Start servers; none outlives the tests."""
    started: list[MinicarlaProcess] = []

    def start(*arguments: str) -> MinicarlaProcess:
        started.append(MinicarlaProcess(*arguments))
        return started[-1]

    yield start
    logs = [process.stop()[1] for process in started]
    assert not any("Traceback" in log for log in logs), "\n".join(logs)


@pytest.fixture(scope="session")
def server(start_minicarla: Callable[..., MinicarlaProcess]) -> MinicarlaProcess:
    """The server that most tests share."""
    return start_minicarla()


@pytest.fixture(scope="session")
def client(server: MinicarlaProcess) -> carla.Client:
    """The client that most tests share."""
    return server.client()


@pytest.fixture
def world(client: carla.Client) -> carla.World:
    """The world, ticked by the test, in fair weather, with lights that run."""
    world = client.get_world()
    make_synchronous(world)
    world.set_weather(carla.WeatherParameters(cloudiness=10.0, sun_altitude_angle=45.0))
    world.reset_all_traffic_lights()
    return world


@pytest.fixture
def stage(world: carla.World) -> Iterator[Stage]:
    """The world with a helper that cleans up."""
    stage = Stage(world)
    yield stage
    stage.clear()


@pytest.fixture
def make_stage() -> Callable[[carla.World], Stage]:
    """A stage for a world of another server; the test ends that server."""
    return Stage


@pytest.fixture
def synchronous() -> Callable[..., None]:
    """``make_synchronous``."""
    return make_synchronous
