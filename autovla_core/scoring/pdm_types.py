"""The values that go into a PDM score and come out of it.

World frame right-handed, metres, radians, seconds. Every ego pose is that of the **rear axle**,
as in nuPlan; ``VehicleShape`` says where the box lies around it. A plan is given in the ego's
rear-axle frame at time 0. Nothing here knows a simulator, a file or a data set.

Two scores exist, ``Version.V1`` (PDMS of NAVSIM v1.1) and ``Version.V2`` (EPDMS of NAVSIM v2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np

from autovla_core.errors import AutoVLAError

GRID_S = 0.1  # of the simulated states
GRID_STEPS = 40  # 4 s are scored
TRACK_PERIOD_S = 0.5  # of tracks and lights, as NAVSIM annotates them


class ScoringError(AutoVLAError):
    """A scene or a plan cannot be scored."""


class Version(str, Enum):
    """Which rules score."""

    V1 = "pdms"
    V2 = "epdms"


class AreaKind(IntEnum):
    """What a map polygon is; the names are nuPlan's layers."""

    LANE = 0
    LANE_CONNECTOR = 1  # a lane inside a junction
    ROADBLOCK = 2  # all lanes of one direction, outside junctions
    INTERSECTION = 3
    DRIVABLE_AREA = 4
    CARPARK_AREA = 5
    ROADBLOCK_CONNECTOR = 6  # counts for nothing: its lanes and the intersection do


class TrackKind(IntEnum):
    """What moves or stands there; the first three are agents, the rest static objects."""

    VEHICLE = 0
    PEDESTRIAN = 1
    BICYCLE = 2
    CZONE_SIGN = 3
    BARRIER = 4
    TRAFFIC_CONE = 5
    GENERIC_OBJECT = 6


AGENTS = frozenset({TrackKind.VEHICLE, TrackKind.PEDESTRIAN, TrackKind.BICYCLE})


@dataclass(frozen=True)
class VehicleShape:
    """The ego's box around its rear axle, and its wheel base; the default is nuPlan's Pacifica."""

    half_width: float = 1.1485
    rear_axle_to_front: float = 4.049
    rear_axle_to_rear: float = 1.127
    wheel_base: float = 3.089

    @property
    def rear_axle_to_center(self) -> float:
        """Metres from the rear axle forward to the middle of the box."""
        return (self.rear_axle_to_front - self.rear_axle_to_rear) / 2.0


PACIFICA = VehicleShape()


@dataclass(frozen=True)
class EgoState:
    """The ego at one instant."""

    pose: np.ndarray  # (3,) x, y, yaw: world, rear axle
    vx: float  # m/s, ego frame
    vy: float = 0.0
    ax: float = 0.0  # m/s2, ego frame
    ay: float = 0.0
    steering_angle: float = 0.0  # rad, of the tyres, left positive; NAVSIM logs have none
    yaw_rate: float = 0.0  # rad/s; NAVSIM logs have none


@dataclass(frozen=True)
class PosePlan:
    """Where the rear axle wants to be at ``period_s``, 2 ``period_s`` ... after now, in the ego frame of now."""

    poses: np.ndarray  # (N, 3) x, y, yaw
    period_s: float = 0.5


@dataclass(frozen=True)
class MapArea:
    """One map polygon."""

    id: str
    kind: AreaKind
    polygon: np.ndarray  # (N, 2) outer ring, closed or not
    baseline: np.ndarray | None = None  # (M, 3) x, y, yaw along a lane; only the reference planner asks for it
    speed_limit: float | None = None  # m/s
    holes: tuple[np.ndarray, ...] = ()  # (N, 2) each


@dataclass(frozen=True)
class Track:
    """One other road user or object: where it is, every ``TRACK_PERIOD_S`` from time 0."""

    id: str
    kind: TrackKind
    length: float
    width: float
    states: np.ndarray  # (K, 5) x, y, yaw, vx, vy of the box centre, world; a row of NaN where it was not seen


@dataclass(frozen=True)
class PreviousFrame:
    """The frame 0.5 s earlier and what was planned there; extended comfort compares the two plans."""

    ego: EgoState
    plan: PosePlan


@dataclass(frozen=True)
class PdmScene:
    """All that scoring one frame needs.

    ``reference`` fills the denominator of ego progress. None: the PDM-Closed planner is run on the
    scene, as the benchmark does. Else the poses that another reference (a logged expert) drives.
    """

    ego: EgoState
    areas: tuple[MapArea, ...]
    route_lane_ids: tuple[str, ...]  # lanes and lane connectors of the route, in its order
    centerline: np.ndarray  # (M, 3) x, y, yaw
    tracks: tuple[Track, ...] = ()
    red_lights: Mapping[str, np.ndarray] = field(default_factory=dict)  # lane connector id -> (K,) bool: red
    vehicle: VehicleShape = PACIFICA
    reference: PosePlan | None = None
    history: np.ndarray | None = None  # (H, 8) t < 0, x, y, yaw, vx, vy, ax, ay of the past 1.5 s; V2 only
    previous: PreviousFrame | None = None  # V2 only
    human: PosePlan | None = None  # V2 only: what the human did, for the human filter


@dataclass(frozen=True)
class PdmScores:
    """Sub-scores of P plans of one scene, each (P,) float in [0, 1]; NaN where the version has no such term."""

    version: Version
    no_at_fault_collisions: np.ndarray
    drivable_area_compliance: np.ndarray
    driving_direction_compliance: np.ndarray  # V1: reported, weight 0
    traffic_light_compliance: np.ndarray  # V2
    ego_progress: np.ndarray
    time_to_collision_within_bound: np.ndarray
    comfort: np.ndarray  # V1: comfort; V2: history comfort
    lane_keeping: np.ndarray  # V2
    extended_comfort: np.ndarray  # V2, NaN without a previous frame
    unfiltered_score: np.ndarray  # V2: before the human filter and without extended comfort; V1: the score
    score: np.ndarray
    progress_m: np.ndarray  # along the centreline, of each plan
    reference_progress_m: float
    collision_time_s: np.ndarray  # of the first at-fault collision, inf: none
    ttc_time_s: np.ndarray  # of the first time-to-collision fault, inf: none
    states: np.ndarray  # (P, 41, 11) what was simulated, columns ``STATE_COLUMNS``


STATE_COLUMNS = ("x", "y", "yaw", "vx", "vy", "ax", "ay", "steering_angle", "steering_rate", "yaw_rate", "yaw_acc")
