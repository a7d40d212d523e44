"""Plays a route's scenarios: builds each as the ego comes near, lets its script run, clears up behind it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from autovla_core import geometry
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.contracts import Control
from autovla_core.evaluation.route_file import Scenario
from autovla_core.evaluation.scenarios.criteria import ScenarioCriterion
from autovla_core.evaluation.scenarios.registry import ALIASES, SCENARIOS, ScenarioType, scenario_type
from autovla_core.evaluation.scenarios.road import RouteRoad
from autovla_core.evaluation.scenarios.setting import EgoWatch, NoPlace, Script, Setting
from autovla_core.evaluation.scenarios.stage import Stage
from autovla_core.evaluation.scenarios.table import SKIPPED

if TYPE_CHECKING:  # the episode imports this module: it adds a player to every route that has scenarios
    from autovla_core.evaluation.results import Record
    from autovla_core.evaluation.watching import Scenery, TickFacts

logger = logging.getLogger(__name__)

BUILD_M = 120.0  # before the trigger; nearer things are built at once


class _Playing:
    """One scenario of the route, from waiting to over."""

    def __init__(self, kind: ScenarioType, setting: Setting) -> None:
        self.kind, self.setting = kind, setting
        self.criterion = ScenarioCriterion(setting.verdict)
        self._script: Script | None = None
        self.over = False
        self.skipped = ""  # why it could not be played

    @property
    def triggered(self) -> bool:
        return self.setting.verdict.running

    def tick(self) -> None:
        """Build it, or let its script run for one tick."""
        setting = self.setting
        if self.over or setting.ego.s < setting.trigger_s - BUILD_M:
            return
        if self._script is None:
            self._script = self.kind.script(setting)
        setting.verdict.running = setting.verdict.running or setting.ego.s >= setting.trigger_s - 1.0
        try:
            next(self._script)
            setting.stage.tick(setting.ego)
        except StopIteration:
            self.finish()
        except NoPlace as reason:
            logger.warning("scenario skipped: %s", reason)
            self.skipped = str(reason)
            self.finish()
        if self.criterion.timed_out:
            self.finish()

    def finish(self) -> None:
        """Take its actors away."""
        self.over, self.setting.verdict.running = True, False
        try:
            if self._script is not None:
                self._script.close()
            self.setting.stage.clear()
        except RuntimeError as error:  # the simulator is gone, and the actors with it
            logger.warning("could not clear up scenario %s: %s", self.setting.name, error)


class ScenarioPlayer:
    """A subscriber that plays; ``skipped`` names the scenarios that found no place, with the reason."""

    def __init__(self) -> None:
        self._playing: list[_Playing] = []
        self.skipped: dict[str, str] = {}

    def sensors(self) -> list[dict[str, object]]:
        """None."""
        return []

    def begin(self, scenery: Scenery) -> None:
        """Find every trigger on the route; nothing is built yet."""
        self._scenery = scenery
        self._road = RouteRoad(scenery.session.map, [transform for transform, _ in scenery.dense])
        box = scenery.ego.bounding_box
        self._ahead_m = box.location.x
        self.ego = EgoWatch(length=2 * box.extent.x, width=2 * box.extent.y)
        for number, scenario in enumerate(scenery.route.scenarios):
            self._add(number, scenario)

    def tick(self, facts: TickFacts) -> None:
        """All scenarios, one tick; then the noise that they put on the ego's control."""
        self._watch(facts)
        for playing in self._playing:
            playing.tick()
            if playing.skipped:
                self.skipped[playing.setting.name] = playing.skipped
        running = [playing.kind for playing in self._playing if playing.triggered]
        self._scenery.judge.excuse(any(k.oncoming for k in running), any(k.patient for k in running))
        if any(self.ego.noise):
            self._shake(facts.control)

    def end(self, record: Record | None) -> None:
        """Clear up."""
        for playing in self._playing:
            if not playing.over:
                playing.finish()

    @property
    def states(self) -> dict[str, str]:
        """waiting, running, over or skipped by the scenarios' names."""
        return {p.setting.name: _state(p) for p in self._playing} | dict.fromkeys(self.skipped, "skipped")

    @property
    def remarks(self) -> str:
        """For the record: which scenarios were skipped, and why; "" when all were played."""
        told = ((name, reason.removeprefix(f"{name}: ")) for name, reason in self.skipped.items())
        return "; ".join(f"{SKIPPED}{name}: {reason}" for name, reason in told)

    def _add(self, number: int, scenario: Scenario) -> None:
        kind, trigger_s = scenario_type(scenario.type), self._road.trigger_s(scenario.carla_trigger)
        if kind is None:
            self._skip(scenario, f"unknown type {scenario.type!r}; known: {', '.join((*SCENARIOS, *ALIASES))}")
            return
        if trigger_s is None:
            self._skip(scenario, "its trigger point does not lie on the route")
            return
        scenery = self._scenery
        rng = np.random.default_rng((scenery.seed, 7919, number))
        stage = Stage(scenery.session.client, scenery.session.world, scenery.traffic, rng)
        setting = Setting(scenario.name, stage, self._road, trigger_s, self.ego, rng, scenario.parameters)
        playing = _Playing(kind, setting)
        scenery.judge.add(playing.criterion)
        self._playing.append(playing)

    def _skip(self, scenario: Scenario, reason: str) -> None:
        logger.warning("scenario %s is skipped: %s", scenario.name, reason)
        self.skipped[scenario.name] = reason

    def _watch(self, facts: TickFacts) -> None:
        moment, ego = facts.moment, self.ego
        origin = np.array([*moment.position[:2], moment.yaw])
        ego.pose = geometry.compose(origin, np.array([self._ahead_m, 0.0, 0.0]))
        ego.s = self._road.place(ego.pose, ego.s)
        ego.speed, ego.speed_limit = moment.speed, moment.speed_limit or ego.speed_limit
        ego.noise = (0.0, 0.0)

    def _shake(self, control: Control) -> None:
        steer, throttle = self.ego.noise
        shaken = replace(
            control,
            steer=float(np.clip(control.steer + steer, -1.0, 1.0)),
            throttle=float(np.clip(control.throttle + throttle, 0.0, 1.0)),
        )
        self._scenery.ego.apply_control(vehicle_control(shaken))


def _state(playing: _Playing) -> str:
    if playing.over:
        return "over"
    return "running" if playing.triggered else "waiting"
