"""The episode state: one record of 119 bytes for every living actor, every tick."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from autovla_core.minicarla.world.actor import MOTION_COLUMNS, Actor, TrafficLight, TrafficSign, Vehicle, Walker

MAP_CHANGED, STREET_LIGHTS_CHANGED = 1, 2
ACTIVE = 1

_EPISODE = struct.Struct("<Qdf3iI")
_VEHICLE = struct.Struct("<3f???ifB?IB24x")
_WALKER = struct.Struct("<4f?37x")
_LIGHT = struct.Struct("<32s4fI?B")
_SIGN = struct.Struct("<32s22x")
_NOTHING = bytes(54)
_STATE = "V54"
_RECORD = np.dtype([("id", "<u4"), ("active", "u1"), ("motion", "<f4", MOTION_COLUMNS), ("state", _STATE)])
RECORD_BYTES = _RECORD.itemsize


class Snapshots:
    """Encodes a world tick by tick; ids and what never changes are written again only when other actors live."""

    def __init__(self) -> None:
        self._actors: list[Actor] = []
        self._records = np.empty(0, _RECORD)
        self._changing: list[tuple[Callable[..., bytes], Actor]] = []
        self._changing_rows = np.empty(0, np.int64)

    def encode(
        self,
        episode_id: int,
        actors: Iterable[Actor],
        delta_s: float,
        wall_clock_s: float,
        map_changed: bool = False,
        lights_changed: bool = False,
    ) -> bytes:
        """Return the payload of a frame of the world stream; times in seconds. Another map has other street lights."""
        flags = MAP_CHANGED * map_changed | STREET_LIGHTS_CHANGED * (map_changed or lights_changed)
        head = _EPISODE.pack(episode_id, wall_clock_s, delta_s, 0, 0, 0, flags)
        present = list(actors)
        if present != self._actors:
            self._begin(present)
        if present:
            motions = np.concatenate([actor.motion for actor in present])
            self._records["motion"] = motions.reshape(-1, MOTION_COLUMNS)
            states = b"".join([encode(actor) for encode, actor in self._changing])
            self._records["state"][self._changing_rows] = np.frombuffer(states, _STATE)
        return head + self._records.tobytes()

    def _begin(self, actors: list[Actor]) -> None:
        self._actors, self._records = actors, np.empty(len(actors), _RECORD)
        self._records["id"] = [actor.id for actor in actors]
        self._records["active"] = ACTIVE
        states = b"".join([_STATES[type(actor)](actor) for actor in actors])
        self._records["state"] = np.frombuffer(states, _STATE)
        rows = [row for row, actor in enumerate(actors) if type(actor) not in _LASTING]
        self._changing = [(_STATES[type(actors[row])], actors[row]) for row in rows]
        self._changing_rows = np.array(rows, np.int64)


def _no_state(actor: Actor) -> bytes:
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


def _walker_state(walker: Walker) -> bytes:
    control = walker.control
    return _WALKER.pack(*control.direction, control.speed, control.jump)


def _light_state(light: TrafficLight) -> bytes:
    return _LIGHT.pack(
        _name(light.sign_id),
        light.green_time,
        light.yellow_time,
        light.red_time,
        light.elapsed_time,
        light.pole_index,
        light.frozen,
        light.state,
    )


def _sign_state(sign: TrafficSign) -> bytes:
    return _SIGN.pack(_name(sign.sign_id))


@lru_cache(maxsize=4096)  # of the towns' signals
def _name(sign_id: str) -> bytes:
    return sign_id.encode()


_STATES: dict[type[Actor], Callable[..., bytes]] = {
    Actor: _no_state,
    Vehicle: _vehicle_state,
    TrafficLight: _light_state,
    Walker: _walker_state,
    TrafficSign: _sign_state,
}  # the 54 bytes that depend on the kind of actor
_LASTING = (Actor, TrafficSign)  # have none, or the same for ever
