"""Vehicles under the Traffic Manager's hand, or the server's own, and walkers that choose their ways.

python docs/examples/generate_traffic.py --port 2000 --vehicles 20 --walkers 30 --ticks 400
"""

from __future__ import annotations

import argparse
import random

import carla

OWN_TRAFFIC = "minicarla_traffic"  # this role makes minicarla drive a vehicle by itself; CARLA lets it stand


def main() -> None:
    options = parse()
    client = carla.Client(options.host, options.port)
    client.set_timeout(30.0)
    world = client.get_world()
    before = world.get_settings()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    random.seed(options.seed)
    world.set_pedestrians_seed(options.seed)
    vehicles: list[int] = []
    walkers: list[int] = []
    controllers: list[carla.Actor] = []
    try:
        vehicles = spawn_vehicles(client, world, options)
        walkers, controllers = spawn_walkers(client, world, options)
        for _ in range(options.ticks):
            world.tick()
        moving = [actor for actor in world.get_actors(walkers + vehicles) if actor.get_velocity().length() > 0.1]
        print(f"{len(vehicles)} vehicles, {len(walkers)} walkers, {len(moving)} of them moving")
    finally:
        for controller in controllers:
            controller.stop()
        everything = [*vehicles, *(controller.id for controller in controllers), *walkers]
        client.apply_batch_sync([carla.command.DestroyActor(actor) for actor in everything], True)
        world.apply_settings(before)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2000)
    parser.add_argument("--vehicles", type=int, default=20)
    parser.add_argument("--walkers", type=int, default=30)
    parser.add_argument("--crossing", type=float, default=0.1, help="share of the walkers that may cross anywhere")
    parser.add_argument("--ticks", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tm-port", type=int, help="drive with the Traffic Manager of this port, not the server's own")
    return parser.parse_args()


def spawn_vehicles(client: carla.Client, world: carla.World, options: argparse.Namespace) -> list[int]:
    """Four-wheeled vehicles at random spawn points; return their ids."""
    blueprints = [b for b in world.get_blueprint_library().filter("vehicle.*") if b.get_attribute("base_type") == "car"]
    points = world.get_map().get_spawn_points()
    random.shuffle(points)
    batch = []
    for point in points[: options.vehicles]:
        blueprint = random.choice(blueprints)
        blueprint.set_attribute("role_name", "autopilot" if options.tm_port else OWN_TRAFFIC)
        command = carla.command.SpawnActor(blueprint, point)
        if options.tm_port:
            command = command.then(carla.command.SetAutopilot(carla.command.FutureActor, True, options.tm_port))
        batch.append(command)
    if options.tm_port:
        manager = client.get_trafficmanager(options.tm_port)
        manager.set_synchronous_mode(True)
        manager.set_random_device_seed(options.seed)
    return [answer.actor_id for answer in client.apply_batch_sync(batch, True) if not answer.error]


def spawn_walkers(
    client: carla.Client, world: carla.World, options: argparse.Namespace
) -> tuple[list[int], list[carla.Actor]]:
    """Walkers and their controllers, under way to random places."""
    library = world.get_blueprint_library()
    world.set_pedestrians_cross_factor(options.crossing)
    places = [world.get_random_location_from_navigation() for _ in range(options.walkers)]
    batch = [
        carla.command.SpawnActor(random.choice(library.filter("walker.pedestrian.*")), carla.Transform(place))
        for place in places
        if place is not None
    ]
    walkers = [answer.actor_id for answer in client.apply_batch_sync(batch, True) if not answer.error]
    mind = library.find("controller.ai.walker")
    minds = [carla.command.SpawnActor(mind, carla.Transform(), walker) for walker in walkers]
    ids = [answer.actor_id for answer in client.apply_batch_sync(minds, True) if not answer.error]
    world.tick()
    controllers = list(world.get_actors(ids))
    for controller in controllers:
        controller.start()
        controller.go_to_location(world.get_random_location_from_navigation())
        controller.set_max_speed(1.0 + random.random())
    return walkers, controllers


if __name__ == "__main__":
    main()
