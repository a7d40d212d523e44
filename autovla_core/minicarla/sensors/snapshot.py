"""The episode state: one record of 119 bytes for every living actor, every tick."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from autovla_core.minicarla.world.actor import Actor, TrafficLight, TrafficSign, Vehicle, Walker

MAP_CHANGED, STREET_LIGHTS_CHANGED = 1, 2
ACTIVE = 1

_EPISODE = struct.Struct("<Qdf3iI")
_RECORD = struct.Struct("<IB15f")
_VEHICLE = struct.Struct("<3f???ifB?IB24x")
_WALKER = struct.Struct("<4f?37x")
_LIGHT = struct.Struct("<32s4fI?B")
_SIGN = struct.Struct("<32s22x")
_NOTHING = bytes(54)
RECORD_BYTES = _RECORD.size + len(_NOTHING)


def snapshot(
    episode_id: int, actors: Iterable[Actor], delta_s: float, wall_clock_s: float, map_changed: bool = False
) -> bytes:
    """Return the payload of a frame of the world stream; times in seconds."""
    flags = MAP_CHANGED | STREET_LIGHTS_CHANGED if map_changed else 0
    parts = [_EPISODE.pack(episode_id, wall_clock_s, delta_s, 0, 0, 0, flags)]
    for actor in actors:
        parts.append(
            _RECORD.pack(
                actor.id,
                ACTIVE,
                *actor.location,
                *actor.rotation,
                *actor.velocity,
                *actor.angular_velocity,
                *actor.acceleration,
            )
        )
        parts.append(_state(actor))
    return b"".join(parts)


def _state(actor: Actor) -> bytes:
    """The 54 bytes that depend on the kind of actor."""
    if isinstance(actor, Vehicle):
        return _vehicle_state(actor)
    if isinstance(actor, TrafficLight):
        return _light_state(actor)
    if isinstance(actor, Walker):
        control = actor.control
        return _WALKER.pack(*control.direction, control.speed, control.jump)
    if isinstance(actor, TrafficSign):
        return _SIGN.pack(actor.sign_id.encode())
    return _NOTHING


def _vehicle_state(vehicle: Vehicle) -> bytes:
    control = vehicle.control
    return _VEHICLE.pack(
        control.throttle,
        control.steer,
        control.brake,
        control.hand_brake,
        control.reverse,
        control.manual_gear_shift,
        control.gear,
        vehicle.speed_limit_kmh,
        vehicle.at_light_state,
        vehicle.at_light_id != 0,
        vehicle.at_light_id,
        vehicle.failure_state,
    )


def _light_state(light: TrafficLight) -> bytes:
    return _LIGHT.pack(
        light.sign_id.encode(),
        light.green_time,
        light.yellow_time,
        light.red_time,
        light.elapsed_time,
        light.pole_index,
        light.frozen,
        light.state,
    )
