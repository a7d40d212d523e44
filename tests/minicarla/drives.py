"""Cars that the server drives, in a world without a server."""

from __future__ import annotations

from autovla_core.minicarla.world.world import TRAFFIC_ROLE, World

DT = 0.05
MKZ = "vehicle.lincoln.mkz_2020"


def add(world: World, x: float, y: float, yaw: float = 0.0, role: str = TRAFFIC_ROLE):
    return world.spawn(MKZ, {"role_name": role}, (x, y, 0.0), (0.0, yaw, 0.0))


def run(world: World, seconds: float, watch=lambda: None) -> int:
    """Return how many contacts there were."""
    contacts = 0
    for _ in range(round(seconds / DT)):
        world.step(DT)
        contacts += len(world.contacts)
        watch()
    return contacts
