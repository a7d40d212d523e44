"""What lives in the world. CARLA's convention throughout: left-handed metres, degrees, m/s, deg/s."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np


class LightColor(IntEnum):
    """CARLA's TrafficLightState."""

    RED = 0
    YELLOW = 1
    GREEN = 2
    OFF = 3
    UNKNOWN = 4


@dataclass
class VehicleControl:
    """CARLA's VehicleControl: steer right positive."""

    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0
    hand_brake: bool = False
    reverse: bool = False
    manual_gear_shift: bool = False
    gear: int = 0


@dataclass
class WalkerControl:
    direction: tuple[float, float, float] = (1.0, 0.0, 0.0)
    speed: float = 0.0
    jump: bool = False


@dataclass(frozen=True)
class AckermannTarget:
    """CARLA's VehicleAckermannControl: rad (right positive), rad/s, m/s, m/s2, m/s3; zero rates are no limit."""

    steer: float = 0.0
    steer_speed: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    jerk: float = 0.0  # stored, without effect, as in CARLA


@dataclass(frozen=True)
class AckermannGains:
    """CARLA's AckermannControllerSettings, per tick."""

    speed_kp: float = 0.15
    speed_ki: float = 0.0
    speed_kd: float = 0.25
    accel_kp: float = 0.01
    accel_ki: float = 0.0
    accel_kd: float = 0.01


@dataclass(frozen=True)
class AckermannLoop:
    """What the two loops remember from tick to tick; replaced, never changed."""

    target: AckermannTarget
    angle: float = 0.0  # rad, of the wheels as commanded
    speed: float | None = None  # m/s, measured a tick ago
    acceleration: float = 0.0  # m/s2, smoothed
    speed_sum: float = 0.0
    wanted: float = 0.0  # m/s2
    trim_sum: float = 0.0
    trim: float = 0.0  # m/s2, added to what is wanted because the vehicle does not quite give it


MOTION_COLUMNS = 15  # of an actor's motion row: five vectors


def _zeros() -> np.ndarray:
    return np.zeros(3)


def _still() -> np.ndarray:
    return np.zeros(MOTION_COLUMNS)


def _vector(first: int) -> property:
    """Three columns of the motion row: read as a view of it, written into it."""
    columns = slice(first, first + 3)

    def read(actor: Actor) -> np.ndarray:
        return actor.motion[columns]

    def write(actor: Actor, value: Sequence[float]) -> None:
        actor.motion[columns] = value

    return property(read, write)


@dataclass(eq=False)
class Actor:
    """One living thing of the world; kinds: vehicle, walker, light, sign, sensor, other.

    All that moves lies in one row, so that whole worlds can be gathered at once; the row may be part of a larger array.
    """

    id: int
    type_id: str
    blueprint_uid: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    attribute_types: dict[str, int] = field(default_factory=dict)
    parent_id: int = 0
    attachment: int = 0
    relative: tuple[np.ndarray, np.ndarray] | None = None  # of an attached actor: location, rotation
    motion: np.ndarray = field(default_factory=_still)  # (MOTION_COLUMNS,): the five vectors below, in their order
    box_center: np.ndarray = field(default_factory=_zeros)  # m, local
    box_extent: np.ndarray = field(default_factory=_zeros)  # m, half sizes
    semantic_tags: bytes = b""
    stream_id: int = 0  # of a sensor; 0 = none
    simulate_physics: bool = True
    collides: bool = True
    has_gravity: bool = True
    color: tuple[int, int, int] = (128, 128, 128)
    light_state: int = 0  # VehicleLightState bits

    location = _vector(0)  # x, y, z m
    rotation = _vector(3)  # pitch, yaw, roll deg
    velocity = _vector(6)  # m/s, world
    angular_velocity = _vector(9)  # deg/s
    acceleration = _vector(12)  # m/s2, world

    def __deepcopy__(self, memo: dict[int, object]) -> Actor:
        """A clone with arrays of its own; attributes and physics are replaced, never changed, and stay shared."""
        clone = object.__new__(type(self))
        memo[id(self)] = clone
        for name, value in self.__dict__.items():
            clone.__dict__[name] = value.copy() if isinstance(value, np.ndarray) else value
        if self.relative is not None:
            clone.relative = tuple(part.copy() for part in self.relative)
        if isinstance(self, (Vehicle, Walker)):
            clone.control = copy.copy(self.control)
        return clone

    @property
    def kind(self) -> str:
        prefix = self.type_id.split(".", 2)
        if prefix[0] == "traffic":
            return "light" if prefix[1] == "traffic_light" else "sign"
        return prefix[0] if prefix[0] in ("vehicle", "walker", "sensor") else "other"


@dataclass(eq=False)
class Vehicle(Actor):
    control: VehicleControl = field(default_factory=VehicleControl)
    forward_speed: float = 0.0  # m/s along its heading, signed
    lateral_speed: float = 0.0  # m/s, right positive
    wheel_angle_deg: float = 0.0
    physics: dict = field(default_factory=dict)  # VehiclePhysicsControl fields by name
    speed_limit_kmh: float = 30.0
    at_light_id: int = 0  # the light whose trigger box the vehicle is in; 0 = none
    at_light_state: int = LightColor.GREEN
    autopilot: bool = False  # driven by the server's own traffic
    failure_state: int = 0
    airborne: bool = True  # not yet on its wheels
    constant_velocity: float | None = None  # m/s forward, held whatever the pedals say
    ackermann: AckermannLoop | None = None  # drives pedals and wheel until the next ordinary control
    ackermann_gains: AckermannGains = AckermannGains()


@dataclass(eq=False)
class Walker(Actor):
    control: WalkerControl = field(default_factory=WalkerControl)
    thrown: bool = False  # hit by a car, and still sliding
    walked_m: float = 0.0  # so far: which leg is in front
    carried: np.ndarray = field(default_factory=lambda: np.zeros(2))  # m, by a crowd's placing since the last tick


@dataclass(eq=False)
class TrafficSign(Actor):
    sign_id: str = ""  # OpenDRIVE signal id
    trigger_center: np.ndarray = field(default_factory=_zeros)  # local frame of the sign
    trigger_extent: np.ndarray = field(default_factory=_zeros)


@dataclass(eq=False)
class TrafficLight(TrafficSign):
    state: int = LightColor.RED
    green_time: float = 10.0
    yellow_time: float = 3.0
    red_time: float = 2.0
    elapsed_time: float = 0.0
    frozen: bool = False
    pole_index: int = 0
    group: int = 0  # junction-wide group number: all lights of one junction
    phase: int = 0  # which of the junction's phases (controllers) it belongs to
