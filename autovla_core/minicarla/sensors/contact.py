"""The collision sensor: one frame for every contact of its carrier, every tick while touching."""

from __future__ import annotations

from collections.abc import Iterator

from autovla_core.minicarla.wire import values
from autovla_core.minicarla.wire.packing import pack
from autovla_core.minicarla.world.actor import Actor
from autovla_core.minicarla.world.world import World


def collisions(world: World, sensor: Actor, stream_port: int) -> Iterator[bytes]:
    """Yield a payload for each contact of the last tick: itself, the other, the impulse on itself (N s)."""
    carrier = world.actors.get(sensor.parent_id)
    if carrier is None:
        return
    for contact in world.contacts:
        if contact.actor_id != carrier.id:
            continue
        other = world.actors.get(contact.other_id)
        described = values.actor(other, stream_port) if other else values.scenery_actor(contact.other_type_id)
        yield pack([values.actor(carrier, stream_port), described, values.numbers(contact.impulse)])
