"""A car that follows the lane by waypoints, holds a speed and records itself. CARLA or minicarla.

python docs/examples/automatic_drive.py --port 2000 --seconds 20 --record drive.log
"""

from __future__ import annotations

import argparse
import math

import carla

LOOK_AHEAD_M = 6.0
DELTA_S = 0.05


def main() -> None:
    options = parse()
    client = carla.Client(options.host, options.port)
    client.set_timeout(30.0)
    world = client.get_world()
    before = world.get_settings()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, DELTA_S
    world.apply_settings(settings)
    town = world.get_map()
    blueprint = world.get_blueprint_library().find("vehicle.lincoln.mkz_2020")
    blueprint.set_attribute("role_name", "hero")
    car = world.spawn_actor(blueprint, town.get_spawn_points()[options.spawn_point])
    try:
        if options.record:
            print(client.start_recorder(options.record))
        travelled, worst = drive(world, town, car, options)
        if options.record:
            client.stop_recorder()
            world.tick()
            print(client.show_recorder_file_info(options.record, False))
        print(f"travelled {travelled:.1f} m, at most {worst:.2f} m off the lane's middle")
    finally:
        car.destroy()
        world.apply_settings(before)


def drive(world: carla.World, town: carla.Map, car: carla.Vehicle, options: argparse.Namespace) -> tuple[float, float]:
    """Return metres travelled and the largest distance from the lane's middle."""
    travelled = worst = 0.0
    world.tick()
    waypoint = town.get_waypoint(car.get_location())
    for _ in range(round(options.seconds / DELTA_S)):
        waypoint = advance(waypoint, car.get_location())
        car.apply_control(control(car, target_of(waypoint), options.speed))
        start = car.get_location()
        world.tick()
        travelled += car.get_location().distance(start)
        worst = max(worst, off_middle(waypoint, car.get_location()))
    return travelled, worst


def advance(waypoint: carla.Waypoint, place: carla.Location) -> carla.Waypoint:
    """The waypoint beside the car, along the way that was chosen at the junctions behind."""
    while True:
        following = waypoint.next(1.0)
        if not following or following[0].transform.location.distance(place) >= waypoint.transform.location.distance(
            place
        ):
            return waypoint
        waypoint = following[0]


def target_of(waypoint: carla.Waypoint) -> carla.Location:
    ahead = waypoint
    for _ in range(int(LOOK_AHEAD_M)):
        ahead = (ahead.next(1.0) or [ahead])[0]
    return ahead.transform.location


def off_middle(waypoint: carla.Waypoint, place: carla.Location) -> float:
    offset, right = place - waypoint.transform.location, waypoint.transform.get_right_vector()
    return abs(offset.x * right.x + offset.y * right.y)


def control(car: carla.Vehicle, target: carla.Location, speed: float) -> carla.VehicleControl:
    """Pure pursuit, and a proportional pedal."""
    pose, now = car.get_transform(), car.get_velocity().length()
    bearing = math.atan2(target.y - pose.location.y, target.x - pose.location.x) - math.radians(pose.rotation.yaw)
    steer = 1.2 * math.atan2(math.sin(bearing), math.cos(bearing))
    pedal = 0.4 * (speed - now)
    return carla.VehicleControl(
        throttle=min(0.75, max(0.0, pedal)), brake=min(1.0, max(0.0, -pedal)), steer=min(1.0, max(-1.0, steer))
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--speed", type=float, default=6.0, help="m/s")
    parser.add_argument("--spawn-point", type=int, default=0)
    parser.add_argument("--record", help="name of a recording")
    return parser.parse_args()


if __name__ == "__main__":
    main()
