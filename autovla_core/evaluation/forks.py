"""Where plans lead: each is driven in a fork of the simulator's world, where the others react, and judged there.

minicarla only: a real CARLA cannot go back. A scenario's actors are led by the client and would stand in a fork, so
routes with scenarios are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autovla_core import geometry
from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.carla_bridge.saved_states import SavedStates
from autovla_core.carla_bridge.sensor_suite import CollisionEvent, SensorSuite, forward_speed
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import PLAN_STEPS, STEP_S, Control, Plan
from autovla_core.control.tracker import Tracker
from autovla_core.errors import RouteError
from autovla_core.evaluation import map_facts
from autovla_core.evaluation.facts import Contact, Moment
from autovla_core.evaluation.foresight import Ahead, Future, along, terms
from autovla_core.evaluation.moments import moment_now
from autovla_core.evaluation.watching import Scenery

SENSOR = {"type": "sensor.other.collision", "id": "fork_collision"}
LINGER_TICKS = 6  # in which the last contacts of the last future arrive; the world forgets them, too
Pilot = Callable[[float, float, float], Control]  # time s, speed m/s, yaw rate rad/s -> control, once a tick


@dataclass(frozen=True)
class Present:
    """What a fork begins with, read before the client's view of the world goes astray."""

    moment: Moment
    speed: float  # m/s, signed
    yaw_rate: float  # rad/s, counter-clockwise


class Forks:
    """The futures of one ego in one episode.

    Attributes:
        ticks: length of a future.
        branches, wall_s: futures so far, and what they took.

    Raises:
        RouteError: the route has scenarios.
    """

    def __init__(self, scenery: Scenery, states: SavedStates, seconds: float) -> None:
        if scenery.route.scenarios:
            raise RouteError(
                f"route {scenery.route.id} has scenarios, whose actors would stand in a fork; give routes without"
            )
        self._scenery, self._states = scenery, states
        self.ticks = round(seconds / scenery.session.tick_s)
        self.branches, self.wall_s = 0, 0.0
        self._suite: SensorSuite = scenery.session.spawn_sensors(scenery.ego, [SENSOR], 0)
        carla_map = scenery.session.map
        lights = [map_facts.light_fact(light, carla_map) for light in scenery.lights.values()]
        signs = [map_facts.sign_fact(sign) for sign in scenery.session.world.get_actors().filter("traffic.stop*")]
        ego = scenery.ego.bounding_box
        self._ahead = Ahead(map_facts.CarlaLanes(carla_map), lights, signs, ego.extent.x)
        self._box_ahead = float(ego.location.x)

    def now(self, time_s: float) -> Present:
        """What forks of this tick begin with. Ask before the first: after one, the client sees its end till a tick."""
        ego = self._scenery.ego
        return Present(moment_now(self._scenery, time_s), forward_speed(ego), _yaw_rate(ego))

    def drive(self, pilots: Sequence[Pilot], present: Present) -> list[Future]:
        """The future under each pilot, from now on; the world is then as it was, and nothing has happened.

        Call it between a tick and the control that follows it, as often as you like.
        """
        began = time.monotonic()
        scenery, states = self._scenery, self._states
        left = newest = scenery.session.world.get_snapshot().frame
        here = states.save()
        states.pause_cameras(True)
        try:
            driven: list[list[tuple[int, Moment]]] = []
            for pilot in pilots:
                states.restore(here)
                driven.append(self._branch(pilot, present))
            for _ in range(LINGER_TICKS):
                newest = scenery.session.tick()
            events = self._suite.collect(newest).get(SENSOR["id"], (newest, []))[1]
            states.restore(here)
        finally:
            states.pause_cameras(False)
            states.forget(here)
        scenery.session.went_back(left, newest)
        self.branches += len(pilots)
        self.wall_s += time.monotonic() - began
        progress = scenery.judge.completion.distance
        return [self._future(present.moment, ticks, events, progress) for ticks in driven]

    def follow(self, poses: np.ndarray, tracker: Tracker, time_s: float) -> Pilot:
        """A pilot that tracks a plan (10, 3) made now, with what ``tracker`` remembers; that one is left alone."""
        own, plan = tracker.twin(), Plan(np.asarray(poses, float), time_s, time_s)
        return lambda now_s, speed, yaw_rate: own.step(plan, now_s, speed, yaw_rate)

    def poses(self, future: Future) -> tuple[np.ndarray, np.ndarray]:
        """Where a future went: poses (10, 3) as of a plan made at its begin, and which of them it reached (10,)."""
        rows = np.array([self._pose(moment) for moment in future.moments])
        at = np.rint(np.arange(1, PLAN_STEPS + 1) * STEP_S / self._scenery.session.tick_s).astype(int)
        ego_from_world = geometry.invert(rows[0])
        return geometry.compose(ego_from_world, rows[np.minimum(at, len(rows) - 1)]), at < len(rows)

    def _pose(self, moment: Moment) -> np.ndarray:
        forward = np.array([np.cos(moment.yaw), np.sin(moment.yaw)])
        return np.append(moment.position[:2] + self._box_ahead * forward, moment.yaw)

    def _branch(self, pilot: Pilot, present: Present) -> list[tuple[int, Moment]]:
        scenery, time_s, driven = self._scenery, present.moment.time_s, []
        speed, yaw_rate = present.speed, present.yaw_rate
        for number in range(1, self.ticks + 1):
            # Not ego.apply_control: the client leaves out a control equal to the last it sent, in whichever future.
            command = vehicle_control(pilot(time_s, speed, yaw_rate))
            scenery.session.client.apply_batch([carla.command.ApplyVehicleControl(scenery.ego, command)])
            frame = scenery.session.tick()
            time_s = present.moment.time_s + number * scenery.session.tick_s
            speed, yaw_rate = forward_speed(scenery.ego), _yaw_rate(scenery.ego)
            driven.append((frame, moment_now(scenery, time_s)))
        return driven

    def _future(
        self, present: Moment, driven: list[tuple[int, Moment]], events: list[CollisionEvent], progress: float
    ) -> Future:
        """Contacts belong to the tick whose frame they name, however late they arrived."""
        moments = [present]
        for frame, moment in driven:
            touched = [event for event in events if event.frame == frame]
            contacts = tuple(Contact(moment.time_s, e.other_id, e.other_type_id) for e in touched)
            moments.append(replace(moment, contacts=contacts))
        track = along(self._scenery.track, progress, self.ticks * self._scenery.session.tick_s)
        return self._ahead.judge(track, tuple(moments))


def scores(futures: Sequence[Future], expert: Future) -> Mapping[str, np.ndarray]:
    """Terms (P,) of futures, each against the expert's from the same moment."""
    found = [terms(future, expert) for future in futures]
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def _yaw_rate(ego: carla.Vehicle) -> float:
    return float(-np.radians(ego.get_angular_velocity().z))
