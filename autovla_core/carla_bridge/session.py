"""One connection to a simulator: synchronous ticks, the actors we made, and everything put back afterwards."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from autovla_core.carla_bridge.sensor_suite import SensorSuite
from autovla_core.carla_bridge.wheel import carla, require
from autovla_core.errors import SetupError, SimulatorError

logger = logging.getLogger(__name__)

TICK_S = 0.05
EGO_TYPE = "vehicle.lincoln.mkz_2020"
CALL_TIMEOUT_S = 20.0
LOAD_TIMEOUT_S = 300.0  # of load_world and reload_world: CARLA's largest towns take minutes
TICK_TIMEOUT_S = 20.0
FIRST_PICTURE_TIMEOUT_S = 120.0  # on a new machine the renderer is compiled before it
GONE_TIMEOUT_S = 1.0  # for each further call to a server that did not answer a tick
WARM_UP_TICKS = 10  # as the leaderboard's wrapper does, so that the car has settled


def connect(host: str = "127.0.0.1", port: int = 2000, timeout_s: float = CALL_TIMEOUT_S) -> carla.Client:
    """Return a client whose server answers and has the same version.

    Raises:
        SetupError: the wheel is missing, nothing listens, nothing answers, or another version does.
    """
    require()
    try:
        socket.create_connection((host, port), timeout=min(timeout_s, 5.0)).close()
    except OSError:
        raise SetupError(f"no simulator listens on {host}:{port}; start one or give another port") from None
    client = carla.Client(host, port)
    client.set_timeout(timeout_s)
    try:
        theirs = client.get_server_version()
    except RuntimeError:
        raise SetupError(f"what listens on {host}:{port} did not answer as CARLA within {timeout_s:g} s") from None
    ours = client.get_client_version()
    if theirs.split("-")[0] != ours.split("-")[0]:
        raise SetupError(f"the simulator on {host}:{port} is CARLA {theirs}, the installed client is {ours}")
    return client


class Session:
    """A context: synchronous inside, as it was outside. Destroys what it spawned.

    Args:
        client: a connected one.
        tick_s: simulated time of a tick.
        timeout_s: of the client's calls, but for those that load a town.
    """

    def __init__(self, client: carla.Client, tick_s: float = TICK_S, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self.client = client
        self.tick_s, self._timeout_s = tick_s, timeout_s
        self.world: carla.World = client.get_world()
        self._map: carla.Map | None = None
        self._made: list[carla.Actor] = []
        self._suites: list[SensorSuite] = []
        self._before: carla.WorldSettings | None = None
        self._patience_s = FIRST_PICTURE_TIMEOUT_S

    def __enter__(self) -> Session:
        self._before = self.world.get_settings()
        self._apply_synchronous()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.clear()
            if self._before is not None:
                self.world.apply_settings(self._before)
        except RuntimeError as failure:  # the server is gone: nothing left to put back
            logger.warning("could not leave the simulator as it was: %s", failure)

    @property
    def map(self) -> carla.Map:
        """The map of the world, fetched once."""
        if self._map is None:
            self._map = self.world.get_map()
        return self._map

    def load(self, town: str) -> None:
        """Load a town unless it is loaded; actors made here are gone then.

        Raises:
            SimulatorError: the server does not know the town.
        """
        self.clear()
        if self.map.name.split("/")[-1] == town:
            return
        self._new_world(f"load the town {town!r}", lambda: self.client.load_world(town, False))

    def restart(self, town: str) -> None:
        """Load ``town`` afresh, so that nothing of an earlier episode is left: lights, time, traffic.

        Raises:
            SimulatorError: the server does not know the town, or is gone.
        """
        self.load(town)
        self._new_world(f"reload {town!r}", lambda: self.client.reload_world(False))

    def tick(self) -> int:
        """Advance the world by one tick; return its frame number.

        Raises:
            SimulatorError: the server does not answer.
        """
        try:
            return self.world.tick(self._patience_s)
        except RuntimeError as failure:
            self.client.set_timeout(GONE_TIMEOUT_S)
            raise SimulatorError(f"the simulator stopped answering: {failure}") from None

    def spawn(self, type_id: str, pose: carla.Transform, attributes: Mapping[str, str] | None = None) -> carla.Actor:
        """Spawn one actor, destroyed with the session.

        Raises:
            SimulatorError: unknown type or attribute, or the place is taken.
        """
        try:
            blueprint = self.world.get_blueprint_library().find(type_id)
            for key, value in (attributes or {}).items():
                blueprint.set_attribute(key, str(value))
            actor = self.world.spawn_actor(blueprint, pose)
        except (RuntimeError, IndexError) as failure:
            raise SimulatorError(f"cannot spawn {type_id}: {failure}") from None
        self._made.append(actor)
        return actor

    def spawn_ego(self, pose: carla.Transform, type_id: str = EGO_TYPE) -> carla.Vehicle:
        """Spawn the hero half a metre above ``pose``, as the leaderboard does."""
        raised = carla.Transform(carla.Location(pose.location.x, pose.location.y, pose.location.z + 0.5), pose.rotation)
        return self.spawn(type_id, raised, {"role_name": "hero"})

    def spawn_sensors(
        self, ego: carla.Vehicle, specs: Sequence[Mapping[str, object]], warm_up_ticks: int = WARM_UP_TICKS
    ) -> SensorSuite:
        """Mount sensors and tick until each has delivered; ``warm_up_ticks`` at least."""
        suite = SensorSuite(self.world, ego, specs, self.tick_s)
        self._suites.append(suite)
        self._patience_s = FIRST_PICTURE_TIMEOUT_S
        suite.warm_up(self.tick, warm_up_ticks)
        self._patience_s = TICK_TIMEOUT_S
        return suite

    def went_back(self, left: int, newest: int) -> None:
        """Tell all sensors that the world is again as it was at frame ``left``, after futures up to ``newest``."""
        for suite in self._suites:
            suite.went_back(left, newest)

    def clear(self) -> None:
        """Destroy every sensor and actor made here."""
        for suite in self._suites:
            suite.destroy()
        self._suites.clear()
        for actor in reversed(self._made):
            with contextlib.suppress(RuntimeError):  # destroyed by someone else, or the world was reloaded
                if actor.is_alive:
                    actor.destroy()
        self._made.clear()

    def _new_world(self, what: str, load: Callable[[], carla.World]) -> None:
        """Take the world that ``load`` returns, with patience; a server that is gone already is found out at once."""
        try:
            self.client.get_server_version()
            self.client.set_timeout(LOAD_TIMEOUT_S)
            self.world = load()
            self._apply_synchronous()
        except RuntimeError as failure:
            raise SimulatorError(f"the simulator cannot {what}: {failure}") from None
        finally:
            self.client.set_timeout(self._timeout_s)
        self._map = None
        self._patience_s = FIRST_PICTURE_TIMEOUT_S  # what is seen first of a large town is loaded at the first ticks

    def _apply_synchronous(self) -> None:
        settings = self.world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = self.tick_s
        self.world.apply_settings(settings)
