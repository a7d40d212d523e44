"""One tick of a recording: who was born, who died, where everybody is, what the lights show, who touched whom.

Positions travel in single precision: within a tenth of a millimetre up to a kilometre from the origin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autovla_core.minicarla.recorder.log_file import RecordingError
from autovla_core.minicarla.world.actor import Actor, Vehicle, VehicleControl, Walker
from autovla_core.minicarla.world.world import World

# Columns of a state row: CARLA's frame, m, deg, m/s, deg/s, m/s2; vehicles use the rest, walkers the last one.
PLACE, TURN, MOTION, SPIN, PUSH = (slice(start, start + 3) for start in range(0, 15, 3))
FORWARD, LATERAL, WHEEL, THROTTLE, STEER, BRAKE, HAND, REVERSE, GEAR, LIGHTS, PACE = range(15, 26)
COLUMNS = 26
RECORDED = ("vehicle.", "walker.", "static.")


@dataclass(frozen=True)
class Birth:
    """What it takes to bring an actor to life again."""

    id: int
    type_id: str
    attributes: dict[str, str]


@dataclass(frozen=True, eq=False)
class Frame:
    """A tick as recorded."""

    number: int
    time_s: float  # since the start of the recording
    births: tuple[Birth, ...]
    deaths: tuple[int, ...]
    ids: np.ndarray  # (n,) uint32
    states: np.ndarray  # (n, COLUMNS) float32
    light_states: bytes  # one a light, in order of their ids
    contacts: tuple[tuple[int, int, str, float], ...]  # actor, other (0: scenery), its type, impulse N s


def is_recorded(actor: Actor) -> bool:
    """Vehicles, walkers and props; sensors and what is attached stay outside."""
    return actor.type_id.startswith(RECORDED) and not actor.parent_id


def take(world: World, started_s: float, known: Collection[int]) -> Frame:
    """Read a frame off a world; ``known`` are the ids of the frame before."""
    actors = [actor for actor in world.actors.values() if is_recorded(actor)]
    ids = {actor.id for actor in actors}
    births = tuple(Birth(a.id, a.type_id, dict(a.attributes)) for a in actors if a.id not in known)
    rows = np.array([_row(actor) for actor in actors], np.float32).reshape(-1, COLUMNS)
    contacts = tuple((c.actor_id, c.other_id, c.other_type_id, float(np.hypot(*c.impulse[:2]))) for c in world.contacts)
    return Frame(
        number=world.frame,
        time_s=world.time - started_s,
        births=births,
        deaths=tuple(sorted(set(known) - ids)),
        ids=np.array([actor.id for actor in actors], np.uint32),
        states=rows,
        light_states=bytes(int(light.state) for light in world.lights()),
        contacts=contacts,
    )


def pack(frame: Frame) -> list:
    """The frame as plain values for a chunk."""
    births = [[birth.id, birth.type_id, birth.attributes] for birth in frame.births]
    arrays = [frame.ids.astype("<u4").tobytes(), frame.states.astype("<f4").tobytes(), frame.light_states]
    return [frame.number, frame.time_s, births, list(frame.deaths), *arrays, [list(c) for c in frame.contacts]]


def unpack(value: object) -> Frame:
    """The frame of a chunk.

    Raises:
        RecordingError: the chunk holds something else.
    """
    try:
        number, time_s, births, deaths, ids, states, lights, contacts = value
        rows = np.frombuffer(states, "<f4").reshape(-1, COLUMNS)
        frame = Frame(
            int(number),
            float(time_s),
            tuple(Birth(int(i), str(type_id), dict(attributes)) for i, type_id, attributes in births),
            tuple(int(i) for i in deaths),
            np.frombuffer(ids, "<u4"),
            rows,
            bytes(lights),
            tuple((int(a), int(b), str(kind), float(impulse)) for a, b, kind, impulse in contacts),
        )
    except (TypeError, ValueError) as error:
        raise RecordingError(f"a frame of the recording is damaged: {error}") from error
    if len(frame.ids) != len(rows) or not np.isfinite(rows).all():
        raise RecordingError(f"frame {frame.number} of the recording has {len(frame.ids)} ids and {len(rows)} states")
    return frame


def _row(actor: Actor) -> list[float]:
    row = [*actor.location, *actor.rotation, *actor.velocity, *actor.angular_velocity, *actor.acceleration]
    row += [0.0] * (COLUMNS - len(row))
    if isinstance(actor, Vehicle):
        c = actor.control
        row[FORWARD:LIGHTS] = actor.forward_speed, actor.lateral_speed, actor.wheel_angle_deg, *_pedals(c), c.gear
        row[LIGHTS] = actor.light_state
    elif isinstance(actor, Walker):
        row[PACE] = actor.control.speed
    return row


def _pedals(control: VehicleControl) -> tuple[float, ...]:
    return control.throttle, control.steer, control.brake, float(control.hand_brake), float(control.reverse)


def between(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """The state row between two; everything but place and turn is that of the earlier one."""
    row = before.copy()
    row[PLACE] += share * (after[PLACE] - before[PLACE])
    row[TURN] += share * ((after[TURN] - before[TURN] + 180.0) % 360.0 - 180.0)
    return row


def put(actor: Actor, row: np.ndarray) -> None:
    """Give an actor a recorded state."""
    values = row.astype(float)
    if isinstance(actor, Walker):
        actor.carried += values[PLACE][:2] - actor.location[:2]
        actor.control.speed = float(values[PACE])
    actor.location[:], actor.rotation[:] = values[PLACE], values[TURN]
    if not isinstance(actor, Walker):  # a walker's velocity follows from its way
        actor.velocity[:], actor.acceleration[:] = values[MOTION], values[PUSH]
        actor.angular_velocity[:] = values[SPIN]
    if isinstance(actor, Vehicle):
        _put_vehicle(actor, values)


def _put_vehicle(vehicle: Vehicle, row: np.ndarray) -> None:
    vehicle.forward_speed, vehicle.lateral_speed, vehicle.wheel_angle_deg = row[FORWARD : WHEEL + 1].tolist()
    throttle, steer, brake, hand, reverse, gear = row[THROTTLE:LIGHTS].tolist()
    vehicle.control = VehicleControl(throttle, steer, brake, hand > 0.5, reverse > 0.5, False, int(gear))
    vehicle.light_state, vehicle.airborne = int(row[LIGHTS]), False


def kind_of(type_id: str, role: str = "") -> str:
    """The letter of CARLA's collision query: hero, vehicle, walker, traffic light, other."""
    if role == "hero":
        return "h"
    starts: Sequence[tuple[str, str]] = (("vehicle.", "v"), ("walker.", "w"), ("traffic.traffic_light", "t"))
    return next((letter for start, letter in starts if type_id.startswith(start)), "o")


def frames_of(chunks: Iterable[object]) -> Iterable[Frame]:
    """The frames of what a reader yields after its header."""
    return (unpack(chunk) for chunk in chunks)
