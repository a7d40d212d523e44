"""Sensors on the ego, mounted and read as the leaderboard's wrapper does: {id: (frame, payload)} per tick."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.carla_bridge.wheel import carla
from autovla_core.errors import SetupError, SimulatorError

SENSOR_TIMEOUT_S = 20.0
SPEEDOMETER = "sensor.speedometer"
EVENT_TYPES = ("sensor.other.collision", "sensor.other.lane_invasion", "sensor.other.obstacle")

# What the leaderboard forces, whatever a specification says.
FORCED: dict[str, dict[str, str]] = {
    "sensor.other.gnss": {
        "noise_alt_stddev": "0.000005",
        "noise_lat_stddev": "0.000005",
        "noise_lon_stddev": "0.000005",
        "noise_alt_bias": "0.0",
        "noise_lat_bias": "0.0",
        "noise_lon_bias": "0.0",
    },
    "sensor.other.imu": {
        "noise_accel_stddev_x": "0.001",
        "noise_accel_stddev_y": "0.001",
        "noise_accel_stddev_z": "0.015",
        "noise_gyro_stddev_x": "0.001",
        "noise_gyro_stddev_y": "0.001",
        "noise_gyro_stddev_z": "0.001",
    },
    "sensor.lidar.ray_cast": {
        "range": "85",
        "rotation_frequency": "10",
        "channels": "64",
        "upper_fov": "10",
        "lower_fov": "-30",
        "points_per_second": "600000",
        "atmosphere_attenuation_rate": "0.004",
        "dropoff_general_rate": "0.45",
        "dropoff_intensity_limit": "0.8",
        "dropoff_zero_intensity": "0.4",
    },
    "sensor.other.radar": {"points_per_second": "1500", "range": "100"},
}
# Attributes taken from the specification, by its keys; ``sensor_tick`` is honoured here, not by the leaderboard.
TAKEN = {
    "sensor.camera": {"width": "image_size_x", "height": "image_size_y", "fov": "fov", "sensor_tick": "sensor_tick"},
    "sensor.other.radar": {"horizontal_fov": "horizontal_fov", "vertical_fov": "vertical_fov"},
}


@dataclass(frozen=True)
class CollisionEvent:
    """One contact of the ego."""

    frame: int
    other_id: int  # 0 = the map
    other_type_id: str
    impulse: np.ndarray  # (3,) N s, CARLA's world frame


class SensorRefused(SetupError):
    """The simulator does not know a sensor of a specification, or cannot mount it as asked for.

    Attributes:
        id: as in the specification; None when it has none.
    """

    def __init__(self, id: object, type_id: str, reason: Exception) -> None:
        super().__init__(f"cannot mount sensor {id!r} ({type_id}): {reason}")
        self.id = id


def payload_of(data: carla.SensorData) -> object:
    """What the leaderboard hands to agents for one measurement; events of other sensors are passed on."""
    return PAYLOADS.get(type(data).__name__, lambda value: value)(data)


def _image(image: carla.Image) -> np.ndarray:
    return np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4).copy()


def _gnss(reading: carla.GnssMeasurement) -> np.ndarray:
    return np.array([reading.latitude, reading.longitude, reading.altitude])


def _imu(reading: carla.IMUMeasurement) -> np.ndarray:
    a, g = reading.accelerometer, reading.gyroscope
    return np.array([a.x, a.y, a.z, g.x, g.y, g.z, reading.compass])


def _points(data: carla.SensorData) -> np.ndarray:
    return np.frombuffer(data.raw_data, np.float32).reshape(-1, 4).copy()


def _radar(data: carla.RadarMeasurement) -> np.ndarray:
    return np.ascontiguousarray(_points(data)[:, ::-1])  # depth, altitude, azimuth, velocity


def _collision(event: carla.CollisionEvent) -> CollisionEvent:
    other, push = event.other_actor, event.normal_impulse
    known = (other.id, other.type_id) if other is not None else (0, "static.unknown")
    return CollisionEvent(event.frame, *known, np.array([push.x, push.y, push.z]))


PAYLOADS: dict[str, Callable[[object], object]] = {
    "Image": _image,
    "GnssMeasurement": _gnss,
    "IMUMeasurement": _imu,
    "LidarMeasurement": _points,
    "RadarMeasurement": _radar,
    "CollisionEvent": _collision,
}


@dataclass
class _Channel:
    """One sensor's mail: the queue, and in which frames it is due."""

    id: str
    actor: carla.Sensor
    inbox: queue.Queue
    every_ticks: int  # 0 = events
    first_frame: int | None = None

    def due(self, frame: int) -> bool:
        return self.every_ticks > 0 and (self.first_frame is None or (frame - self.first_frame) % self.every_ticks == 0)


class SensorSuite:
    """Mounts the sensors of a specification and collects each tick's data.

    A camera with ``sensor_tick`` is in the answer only when it fired; event sensors (collisions) are in it,
    as a list, only when something happened.
    """

    def __init__(
        self, world: carla.World, ego: carla.Vehicle, specs: Sequence[Mapping[str, object]], tick_s: float
    ) -> None:
        self._world, self._ego = world, ego
        self._speed_ids = [str(s["id"]) for s in specs if s["type"] == SPEEDOMETER]
        self._channels: list[_Channel] = []
        library = world.get_blueprint_library()
        try:
            for spec in specs:
                if spec["type"] not in (SPEEDOMETER, "sensor.opendrive_map"):
                    self._channels.append(self._mount(library, spec, tick_s))
        except SensorRefused:
            self.destroy()
            raise

    def _mount(self, library: carla.BlueprintLibrary, spec: Mapping[str, object], tick_s: float) -> _Channel:
        type_id = str(spec["type"])
        try:
            blueprint = library.find(type_id)
            for key, value in _attributes(spec).items():
                blueprint.set_attribute(key, value)
            actor = self._world.spawn_actor(blueprint, _pose(spec), attach_to=self._ego)
        except (RuntimeError, IndexError, KeyError) as failure:
            raise SensorRefused(spec.get("id"), type_id, failure) from None
        inbox: queue.Queue = queue.Queue()
        actor.listen(lambda data: inbox.put((data.frame, payload_of(data))))
        every = 0 if type_id in EVENT_TYPES else max(1, round(float(spec.get("sensor_tick", 0.0)) / tick_s))
        return _Channel(str(spec["id"]), actor, inbox, every)

    def warm_up(self, tick: Callable[[], int], ticks: int) -> None:
        """Tick ``ticks`` times, and on until every sensor has fired once; the data is dropped.

        A slow camera that has not fired by then is waited for, so that its rhythm is known.
        """
        slowest = max([c.every_ticks for c in self._channels], default=1)
        for count in range(ticks + slowest + 2):
            waiting = [c for c in self._channels if c.every_ticks and c.first_frame is None]
            if count >= ticks and not waiting:
                return
            frame = tick()
            self.collect(frame)
        late = [c.id for c in self._channels if c.every_ticks and c.first_frame is None]
        if late:
            raise SimulatorError(f"sensors {late} delivered nothing in {ticks + slowest + 2} ticks")

    def collect(self, frame: int, timeout_s: float = SENSOR_TIMEOUT_S) -> dict[str, tuple[int, object]]:
        """Data of tick ``frame`` by sensor id; waits for every sensor that is due.

        Raises:
            SimulatorError: a sensor that is due did not deliver in time.
        """
        deadline = time.monotonic() + timeout_s
        out: dict[str, tuple[int, object]] = {}
        for channel in self._channels:
            if channel.every_ticks == 0:
                events = _drained(channel.inbox)
                if events:
                    out[channel.id] = (frame, events)
            elif channel.first_frame is None and channel.every_ticks > 1:
                self._find_rhythm(channel, frame, out)
            elif channel.due(frame):
                out[channel.id] = (frame, self._wait(channel, frame, deadline))
                if channel.first_frame is None:
                    channel.first_frame = frame
        for id in self._speed_ids:
            out[id] = (frame, {"speed": forward_speed(self._ego)})
        return out

    def _find_rhythm(self, channel: _Channel, frame: int, out: dict[str, tuple[int, object]]) -> None:
        try:
            first, payload = channel.inbox.get(timeout=0.2)
        except queue.Empty:
            return
        channel.first_frame = first
        if first == frame:
            out[channel.id] = (frame, payload)

    def _wait(self, channel: _Channel, frame: int, deadline: float) -> object:
        while True:
            try:
                got, payload = channel.inbox.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise SimulatorError(f"sensor {channel.id!r} sent nothing for frame {frame} in time") from None
            if got == frame:
                return payload
            if got > frame:
                raise SimulatorError(f"sensor {channel.id!r} skipped frame {frame} and sent {got}")

    def went_back(self, left: int, newest: int) -> None:
        """The world is again as it was at frame ``left``: what came since, up to ``newest``, never happened."""
        for channel in self._channels:
            if channel.every_ticks == 0:
                kept = [event for event in _drained(channel.inbox) if event.frame <= left]
                for event in kept:
                    channel.inbox.put((event.frame, event))
            elif channel.first_frame is not None:
                channel.first_frame += newest - left

    def destroy(self) -> None:
        """Stop and destroy the sensors; quiet when the server is gone."""
        for channel in self._channels:
            try:
                if channel.actor.is_listening:
                    channel.actor.stop()
                channel.actor.destroy()
            except RuntimeError:
                continue
        self._channels.clear()


def forward_speed(vehicle: carla.Vehicle) -> float:
    """m/s along the vehicle's heading, negative when reversing."""
    velocity, forward = vehicle.get_velocity(), vehicle.get_transform().get_forward_vector()
    return velocity.x * forward.x + velocity.y * forward.y + velocity.z * forward.z


def _attributes(spec: Mapping[str, object]) -> dict[str, str]:
    type_id = str(spec["type"])
    out = dict(FORCED.get(type_id, {}))
    for prefix, keys in TAKEN.items():
        if type_id.startswith(prefix):
            out |= {attribute: str(spec[key]) for key, attribute in keys.items() if key in spec}
    return out


def _pose(spec: Mapping[str, object]) -> carla.Transform:
    def value(key: str) -> float:
        return float(spec.get(key, 0.0))

    return carla.Transform(
        carla.Location(value("x"), value("y"), value("z")),
        carla.Rotation(pitch=value("pitch"), yaw=value("yaw"), roll=value("roll")),
    )


def _drained(inbox: queue.Queue) -> list[object]:
    out = []
    while True:
        try:
            out.append(inbox.get_nowait()[1])
        except queue.Empty:
            return out
