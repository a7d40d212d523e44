"""Calls about traffic lights and signs."""

from __future__ import annotations

import numpy as np

from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world.actor import LightColor, TrafficLight, TrafficSign
from autovla_core.minicarla.world.layout import Signal

LAMP_HALF_M = 0.17  # half size of the boxes around lamps
LAMP_PITCH_M = 0.36  # from lamp to lamp in a head


def _light(session: Session, actor_id: object) -> TrafficLight:
    return _expect(session, actor_id, TrafficLight, "traffic light")


def _expect(session: Session, actor_id: object, kind: type, name: str) -> TrafficSign:
    actor = session.world.actor(values.integer(actor_id, "actor id"))
    if not isinstance(actor, kind):
        raise values.WireValueError(f"actor {actor.id} is a {actor.type_id}, not a {name}")
    return actor


def all_lights(session: Session) -> list[TrafficLight]:
    return [actor for actor in session.world.actors.values() if isinstance(actor, TrafficLight)]


def set_state(session: Session, actor_id: object, state: object) -> None:
    light = _light(session, actor_id)
    light.state = int(LightColor(values.integer(state, "traffic light state")))
    light.elapsed_time = 0.0


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
    for light in all_lights(session):
        light.frozen = bool(frozen)


def reset_group(session: Session, actor_id: object) -> None:
    session.world.reset_lights(_light(session, actor_id).group)


def reset_all(session: Session) -> None:
    session.world.reset_lights()


def _group(session: Session, actor_id: object) -> list[TrafficLight]:
    group = _light(session, actor_id).group
    return [light for light in all_lights(session) if light.group == group]


def group(session: Session, actor_id: object) -> list[int]:
    return [light.id for light in _group(session, actor_id)]


def trigger_volume(session: Session, actor_id: object) -> list:
    sign = _expect(session, actor_id, TrafficSign, "traffic sign")
    return values.bounding_box(sign.trigger_center, sign.trigger_extent, actor_id=sign.id)


def light_boxes(session: Session, actor_id: object) -> list:
    """A box around every lamp: red, yellow and green of each head, in the world."""
    light = _light(session, actor_id)
    return lamp_boxes(session, light)


def lamp_boxes(session: Session, light: TrafficLight) -> list:
    signal = _signal(session, light.sign_id)
    return [
        values.bounding_box(head + np.array([0.0, 0.0, up]), [LAMP_HALF_M] * 3, [0.0, yaw_deg, 0.0], light.id)
        for head, yaw_deg in signal.heads
        for up in (LAMP_PITCH_M, 0.0, -LAMP_PITCH_M)
    ]


def _signal(session: Session, sign_id: str) -> Signal:
    return next(signal for signal in session.world.town.signals if signal.id == sign_id)
