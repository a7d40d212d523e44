"""Calls about traffic lights and signs."""

from __future__ import annotations

import math

import numpy as np

from autovla_core.minicarla.sensors.meshes import LAMP_AHEAD_M, LAMP_SPACING_M, LIT_RADIUS_M
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world.actor import LightColor, TrafficLight, TrafficSign
from autovla_core.minicarla.world.layout import Signal

OCTAGON_HALF_M = LIT_RADIUS_M * math.cos(math.pi / 8)  # a lamp is drawn as one that stands on a side
LAMP_HALF_M = (0.05, OCTAGON_HALF_M, OCTAGON_HALF_M)  # half sizes of the boxes around lamps: ahead, across, up


def _sign(session: Session, actor_id: object) -> TrafficSign:
    actor = session.world.actor(values.integer(actor_id, "actor id"))
    if not isinstance(actor, TrafficSign):
        raise values.WireValueError(f"actor {actor.id} is a {actor.type_id}, not a traffic sign")
    return actor


def _light(session: Session, actor_id: object) -> TrafficLight:
    actor = _sign(session, actor_id)
    if not isinstance(actor, TrafficLight):
        raise values.WireValueError(f"actor {actor.id} is a {actor.type_id}, not a traffic light")
    return actor


def _group(session: Session, actor_id: object) -> list[TrafficLight]:
    """All lights of a light's junction."""
    group = _light(session, actor_id).group
    return [light for light in session.world.lights() if light.group == group]


def set_state(session: Session, actor_id: object, state: object) -> None:
    """Shown until the junction's next change; for ever if it is frozen."""
    _light(session, actor_id).state = int(LightColor(values.integer(state, "traffic light state")))


def set_green_time(session: Session, actor_id: object, seconds: object) -> None:
    _light(session, actor_id).green_time = values.number(seconds, "green time")


def set_yellow_time(session: Session, actor_id: object, seconds: object) -> None:
    _light(session, actor_id).yellow_time = values.number(seconds, "yellow time")


def set_red_time(session: Session, actor_id: object, seconds: object) -> None:
    _light(session, actor_id).red_time = values.number(seconds, "red time")


def freeze(session: Session, actor_id: object, frozen: object) -> None:
    """CARLA stops and starts the whole junction; so do we."""
    for light in _group(session, actor_id):
        light.frozen = bool(frozen)


def freeze_all(session: Session, frozen: object) -> None:
    for light in session.world.lights():
        light.frozen = bool(frozen)


def reset_group(session: Session, actor_id: object) -> None:
    session.world.reset_lights(_light(session, actor_id).group)


def reset_all(session: Session) -> None:
    session.world.reset_lights()


def group(session: Session, actor_id: object) -> list[int]:
    return [light.id for light in _group(session, actor_id)]


def trigger_volume(session: Session, actor_id: object) -> list:
    sign = _sign(session, actor_id)
    return values.bounding_box(sign.trigger_center, sign.trigger_extent, actor_id=sign.id)


def light_boxes(session: Session, actor_id: object) -> list:
    """A box around every lamp: red, yellow and green of each head, in the world."""
    return lamp_boxes(session, _light(session, actor_id))


def lamp_boxes(session: Session, light: TrafficLight) -> list:
    """BoundingBoxes of one light's lamps, where the cameras draw them."""
    signal = _signal(session, light.sign_id)
    return [
        values.bounding_box(_lamp(head, yaw_deg, up), LAMP_HALF_M, [0.0, yaw_deg, 0.0], light.id)
        for head, yaw_deg in signal.heads
        for up in (LAMP_SPACING_M, 0.0, -LAMP_SPACING_M)
    ]


def _lamp(head: np.ndarray, yaw_deg: float, up: float) -> np.ndarray:
    yaw = np.radians(yaw_deg)
    return head + LAMP_AHEAD_M * np.array([np.cos(yaw), np.sin(yaw), 0.0]) + np.array([0.0, 0.0, up])


def _signal(session: Session, sign_id: str) -> Signal:
    return next(signal for signal in session.world.town.signals if signal.id == sign_id)
