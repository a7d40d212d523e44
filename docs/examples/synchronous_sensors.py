"""Several sensors, one tick, one set of data: nothing lost, nothing out of step. CARLA or minicarla.

python docs/examples/synchronous_sensors.py --port 2000 --ticks 20 --out /tmp/pictures
"""

from __future__ import annotations

import argparse
import queue
from pathlib import Path

import carla

ROOF = carla.Transform(carla.Location(x=0.5, z=2.4))
SENSORS = {
    "front": ("sensor.camera.rgb", {"image_size_x": "320", "image_size_y": "160", "fov": "90"}),
    "depth": ("sensor.camera.depth", {"image_size_x": "320", "image_size_y": "160", "fov": "90"}),
    "tags": ("sensor.camera.semantic_segmentation", {"image_size_x": "320", "image_size_y": "160", "fov": "90"}),
    "lidar": ("sensor.lidar.ray_cast", {"points_per_second": "40000", "rotation_frequency": "20", "range": "50"}),
    "imu": ("sensor.other.imu", {}),
    "gnss": ("sensor.other.gnss", {}),
}


class SyncMode:
    """Ticks the world and hands out what every sensor measured in that tick; restores the settings at the end."""

    def __init__(self, world: carla.World, sensors: dict[str, carla.Sensor], delta_s: float = 0.05) -> None:
        self._world, self._sensors, self._delta_s = world, sensors, delta_s
        self._queues: dict[str, queue.Queue] = {}

    def __enter__(self) -> SyncMode:
        self._before = self._world.get_settings()
        settings = self._world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, self._delta_s
        self._world.apply_settings(settings)
        for name, sensor in self._sensors.items():
            self._queues[name] = queue.Queue()
            sensor.listen(self._queues[name].put)
        return self

    def __exit__(self, *error: object) -> None:
        for sensor in self._sensors.values():
            sensor.stop()
        self._world.apply_settings(self._before)

    def tick(self, timeout_s: float = 30.0) -> dict[str, carla.SensorData]:
        """Advance by one tick; every measurement is of that tick."""
        frame = self._world.tick()
        return {name: self._of(frame, waiting, timeout_s) for name, waiting in self._queues.items()}

    @staticmethod
    def _of(frame: int, waiting: queue.Queue, timeout_s: float) -> carla.SensorData:
        while True:
            data = waiting.get(timeout=timeout_s)
            if data.frame == frame:
                return data


def main() -> None:
    options = parse()
    client = carla.Client(options.host, options.port)
    client.set_timeout(60.0)
    world = client.get_world()
    library = world.get_blueprint_library()
    actors: list[carla.Actor] = []
    try:
        car = world.spawn_actor(library.find("vehicle.lincoln.mkz_2020"), world.get_map().get_spawn_points()[0])
        actors.append(car)
        sensors = {name: attach(world, car, *wanted) for name, wanted in SENSORS.items()}
        actors += sensors.values()
        with SyncMode(world, sensors) as mode:
            for _ in range(options.ticks):
                car.apply_control(carla.VehicleControl(throttle=0.4))
                data = mode.tick()
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            data["front"].save_to_disk(str(options.out / "front.png"))
            data["depth"].save_to_disk(str(options.out / "depth.png"), carla.ColorConverter.LogarithmicDepth)
            data["tags"].save_to_disk(str(options.out / "tags.png"), carla.ColorConverter.CityScapesPalette)
        frames = {measurement.frame for measurement in data.values()}
        print(f"{options.ticks} ticks of {len(data)} sensors, last frame {frames.pop()}, {len(data['lidar'])} points")
    finally:
        for actor in reversed(actors):
            actor.destroy()


def attach(world: carla.World, car: carla.Actor, type_id: str, attributes: dict[str, str]) -> carla.Sensor:
    blueprint = world.get_blueprint_library().find(type_id)
    for name, value in attributes.items():
        blueprint.set_attribute(name, value)
    return world.spawn_actor(blueprint, ROOF, attach_to=car)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2000)
    parser.add_argument("--ticks", type=int, default=20)
    parser.add_argument("--out", type=Path, help="folder for the last pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
