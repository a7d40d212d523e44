"""What a driven route looks like on disk; a log is a training route.

    <route>/route.json            RouteMeta, counts and the outcome
    <route>/ticks.npz             one row a simulation step (20 Hz), columns TICK_COLUMNS
    <route>/plans.npz             one row a planning time, columns PLAN_COLUMNS
    <route>/camera_<id>/%06d.jpg  4 Hz, named by the tick they were taken at

World frame right-handed (``frames.py``), SI units, radians; steer is left positive.
No wall-clock time is stored: the same drive gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from autovla_core.contracts import PLAN_STEPS

SCHEMA = "autovla-route-log/2"
META_FILE, TICKS_FILE, PLANS_FILE = "route.json", "ticks.npz", "plans.npz"
JPEG_QUALITY = 90
TICK_S = 0.05


@dataclass(frozen=True)
class RouteMeta:
    """What is known before the first tick."""

    town: str
    route_id: str
    seed: int
    weather: Mapping[str, float] = field(default_factory=dict)  # carla.WeatherParameters fields by name
    rig: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # camera id -> CameraSpec fields by name
    vehicle: str = "vehicle.lincoln.mkz_2020"
    agent: str = "expert"
    tick_s: float = TICK_S


@dataclass(frozen=True)
class Tick:
    """State of the ego at one simulation step and the control it was given there."""

    time_s: float  # since the start of the episode
    x: float  # m, world, box centre
    y: float
    z: float
    yaw: float
    speed: float  # m/s, signed
    acceleration: float  # m/s2, longitudinal, signed
    yaw_rate: float  # rad/s, left positive
    steer: float = 0.0  # what was applied, including a perturbation
    throttle: float = 0.0
    brake: float = 0.0
    command: int = 4  # contracts.Command
    target_speed: float = 0.0  # m/s, what the driver aimed at
    perturbed: bool = False  # the control was disturbed on purpose


TICK_COLUMNS: dict[str, type] = {
    **{f.name: np.float64 for f in fields(Tick)},
    **{name: np.float32 for name in ("steer", "throttle", "brake", "target_speed")},
    "command": np.int8,
    "perturbed": np.bool_,
}

PLAN_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "time_s": (np.float64, ()),
    "tick": (np.int64, ()),
    "poses": (np.float32, (PLAN_STEPS, 3)),  # ego frame at that tick
    "speed": (np.float32, ()),
    "acceleration": (np.float32, ()),
    "command": (np.int8, ()),
    "rule": (np.int8, ()),  # index into contracts.RULES
    **{name: (np.float32, ()) for name in ("red_m", "green_m", "sign_m", "lead_m")},  # contracts.Outlook
}


def image_file(folder: Path, camera: str, tick: int) -> Path:
    """Where the image of ``camera`` taken at ``tick`` lies."""
    return folder / f"camera_{camera}" / f"{tick:06d}.jpg"
