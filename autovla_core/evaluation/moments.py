"""What the judge sees of the newest tick, read from the simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autovla_core import frames
from autovla_core.carla_bridge.sensor_suite import CollisionEvent
from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation import map_facts
from autovla_core.evaluation.facts import Contact, Moment
from autovla_core.evaluation.watching import Scenery


def moment_now(scenery: Scenery, time_s: float, events: Sequence[CollisionEvent] = ()) -> Moment:
    """The moment of the newest tick; ``events`` are what touched the ego in it."""
    ego = scenery.ego
    transform, velocity = ego.get_transform(), ego.get_velocity()
    position = map_facts.position_of(transform.location)
    return Moment(
        time_s,
        position,
        frames.yaw_from_carla(transform.rotation.yaw),
        float(np.hypot(velocity.x, velocity.y)),
        ego.get_speed_limit() / 3.6,
        frozenset(i for i in scenery.judge.lights_near(position) if _is_red(scenery.lights[i])),
        tuple(Contact(time_s, event.other_id, event.other_type_id) for event in events),
    )


def _is_red(light: carla.TrafficLight) -> bool:
    return light.get_state() == carla.TrafficLightState.Red
