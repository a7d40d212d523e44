"""Photograph towns by day, in rain, in fog and at night, and what every kind of sensor sees: JPEG sheets.

    python tools/photograph_towns.py --out docs/pictures/towns [--towns Fellside Ironmere] [--no-sensors]

All is taken by the real client: a sheet for each town, and sensors.jpg. Starts a minicarla; the cars that stand on
the road are drawn by chance from ``--seed``.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autovla_core.carla_bridge.session import Session, connect
from autovla_core.carla_bridge.wheel import carla, require
from autovla_core.errors import AutoVLAError, SimulatorError
from autovla_core.evaluation.server_process import MinicarlaServer, stop_on_terminate
from autovla_core.view import sensor_pictures as pictures
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
SENSORS_TOWN, SENSORS_PLACE = "Ironmere", (1.6, 0.0, 1.7)  # m, on the car
EGO_SPEED, EGO_TICKS = 6.0, 12  # m/s; long enough that everything has something to say
LIDAR = {"channels": 64, "points_per_second": 1_500_000, "rotation_frequency": 20, "range": 85}
LIDAR |= {"upper_fov": 12, "lower_fov": -30, "dropoff_general_rate": 0.0}
SEMANTIC_LIDAR = {name: value for name, value in LIDAR.items() if not name.startswith("dropoff")}
RADAR = {"points_per_second": 20_000, "range": 85, "horizontal_fov": FOV_DEG, "vertical_fov": 25}


def weathers() -> dict[str, carla.WeatherParameters]:
    """What the sheet shows, by its label."""
    fog = carla.WeatherParameters(
        cloudiness=70.0, fog_density=55.0, fog_distance=4.0, fog_falloff=0.8, sun_altitude_angle=25.0
    )
    presets = carla.WeatherParameters
    return {"day": presets.ClearNoon, "rain": presets.HardRainNoon, "fog": fog, "night": presets.ClearNight}


Picture = Callable[["carla.SensorData", np.ndarray], np.ndarray]


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
        if options.sensors:
            print(_photograph_sensors(session, options.out, options.seed))


def _photograph(session: Session, town: str, folder: Path, seed: int) -> Path:
    """Write one sheet, whole or not at all; return its path."""
    session.load(town)
    view = _view(session.map, VIEWS[town])
    cars = list(_park(session, view, np.random.default_rng(seed)))
    images: queue.Queue[carla.Image] = queue.Queue()
    camera = session.spawn("sensor.camera.rgb", view, _lens())
    camera.listen(images.put)
    try:
        taken = [_picture(session, images, cars, label, weather) for label, weather in weathers().items()]
    finally:
        camera.stop()
    out = _write(folder / f"{town.lower()}.jpg", {f"{town}, {label}": p for label, p in zip(weathers(), taken)})
    session.clear()
    return out


def _write(out: Path, labelled: Mapping[str, np.ndarray], columns: int = 2) -> Path:
    """Write a sheet, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    sheet_of(list(labelled.values()), list(labelled), columns).save(partial, "JPEG", quality=JPEG_QUALITY)
    os.replace(partial, out)
    return out


def _lens() -> dict[str, str]:
    width, height = SIZE_PX
    return {"image_size_x": str(width), "image_size_y": str(height), "fov": str(FOV_DEG)}


# ---------------------------------------------------------------------------------------- sensors


def _image(data: carla.Image, rgb: np.ndarray) -> np.ndarray:
    return pictures.of_image(data.raw_data, data.width, data.height)


def _converted(converter: carla.ColorConverter) -> Picture:
    def picture(data: carla.Image, rgb: np.ndarray) -> np.ndarray:
        data.convert(converter)
        return _image(data, rgb)

    return picture


def _instances(data: carla.Image, rgb: np.ndarray) -> np.ndarray:
    return pictures.of_instances(data.raw_data, data.width, data.height)


def _flow(data: carla.OpticalFlowImage, rgb: np.ndarray) -> np.ndarray:
    return _image(data.get_color_coded_flow(), rgb)


def _events(data: carla.DVSEventArray, rgb: np.ndarray) -> np.ndarray:
    return pictures.of_events(data.raw_data, *SIZE_PX)


def _points(draw: Callable[[bytes, np.ndarray, float], np.ndarray]) -> Picture:
    return lambda data, rgb: draw(data.raw_data, rgb, FOV_DEG)


def sensors() -> dict[str, tuple[str, dict[str, object], Picture]]:
    """By label: blueprint, its attributes, and the picture of what it said, over the RGB picture if it says points."""
    converters = carla.ColorConverter
    return {
        "RGB": ("sensor.camera.rgb", _lens(), _image),
        "depth": ("sensor.camera.depth", _lens(), _converted(converters.LogarithmicDepth)),
        "semantic": ("sensor.camera.semantic_segmentation", _lens(), _converted(converters.CityScapesPalette)),
        "instances": ("sensor.camera.instance_segmentation", _lens(), _instances),
        "optical flow": ("sensor.camera.optical_flow", _lens(), _flow),
        "events": ("sensor.camera.dvs", _lens(), _events),
        "lidar": ("sensor.lidar.ray_cast", LIDAR, _points(pictures.of_lidar)),
        "semantic lidar": ("sensor.lidar.ray_cast_semantic", SEMANTIC_LIDAR, _points(pictures.of_semantic_lidar)),
        "radar": ("sensor.other.radar", RADAR, _points(pictures.of_radar)),
    }


def _photograph_sensors(session: Session, folder: Path, seed: int) -> Path:
    """Write one sheet of what a driving car's sensors see at one moment."""
    session.load(SENSORS_TOWN)
    session.world.set_weather(weathers()["day"])
    view = _view(session.map, VIEWS[SENSORS_TOWN])
    start = min(session.map.get_spawn_points(), key=lambda point: _apart(point, view))
    ego = session.spawn_ego(start)
    list(_park(session, start, np.random.default_rng(seed)))
    kinds, mounted = sensors(), []
    said: dict[str, queue.Queue] = {label: queue.Queue() for label in kinds}
    try:
        for label, (type_id, attributes, _) in kinds.items():
            mounted.append(_mount(session, ego, type_id, attributes))
            mounted[-1].listen(said[label].put)
        ego.enable_constant_velocity(carla.Vector3D(EGO_SPEED, 0.0, 0.0))
        tick = [session.tick() for _ in range(EGO_TICKS)][-1]
        heard = {label: _said_at(said[label], tick) for label in kinds}
    finally:
        for sensor in mounted:
            sensor.stop()
            sensor.destroy()
    rgb = _image(heard["RGB"], np.zeros(0))
    out = _write(
        folder / "sensors.jpg", {label: kind[2](heard[label], rgb) for label, kind in kinds.items()}, columns=3
    )
    session.clear()
    return out


def _apart(point: carla.Transform, view: carla.Transform) -> float:
    """Metres between two places, more if they look different ways."""
    cosine = point.get_forward_vector().dot(view.get_forward_vector())
    return point.location.distance(view.location) + 100.0 * (1.0 - cosine)


def _mount(session: Session, ego: carla.Actor, type_id: str, attributes: dict[str, object]) -> carla.Sensor:
    blueprint = session.world.get_blueprint_library().find(type_id)
    for key, value in attributes.items():
        blueprint.set_attribute(key, str(value))
    return session.world.spawn_actor(blueprint, carla.Transform(carla.Location(*SENSORS_PLACE)), attach_to=ego)


def _said_at(said: queue.Queue, tick: int) -> carla.SensorData:
    while True:
        try:
            data = said.get(timeout=PICTURE_TIMEOUT_S)
        except queue.Empty:
            raise SimulatorError(f"a sensor said nothing at tick {tick} within {PICTURE_TIMEOUT_S:.0f} s") from None
        if data.frame == tick:
            return data


# ------------------------------------------------------------------------------------------ towns


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
    return _image(_said_at(images, tick), np.zeros(0))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--towns", nargs="+", default=list(VIEWS), choices=list(VIEWS))
    parser.add_argument("--no-sensors", dest="sensors", action="store_false", help="leave the sheet of sensors out")
    parser.add_argument("--seed", type=int, default=3, help="of the cars")
    parser.add_argument("--threads", type=int, default=2, help="of the renderer")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
