"""Other cars for an episode: seeded, and at some distance from the ego."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autovla_core.carla_bridge.wheel import carla

SERVER_DRIVEN = "minicarla_traffic"  # the role that makes minicarla drive a vehicle by itself
AWAY_FROM_EGO_M = 15.0


def spawn_traffic(
    client: carla.Client, count: int, rng: np.random.Generator, ego: carla.Location, traffic_manager_port: int = 0
) -> list[carla.Vehicle]:
    """Spawn up to ``count`` cars on random spawn points, in one batch.

    minicarla drives them by itself; on another server give the port of a Traffic Manager to drive them.
    Fewer are returned where the town has too few free spawn points.
    """
    world = client.get_world()
    points = [p for p in world.get_map().get_spawn_points() if p.location.distance(ego) > AWAY_FROM_EGO_M]
    chosen = [points[i] for i in rng.permutation(len(points))[:count]]
    role = "background" if traffic_manager_port else SERVER_DRIVEN
    batch = [carla.command.SpawnActor(_blueprint(world, rng, role), point) for point in chosen]
    answers = client.apply_batch_sync(batch, False)
    ids = [answer.actor_id for answer in answers if not answer.error]
    if traffic_manager_port:
        client.get_trafficmanager(traffic_manager_port).set_synchronous_mode(True)
        client.apply_batch_sync([carla.command.SetAutopilot(i, True, traffic_manager_port) for i in ids], False)
    return [actor for actor in world.get_actors(ids)]


def mean_speed(cars: Sequence[carla.Vehicle]) -> float | None:
    """m/s, of those that are left; None without any."""
    speeds = [car.get_velocity().length() for car in cars if car.is_alive]
    return sum(speeds) / len(speeds) if speeds else None


def _blueprint(world: carla.World, rng: np.random.Generator, role: str) -> carla.ActorBlueprint:
    cars = [
        b
        for b in sorted(world.get_blueprint_library().filter("vehicle.*"), key=lambda b: b.id)
        if b.has_attribute("base_type") and b.get_attribute("base_type").as_str() == "car"
    ]
    blueprint = cars[int(rng.integers(len(cars)))]
    if blueprint.has_attribute("color"):
        colors = blueprint.get_attribute("color").recommended_values
        blueprint.set_attribute("color", colors[int(rng.integers(len(colors)))])
    blueprint.set_attribute("role_name", role)
    return blueprint
