"""Execute a plan at 20 Hz: poses every 0.5 s in, steer, throttle and brake out."""

from __future__ import annotations

import copy
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import FULL_BRAKE, PLAN_STEPS, STEP_S, Control, Plan
from autovla_core.control import lateral
from autovla_core.control.lateral import LateralConfig
from autovla_core.control.longitudinal import LongitudinalConfig, LongitudinalController
from autovla_core.control.way import AFTER_S, Way, way_along

_KNOTS_S = np.arange(PLAN_STEPS + 1) * STEP_S
_MIDDLES_S = _KNOTS_S[:-1] + STEP_S / 2
_HISTORY_TICKS = 400


@dataclass(frozen=True)
class TrackerConfig:
    """How a plan is turned into controls."""

    lateral: LateralConfig = field(default_factory=LateralConfig)
    longitudinal: LongitudinalConfig = field(default_factory=LongitudinalConfig)
    speed_preview_s: float = 0.1
    position_gain: float = 0.4  # m/s per metre behind the plan
    stand_speed: float = 0.12  # m/s: a plan slower than this stands
    shortest_path: float = 1.5  # m: a shorter plan keeps the last path for steering
    steer_rate: float = 6.0  # 1/s


class Odometry:
    """Dead-reckoned poses (x, y, yaw) from speed and yaw rate, in the frame of the first tick."""

    def __init__(self) -> None:
        self.pose = np.zeros(3)
        self._history: deque[tuple[float, np.ndarray]] = deque(maxlen=_HISTORY_TICKS)
        self._last: tuple[float, float, float] | None = None

    def update(self, time_s: float, speed: float, yaw_rate: float) -> float:
        """Advance to ``time_s``; return the seconds since the last call (0 at the first)."""
        dt = 0.0
        if self._last is not None:
            last_time, last_speed, last_rate = self._last
            dt = max(time_s - last_time, 0.0)
            rate = 0.5 * (yaw_rate + last_rate)
            turn = np.array([0.0, 0.0, 0.5 * rate * dt])
            # The box centre lies ahead of the rear axle, so turning moves it sideways.
            move = np.array([0.5 * (speed + last_speed) * dt, lateral.REAR_AXLE_M * rate * dt, 0.0])
            self.pose = geometry.compose(geometry.compose(geometry.compose(self.pose, turn), move), turn)
        self._last = (time_s, speed, yaw_rate)
        self._history.append((time_s, self.pose))
        return dt

    def pose_at(self, time_s: float) -> np.ndarray:
        """The pose (3,) at an earlier time; the nearest one kept."""
        return min(self._history, key=lambda entry: abs(entry[0] - time_s))[1]


@dataclass(frozen=True)
class PlanPath:
    """A plan as a curve to steer along and a speed over time."""

    points: np.ndarray  # (N, 2) odometry frame, extended straight beyond the last pose
    s: np.ndarray  # (N,)
    travelled: np.ndarray  # (11,) m along the plan at 0, 0.5 ... 5 s
    speeds: np.ndarray  # (10,) m/s at 0.25, 0.75 ... 4.75 s

    @property
    def length(self) -> float:
        """Metres that the plan covers, without the extension."""
        return float(self.travelled[-1])

    @property
    def comes_to_rest(self) -> bool:
        """Whether the plan ends standing."""
        return bool(self.speeds[-1] < 0.1)

    def speed_at(self, seconds: float) -> float:
        """Speed (m/s) at seconds after the plan was observed; 0 once it has run out."""
        if seconds > _KNOTS_S[-1] + STEP_S:
            return 0.0
        if seconds < _MIDDLES_S[0]:
            slope = (self.speeds[1] - self.speeds[0]) / STEP_S
            return float(max(self.speeds[0] + slope * (seconds - _MIDDLES_S[0]), 0.0))
        return float(np.interp(seconds, _MIDDLES_S, self.speeds))

    def acceleration_at(self, seconds: float) -> float:
        """m/s2, over the half second around (at the plan's start: after) that time."""
        begin = seconds if seconds < STEP_S / 2 else seconds - STEP_S / 2
        return (self.speed_at(begin + STEP_S) - self.speed_at(begin)) / STEP_S

    def progress_at(self, seconds: float) -> float:
        """Metres (m) along the plan at seconds after it was observed."""
        return float(np.interp(seconds, _KNOTS_S, self.travelled))


def build_path(poses: np.ndarray, odometry_from_plan: np.ndarray) -> PlanPath:
    """Lay a smooth curve through the plan's poses (10, 3), in the odometry frame."""
    knots = np.vstack([np.zeros(3), poses])
    travelled = geometry.arc_length(knots)
    keep = [0]
    for index in range(1, len(knots)):
        if travelled[index] - travelled[keep[-1]] > 0.2:
            keep.append(index)
    curve = _smooth_curve(knots[keep, :2]) if len(keep) > 2 else knots[keep, :2]
    yaw = math.atan2(*(curve[-1] - curve[-2])[::-1]) if len(curve) > 1 else float(knots[-1, 2])
    beyond = curve[-1] + np.linspace(0.5, 12.0, 24)[:, None] * np.array([math.cos(yaw), math.sin(yaw)])
    points = geometry.transform_points(odometry_from_plan, np.vstack([curve, beyond]))
    forward = np.where(np.cos(np.arctan2(*(np.diff(knots[:, :2], axis=0).T[::-1])) - knots[:-1, 2]) < 0.0, 0.0, 1.0)
    speeds = np.diff(travelled) / STEP_S * forward
    return PlanPath(points, geometry.arc_length(points), travelled, speeds)


def _smooth_curve(points: np.ndarray, per_segment: int = 8) -> np.ndarray:
    """Cubic Hermite curve (M, 2) through points (N, 2), N >= 3, tangents from neighbours."""
    s = geometry.arc_length(points)
    tangents = np.stack([np.gradient(points[:, k], s, edge_order=2) for k in (0, 1)], axis=1)
    u = (np.arange(per_segment) / per_segment)[None, :, None]
    h = np.diff(s)[:, None, None]
    p0, p1, t0, t1 = points[:-1, None], points[1:, None], tangents[:-1, None], tangents[1:, None]
    curve = (
        (2 * u**3 - 3 * u**2 + 1) * p0
        + (u**3 - 2 * u**2 + u) * h * t0
        + (3 * u**2 - 2 * u**3) * p1
        + (u**3 - u**2) * h * t1
    )
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


class Tracker:
    """Follows the newest plan; knows where the ego went since by dead reckoning."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._longitudinal = LongitudinalController(self.config.longitudinal)
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._odometry = Odometry()
        self._longitudinal.reset()
        self._plan: Plan | None = None
        self._timing: PlanPath | None = None  # of the newest plan
        self._steering: PlanPath | None = None  # of the last plan long enough to steer by
        self._steer = 0.0

    def twin(self) -> Tracker:
        """Another one that remembers the same, to try out what would follow."""
        return copy.deepcopy(self)

    def step(self, plan: Plan | None, time_s: float, speed: float, yaw_rate: float) -> Control:
        """Return the control of this tick; no plan brakes fully.

        Args:
            plan: the newest plan; the same object as before while there is no newer one.
            time_s: simulation time.
            speed: m/s along the heading, signed.
            yaw_rate: rad/s, counter-clockwise.
        """
        dt = self._odometry.update(time_s, speed, yaw_rate) or 0.05
        if plan is None:
            self._plan = None
            self._longitudinal.reset()
            return FULL_BRAKE
        if plan is not self._plan:
            self._accept(plan)
        elapsed = time_s - plan.observed_at_s
        throttle, brake = self._speed_control(elapsed, speed, dt)
        if abs(speed) > 0.05 or throttle > 0.0:
            self._steer_towards(speed, dt)
        return Control(self._steer, throttle, brake)

    @property
    def pose(self) -> np.ndarray:
        """The ego's dead-reckoned pose (3,), in the frame of the first tick."""
        return self._odometry.pose

    def way(self, time_s: float, speed: float, reach_m: float) -> Way | None:
        """What is left of the plan of the last ``step``, at its time and speed; None without a plan."""
        if self._plan is None:
            return None
        elapsed = time_s - self._plan.observed_at_s
        progress = np.interp(elapsed + AFTER_S, _KNOTS_S, self._timing.travelled) - self._driven()
        join_m = 2.0 * self.config.lateral.look_ahead(speed)
        return way_along(self._steering.points, self.pose, join_m, reach_m, progress)

    def _driven(self) -> float:
        return float(np.hypot(*(self._odometry.pose - self._origin)[:2]))

    def _accept(self, plan: Plan) -> None:
        self._plan = plan
        origin = self._odometry.pose_at(plan.observed_at_s)
        self._timing = build_path(np.asarray(plan.poses, float), origin)
        self._origin = origin
        if self._steering is None or self._timing.length >= self.config.shortest_path:
            self._steering = self._timing

    def _speed_control(self, elapsed: float, speed: float, dt: float) -> tuple[float, float]:
        timing = self._timing
        driven = self._driven()
        preview = elapsed + self.config.speed_preview_s
        if timing.speed_at(preview + 0.2) < self.config.stand_speed:
            return self._longitudinal.hold(timing.length - driven, speed, dt)
        behind = min(max(timing.progress_at(elapsed) - driven, -1.0), 1.0) if elapsed <= 1.5 else 0.0
        target = timing.speed_at(elapsed) + self.config.position_gain * behind
        acceleration = timing.acceleration_at(preview)
        if timing.comes_to_rest and acceleration < 0.0:
            left = max(timing.length - driven, 0.1)
            acceleration = min(acceleration, -speed * speed / (2.0 * left))
        return self._longitudinal.step(max(target, 0.0), acceleration, speed, dt)

    def _steer_towards(self, speed: float, dt: float) -> None:
        path, pose = self._steering, self._odometry.pose
        nearest = int(np.argmin(np.sum((path.points - pose[:2]) ** 2, axis=1)))
        aim_s = path.s[nearest] + self.config.lateral.look_ahead(speed)
        aim = [np.interp(aim_s, path.s, path.points[:, k]) for k in (0, 1)]
        x, y = geometry.transform_points(geometry.invert(pose), np.array(aim))
        wanted = lateral.steer_for(lateral.pursuit_curvature(float(x), float(y)))
        most = self.config.steer_rate * dt
        self._steer += min(max(wanted - self._steer, -most), most)
