"""All sensors of the world: which of them are due after a tick, and the frames that they send."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from autovla_core.minicarla.sensors import camera, contact
from autovla_core.minicarla.sensors.geo import GeoReference
from autovla_core.minicarla.sensors.motion import Gnss, Imu
from autovla_core.minicarla.wire import stream
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.world import World

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
        elif sensor.type_id.startswith(camera.PREFIX):
            camera.image_format(sensor)
            self._cameras.prepare()
        self._schedules[sensor.id] = _Schedule(interval)

    def remove(self, actor_id: int) -> None:
        """Forget a sensor; unknown ids are ignored."""
        for table in (self._schedules, self._gnss, self._imus):
            table.pop(actor_id, None)

    def save(self) -> dict[str, dict]:
        """What measuring changes: when each sensor is due, its noise, its track."""
        return copy.deepcopy({name: getattr(self, name) for name in ("_schedules", "_gnss", "_imus")})

    def restore(self, saved: dict[str, dict]) -> None:
        """Go back to what ``save`` returned; sensors that came later are forgotten."""
        self.__dict__.update(copy.deepcopy(saved))

    def measure(self, world: World, delta_s: float, subscribed: Collection[int]) -> Iterator[tuple[int, list]]:
        """Yield (stream id, pieces of one frame) for every due sensor that somebody listens to."""
        for actor_id, imu in self._imus.items():
            imu.observe(world.actors[actor_id])
        for actor_id, schedule in self._schedules.items():
            sensor = world.actors[actor_id]
            if sensor.stream_id not in subscribed or not schedule.fires(world.time):
                continue
            header = stream.Header(
                stream.SENSOR_TYPE_IDS[sensor.type_id], world.frame, world.time, sensor.location, sensor.rotation
            )
            for payload in self._payloads(world, sensor, delta_s):
                yield sensor.stream_id, stream.frame(header, payload)

    def _payloads(self, world: World, sensor: Actor, delta_s: float) -> Iterable[bytes]:
        if sensor.id in self._gnss:
            return [self._gnss[sensor.id].payload(sensor)]
        if sensor.id in self._imus:
            carrier = world.actors.get(sensor.parent_id, sensor)
            return [self._imus[sensor.id].payload(sensor, carrier, delta_s, world.gravity)]
        if sensor.type_id == "sensor.other.collision":
            return contact.collisions(world, sensor, self._stream_port)
        return [self._cameras.picture(world, sensor)]
