"""What a town is made of, as plain values. CARLA's frame: x forward, y right, z up, metres, degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core.errors import AutoVLAError


class TownError(AutoVLAError, ValueError):
    """A town is unknown, or its OpenDRIVE text cannot be driven on."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One driving lane of one lane section, or of one connecting road, in its DRIVING direction."""

    index: int
    road_id: int
    section_id: int
    lane_id: int
    points: np.ndarray  # (N, 3) centre line, at most 1.0 m apart
    yaw_deg: np.ndarray  # (N,)
    s: np.ndarray  # (N,) cumulative length from the lane's start
    width: float  # mean, m
    speed_limit_kmh: float
    junction_id: int  # -1 outside junctions
    turn: str  # "" outside junctions, else "straight", "left", "right"
    successors: tuple[int, ...]
    left: int  # same-direction neighbour that may be entered from here; -1 none
    right: int
    light_id: str  # OpenDRIVE id of the traffic light at the lane's end; "" none
    stop_id: str  # OpenDRIVE id of the stop or yield sign at the lane's end; "" none
    conflicts: tuple[int, ...]  # of a junction lane: lanes whose centre lines cross it or merge into it


@dataclass(frozen=True, eq=False)
class Signal:
    """A traffic light or a sign. ``yaw_deg``: local x runs across the approach lanes, to the right of the
    driving direction, local y against the driving direction."""

    id: str
    kind: str  # traffic_light | stop | yield | speed_limit
    value: float  # km/h of a speed limit, else 0
    location: np.ndarray  # (3,) foot of the post
    yaw_deg: float
    trigger_center: np.ndarray  # (3,) in the local frame, before the stop line
    trigger_extent: np.ndarray  # (3,) half sizes
    heads: tuple[tuple[np.ndarray, float], ...]  # lights: (centre of the back plate, yaw that the lamps face)
    lanes: tuple[int, ...]  # indices of the lanes that it governs
    junction_id: int  # of a light, stop or yield; -1 for a speed limit
    phase: int  # number of its controller within the junction
    beside_m: float = 0.0  # parking, bicycle lane or wide shoulder between the lanes and the post


@dataclass(frozen=True, eq=False)
class Solid:
    """A box that stops cars."""

    center: np.ndarray  # (3,)
    half_extent: np.ndarray  # (3,)
    yaw_deg: float
    tag: int  # mesh.Tag
    type_id: str  # static.building, static.pole, static.tree, static.wall
