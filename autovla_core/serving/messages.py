"""What the messages mean: observations and plans as fields and arrays, and the way back, checked.

The bytes are ``client.py``'s, which also writes observations and reads plans; here is the server's half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from autovla_core import errors
from autovla_core.contracts import Clip, Command, Control, Observation, Plan
from autovla_core.errors import AutoVLAError, ObservationError
from autovla_core.sensing.rig import GNSS, IMU, SPEED
from autovla_core.serving.client import Message

MOTION_SENSORS = {GNSS: (3,), IMU: (7,)}
LONGEST_TEXT = 20_000  # characters of an instruction
MOST_CAMERAS = 8
ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, AutoVLAError)
}


class MessageError(AutoVLAError):
    """A message lacks a field or an array, or holds one of another type or shape."""


@dataclass(frozen=True)
class DriveStart:
    """A route as CARLA gives it."""

    carla_poses: np.ndarray  # (N, 3) x, y in metres, yaw in degrees
    commands: np.ndarray  # (N,)
    resumed: bool  # the ego is somewhere on it already


@dataclass(frozen=True)
class DriveTick:
    """One tick's sensors of an agent that the server drives for: ``input_data`` as the leaderboard gives it."""

    time_s: float
    input_data: Mapping[str, tuple[int, object]]


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {  # what each field of a request must be
    "time_s": (lambda v: _number(v) and math.isfinite(v), "a finite number of seconds"),
    "speed": (_number, "a number"),
    "acceleration": (_number, "a number"),
    "command": (lambda v: type(v) is int and v in set(Command), f"one of {[int(c) for c in Command]}"),
    "instruction": (
        lambda v: v is None or (isinstance(v, str) and len(v) <= LONGEST_TEXT),
        f"nothing or text of at most {LONGEST_TEXT} characters",
    ),
    "resumed": (lambda v: isinstance(v, bool), "true or false"),
    "cameras": (
        lambda v: isinstance(v, list) and len(v) <= MOST_CAMERAS and all(isinstance(c, str) for c in v),
        f"a list of at most {MOST_CAMERAS} camera ids",
    ),
}


def read_observation(message: Message) -> Observation:
    """The observation of a ``plan`` message; what the images and numbers are worth the planner says.

    Raises:
        MessageError: a field or an array is missing or malformed.
        ObservationError: images are not uint8.
    """
    value = {name: _field(message, name) for name in FIELDS if name != "resumed"}
    clips = {}
    for camera in value["cameras"]:
        images = _array(message, f"images.{camera}", None)
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ObservationError(
                f"images of {camera!r} are {images.dtype} {images.shape}; expected uint8 (4, H, W, 3)"
            )
        clips[camera] = Clip(images, _array(message, f"times.{camera}", (len(images),)).astype(float))
    return Observation(
        time_s=float(value["time_s"]),
        clips=clips,
        speed=float(value["speed"]),
        acceleration=float(value["acceleration"]),
        pose=_array(message, "pose", (3,)).astype(float),
        command=Command(value["command"]),
        route=_array(message, "route", (-1, 2)).astype(float),
        instruction=value["instruction"],
    )


def write_plan(id: int, plan: Plan) -> Message:
    """The answer to a ``plan`` message."""
    fields = {
        "observed_at_s": float(plan.observed_at_s),
        "ready_at_s": float(plan.ready_at_s),
        "thought": plan.thought,
        "mode": plan.mode.value,
        "timings_ms": {name: float(value) for name, value in plan.timings_ms.items()},
        "thinking_tokens": int(plan.thinking_tokens),
        "forced": plan.forced,
    }
    arrays = {"poses": np.asarray(plan.poses, np.float64)}
    if plan.tokens is not None:
        arrays["tokens"] = np.asarray(plan.tokens, np.int64)
    if plan.log_probs is not None:
        arrays["log_probs"] = np.asarray(plan.log_probs, np.float64)
    return Message("result", id, fields, arrays)


def read_start(message: Message) -> DriveStart:
    """The route of a ``start_drive`` message."""
    poses = _array(message, "carla_poses", (-1, 3)).astype(float)
    commands = _array(message, "commands", (len(poses),)).astype(np.int64)
    return DriveStart(poses, commands, bool(_field(message, "resumed")))


def read_tick(message: Message) -> DriveTick:
    """The sensors of a ``drive`` message; images are whatever other arrays it holds."""
    time_s, speed = float(_field(message, "time_s")), float(_field(message, "speed"))
    for name, shape in MOTION_SENSORS.items():
        _array(message, name, shape)
    sensors: dict[str, tuple[int, object]] = {name: (0, array) for name, array in message.arrays.items()}
    return DriveTick(time_s, {**sensors, SPEED: (0, {"speed": speed})})


def write_control(id: int, control: Control) -> Message:
    """The answer to a ``drive`` message."""
    floats = {name: float(getattr(control, name)) for name in ("steer", "throttle", "brake")}
    return Message("result", id, {**floats, "reverse": bool(control.reverse)})


def write_error(id: int, error: Exception) -> Message:
    """The answer that an error is; the client raises it under the same name."""
    return Message("error", id, {"name": type(error).__name__, "text": str(error)[:4000]})


def named_error(name: str, text: str) -> AutoVLAError:
    """The error that a server reported, as the class of that name; one it does not know keeps its name in the text."""
    kind = ERRORS.get(name)
    return kind(text) if kind is not None else AutoVLAError(f"{name}: {text}")


def _field(message: Message, name: str) -> object:
    good, expected = FIELDS[name]
    value = message.fields.get(name)
    if not good(value):
        raise MessageError(f"{message.kind}: {name} is {str(value)[:80]!r}, expected {expected}")
    return value


def _array(message: Message, name: str, shape: tuple[int, ...] | None) -> np.ndarray:
    array = message.arrays.get(name)
    if array is None:
        raise MessageError(f"{message.kind}: no array {name!r}; the message holds {sorted(message.arrays)}")
    if shape is not None and (array.ndim != len(shape) or any(n not in (-1, m) for n, m in zip(shape, array.shape))):
        raise MessageError(f"{message.kind}: {name!r} is {array.shape}, expected {shape} (-1: any)")
    return array
