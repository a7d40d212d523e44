"""``minicarla --check``: does this machine drive, see and remember as it should? Versions, and one line a check."""

from __future__ import annotations

import platform
import struct
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TextIO

import numpy as np

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla.recorder import reports
from autovla_core.minicarla.simulation import Simulation
from autovla_core.minicarla.wire.values import Description, Pose
from autovla_core.minicarla.world.actor import Actor

PACKAGES = ("carla", "msgpack", "numba", "numpy", "shapely")
CAR = "vehicle.lincoln.mkz_2020"
TICKS = 100
TRAFFIC = 10
PICTURE = {"image_size_x": "224", "image_size_y": "112", "fov": "90"}
FRAME_BYTES = 4 + 48  # size and header before a payload
ROOF = Pose(np.array([0.0, 0.0, 2.5]), np.zeros(3))


class CheckFailed(AutoVLAError):
    """Something does not work on this machine."""


def run(simulation: Simulation, out: TextIO) -> bool:
    """Write what was found, line by line; return whether all is well. The simulation is used up."""
    out.write(f"python {platform.python_version()}, {', '.join(f'{n} {_version(n)}' for n in PACKAGES)}\n")
    simulation.world.settings.update(synchronous_mode=True, fixed_delta_seconds=0.05)
    well = True
    for name, check in CHECKS.items():
        began = time.monotonic()
        try:
            verdict, told = "ok    ", check(simulation)
        except (AutoVLAError, ValueError) as error:
            verdict, told, well = "FAILED", str(error), False
        out.write(f"{verdict} {name}: {told} ({time.monotonic() - began:.1f} s)\n")
    return well


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _expect(holds: bool, text: str) -> None:
    if not holds:
        raise CheckFailed(text)


def _ego(simulation: Simulation) -> Actor:
    """The self test's car, spawned at the first free spawn point."""
    world = simulation.world
    for actor in world.actors.values():
        if actor.attributes.get("role_name") == "hero":
            return actor
    for point in world.town.spawn_points:
        try:
            return world.spawn(CAR, {"role_name": "hero"}, point[:3], point[3:])
        except AutoVLAError:
            continue
    raise CheckFailed(f"no free spawn point in {world.town.name}")


def _sensed(simulation: Simulation, type_id: str, attributes: dict[str, str]) -> bytes:
    """The first payload of a sensor on the car's roof."""
    sensor = simulation.spawn(Description(0, type_id, attributes, {}), ROOF, _ego(simulation).id)
    simulation.listeners[sensor.stream_id] = 1
    simulation.outbox.clear()
    simulation.tick()
    frames = [b"".join(pieces) for stream_id, pieces in simulation.outbox if stream_id == sensor.stream_id]
    simulation.destroy(sensor.id)
    simulation.listeners.clear()
    simulation.outbox.clear()
    _expect(len(frames) == 1, f"{type_id} gave {len(frames)} frames in a tick, not one")
    return frames[0][FRAME_BYTES:]


def _picture(simulation: Simulation, kind: str) -> np.ndarray:
    """(112, 224, 4) uint8 B, G, R, A."""
    payload = _sensed(simulation, f"sensor.camera.{kind}", PICTURE)
    width, height, _ = struct.unpack_from("<IIf", payload)
    return np.frombuffer(payload, np.uint8, offset=12).reshape(height, width, 4)


def _town(simulation: Simulation) -> str:
    town = simulation.world.town
    _expect(len(town.spawn_points) > 0, "no spawn points")
    return f"{town.name}, {len(town.lanes)} lanes, {len(town.spawn_points)} spawn points, {len(town.signals)} signals"


def _driving(simulation: Simulation) -> str:
    cars = [simulation.world.actor(i) for i in simulation.world.spawn_traffic(TRAFFIC, seed=1)]
    before = np.array([car.location for car in cars])
    began = time.process_time()
    for _ in range(TICKS):
        simulation.tick()
    cost_ms = (time.process_time() - began) / TICKS * 1e3
    moved = np.linalg.norm(np.array([car.location for car in cars]) - before, axis=1)
    _expect(bool((moved > 1.0).sum() > len(cars) / 2), f"after {TICKS} ticks only {(moved > 1.0).sum()} cars moved")
    return f"{len(cars)} cars of its own traffic drove {moved.mean():.0f} m in {TICKS} ticks of {cost_ms:.2f} ms"


def _seeing(simulation: Simulation) -> str:
    colour, depth = _picture(simulation, "rgb"), _picture(simulation, "depth").astype(float)
    metres = (depth[..., 2] + 256.0 * depth[..., 1] + 65536.0 * depth[..., 0]) / (2**24 - 1) * 1000.0
    road = (_picture(simulation, "semantic_segmentation")[..., 2] == 1).mean()
    _expect(float(colour[..., :3].std()) > 10.0, "the picture has one colour only")
    _expect(0.5 < metres[-1].min() < 10.0, f"the ground below the picture is {metres[-1].min():.1f} m away")
    _expect(road > 0.02, "no road in the semantic picture")
    return f"rgb, depth and semantic pictures; {100 * road:.0f} % road, nearest point {metres.min():.1f} m"


def _ranging(simulation: Simulation) -> str:
    attributes = {"channels": "16", "range": "50", "points_per_second": "40000", "rotation_frequency": "20"}
    payload = _sensed(simulation, "sensor.lidar.ray_cast", attributes)
    _, channels = struct.unpack_from("<fI", payload)
    points = np.frombuffer(payload, "<f4", offset=8 + 4 * channels).reshape(-1, 4)
    _expect(len(points) > 100 and bool(np.isfinite(points).all()), f"the lidar found {len(points)} points")
    return f"{len(points)} lidar points"


def _going_back(simulation: Simulation) -> str:
    number = simulation.save_state()
    futures = []
    for _ in range(2):
        simulation.restore_state(number)
        for _ in range(20):
            simulation.tick()
        futures.append(np.array([actor.location for actor in simulation.world.actors.values()]).tobytes())
    simulation.forget_state(number)
    _expect(futures[0] == futures[1], "the same 20 ticks ended differently after going back")
    return "20 ticks twice from one saved state, bit for bit"


def _walking(simulation: Simulation) -> str:
    return f"{simulation.navigation_file()}, {len(simulation.navigation_mesh())} bytes"


def _recording(simulation: Simulation) -> str:
    with tempfile.TemporaryDirectory() as folder:
        simulation.recordings.folder = Path(folder)
        simulation.recordings.start(simulation.world, "check")
        for _ in range(20):
            simulation.tick()
        simulation.recordings.stop()
        with simulation.recordings.reader("check") as reader:
            told = reports.file_info(reader, show_all=False).splitlines()
    _expect("Frames: 21" in told, f"21 frames were recorded; the file says {told[-2:]}")
    return "21 frames written and read"


CHECKS: dict[str, Callable[[Simulation], str]] = {
    "town": _town,
    "driving": _driving,
    "cameras": _seeing,
    "lidar": _ranging,
    "saved states": _going_back,
    "navigation mesh": _walking,
    "recorder": _recording,
}
