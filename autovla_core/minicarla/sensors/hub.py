"""All sensors of the world: which of them are due after a tick, and the frames that they send."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from autovla_core.minicarla.sensors import camera, contact, events, flow, lidar, obstacle, radar
from autovla_core.minicarla.sensors.geo import GeoReference
from autovla_core.minicarla.sensors.motion import Gnss, Imu
from autovla_core.minicarla.wire import stream
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.world import World

SAVED = (
    "_schedules",
    "_gnss",
    "_imus",
    "_lidars",
    "_radars",
    "_tracks",
    "_event_cameras",
)  # all that measuring changes
_EARLY_S = 1e-4  # ticks are sums of float deltas; a sensor must not miss one by a rounding error


@dataclass
class _Schedule:
    """When a sensor fires: at its first tick, then every ``interval_s``."""

    interval_s: float
    due_s: float | None = None

    def fires(self, time_s: float) -> bool:
        if self.due_s is not None and time_s < self.due_s - _EARLY_S:
            return False
        due = (time_s if self.due_s is None else self.due_s) + self.interval_s
        self.due_s = due if due > time_s else time_s + self.interval_s
        return True


class SensorHub:
    """The sensors of one world. Only sensors with subscribers are measured."""

    def __init__(self, stream_port: int, reference: GeoReference, make_renderer: Callable[[], camera.Renderer]) -> None:
        self._stream_port = stream_port
        self._reference = reference
        self._cameras = camera.Cameras(make_renderer)
        self._schedules: dict[int, _Schedule] = {}
        self._gnss: dict[int, Gnss] = {}
        self._imus: dict[int, Imu] = {}
        self._lidars: dict[int, lidar.Lidar] = {}
        self._radars: dict[int, radar.Radar] = {}
        self._tracks: dict[int, flow.Track] = {}  # of the optical flow cameras
        self._event_cameras: dict[int, events.EventCamera] = {}
        self.cameras_paused = False  # in futures that nobody looks at

    def add(self, sensor: Actor) -> None:
        """Start a sensor that was spawned.

        Raises:
            ValueError: its attributes make no sense.
        """
        interval = max(0.0, float(sensor.attributes.get("sensor_tick", "0") or 0.0))
        if sensor.type_id == "sensor.other.gnss":
            self._gnss[sensor.id] = Gnss(sensor, self._reference)
        elif sensor.type_id == "sensor.other.imu":
            self._imus[sensor.id] = Imu(sensor)
        elif sensor.type_id in (lidar.RAY_CAST, lidar.SEMANTIC):
            self._lidars[sensor.id] = lidar.Lidar(sensor)
            self._cameras.prepare_rays()
        elif sensor.type_id == radar.TYPE_ID:
            self._radars[sensor.id] = radar.Radar(sensor)
            self._cameras.prepare_rays()
        elif sensor.type_id == obstacle.TYPE_ID:
            obstacle.config_of(sensor)
        elif sensor.type_id.startswith(camera.PREFIX):
            camera.image_format(sensor)
            self._cameras.prepare()
            if sensor.type_id == flow.TYPE_ID:
                self._tracks[sensor.id] = flow.Track()
            elif sensor.type_id == events.TYPE_ID:
                self._event_cameras[sensor.id] = events.EventCamera(sensor)
        self._schedules[sensor.id] = _Schedule(interval)

    def remove(self, actor_id: int) -> None:
        """Forget a sensor; unknown ids are ignored."""
        for name in SAVED:
            getattr(self, name).pop(actor_id, None)

    def save(self) -> dict[str, dict]:
        """What measuring changes: when each sensor is due, its noise, its track, its angle."""
        return copy.deepcopy({name: getattr(self, name) for name in SAVED})

    def restore(self, saved: dict[str, dict]) -> None:
        """Go back to what ``save`` returned; sensors that came later are forgotten."""
        self.__dict__.update(copy.deepcopy(saved))

    def measure(self, world: World, delta_s: float, subscribed: Collection[int]) -> Iterator[tuple[int, list]]:
        """Yield (stream id, pieces of one frame) for every due sensor that somebody listens to."""
        for actor_id, imu in self._imus.items():
            imu.observe(world.actors[actor_id])
        for actor_id, track in self._tracks.items():
            track.observe(world, world.actors[actor_id])
        for actor_id, schedule in self._schedules.items():
            sensor = world.actors[actor_id]
            if self.cameras_paused and sensor.type_id.startswith(camera.PREFIX):
                continue
            if sensor.stream_id not in subscribed or not schedule.fires(world.time):
                continue
            header = stream.Header(
                stream.SENSOR_TYPE_IDS[sensor.type_id], world.frame, world.time, sensor.location, sensor.rotation
            )
            for payload in self._payloads(world, sensor, delta_s):
                yield sensor.stream_id, stream.frame(header, payload)

    def _payloads(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        measure = self._MEASURED.get(sensor.type_id)
        if measure is None:
            return [self._cameras.picture(world, sensor)]
        return measure(self, world, sensor, delta_s)

    def _locate(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return [self._gnss[sensor.id].payload(sensor)]

    def _feel(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        carrier = world.actors.get(sensor.parent_id, sensor)
        return [self._imus[sensor.id].payload(sensor, carrier, delta_s, world.gravity)]

    def _scan(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return [self._lidars[sensor.id].payload(sensor, self._cameras.caster(world), delta_s)]

    def _detect(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return [self._radars[sensor.id].payload(world, sensor, self._cameras.caster(world), delta_s)]

    def _flow(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return [self._cameras.flow(world, sensor, self._tracks[sensor.id])]

    def _events(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return [self._cameras.events(world, sensor, self._event_cameras[sensor.id])]

    def _contacts(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return contact.collisions(world, sensor, self._stream_port)

    def _obstacles(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        return obstacle.obstacles(world, sensor, self._stream_port)

    _MEASURED: ClassVar[dict[str, Callable[[SensorHub, World, Actor, float], Iterable[bytes]]]] = {
        "sensor.other.gnss": _locate,
        "sensor.other.imu": _feel,
        "sensor.other.collision": _contacts,
        lidar.RAY_CAST: _scan,
        lidar.SEMANTIC: _scan,
        radar.TYPE_ID: _detect,
        obstacle.TYPE_ID: _obstacles,
        flow.TYPE_ID: _flow,
        events.TYPE_ID: _events,
    }  # all others are plain cameras
