"""What the remote calls act on: the world, its sensors, its towns and who drives traffic. No sockets.

A tick fills ``outbox`` with frames; the server takes them from there. Which streams have listeners
is told to it by the server.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.recorder.recordings import Recordings
from autovla_core.minicarla.sensors.camera import Renderer
from autovla_core.minicarla.sensors.geo import GeoReference
from autovla_core.minicarla.sensors.hub import SensorHub
from autovla_core.minicarla.sensors.snapshot import Snapshots
from autovla_core.minicarla.wire import navmesh, stream
from autovla_core.minicarla.wire.values import NO_ROTATION, Description, Pose
from autovla_core.minicarla.world import saved
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.navigation import survey_navigation
from autovla_core.minicarla.world.saved import SavedStateError, SavedWorld
from autovla_core.minicarla.world.town import TOWNS, Town, TownError, load_opendrive, load_town
from autovla_core.minicarla.world.world import World

logger = logging.getLogger(__name__)

MOST_SAVED_STATES = 64

NAVIGATION_EDITION = "1"  # clients keep the file under its name for ever: a mesh cut differently needs another

MAPS = "Carla/Maps/"
UPLOADED = "OpenDriveMap"
FREE_RUNNING_DELTA_S = 0.05  # of an asynchronous world that sets no fixed delta


@dataclass(frozen=True)
class Traffic:
    """Vehicles that the server drives and walkers that it leads, spawned whenever a town is loaded."""

    vehicles: int = 0
    seed: int = 0
    walkers: int = 0


@dataclass(eq=False)
class Session:
    """One connected client."""

    simulation: Simulation
    name: str = "a client"  # for the log: its number and address
    believes: int | None = None  # an episode that was left, until this client sees the first snapshot of the next

    @property
    def world(self) -> World:
        return self.simulation.world

    @property
    def traffic_manager_ports(self) -> list[int]:
        """Of the Traffic Managers that live in this client's process."""
        return [port for port, manager in self.simulation.traffic_managers.items() if manager.owner is self]


@dataclass(frozen=True, eq=False)
class TrafficManager:
    """A Traffic Manager as its client registered it."""

    host: str
    owner: Session


class Simulation:
    """The state behind all sessions."""

    def __init__(
        self,
        town: str,
        stream_port: int,
        make_renderer: Callable[[Town], Renderer],
        wall_clock: Callable[[], float],
        traffic: Traffic | None = None,
    ) -> None:
        self.stream_port = stream_port
        self.traffic = traffic or Traffic()
        self.traffic_managers: dict[int, TrafficManager] = {}  # by port
        self.listeners: dict[int, int] = {}  # stream id: subscribers
        self.outbox: deque[tuple[int, list]] = deque()  # stream id, pieces of a frame
        self.closed_streams: deque[int] = deque()  # of destroyed sensors
        self.uploaded_xodr: str | None = None
        self.recordings = Recordings()
        self._snapshots = Snapshots()
        self._last_stream_id = stream.WORLD_STREAM_ID
        self._saved: dict[int, tuple[SavedWorld, dict]] = {}  # number: world, sensors
        self._navigation: tuple[str, bytes] | None = None  # file name, bytes
        self._last_saved = 0
        self._make_renderer = make_renderer
        self._wall_clock = wall_clock
        self.world = World(load_town(town), seed=self.traffic.seed)
        self._furnish()

    @property
    def delta_s(self) -> float:
        """Length of the next tick, seconds."""
        return float(self.world.settings["fixed_delta_seconds"] or FREE_RUNNING_DELTA_S)

    @property
    def synchronous(self) -> bool:
        return bool(self.world.settings["synchronous_mode"])

    @property
    def needs_clean_snapshot(self) -> bool:
        """Something died that the last snapshot still lists, and a Traffic Manager may look at it."""
        return self.world.destroyed_since_tick and bool(self.traffic_managers)

    # ---------------------------------------------------------------------------- towns

    def maps(self) -> list[str]:
        """Names of all that can be loaded."""
        return [MAPS + name for name in (*TOWNS, *([UPLOADED] if self.uploaded_xodr else []))]

    def load(self, name: str, reset_settings: bool) -> None:
        """Start a new episode in a town; an empty name reloads the present one.

        Raises:
            TownError: unknown town.
        """
        bare = name.rstrip("/").rsplit("/", 1)[-1] or self.world.town.name
        town = self._town(bare, name)
        self.recordings.forget()
        self.world.load(town, reset_settings)
        self.world.time = 0.0  # elapsed seconds count from the start of the episode; ticks go on
        self._furnish()

    def _town(self, bare: str, asked: str) -> Town:
        if bare == self.world.town.name and bare != UPLOADED:
            return self.world.town
        if bare == UPLOADED and self.uploaded_xodr is not None:
            return load_opendrive(UPLOADED, self.uploaded_xodr)
        if bare not in TOWNS:
            raise TownError(f"Map '{asked}' not found; minicarla has {', '.join(self.maps())}")
        return load_town(bare)

    def _furnish(self) -> None:
        """What a freshly loaded world needs besides itself."""
        town = self.world.town
        reference = GeoReference.of_map(town.xodr)
        self.sensors = SensorHub(self.stream_port, reference, lambda: self._make_renderer(town))
        self._saved.clear()  # of another episode
        if self.traffic.vehicles:
            spawned = self.world.spawn_traffic(self.traffic.vehicles, self.traffic.seed)
            logger.info("spawned %d vehicles driven by the server", len(spawned))
        if self.traffic.walkers:
            led = self.world.spawn_walkers(self.traffic.walkers, self.traffic.seed)
            logger.info("spawned %d walkers led by the server", len(led))

    def navigation_file(self) -> str:
        """Name of the present town's navigation mesh; it tells meshes of different content apart."""
        town = self.world.town
        digest = hashlib.sha256((NAVIGATION_EDITION + town.name + town.xodr).encode()).hexdigest()[:16]
        return f"minicarla/{town.name}_{digest}.bin"

    def navigation_mesh(self) -> bytes:
        """The floor that the client's walkers plan on; surveyed at the first call.

        Raises:
            NavigationMeshError: the town has no ground to walk on.
        """
        name, town = self.navigation_file(), self.world.town
        if self._navigation is None or self._navigation[0] != name:
            floor = survey_navigation(town.xodr, town.solids)
            xy = floor.xy * (1.0, -1.0)
            points = np.column_stack([xy, town.ground.heights_at(xy)])
            self._navigation = name, navmesh.encode(points, floor.polygons, floor.floors)
        return self._navigation[1]

    # ---------------------------------------------------------------------------- actors

    def spawn(self, wanted: Description, pose: Pose, parent_id: int = 0, attachment: int = 0) -> Actor:
        """Create an actor; ``pose`` is relative to the parent if there is one.

        Raises:
            SpawnError: with CARLA's text.
            ValueError: a sensor's attributes make no sense.
        """
        actor = self.world.spawn(
            wanted.type_id,
            wanted.attributes,
            pose.location,
            pose.rotation,
            parent_id,
            attachment,
            wanted.blueprint_uid,
            wanted.attribute_types,
        )
        if actor.type_id in stream.SENSOR_TYPE_IDS:
            self._connect(actor)
        return actor

    def _connect(self, sensor: Actor) -> None:
        """Give a sensor its stream; ids are never used twice, so an old subscriber gets no stranger's data."""
        try:
            self.sensors.add(sensor)
        except ValueError:
            self.world.destroy(sensor.id)
            raise
        self._last_stream_id += 1
        sensor.stream_id = self._last_stream_id

    def destroy(self, actor_id: int) -> None:
        """Remove an actor and close its stream.

        Raises:
            ActorNotFound: no such actor.
        """
        actor = self.world.actors.get(actor_id)
        self.world.destroy(actor_id)
        self.sensors.remove(actor_id)
        if actor is not None and actor.stream_id:
            self.closed_streams.append(actor.stream_id)

    def stream_of(self, stream_id: object) -> str | None:
        """What a living stream carries, in words; None if there is no such stream."""
        if isinstance(stream_id, bool) or not isinstance(stream_id, int) or stream_id <= 0:
            return None
        if stream_id == stream.WORLD_STREAM_ID:
            return "the world"
        found = (a for a in self.world.actors.values() if a.stream_id == stream_id)
        return next((f"{actor.type_id} {actor.id}" for actor in found), None)

    # ---------------------------------------------------------------------------- saved states

    def save_state(self) -> int:
        """Keep the whole world and its sensors as they are now; return the number to restore it by.

        Raises:
            SavedStateError: too many are kept, or a replay holds actors and lights, which no state could free.
        """
        if self.recordings.replays:
            raise SavedStateError("a replay is under way, and would not go on after a return; stop_replayer first")
        if len(self._saved) >= MOST_SAVED_STATES:
            raise SavedStateError(f"{len(self._saved)} states are kept, the most there may be; forget one first")
        self._last_saved += 1
        self._saved[self._last_saved] = saved.save(self.world), self.sensors.save()
        return self._last_saved

    def restore_state(self, number: int) -> None:
        """Go back to a saved state; it stays kept. Actors spawned since are gone, destroyed ones live again.

        Raises:
            SavedStateError: no such state.
        """
        world, sensors = self._state(number)
        self.recordings.forget()  # a recording has one past
        streams = {a.stream_id for a in self.world.actors.values() if a.stream_id}
        saved.restore(self.world, world)
        self.sensors.restore(sensors)
        streams -= {a.stream_id for a in self.world.actors.values()}
        self.closed_streams.extend(sorted(streams))
        self.world.destroyed_since_tick = True

    def forget_state(self, number: int) -> None:
        """Free a saved state.

        Raises:
            SavedStateError: no such state.
        """
        self._state(number)
        del self._saved[number]

    def _state(self, number: int) -> tuple[SavedWorld, dict]:
        try:
            return self._saved[number]
        except KeyError:
            raise SavedStateError(f"no saved state {number}; kept are {sorted(self._saved)}") from None

    # ---------------------------------------------------------------------------- time

    def tick(self) -> int:
        """Advance the world by one tick, queue its frames and return its number."""
        delta_s = self.delta_s
        self.recordings.advance_replay(self.world, delta_s)
        self.world.step(delta_s)
        self.recordings.record(self.world)
        if self.listeners.get(stream.WORLD_STREAM_ID):
            self.outbox.append((stream.WORLD_STREAM_ID, self._episode_state(delta_s)))
        self.outbox.extend(self.sensors.measure(self.world, delta_s, self.listeners))
        return self.world.frame

    def announce_episode(self) -> None:
        """Queue a snapshot of the world as it is, for clients that wait for the sight of a new episode."""
        self.outbox.append((stream.WORLD_STREAM_ID, self._episode_state(self.delta_s)))

    def _episode_state(self, delta_s: float) -> list:
        world = self.world
        header = stream.Header(stream.WORLD_OBSERVER, world.frame, world.time, NO_ROTATION, NO_ROTATION)
        payload = self._snapshots.encode(
            world.episode_id,
            world.actors.values(),
            delta_s,
            self._wall_clock(),
            map_changed=world.map_changed,
            lights_changed=world.lights_changed,
        )
        return stream.frame(header, payload)

    def forget(self, session: Session) -> None:
        """A client left: the Traffic Managers that lived in its process are gone."""
        for port in session.traffic_manager_ports:
            del self.traffic_managers[port]
