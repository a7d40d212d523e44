"""Drive the expert and write what it saw and planned as a training route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from autovla_core import geometry
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.carla_bridge.sensor_suite import forward_speed
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import FULL_BRAKE, STEP_S, Control, Plan, Scene
from autovla_core.evaluation.insight import asked_of, outlook_of, plan_of
from autovla_core.evaluation.results import Record
from autovla_core.evaluation.watching import Scenery, Start, TickFacts, Watcher
from autovla_core.expert.expert import Expert, ExpertConfig, ExpertDecision
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter
from autovla_core.route.progress import RouteProgress
from autovla_core.sensing.images import rgb_from_bgra
from autovla_core.sensing.localizer import SpeedDerivative
from autovla_core.sensing.rig import IMAGE_PERIOD_S, CameraSpec

CAMERA_PREFIX = "log_"
SPOILT = ("collisions_layout", "collisions_pedestrian", "collisions_vehicle", "red_light", "stop_infraction")
PLANS_WITH_IMAGES = ExpertConfig(replan_s=IMAGE_PERIOD_S - 0.01)  # a fresh plan at every tick that has images


class ExpertPilot(Watcher):
    """The expert on the episode's own connection: agent and subscriber in one, so that each tick is its own.

    The agent file ``autovla_expert_agent.py`` looks through a second client, which a leaderboard needs.
    """

    def __init__(self, config: ExpertConfig = PLANS_WITH_IMAGES) -> None:
        self._config = config
        self.expert: Expert | None = None
        self.scene: Scene | None = None
        self.decision: ExpertDecision | None = None

    def set_global_plan(self, gps_route: list, world_route: list) -> None:
        """Take the dense route."""
        self._plan = route_plan(world_route)

    def setup(self, config: str) -> None:
        """Make the expert."""
        self.expert = Expert(self._plan, self._config)

    def begin(self, scenery: Scenery) -> None:
        """Look at the world of this episode."""
        self._view = PrivilegedView(scenery.session.world, scenery.ego, self._plan)

    def run_step(self, input_data: Mapping[str, tuple[int, object]], timestamp: float) -> carla.VehicleControl:
        """One tick."""
        if self.expert is None:
            return vehicle_control(FULL_BRAKE)
        # The server's own clock runs on from episode to episode; with ours equal drives are equal to the last bit.
        self.scene = replace(self._view.scene(self.expert.progress.s), time_s=timestamp)
        self.decision = self.expert.step(self.scene)
        return vehicle_control(self.decision.control)

    def tick(self, facts: TickFacts) -> None:
        """Feel a kick at the wheel, so that the next plan begins with the curvature that the car really has."""
        if facts.disturbed and self.expert is not None:
            self.expert.was_steered(facts.control.steer)

    def destroy(self) -> None:
        """Nothing is held."""


class Recorder(Watcher):
    """Writes the drive of any agent below ``root``; a spoilt drive goes to ``root/failed`` if asked for.

    A plan is stored where it was asked for, at a tick with images; with latency it counts only later. The log appears
    in its place by one rename, with all that others put beside it: a killed program leaves it whole or not at all.
    """

    def __init__(self, root: Path, name: str, cameras: tuple[CameraSpec, ...], sort_out: bool = True) -> None:
        self._root, self._name, self._cameras, self._sort_out = root, name, cameras, sort_out
        self._derivative = SpeedDerivative()
        self._writer: RouteWriter | None = None
        self.folder: Path | None = None  # where the log went
        self.reason = ""  # why it failed
        self._beside: list[Callable[[Path], None]] = []

    def beside(self, write: Callable[[Path], None]) -> None:
        """Let somebody put files of his into the log's folder, once a drive has come to its end."""
        self._beside.append(write)

    def sensors(self) -> list[dict[str, object]]:
        """The rig at 4 Hz."""
        return [
            {**camera.sensor(), "id": CAMERA_PREFIX + camera.id, "sensor_tick": IMAGE_PERIOD_S}
            for camera in self._cameras
        ]

    def begin(self, scenery: Scenery) -> None:
        """Open the log."""
        self._scenery = scenery
        self._ahead = np.array([scenery.ego.bounding_box.location.x, 0.0, 0.0])
        self._progress = RouteProgress(route_plan(scenery.dense))
        route, agent = scenery.route, type(scenery.agent).__name__
        rig = {camera.id: asdict(camera) for camera in self._cameras}
        meta = RouteMeta(route.town, route.id, scenery.seed, dict(route.weather), rig, scenery.ego.type_id, agent)
        self._writer = RouteWriter(self._root / self._name, meta)

    def tick(self, facts: TickFacts) -> None:
        """Write one tick, and images and plan where cameras fired."""
        plan = asked_of(self._scenery.agent)
        number = self._writer.tick(self._state(facts, plan_of(self._scenery.agent)))
        fired = [camera for camera in self._cameras if CAMERA_PREFIX + camera.id in facts.input_data]
        for camera in fired:
            self._writer.image(camera.id, number, rgb_from_bgra(facts.input_data[CAMERA_PREFIX + camera.id][1]))
        if fired and plan is not None and plan.observed_at_s == facts.moment.time_s:
            self._writer.plan(number, plan.poses, outlook_of(self._scenery.agent))

    def end(self, record: Record | None) -> None:
        """Close the log; throw it away when the episode broke off."""
        if self._writer is None:
            return
        if record is None:
            self._writer.abort()
            return
        self.reason = spoilt(record)
        outcome = {
            "status": record.status,
            "reason": self.reason,
            "infractions": [i.message for i in record.infractions],
            "score_route": record.scores.route,
            "score_composed": record.scores.composed,
        }
        for write in self._beside:
            write(self._writer.working_folder)
        failed = self._root / "failed" / self._name
        self.folder = self._writer.close(outcome, failed if self.reason and self._sort_out else None)

    def _state(self, facts: TickFacts, plan: Plan | None) -> Tick:
        ego, moment, control = self._scenery.ego, facts.moment, facts.control
        speed = forward_speed(ego)
        pose = geometry.compose(np.array([*moment.position[:2], moment.yaw]), self._ahead)
        self._progress.update(pose)
        wanted = 0.0 if plan is None else float(np.linalg.norm(plan.poses[1, :2] - plan.poses[0, :2])) / STEP_S
        return Tick(
            time_s=moment.time_s,
            x=float(pose[0]),
            y=float(pose[1]),
            z=float(moment.position[2]),
            yaw=float(pose[2]),
            speed=speed,
            acceleration=self._derivative.update(moment.time_s, speed),
            yaw_rate=-float(np.radians(ego.get_angular_velocity().z)),
            steer=control.steer,
            throttle=control.throttle,
            brake=control.brake,
            command=int(self._progress.command()),
            target_speed=wanted,
            perturbed=facts.disturbed,
        )


@dataclass(frozen=True)
class KickConfig:
    """How roughly the ego is handled while data are collected."""

    every_s: tuple[float, float] = (6.0, 12.0)
    duration_s: tuple[float, float] = (0.3, 0.8)
    steer: tuple[float, float] = (0.10, 0.35)  # size of the bias; the side is drawn
    start_left_m: float = 0.6  # at most, either side
    start_yaw_deg: float = 6.0


class Kicks:
    """Steering kicks and a crooked start, all from one seed."""

    def __init__(self, rng: np.random.Generator, config: KickConfig = KickConfig()) -> None:
        self._rng, self._config = rng, config
        self._begin_s = float(rng.uniform(3.0, config.every_s[1]))
        self._draw()

    def start(self) -> Start:
        """Beside the middle of the lane, and not quite along it."""
        left = self._rng.uniform(-1, 1) * self._config.start_left_m
        yaw = self._rng.uniform(-1, 1) * np.radians(self._config.start_yaw_deg)
        return Start(float(left), float(yaw))

    def disturb(self, time_s: float, control: Control) -> Control:
        """Add the bias while a kick lasts."""
        if time_s > self._end_s:
            self._begin_s = self._end_s + float(self._rng.uniform(*self._config.every_s))
            self._draw()
        if time_s < self._begin_s:
            return control
        steer = float(np.clip(control.steer + self._bias, -1.0, 1.0))
        return Control(steer, control.throttle, control.brake, control.reverse)

    def _draw(self) -> None:
        self._end_s = self._begin_s + float(self._rng.uniform(*self._config.duration_s))
        self._bias = float(self._rng.uniform(*self._config.steer) * self._rng.choice((-1.0, 1.0)))


def spoilt(record: Record) -> str:
    """Why a drive teaches nothing good; "" when it does."""
    bad = [i.message for i in record.infractions if i.kind in SPOILT]
    if record.failed:
        return record.status + (f" ({record.detail})" if record.detail else "")
    return bad[0] if bad else ""
