"""A drive that branches: at some of its moments many plans are tried out in forks, then it goes on with one of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.observe import Observer
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.carla_bridge.saved_states import SavedStates
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control, Observation, Plan
from autovla_core.control.tracker import Tracker
from autovla_core.driving.schedule import ReplanSchedule
from autovla_core.evaluation.forks import Forks, Pilot, scores
from autovla_core.evaluation.recording import ExpertPilot
from autovla_core.evaluation.watching import EpisodeStopped, Scenery, TickFacts, Watcher
from autovla_core.sensing import rig as rigs
from autovla_core.sensing.rig import CameraSpec


@dataclass(frozen=True)
class BranchingConfig:
    """When a drive branches."""

    seconds: float = 5.0  # length of a future
    first_s: float = 1.0  # when the first ones begin
    every_s: float = 2.0
    most: int = 8  # moments of a drive; it stops after the last


@dataclass(frozen=True)
class Crossing:
    """One moment at which a drive branches; valid while it is being decided."""

    observation: Observation
    rule: str  # what binds the expert there
    expert: np.ndarray  # (10, 3) where he went, ego frame
    known: np.ndarray  # (10,) bool, how far that was driven
    try_out: Callable[[np.ndarray], Mapping[str, np.ndarray]]  # plans (P, 10, 3) -> ``foresight.terms`` (P,)


class BranchingPilot(ExpertPilot):
    """An agent that needs a ``Looker`` among the subscribers.

    The expert looks on at every tick, so that he knows the past when he is asked.

    Args:
        plan: what to follow, at every re-plan moment.
        decide: the same where the drive branches; None: it does not.
        stop: asked at every tick; the episode ends when it says so.

    Attributes:
        failure: what went wrong inside; an episode takes it for the agent's crash.
    """

    def __init__(
        self,
        cameras: Sequence[CameraSpec],
        states: SavedStates,
        config: BranchingConfig,
        plan: Callable[[Observation], Plan],
        decide: Callable[[Crossing], Plan] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._cameras, self._states, self._branching = tuple(cameras), states, config
        self._plan_of, self._decide, self._stop = plan, decide, stop
        self._tracker, self._schedule = Tracker(), ReplanSchedule()
        self._next_s, self._done = config.first_s, 0
        self._chosen: Plan | None = None
        self.forks: Forks | None = None
        self.failure: BaseException | None = None

    def set_global_plan(self, gps_route: list, world_route: list) -> None:
        """Take the dense route."""
        super().set_global_plan(gps_route, world_route)
        self._observer = Observer(self._cameras, route_plan(world_route))

    def sensors(self) -> list[dict[str, object]]:
        """The agent's; as a subscriber it is a ``Looker``, which asks for none."""
        return rigs.sensors(self._cameras)

    def begin(self, scenery: Scenery) -> None:
        """Look at the world of this episode."""
        super().begin(scenery)
        self.forks = Forks(scenery, self._states, self._branching.seconds)

    def run_step(self, input_data: Mapping[str, tuple[int, object]], timestamp: float) -> carla.VehicleControl:
        """One tick."""
        try:
            super().run_step(input_data, timestamp)
            control = self._step(input_data, timestamp)
        except BaseException as error:  # kept, because an episode goes on from it to its record
            self.failure = error
            raise
        self.expert.was_steered(control.steer)
        return vehicle_control(control)

    def over(self) -> bool:
        """Whether the episode may stop."""
        return self._stop() or self._done >= self._branching.most

    def _step(self, input_data: Mapping[str, tuple[int, object]], time_s: float) -> Control:
        motion = self._observer.update(input_data, time_s)
        if self._schedule.due(time_s):
            observation = self._observer.observe()
            self._chosen = self._branch(observation) if self._is_crossing(time_s) else self._plan_of(observation)
        return self._tracker.step(self._chosen, time_s, motion.speed, motion.yaw_rate)

    def _is_crossing(self, time_s: float) -> bool:
        return time_s >= self._next_s - ReplanSchedule.EARLY_S and self._done < self._branching.most

    def _branch(self, observation: Observation) -> Plan:
        self._next_s = observation.time_s + self._branching.every_s
        self._done += 1
        if self._decide is None:
            return self._plan_of(observation)
        time_s, forks = observation.time_s, self.forks
        present = forks.now(time_s)
        (expert,) = forks.drive([self._as_expert()], present)
        poses, known = forks.poses(expert)

        def try_out(plans: np.ndarray) -> Mapping[str, np.ndarray]:
            pilots = [forks.follow(plan, self._tracker, time_s) for plan in plans]
            return scores(forks.drive(pilots, present), expert)

        return self._decide(Crossing(observation, self.decision.reason.rule, poses, known, try_out))

    def _as_expert(self) -> Pilot:
        """The expert at the wheel, from what he knows now; the one who looks on learns nothing of it."""
        own, first = copy.deepcopy(self.expert), self.decision

        def pilot(time_s: float, speed: float, yaw_rate: float) -> Control:
            nonlocal first
            if first is not None:
                control, first = first.control, None
                return control
            return own.step(replace(self._view.scene(own.progress.s), time_s=time_s)).control

        return pilot


class Looker(Watcher):
    """A branching pilot as the subscriber that it also is, without its sensors once more."""

    def __init__(self, pilot: BranchingPilot) -> None:
        self._pilot = pilot

    def begin(self, scenery: Scenery) -> None:
        """The world is there."""
        self._pilot.begin(scenery)

    def tick(self, facts: TickFacts) -> None:
        """End the episode when its pilot is done."""
        if self._pilot.over():
            raise EpisodeStopped
