"""How fast minicarla is on this machine, as a client sees it: ticks, cameras, lidar, start, memory.

Every figure goes through the real client and its sockets. A busy machine makes all of them meaningless.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autovla_core.carla_bridge.session import TICK_S, Session, connect
from autovla_core.carla_bridge.wheel import carla
from autovla_core.errors import SimulatorError
from autovla_core.evaluation.server_process import MinicarlaServer

TRAFFIC, PEDESTRIAN = {"role_name": "minicarla_traffic"}, {"role_name": "minicarla_walker"}
CAR, WALKER = "vehicle.tesla.model3", "walker.pedestrian.0001"
SENSOR_TIMEOUT_S = 120.0  # on a new machine the first picture compiles the cameras
TRIES_PER_ACTOR = 10
LIDAR_POINTS_PER_S = 600_000
LIDAR = {
    "channels": 64,
    "points_per_second": LIDAR_POINTS_PER_S,
    "rotation_frequency": 20,  # a whole turn a tick
    "range": 85,
    "upper_fov": 10,
    "lower_fov": -30,
    "dropoff_general_rate": 0.0,
}


@dataclass(frozen=True)
class Extent:
    """How much to measure; the defaults are what ``tools/benchmark.py`` reports."""

    ticks: int = 400  # a measurement without pictures
    ladder: tuple[int, ...] = (1, 10, 20, 25, 50, 100)  # vehicles
    small_px: tuple[int, int] = (448, 224)
    large_px: tuple[int, int] = (1600, 900)
    crowd: tuple[int, int] = (50, 20)  # vehicles, walkers


def measure(extent: Extent, say: Callable[[str], object] = lambda name: None) -> dict[str, float]:
    """Every figure by its name; ``say`` is told what comes next.

    Raises:
        SimulatorError: the town has no room for the traffic, or a sensor stays silent.
    """
    figures: dict[str, float] = {}
    for name, part in PARTS.items():
        say(name)
        figures |= part(extent)
    return figures


def _start(extent: Extent) -> dict[str, float]:
    """The better of two: the first may compile."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        with MinicarlaServer(seed=1, startup_s=600.0) as server:
            connect(server.host, server.port)
            seconds.append(time.perf_counter() - started)
            memory = resident_mib(server.pid)
    return {"start to first answer, s": min(seconds), "memory after the start, MiB": memory}


def _growth(extent: Extent) -> dict[str, float]:
    """Ticks a second with more and more vehicles, without sensors."""
    figures, tick_us = {}, {}
    with _stage() as (server, session, _):
        for count in extent.ladder:
            _fill(session, count - 1)
            per_s = rate(session.tick, extent.ticks)
            figures[f"ticks/s, {count} vehicle{'s' * (count > 1)}"] = per_s
            tick_us[count] = 1e6 / per_s
        figures[f"memory, {extent.ladder[-1]} vehicles, MiB"] = resident_mib(server.pid)
    return figures | growth(tick_us)


def growth(tick_us: Mapping[int, float]) -> dict[str, float]:
    """What one more vehicle costs below and above the last but one of {vehicles: us a tick}: the same if linear."""
    counts = sorted(tick_us)
    middle = counts[-2]
    steps = ((counts[0], middle), (middle, counts[-1]))
    return {
        f"us a tick for one more vehicle, {a} to {b}": (tick_us[b] - tick_us[a]) / (b - a) for a, b in steps if b > a
    }


def _three_cameras(extent: Extent) -> dict[str, float]:
    with _stage() as (_, session, ego):
        _fill(session, 19)
        return _pictures(session, ego, extent, "20 vehicles")


def _crowded_cameras(extent: Extent) -> dict[str, float]:
    vehicles, walkers = extent.crowd
    with _stage() as (_, session, ego):
        _fill(session, vehicles - 1)
        _add_walkers(session, walkers)
        return _pictures(session, ego, extent, f"{vehicles} vehicles, {walkers} walkers")


def _pictures(session: Session, ego: carla.Actor, extent: Extent, who: str) -> dict[str, float]:
    cameras = [_camera(session, ego, yaw_deg, extent.small_px) for yaw_deg in (0.0, -55.0, 55.0)]
    per_s = _rate_of(session, cameras, extent.ticks // 4)
    what = f"{who}, 3 cameras {extent.small_px[0]}x{extent.small_px[1]}"
    return {f"ticks/s, {what}": per_s, f"simulated s / wall s at 20 Hz, {what}": per_s * TICK_S}


def _six_large_cameras(extent: Extent) -> dict[str, float]:
    with _stage() as (server, session, ego):
        _fill(session, 19)
        yaws = (0.0, -55.0, 55.0, 110.0, -110.0, 180.0)
        cameras = [_camera(session, ego, yaw_deg, extent.large_px) for yaw_deg in yaws]
        per_s = _rate_of(session, cameras, extent.ticks // 20)
        what = f"6 cameras {extent.large_px[0]}x{extent.large_px[1]}"
        return {
            f"images/s, 20 vehicles, {what}": per_s * len(cameras),
            f"memory, {what}, MiB": resident_mib(server.pid),
        }


def _lidar(extent: Extent) -> dict[str, float]:
    with _stage() as (_, session, ego):
        _fill(session, 19)
        scanner = _mount(session, "sensor.lidar.ray_cast", ego, carla.Transform(carla.Location(z=2.4)), LIDAR)
        per_s = _rate_of(session, [scanner], extent.ticks // 4)
        return {
            "simulated s / wall s at 20 Hz, 20 vehicles, lidar of 600,000 points/s": per_s * TICK_S,
            "lidar rays a wall second": per_s * TICK_S * LIDAR_POINTS_PER_S,
        }


PARTS: dict[str, Callable[[Extent], dict[str, float]]] = {
    "start": _start,
    "ticks without sensors": _growth,
    "three cameras": _three_cameras,
    "three cameras in a crowd": _crowded_cameras,
    "six large cameras": _six_large_cameras,
    "lidar": _lidar,
}


def rate(step: Callable[[], object], count: int) -> float:
    """Calls a second, after a warm-up of a tenth."""
    for _ in range(max(count // 10, 1)):
        step()
    started = time.perf_counter()
    for _ in range(count):
        step()
    return count / (time.perf_counter() - started)


def resident_mib(pid: int) -> float:
    """Memory of a process that is in use now; NaN where /proc does not tell."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024.0
    return float("nan")


@contextlib.contextmanager
def _stage() -> Iterator[tuple[MinicarlaServer, Session, carla.Actor]]:
    """A fresh server with a client in it and the ego on its wheels."""
    with (
        MinicarlaServer(seed=1, startup_s=600.0) as server,
        Session(connect(server.host, server.port, SENSOR_TIMEOUT_S)) as session,
    ):
        yield server, session, session.spawn_ego(session.map.get_spawn_points()[0])


def _fill(session: Session, others: int) -> None:
    """Let there be so many vehicles that the server drives, besides the ego."""
    points = session.map.get_spawn_points()[1:]
    spread = [point for first in range(TRIES_PER_ACTOR) for point in points[first::TRIES_PER_ACTOR]]
    missing = others - len([a for a in session.world.get_actors().filter("vehicle.*") if _is_traffic(a)])
    _spawn(session, CAR, TRAFFIC, spread, missing)
    session.tick()  # the list of actors is that of the last tick


def _is_traffic(actor: carla.Actor) -> bool:
    return actor.attributes.get("role_name") == TRAFFIC["role_name"]


def _add_walkers(session: Session, count: int) -> None:
    places = []
    for _ in range(count * TRIES_PER_ACTOR):
        place = session.world.get_random_location_from_navigation()
        if place is not None:
            places.append(carla.Transform(carla.Location(place.x, place.y, place.z + 1.0)))
    _spawn(session, WALKER, PEDESTRIAN, places, count)


def _spawn(
    session: Session, type_id: str, attributes: Mapping[str, str], places: Sequence[carla.Transform], count: int
) -> None:
    """Spawn ``count`` of a kind at the first places that are free."""
    left = iter(places)
    for _ in range(count):
        while True:
            place = next(left, None)
            if place is None:
                raise SimulatorError(f"no room for {count} of {type_id} at {len(places)} places of {session.map.name}")
            with contextlib.suppress(SimulatorError):  # taken: the next
                session.spawn(type_id, place, attributes)
                break


@dataclass(frozen=True, eq=False)
class _Ear:
    """A mounted sensor and what it says."""

    sensor: carla.Sensor
    said: queue.Queue


def _camera(session: Session, ego: carla.Actor, yaw_deg: float, size_px: tuple[int, int]) -> _Ear:
    place = carla.Transform(carla.Location(x=0.8, z=1.6), carla.Rotation(yaw=yaw_deg))
    return _mount(
        session, "sensor.camera.rgb", ego, place, {"image_size_x": size_px[0], "image_size_y": size_px[1], "fov": 70}
    )


def _mount(
    session: Session, type_id: str, ego: carla.Actor, place: carla.Transform, attributes: Mapping[str, object]
) -> _Ear:
    blueprint = session.world.get_blueprint_library().find(type_id)
    for key, value in attributes.items():
        blueprint.set_attribute(key, str(value))
    ear = _Ear(session.world.spawn_actor(blueprint, place, attach_to=ego), queue.Queue())
    ear.sensor.listen(ear.said.put)
    return ear


def _rate_of(session: Session, ears: Sequence[_Ear], ticks: int) -> float:
    """Ticks a second that wait for one measurement of each sensor; the sensors are gone afterwards."""

    def tick() -> None:
        session.tick()
        for ear in ears:
            try:
                ear.said.get(timeout=SENSOR_TIMEOUT_S)
            except queue.Empty:
                raise SimulatorError(f"{ear.sensor.type_id} said nothing for {SENSOR_TIMEOUT_S:.0f} s") from None

    try:
        return rate(tick, max(ticks, 1))
    finally:
        for ear in ears:
            ear.sensor.stop()
            ear.sensor.destroy()
