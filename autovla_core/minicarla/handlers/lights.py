"""Calls about traffic lights and signs."""

from __future__ import annotations

import numpy as np

from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world.actor import LightColor, TrafficLight, TrafficSign
from autovla_core.minicarla.world.layout import Signal

LAMP_HALF_M = 0.17  # half size of the boxes around lamps
LAMP_PITCH_M = 0.36  # from lamp to lamp in a head


def _number(actor_id: object) -> int:
    return values.integer(actor_id, "actor id")


def set_state(session: Session, actor_id: object, state: object) -> None:
    session.world.set_traffic_light_state(_number(actor_id), values.integer(state, "traffic light state"))


def set_green_time(session: Session, actor_id: object, seconds: object) -> None:
    _set_time(session, actor_id, LightColor.GREEN, seconds)


def set_yellow_time(session: Session, actor_id: object, seconds: object) -> None:
    _set_time(session, actor_id, LightColor.YELLOW, seconds)


def set_red_time(session: Session, actor_id: object, seconds: object) -> None:
    _set_time(session, actor_id, LightColor.RED, seconds)


def _set_time(session: Session, actor_id: object, state: LightColor, seconds: object) -> None:
    session.world.set_traffic_light_time(_number(actor_id), state, values.number(seconds, "duration"))


def freeze(session: Session, actor_id: object, frozen: object) -> None:
    """CARLA stops and starts the whole junction; so do we."""
    session.world.freeze_traffic_light(_number(actor_id), bool(frozen))


def freeze_all(session: Session, frozen: object) -> None:
    session.world.freeze_all_traffic_lights(bool(frozen))


def reset_group(session: Session, actor_id: object) -> None:
    session.world.reset_traffic_light_group(_number(actor_id))


def reset_all(session: Session) -> None:
    session.world.reset_all_traffic_lights()


def group(session: Session, actor_id: object) -> list[int]:
    return session.world.traffic_light_group(_number(actor_id))


def trigger_volume(session: Session, actor_id: object) -> list:
    sign = session.world.actor(_number(actor_id))
    if not isinstance(sign, TrafficSign):
        raise values.WireValueError(f"actor {sign.id} is a {sign.type_id}, not a traffic sign")
    return values.bounding_box(sign.trigger_center, sign.trigger_extent, actor_id=sign.id)


def light_boxes(session: Session, actor_id: object) -> list:
    """A box around every lamp: red, yellow and green of each head, in the world."""
    return lamp_boxes(session, session.world.light(_number(actor_id)))


def lamp_boxes(session: Session, light: TrafficLight) -> list:
    """BoundingBoxes of one light's lamps."""
    signal = _signal(session, light.sign_id)
    return [
        values.bounding_box(head + np.array([0.0, 0.0, up]), [LAMP_HALF_M] * 3, [0.0, yaw_deg, 0.0], light.id)
        for head, yaw_deg in signal.heads
        for up in (LAMP_PITCH_M, 0.0, -LAMP_PITCH_M)
    ]


def _signal(session: Session, sign_id: str) -> Signal:
    return next(signal for signal in session.world.town.signals if signal.id == sign_id)
