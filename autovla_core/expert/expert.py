"""The privileged driver: knows the scene, drives the route, says why."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import Control, Outlook, Plan, Scene
from autovla_core.control.lateral import MAX_CURVATURE, curvature_of
from autovla_core.control.tracker import Tracker, TrackerConfig
from autovla_core.expert import conflicts, encounters, hazards
from autovla_core.expert.disturbances import Disturbances, Response
from autovla_core.expert.path import build_path
from autovla_core.expert.rollout import Rollout, Start, drive
from autovla_core.expert.rules import Rules
from autovla_core.expert.scene import RoadScene
from autovla_core.expert.speed import SpeedConfig, Stop
from autovla_core.route.plan import RoutePlan
from autovla_core.route.progress import RouteProgress

_PLAN_INDEX = np.arange(5, 51, 5)
SET_OFF_S = 3.0  # so long a start into a gap is believed in
_COARSE = {  # rules of this room by the names that logs know (``contracts.RULES``)
    "walker": "conflict",
    "oncoming": "conflict",
    "beside": "conflict",
    "emergency": "conflict",
    "obstacle": "lead",
    "cut_in": "lead",
    "overtake": "cruise",
    "make_way": "cruise",
}


@dataclass(frozen=True)
class ExpertConfig:
    """How the expert drives."""

    speed: SpeedConfig = field(default_factory=SpeedConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    top_speed: float = 20.0  # m/s
    yield_memory_s: float = 0.5  # how long a conflict counts after it was last seen
    replan_s: float = 0.14  # age at which a plan is replaced: every third tick


@dataclass(frozen=True)
class Reason:
    """What binds the speed most."""

    rule: str  # cruise, curve, lead, light, stop_sign, conflict, end; in scenarios also the keys of ``_COARSE``
    actor_id: int = 0  # of the actor, light or sign; 0 = none
    distance: float = math.inf  # m from the front bumper


@dataclass(frozen=True)
class ExpertDecision:
    """One tick of the expert."""

    control: Control
    plan: Plan  # a rollout of itself, from the pose at its ``observed_at_s``
    target_speed: float  # m/s after 1 s of the plan
    reason: Reason
    outlook: Outlook  # where the plan was made

    @property
    def poses(self) -> np.ndarray:
        """The plan's poses (10, 3), ego frame."""
        return self.plan.poses


@dataclass(frozen=True)
class _Intent:
    plan: Plan
    target_speed: float
    reason: Reason
    outlook: Outlook


class Expert:
    """Drives one route. Its plan assumes that lights keep their colour and leaders their speed."""

    def __init__(self, plan: RoutePlan, config: ExpertConfig | None = None) -> None:
        self.config = config or ExpertConfig()
        speed = self.config.speed
        self.path = build_path(plan, speed.lateral_acceleration, 0.8 * speed.braking, self.config.top_speed)
        self.progress = RouteProgress(plan)
        self._rules = Rules(speed)
        self._disturbances = Disturbances(self.path, speed, self.config.top_speed)
        self._tracker = Tracker(self.config.tracker)
        self.reset()

    def reset(self) -> None:
        """Start the route anew."""
        self.progress.reset()
        self._rules.reset()
        self._disturbances.reset()
        self._tracker.reset()
        self._turning = hazards.TurnWatch()
        self._yields: dict[int, tuple[float, Stop]] = {}
        self._last: tuple[float, float] | None = None  # time, yaw
        self._yaw_rate = 0.0
        self._steer = 0.0
        self._set_off_s = -math.inf  # when it last stood without a conflict
        self._held_since_s = math.inf  # since when it has stood for those whose way it would cross
        self._intent: _Intent | None = None

    def step(self, scene: Scene) -> ExpertDecision:
        """Decide for one tick: follow the newest plan, make a new one when it is ``replan_s`` old."""
        self.progress.update(scene.pose)
        self._watch_turning(scene)
        if self._intent is None or scene.time_s - self._intent.plan.observed_at_s >= self.config.replan_s:
            self._think(scene)
        intent = self._intent
        control = self._tracker.step(intent.plan, scene.time_s, scene.speed, self._yaw_rate)
        self._steer = control.steer
        return ExpertDecision(control, intent.plan, intent.target_speed, intent.reason, intent.outlook)

    def was_steered(self, steer: float) -> None:
        """Learn that somebody else held the wheel: plans begin with the curvature that the car really has."""
        self._steer = steer

    def _think(self, scene: Scene) -> None:
        s = self.progress.s
        response = self._disturbances.respond(scene, s, self.config.speed.limit_share * scene.speed_limit)
        rollout, lead_m = self._roll_out(scene, s, response)
        poses = geometry.relative(scene.pose, rollout.poses[_PLAN_INDEX])
        poses[np.abs(poses) < 1e-9] = 0.0
        plan = Plan(poses=poses, observed_at_s=scene.time_s, ready_at_s=scene.time_s)
        reason = self._reason(rollout, response, s + scene.length / 2)
        rule = _COARSE.get(reason.rule, reason.rule)
        outlook = self._rules.outlook(scene, s + scene.length / 2, rule, lead_m)
        self._intent = _Intent(plan, float(rollout.speed[10]), reason, outlook)

    def _watch_turning(self, scene: Scene) -> None:
        if self._last is not None and scene.time_s > self._last[0]:
            turned = float(geometry.wrap_angle(scene.pose[2] - self._last[1]))
            self._yaw_rate = turned / (scene.time_s - self._last[0])
        self._last = (scene.time_s, float(scene.pose[2]))

    def _roll_out(self, scene: Scene, s: float, response: Response) -> tuple[Rollout, float]:
        """The drive, and the distance to the nearest leader."""
        path, speed, half_length = response.path, response.speed, scene.length / 2
        rates = self._turning.update(scene.actors, scene.time_s)
        half_corridor = scene.width / 2 + hazards.CORRIDOR_MARGIN_M
        near = hazards.nearby(scene.actors, rates, path, s, half_corridor)
        ahead = hazards.leaders(near, s)
        lead_m = min((leader.rear_s for leader in ahead), default=math.inf) - s - half_length
        constraints = [*ahead, *self._rules.stops(scene, s + half_length), *response.stops]
        constraints += self._disturbances.meet(scene, near, s, half_corridor)
        constraints.append(Stop(self.path.length + 15.0, 0, "end"))
        start = self._start(scene, s, half_length)
        staged, emergency, ways = frozenset(), frozenset(), {}
        if isinstance(scene, RoadScene):
            staged, emergency, ways = scene.staged, scene.emergency, scene.ways
        cruise = encounters.pushed_speed(near, staged - emergency, s, response.cruise, scene.speed_limit)
        rollout = drive(path, start, constraints, cruise, speed)
        line = self._rules.green_line(s)
        approach = None if line is None else self.path.yaw[self.path.at(line)[0]]
        set_off = scene.speed > conflicts.MOVING and scene.time_s - self._set_off_s < SET_OFF_S
        bold = conflicts.caution_of(set_off, scene.time_s - self._held_since_s if staged else 0.0)
        found = conflicts.conflicts(near, rollout, half_length, scene.width, approach, speed, staged, ways, bold)
        found += conflicts.gaps(near, path, rollout, half_length, ways)
        self._notice_wait(scene, bool(found))
        yields = self._remembered(found, scene.time_s, ways)
        if yields:
            rollout = drive(path, start, [*constraints, *yields], cruise, speed)
        return rollout, lead_m

    def _notice_wait(self, scene: Scene, held: bool) -> None:
        if scene.speed > conflicts.MOVING:
            self._held_since_s = math.inf
        elif held:
            self._held_since_s = min(self._held_since_s, scene.time_s)
        else:
            self._set_off_s = scene.time_s

    def _start(self, scene: Scene, s: float, half_length: float) -> Start:
        curvature = min(max(curvature_of(self._steer), -MAX_CURVATURE), MAX_CURVATURE)
        x, y, yaw = (float(v) for v in scene.pose)
        return Start(x, y, yaw, max(float(scene.speed), 0.0), curvature, s, half_length)

    def _remembered(self, found: list[Stop], time_s: float, known: Container[int]) -> list[Stop]:
        """Conflicts seen now or a moment ago, so that a flickering forecast does not flicker the brake.

        Those whose way is ``known`` are seen as they are: in a stream the moment is half of the gap behind them.
        """
        for stop in found:
            self._yields[stop.actor_id] = (time_s, stop)
        kept = {k: 0.0 if k in known else self.config.yield_memory_s for k in self._yields}
        self._yields = {k: (seen, stop) for k, (seen, stop) in self._yields.items() if time_s - seen <= kept[k]}
        return [stop for _, stop in self._yields.values()]

    def _reason(self, rollout: Rollout, response: Response, front_s: float) -> Reason:
        binding = rollout.binding
        if binding is not None:
            place = binding.front_s if isinstance(binding, Stop) else binding.rear_s
            return Reason(binding.rule, binding.actor_id, place - front_s)
        if response.rule:
            return Reason(response.rule, response.actor_id)
        index, _ = response.path.at(self.progress.s)
        return Reason("curve" if response.path.cap[index] < response.cruise else "cruise")
