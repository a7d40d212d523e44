"""Photograph towns by day, in rain, in fog and at night: one JPEG sheet for each, taken by the real client.

    python tools/photograph_towns.py --out docs/pictures/towns [--towns Fellside Ironmere]

Starts a minicarla; the cars that stand on the road are drawn by chance from ``--seed``.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autovla_core.carla_bridge.session import Session, connect
from autovla_core.carla_bridge.wheel import carla, require
from autovla_core.errors import AutoVLAError, SimulatorError
from autovla_core.evaluation.server_process import MinicarlaServer, stop_on_terminate
from autovla_core.view.picture_sheet import sheet_of

SIZE_PX, FOV_DEG = (480, 270), 80.0
PICTURE_TIMEOUT_S, STARTUP_S = 120.0, 600.0  # the very first start compiles the cameras
JPEG_QUALITY = 82
CARS, NEAREST_M, FURTHEST_M, BEHIND = 9, 14.0, 110.0, 0.75  # at least this far in front (cosine)
# Where the photographer stands: x, y, metres above the road, pitch, yaw (CARLA's frame, degrees).
VIEWS = {
    "Havenbrook": (241.8, -40.0, 2.4, -3.0, -90.0),
    "Pennyfield": (62.0, -1.8, 2.2, -3.0, 180.0),
    "Ironmere": (255.0, -215.0, 2.4, -2.0, 90.0),
    "Rowanfold": (41.0, -1.8, 2.6, -5.0, 180.0),
    "Kestrelway": (640.0, -28.0, 3.0, -4.0, -1.0),
    "Fellside": (62.0, -268.3, 2.2, 0.0, 2.0),
}
HEADLIGHTS = 0x1 | 0x2  # position, low beam


def weathers() -> dict[str, carla.WeatherParameters]:
    """What the sheet shows, by its label."""
    fog = carla.WeatherParameters(
        cloudiness=70.0, fog_density=55.0, fog_distance=4.0, fog_falloff=0.8, sun_altitude_angle=25.0
    )
    presets = carla.WeatherParameters
    return {"day": presets.ClearNoon, "rain": presets.HardRainNoon, "fog": fog, "night": presets.ClearNight}


def main() -> int:
    """Return the exit code."""
    options = _options()
    stop_on_terminate()
    try:
        require()
        with MinicarlaServer(threads=options.threads, startup_s=STARTUP_S) as server:
            _photograph_all(connect(server.host, server.port, timeout_s=PICTURE_TIMEOUT_S), options)
    except (AutoVLAError, RuntimeError) as error:
        print(f"photograph_towns: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _photograph_all(client: carla.Client, options: argparse.Namespace) -> None:
    with Session(client) as session:
        for town in tqdm(options.towns, desc="towns", disable=None):
            print(_photograph(session, town, options.out, options.seed))


def _photograph(session: Session, town: str, folder: Path, seed: int) -> Path:
    """Write one sheet, whole or not at all; return its path."""
    session.load(town)
    view = _view(session.map, VIEWS[town])
    cars = list(_park(session, view, np.random.default_rng(seed)))
    width, height = SIZE_PX
    attributes = {"image_size_x": str(width), "image_size_y": str(height), "fov": str(FOV_DEG)}
    images: queue.Queue[carla.Image] = queue.Queue()
    camera = session.spawn("sensor.camera.rgb", view, attributes)
    camera.listen(images.put)
    try:
        pictures = [_picture(session, images, cars, label, weather) for label, weather in weathers().items()]
    finally:
        camera.stop()
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{town.lower()}.jpg"
    partial = out.with_suffix(".partial")
    sheet_of(pictures, [f"{town}, {label}" for label in weathers()]).save(partial, "JPEG", quality=JPEG_QUALITY)
    os.replace(partial, out)
    session.clear()
    return out


def _view(carla_map: carla.Map, view: tuple[float, ...]) -> carla.Transform:
    x, y, above, pitch, yaw = view
    road = carla_map.get_waypoint(carla.Location(x, y, 0.0)).transform.location.z
    return carla.Transform(carla.Location(x, y, road + above), carla.Rotation(pitch, yaw, 0.0))


def _park(session: Session, view: carla.Transform, rng: np.random.Generator) -> Iterator[carla.Vehicle]:
    """Put cars at spawn points in front of the camera."""
    ahead = view.get_forward_vector()
    points = []
    for point in session.map.get_spawn_points():
        away = point.location - view.location
        distance = max(away.length(), 1e-6)
        if NEAREST_M < distance < FURTHEST_M and away.dot(ahead) / distance > BEHIND:
            points.append(point)
    blueprints = [b for b in session.world.get_blueprint_library().filter("vehicle.*") if _is_car(b)]
    for number in rng.permutation(len(points))[:CARS]:
        blueprint = blueprints[int(rng.integers(len(blueprints)))]
        colors = blueprint.get_attribute("color").recommended_values if blueprint.has_attribute("color") else []
        color = {"color": colors[int(rng.integers(len(colors)))]} if colors else {}
        yield session.spawn(blueprint.id, points[number], color)


def _is_car(blueprint: carla.ActorBlueprint) -> bool:
    return blueprint.has_attribute("number_of_wheels") and int(blueprint.get_attribute("number_of_wheels")) == 4


def _picture(
    session: Session, images: queue.Queue, cars: list[carla.Vehicle], label: str, weather: carla.WeatherParameters
) -> np.ndarray:
    """The camera's picture (H, W, 3) RGB in a weather; headlights burn unless it is day."""
    session.world.set_weather(weather)
    for car in cars:
        car.set_light_state(carla.VehicleLightState(0 if label == "day" else HEADLIGHTS))
    for _ in range(10):
        tick = session.tick()
    while True:
        try:
            image = images.get(timeout=PICTURE_TIMEOUT_S)
        except queue.Empty:
            raise SimulatorError(f"no picture of tick {tick} within {PICTURE_TIMEOUT_S:.0f} s") from None
        if image.frame == tick:
            pixels = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
            return pixels[:, :, 2::-1].copy()  # the memory goes with the image


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--towns", nargs="+", default=list(VIEWS), choices=list(VIEWS))
    parser.add_argument("--seed", type=int, default=3, help="of the cars")
    parser.add_argument("--threads", type=int, default=2, help="of the renderer")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
