"""Turns an episode into pictures: ``View`` values for the video and the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import LaneGraph, route_plan
from autovla_core.contracts import Plan
from autovla_core.evaluation import map_facts
from autovla_core.evaluation.guidance import GuidedPlanner
from autovla_core.evaluation.insight import PlanTrace, driver_of, plan_of
from autovla_core.evaluation.minimum_speed import KIND
from autovla_core.evaluation.watching import Scenery, TickFacts, Watcher
from autovla_core.route.progress import RouteProgress
from autovla_core.scoring.closed_loop import score
from autovla_core.sensing.images import rgb_from_bgra
from autovla_core.view.bev import BirdsEye, Lamp, LaneStrip
from autovla_core.view.hud import CAMERA_SIZE, Lens, View

CAMERA_ID = "show_front"
LENS = Lens(x=1.3, z=1.6, fov_deg=90.0)
SIDES = {"show_left": -60.0, "show_right": 60.0}  # CARLA's yaw, degrees
SIDE_SIZE = {"width": 224, "height": 126, "fov": 70.0}
LAMPS_WITHIN_M = 90.0


class Showing(Watcher):
    """Mounts a large front camera, and ``sides`` if wanted, and hands a ``View`` to ``on_view`` each time it fires."""

    def __init__(
        self, on_view: Callable[[View], None], title: str = "", period_s: float = 0.1, sides: bool = False
    ) -> None:
        self._on_view, self._title, self._period_s, self._sides = on_view, title, period_s, sides
        self.bird: BirdsEye | None = None  # ready when the episode begins

    def sensors(self) -> list[dict[str, object]]:
        """One camera, or three."""
        size = {"width": CAMERA_SIZE[0], "height": CAMERA_SIZE[1], "fov": LENS.fov_deg}
        sides = {name: {**SIDE_SIZE, "yaw": yaw} for name, yaw in SIDES.items()} if self._sides else {}
        where = {"x": LENS.x, "y": 0.0, "z": LENS.z, "roll": 0.0, "pitch": LENS.pitch_deg, "yaw": 0.0}
        kind = {"type": "sensor.camera.rgb", **where, "sensor_tick": self._period_s}
        return [{**kind, "id": name, **own} for name, own in {CAMERA_ID: size, **sides}.items()]

    def begin(self, scenery: Scenery) -> None:
        """Paint the town and find what stands still."""
        carla_map = scenery.session.map
        self._scenery = scenery
        self._plan = route_plan(scenery.dense)
        self._progress, self._trace = RouteProgress(self._plan), PlanTrace()
        self._truth = PrivilegedView(scenery.session.world, scenery.ego, self._plan)
        self._lights = [map_facts.light_fact(light, carla_map) for light in scenery.lights.values()]
        self.bird = BirdsEye(lane_strips(LaneGraph(carla_map)))

    def tick(self, facts: TickFacts) -> None:
        """Follow every tick, show those with a picture."""
        moment = facts.moment
        pose = np.array([*moment.position[:2], moment.yaw])
        plan = plan_of(self._scenery.agent)
        self._progress.update(pose)
        self._trace.update(plan, pose, moment.time_s)
        if CAMERA_ID in facts.input_data:
            self._on_view(self._view(facts, pose))

    def _view(self, facts: TickFacts, pose: np.ndarray) -> View:
        judge, moment = self._scenery.judge, facts.moment
        driver, plan = driver_of(self._scenery.agent), plan_of(self._scenery.agent)
        clips = driver.observation.clips if driver and driver.observation else {}
        return View(
            time_s=moment.time_s,
            pose=pose,
            speed=moment.speed,
            speed_limit=moment.speed_limit,
            command=self._progress.command(),
            control=facts.control,
            camera=rgb_from_bgra(facts.input_data[CAMERA_ID][1]),
            lens=LENS,
            distance=judge.completion.distance,
            route_length=judge.track.length,
            route=self._plan.points,
            plan=self._trace.world,
            tokens=() if plan is None or plan.tokens is None else plan.tokens.tolist(),
            probabilities=() if plan is None or plan.log_probs is None else np.exp(plan.log_probs).tolist(),
            fan=self._fan(),
            thought="" if plan is None else plan.thought,
            thinking="" if plan is None or driver is None else _thinking(plan),
            plan_ms=0.0 if plan is None else _milliseconds(plan.timings_ms),
            clip=next(iter(clips.values())).images if clips else None,
            actors=self._truth.scene(self._progress.s).actors,
            lamps=self._lamps(pose),
            sides=[rgb_from_bgra(facts.input_data[name][1]) for name in SIDES if name in facts.input_data],
            score=score(judge.completion.percent, judge.infractions).composed,
            infractions=[i.message for i in judge.infractions if i.kind != KIND],
            title=self._title,
        )

    def _fan(self) -> list[np.ndarray]:
        """Plans that were drawn beside the newest."""
        driver = driver_of(self._scenery.agent)
        planner = None if driver is None else driver.planner
        plans = planner.fan if isinstance(planner, GuidedPlanner) else ()
        return [self._trace.placed(plan) for plan in plans]

    def _lamps(self, pose: np.ndarray) -> list[Lamp]:
        lamps = []
        for fact in self._lights:
            if np.linalg.norm(fact.center - pose[:2]) < LAMPS_WITHIN_M:
                color = str(self._scenery.lights[fact.id].get_state()).lower()
                lamps += [Lamp(line.center, color) for line in fact.stop_lines]
        return lamps


def lane_strips(graph: LaneGraph) -> Sequence[LaneStrip]:
    """Every lane of a map, to draw."""
    return [
        LaneStrip(lane.xy * (1.0, -1.0), lane.waypoints[0].lane_width, not lane.in_junction)
        for lane in graph.lanes.values()
    ]


def _thinking(plan: Plan) -> str:
    words = f", {plan.thinking_tokens} tokens" if plan.thinking_tokens else ""
    return f"{plan.mode.value}{words}{f', cut: {plan.forced}' if plan.forced else ''}"


def _milliseconds(timings: dict[str, float]) -> float:
    return timings["total"] if "total" in timings else sum(timings.values())
