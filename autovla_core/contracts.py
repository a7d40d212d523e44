"""The values that travel between the rooms.

Frames: ego frame x forward, y left, yaw counter-clockwise, origin at the vehicle's box centre on
the ground; world frame right-handed (``frames.py``). SI units and radians everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol

import numpy as np

PLAN_STEPS = 10
STEP_S = 0.5
CLIP_IMAGES = 4
CLIP_PERIOD_S = 0.5


class Command(IntEnum):
    """What the route asks for; the numbers are CARLA's RoadOption."""

    VOID = -1
    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3
    FOLLOW = 4
    CHANGE_LEFT = 5
    CHANGE_RIGHT = 6


class Mode(str, Enum):
    """How the planner thought."""

    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True)
class Clip:
    """The last four images of one camera, oldest first, and their simulation times."""

    images: np.ndarray  # (4, H, W, 3) uint8 RGB
    times_s: np.ndarray  # (4,)


@dataclass(frozen=True)
class Observation:
    """All that a planner may see."""

    time_s: float
    clips: Mapping[str, Clip]  # by camera id
    speed: float  # m/s, signed: negative when reversing
    acceleration: float  # m/s2, longitudinal, signed
    pose: np.ndarray  # (3,) x, y, yaw: own estimate of world_from_ego
    command: Command
    route: np.ndarray  # (N, 2) m: points ahead, ego frame
    instruction: str | None = None


@dataclass(frozen=True)
class Plan:
    """Where the ego wants to be at 0.5, 1.0 ... 5.0 s after ``observed_at_s``."""

    poses: np.ndarray  # (10, 3) x, y, yaw in the ego frame at observed_at_s
    observed_at_s: float
    ready_at_s: float
    tokens: np.ndarray | None = None  # (10,) indices into the codebook
    thought: str = ""
    mode: Mode = Mode.FAST
    log_probs: np.ndarray | None = None  # (10,)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    thinking_tokens: int = 0  # of the thought
    forced: str = ""  # "limit" or "deadline": why the answer came before the thought had ended


@dataclass(frozen=True)
class Control:
    """What the actuators get."""

    steer: float = 0.0  # [-1, 1], left positive
    throttle: float = 0.0  # [0, 1]
    brake: float = 0.0  # [0, 1]
    reverse: bool = False


FULL_BRAKE = Control(brake=1.0)


class Planner(Protocol):
    """Anything that turns an observation into a plan: in process or behind a socket."""

    def plan(self, observation: Observation) -> Plan:
        """Raise an ``AutoVLAError`` when no valid plan can be made."""
        ...

    def reset(self) -> None:
        """Forget the last episode."""
        ...


@dataclass(frozen=True)
class Actor:
    """Another road user, as only the expert and the scorer may see it."""

    id: int
    kind: str  # vehicle, bicycle, walker, static
    pose: np.ndarray  # (3,) world
    speed: float  # m/s along its heading, signed
    length: float  # m
    width: float  # m
    type_id: str = ""  # the simulator's blueprint name


class LightState(Enum):
    RED = "red"
    YELLOW = "yellow"
    GREEN = "green"
    OFF = "off"


@dataclass(frozen=True)
class StopLine:
    """A place on the route where a light or a sign may ask the ego to stop."""

    id: int
    kind: str  # light, stop
    route_s: float  # m along the route, of the line
    state: LightState = LightState.OFF  # of a light


@dataclass(frozen=True)
class Scene:
    """What only the expert and the scorer may see, at one instant."""

    time_s: float
    pose: np.ndarray  # (3,) world
    speed: float
    acceleration: float
    length: float
    width: float
    speed_limit: float  # m/s
    actors: tuple[Actor, ...]
    stop_lines: tuple[StopLine, ...]  # on the ego's route, ahead


RULES = ("", "cruise", "curve", "lead", "light", "stop_sign", "conflict", "end")  # that may bind the speed; "": unknown


@dataclass(frozen=True)
class Outlook:
    """What lies ahead on the route, as only the expert knows it: metres from the front bumper, inf = nothing near."""

    rule: str = ""  # of ``RULES``: what binds the speed most
    red_m: float = math.inf  # to the line of a light that is red or yellow
    green_m: float = math.inf  # to the line of one that is green
    sign_m: float = math.inf  # to the line of a stop sign that was not obeyed yet
    lead_m: float = math.inf  # to the rear of what drives or stands ahead in the corridor
