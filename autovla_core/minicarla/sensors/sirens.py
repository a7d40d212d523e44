"""Blue lights: what an emergency vehicle with VehicleLightState Special1 or Special2 shows. CARLA's convention."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.sensors.glow import Glow
from autovla_core.minicarla.sensors.scene import Instance
from autovla_core.minicarla.sensors.siren_bars import bar_place, is_emergency
from autovla_core.minicarla.world.actor import Actor, Vehicle
from autovla_core.minicarla.world.pose import rotation_matrix

SPECIAL1, SPECIAL2 = 0x200, 0x400  # bits of carla.VehicleLightState
FLASH_S = 0.25  # each of the two lamps in turn
BRIGHT = 3.5
GLOW_M, GLOW = 0.28, 0.7
COLORS = ((60, 110, 255), (255, 50, 40))  # left, right


def flashing(vehicle: Vehicle, time_s: float) -> int | None:
    """Which lamp shines: 0 left, 1 right; None without a siren."""
    on = vehicle.light_state & (SPECIAL1 | SPECIAL2) and is_emergency(BLUEPRINTS[vehicle.type_id])
    return math.floor(time_s / FLASH_S) % 2 if on else None


def siren_instances(vehicle: Vehicle, time_s: float) -> Iterator[Instance]:
    """The bar on its roof, if its siren is on."""
    lamp = flashing(vehicle, time_s)
    if lamp is not None:
        blueprint = BLUEPRINTS[vehicle.type_id]
        lamps = (0.0, 0.0, 0.0, BRIGHT * (lamp == 0), BRIGHT * (lamp == 1))
        key, tag = f"siren:{vehicle.type_id}", blueprint.semantic_tag
        yield Instance(key, vehicle.location, vehicle.rotation, actor_id=vehicle.id, tag=tag, lamps=lamps)


def siren_glows(actor: Actor, time_s: float) -> Iterator[Glow]:
    """The lamp that shines, seen from ahead and from behind."""
    lamp = flashing(actor, time_s) if isinstance(actor, Vehicle) else None
    if lamp is not None:
        (x, _, z), half = bar_place(BLUEPRINTS[actor.type_id])
        turn = rotation_matrix(actor.rotation)
        place = actor.location + turn @ np.array([x, (-0.6, 0.6)[lamp] * half, z])
        for forward in (turn[:, 0], -turn[:, 0]):
            yield Glow(place, forward, GLOW_M, GLOW, COLORS[lamp])
