"""CARLA's structs: world values to msgpack arrays and back. Field orders are those of 0.9.16.

Encoders take values that the world made and trust them. Decoders take what a stranger sent and
check it: each raises ``WireValueError`` naming the struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from autovla_core.minicarla.blueprints import AttributeType, Blueprint
from autovla_core.minicarla.wire import stream
from autovla_core.minicarla.world.actor import (
    AckermannGains,
    AckermannTarget,
    Actor,
    TrafficSign,
    VehicleControl,
    WalkerControl,
)
from autovla_core.minicarla.world.pose import rotation_matrix
from autovla_core.minicarla.world.weather import Weather

SETTINGS = (
    "synchronous_mode",
    "no_rendering_mode",
    "fixed_delta_seconds",
    "substepping",
    "max_substep_delta_time",
    "max_substeps",
    "max_culling_distance",
    "deterministic_ragdolls",
    "tile_stream_distance",
    "actor_active_distance",
    "spectator_as_ego",
)
PHYSICS = (
    "torque_curve",
    "max_rpm",
    "moi",
    "damping_rate_full_throttle",
    "damping_rate_zero_throttle_clutch_engaged",
    "damping_rate_zero_throttle_clutch_disengaged",
    "use_gear_autobox",
    "gear_switch_time",
    "clutch_strength",
    "final_ratio",
    "forward_gears",
    "mass",
    "drag_coefficient",
    "center_of_mass",
    "steering_curve",
    "wheels",
    "use_sweep_wheel_collision",
)
PHYSICS_NUMBERS = (
    *("max_rpm", "moi", "final_ratio", "drag_coefficient", "gear_switch_time", "clutch_strength"),
    *(name for name in PHYSICS if name.startswith("damping_rate")),
)
PHYSICS_FLAGS = ("use_gear_autobox", "use_sweep_wheel_collision")
GEAR = ("ratio", "down_ratio", "up_ratio")
WHEEL = (
    "tire_friction",
    "damping_rate",
    "max_steer_angle",
    "radius",
    "max_brake_torque",
    "max_handbrake_torque",
    "lat_stiff_max_load",
    "lat_stiff_value",
    "long_stiff_value",
)  # and the position, in world centimetres, which only travels to the client
NO_ROTATION = [0.0, 0.0, 0.0]
MOST_NUMBER = 1e30  # sums and squares of it stay finite, and it fits into the single precision of the streams
MOST_CURVE_POINTS = 1000
MOST_ATTRIBUTES, LONGEST_ATTRIBUTE = 500, 4096
GEARS = (-1, 20)
LOWEST_I32, HIGHEST_I32, HIGHEST_U32, HIGHEST_U8 = -(1 << 31), (1 << 31) - 1, (1 << 32) - 1, (1 << 8) - 1
LIGHTEST_KG = 1.0
SHORTEST_TICK_S, LONGEST_TICK_S = 1e-4, 10.0  # rates, per tick, must stay numbers
DELTA = "fixed_delta_seconds"
SETTING_KINDS = {
    "max_substeps": "integer",
    "synchronous_mode": "flag",
    "no_rendering_mode": "flag",
    "substepping": "flag",
}
SETTING_KINDS |= {"deterministic_ragdolls": "flag", "spectator_as_ego": "flag"}


class WireValueError(ValueError):
    """A client sent a struct that is not what its name says."""


@dataclass(frozen=True)
class Description:
    """What a client asks to spawn."""

    blueprint_uid: int
    type_id: str
    attributes: dict[str, str]
    attribute_types: dict[str, int]


@dataclass(frozen=True)
class Pose:
    """CARLA's Transform: location x, y, z m; rotation pitch, yaw, roll deg."""

    location: np.ndarray
    rotation: np.ndarray


# ------------------------------------------------------------------------------------- encoders


def numbers(values: Iterable[float]) -> list[float]:
    """Vector, Location or Rotation."""
    return [float(value) for value in values]


def pose(location: Iterable[float], rotation: Iterable[float]) -> list:
    """Transform."""
    return [numbers(location), numbers(rotation)]


def bounding_box(
    center: Iterable[float], extent: Iterable[float], rotation: Iterable[float] = NO_ROTATION, actor_id: int = 0
) -> list:
    """BoundingBox: centre, half sizes, rotation, actor."""
    return [numbers(center), numbers(extent), numbers(rotation), actor_id]


def actor(value: Actor, stream_port: int) -> list:
    """Actor, with the token of its stream if it has one."""
    types = value.attribute_types
    attributes = [[name, types.get(name, int(AttributeType.STRING)), v] for name, v in value.attributes.items()]
    return [
        value.id,
        value.parent_id,
        [value.blueprint_uid, value.type_id, attributes],
        _described_box(value),
        bytes(value.semantic_tags),
        stream.token(value.stream_id, stream_port) if value.stream_id else b"",
    ]


def _described_box(value: Actor) -> list:
    """The box in an actor's description; the client takes a sign's trigger volume from it, not from the RPC."""
    if isinstance(value, TrafficSign):
        return bounding_box(value.trigger_center, value.trigger_extent, actor_id=value.id)
    return bounding_box(value.box_center, value.box_extent, actor_id=value.id)


def scenery_actor(type_id: str) -> list:
    """The Actor that stands for a thing of the town in a collision: id 0."""
    return [0, 0, [0, type_id, []], bounding_box(NO_ROTATION, NO_ROTATION), b"", b""]


def definition(blueprint: Blueprint) -> list:
    """ActorDefinition."""
    attributes = [[a.id, a.type, a.value, list(a.recommended), a.modifiable, a.restrict] for a in blueprint.attributes]
    return [blueprint.uid, blueprint.id, blueprint.tags, attributes]


def weather(value: Weather) -> list[float]:
    """WeatherParameters."""
    return numbers(astuple(value))


def settings(value: Mapping[str, object]) -> list:
    """EpisodeSettings."""
    delta = value["fixed_delta_seconds"]
    encoded = dict(value, fixed_delta_seconds=[True, float(delta)] if delta else [False])
    return [encoded[name] for name in SETTINGS]


def physics(value: Mapping[str, object], location: np.ndarray, rotation: np.ndarray) -> list:
    """VehiclePhysicsControl from its fields by name; wheel positions turn from local to world centimetres."""
    matrix = rotation_matrix(rotation)
    wheels = [
        [*(wheel[name] for name in WHEEL), numbers(100.0 * location + matrix @ np.asarray(wheel["position"]))]
        for wheel in value["wheels"]
    ]
    gears = [[gear[name] for name in GEAR] for gear in value["forward_gears"]]
    encoded = dict(value, wheels=wheels, forward_gears=gears)
    return [encoded[name] for name in PHYSICS]


# ------------------------------------------------------------------------------------- decoders


def fields_of(value: object, count: int, what: str) -> Sequence:
    """The items of an array that has at least ``count`` of them."""
    if not isinstance(value, list) or len(value) < count:
        raise WireValueError(f"{what} needs an array of {count} fields; found {value!r:.60}")
    return value


def number(value: object, what: str) -> float:
    """A finite float of a size that something in a world can have."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -MOST_NUMBER <= value <= MOST_NUMBER:
        raise WireValueError(f"{what} must be a finite number; found {value!r:.60}")
    return float(value)


def integer(value: object, what: str, low: int = LOWEST_I32, high: int = HIGHEST_U32) -> int:
    """An int that is no bool, within ``low..high``: what is given back must fit into the field of every client."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireValueError(f"{what} must be an integer; found {value!r:.60}")
    if not low <= value <= high:
        raise WireValueError(f"{what} lies in {low}..{high}; found {value}")
    return value


def unsigned(value: object, what: str) -> int:
    """An int that fits into 32 bits without a sign."""
    return integer(value, what, 0)


def _signed(value: object, what: str) -> int:
    return integer(value, what, high=HIGHEST_I32)


def text(value: object, what: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise WireValueError(f"{what} must be a string; found {value!r:.60}")
    return value


def decode_vector(value: object, what: str = "Vector3D") -> np.ndarray:
    """(3,) from Vector3D, Location or Rotation."""
    return np.array([number(item, what) for item in fields_of(value, 3, what)[:3]])


def decode_pose(value: object) -> Pose:
    """Transform."""
    location, rotation = fields_of(value, 2, "Transform")[:2]
    return Pose(decode_vector(location, "Location"), decode_vector(rotation, "Rotation"))


def decode_description(value: object) -> Description:
    """ActorDescription."""
    uid, type_id, raw = fields_of(value, 3, "ActorDescription")[:3]
    attributes, types = {}, {}
    if len(fields_of(raw, 0, "attributes of an ActorDescription")) > MOST_ATTRIBUTES:
        raise WireValueError(f"an actor has at most {MOST_ATTRIBUTES} attributes; found {len(raw)}")
    for item in raw:
        name, kind, content = fields_of(item, 3, "ActorAttributeValue")[:3]
        attributes[_short(name, "attribute id")] = _short(content, f"attribute {name}")
        types[name] = integer(kind, f"type of attribute {name}", 0, HIGHEST_U8)
    return Description(unsigned(uid, "blueprint uid"), text(type_id, "blueprint id"), attributes, types)


def _short(value: object, what: str) -> str:
    if len(text(value, what)) > LONGEST_ATTRIBUTE:
        raise WireValueError(f"{what:.60} may have {LONGEST_ATTRIBUTE} characters; found {len(value)}")
    return value


def decode_vehicle_control(value: object) -> VehicleControl:
    """VehicleControl, clipped to the ranges CARLA allows."""
    throttle, steer, brake, hand_brake, reverse, manual, gear = fields_of(value, 7, "VehicleControl")[:7]
    return VehicleControl(
        throttle=_clip(throttle, 0.0, 1.0, "throttle"),
        steer=_clip(steer, -1.0, 1.0, "steer"),
        brake=_clip(brake, 0.0, 1.0, "brake"),
        hand_brake=bool(hand_brake),
        reverse=bool(reverse),
        manual_gear_shift=bool(manual),
        gear=min(max(integer(gear, "gear"), GEARS[0]), GEARS[1]),
    )


def _clip(value: object, low: float, high: float, what: str) -> float:
    return min(max(number(value, what), low), high)


def decode_ackermann(value: object) -> AckermannTarget:
    """VehicleAckermannControl."""
    return AckermannTarget(*_floats(value, len(fields(AckermannTarget)), "VehicleAckermannControl"))


def decode_ackermann_gains(value: object) -> AckermannGains:
    """AckermannControllerSettings."""
    return AckermannGains(*_floats(value, len(fields(AckermannGains)), "AckermannControllerSettings"))


def _floats(value: object, count: int, what: str) -> list[float]:
    return [number(item, what) for item in fields_of(value, count, what)[:count]]


def decode_walker_control(value: object) -> WalkerControl:
    """WalkerControl."""
    direction, speed, jump = fields_of(value, 3, "WalkerControl")[:3]
    x, y, z = decode_vector(direction, "direction of WalkerControl")
    return WalkerControl((float(x), float(y), float(z)), number(speed, "speed of WalkerControl"), bool(jump))


def decode_weather(value: object) -> Weather:
    """WeatherParameters."""
    count = len(fields(Weather))
    return Weather(
        *(number(item, "WeatherParameters") for item in fields_of(value, count, "WeatherParameters")[:count])
    )


def decode_settings(value: object) -> dict[str, object]:
    """EpisodeSettings by name; ``fixed_delta_seconds`` is None when unset or zero."""
    decoded = dict(zip(SETTINGS, fields_of(value, len(SETTINGS), "EpisodeSettings")))
    delta = optional(decoded["fixed_delta_seconds"], "fixed_delta_seconds")
    seconds = None if delta is None else number(delta, "fixed_delta_seconds")
    if seconds and not SHORTEST_TICK_S <= seconds <= LONGEST_TICK_S:
        raise WireValueError(
            f"fixed_delta_seconds must lie in 0..10 s, {SHORTEST_TICK_S} at least if not 0; found {seconds}"
        )
    checks = {"integer": _signed, "flag": _flag}
    checked = {n: checks.get(SETTING_KINDS.get(n, ""), number)(v, n) for n, v in decoded.items() if n != DELTA}
    return {**decoded, **checked, DELTA: seconds or None}


def _flag(value: object, what: str) -> bool:
    """A bool, or the number that stands for one."""
    if not isinstance(value, (bool, int)):
        raise WireValueError(f"{what} must be true or false; found {value!r:.60}")
    return bool(value)


def decode_physics(value: object) -> dict[str, object]:
    """VehiclePhysicsControl by name, without the wheels' positions: those are the vehicle's own."""
    decoded = dict(zip(PHYSICS, fields_of(value, len(PHYSICS), "VehiclePhysicsControl")))
    if number(decoded["mass"], "mass") < LIGHTEST_KG:
        raise WireValueError(f"mass must be positive, at least {LIGHTEST_KG} kg; found {decoded['mass']}")
    for name in PHYSICS_NUMBERS:
        decoded[name] = number(decoded[name], name)
    for name in PHYSICS_FLAGS:
        decoded[name] = _flag(decoded[name], name)
    for name in ("torque_curve", "steering_curve"):
        points = _few(fields_of(decoded[name], 1, name), name)
        decoded[name] = [[number(item, name) for item in fields_of(point, 2, name)[:2]] for point in points]
    decoded["center_of_mass"] = numbers(decode_vector(decoded["center_of_mass"], "center_of_mass"))
    gears = _few(fields_of(decoded["forward_gears"], 0, "gears"), "gears")
    decoded["forward_gears"] = [_named(GEAR, gear, "gear") for gear in gears]
    decoded["wheels"] = [_named(WHEEL, wheel, "wheel") for wheel in fields_of(decoded["wheels"], 1, "wheels")]
    return decoded


def _few(items: Sequence, what: str) -> Sequence:
    if len(items) > MOST_CURVE_POINTS:
        raise WireValueError(f"{what} may have {MOST_CURVE_POINTS} entries; found {len(items)}")
    return items


def _named(names: Sequence[str], value: object, what: str) -> dict[str, float]:
    found = fields_of(value, len(names), what)
    return {name: number(item, f"{name} of a {what}") for name, item in zip(names, found)}


def optional(value: object, what: str) -> object | None:
    """The content of an optional, or None."""
    present, *content = fields_of(value, 1, what)
    if not present:
        return None
    return fields_of(content, 1, what)[0]


def variant(value: object, what: str) -> tuple[int, Sequence]:
    """(index, fields) of a command: an array that holds one variant."""
    index, content = fields_of(fields_of(value, 1, what)[0], 2, what)[:2]
    return integer(index, f"index of {what}"), fields_of(content, 0, what)
