"""A program for the tests: lets the client's Traffic Manager drive, and prints what came of it as JSON.

In a process of its own because the wheel's Traffic Manager may hang or abort its process.

    python traffic_manager_drive.py PORT TRAFFIC_MANAGER_PORT
"""

from __future__ import annotations

import json
import sys

import carla

TICKS = 200
ELSEWHERE = "Pennyfield"


def drive(client: carla.Client, traffic_manager_port: int) -> dict:
    """Let one vehicle be driven for ten seconds of simulated time."""
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    manager = client.get_trafficmanager(traffic_manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(1)
    point = world.get_map().get_spawn_points()[0]
    vehicle = world.spawn_actor(world.get_blueprint_library().find("vehicle.audi.tt"), point)
    vehicle.set_autopilot(True, traffic_manager_port)
    start, travelled, off_lane = point.location, 0.0, 0.0
    for _ in range(TICKS):
        world.tick()
        place = vehicle.get_location()
        travelled += place.distance(start)
        start = place
        center = world.get_map().get_waypoint(place).transform.location
        off_lane = max(off_lane, ((center.x - place.x) ** 2 + (center.y - place.y) ** 2) ** 0.5)
    throttle = vehicle.get_control().throttle
    vehicle.set_autopilot(False, traffic_manager_port)
    vehicle.destroy()
    world.tick()
    return {"travelled": travelled, "off_lane": off_lane, "throttle": throttle}


def main() -> None:
    """Drive, reload the town five times with the Traffic Manager alive, drive again, and drive in another town."""
    client = carla.Client("127.0.0.1", int(sys.argv[1]))
    client.set_timeout(20.0)
    port = int(sys.argv[2])
    before = drive(client, port)
    episodes = [client.reload_world(False).id for _ in range(5)]
    after = drive(client, port)
    client.load_world(ELSEWHERE, False)
    result = {"before": before, "episodes": len(set(episodes)), "after": after, "elsewhere": drive(client, port)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
