"""The state of a world at one tick, kept to go back to: the same controls then give the same future, bit for bit."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla.world.town import Town
from autovla_core.minicarla.world.world import World

LASTING = ("frame", "first_frame", "_next_id", "_next_stream")  # never run backwards: clients drop old frames and ids


class SavedStateError(AutoVLAError):
    """A saved state is unknown, or belongs to another episode."""


@dataclass(frozen=True, eq=False)
class SavedWorld:
    """What ``save`` took; opaque, and never changed by the world that goes on."""

    town: Town
    episode_id: int
    ticks: int  # since the start of the episode
    state: dict[str, object]


def save(world: World) -> SavedWorld:
    """Take the state of a world: actors, their drivers, lights, weather, settings and time."""
    ticks = world.frame - world.first_frame
    return SavedWorld(world.town, world.episode_id, ticks, _copied(world, world.__dict__))


def restore(world: World, saved: SavedWorld) -> None:
    """Put a world back into a state of the same episode; frame numbers and ids go on growing.

    Raises:
        SavedStateError: the world has been loaded anew since.
    """
    if world.town is not saved.town or world.episode_id != saved.episode_id:
        raise SavedStateError(
            f"the saved state is of episode {saved.episode_id} in {saved.town.name}, "
            f"the world is in episode {world.episode_id} in {world.town.name}; save again after a load"
        )
    world.__dict__.update(_copied(world, saved.state))
    world.first_frame = world.frame - saved.ticks


def _copied(world: World, state: dict[str, object]) -> dict[str, object]:
    """A copy of everything that a tick changes; what it only reads is shared."""
    memo = {id(part): part for part in world.unchanging()}
    return {name: copy.deepcopy(value, memo) for name, value in state.items() if name not in LASTING}
