"""Calls about vehicles and walkers."""

from __future__ import annotations

from dataclasses import astuple

from autovla_core.minicarla.handlers.actors import find_vehicle
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world import acts
from autovla_core.minicarla.world import telemetry as telemetries
from autovla_core.minicarla.world.actor import Vehicle, Walker
from autovla_core.minicarla.world.world import TRAFFIC_ROLE


def _walker(session: Session, actor_id: object) -> Walker:
    actor = session.world.actor(values.integer(actor_id, "actor id"))
    if not isinstance(actor, Walker):
        raise values.WireValueError(f"actor {actor.id} is a {actor.type_id}, not a walker")
    return actor


def control_vehicle(session: Session, actor_id: object, control: object) -> None:
    acts.apply_control(find_vehicle(session, actor_id), values.decode_vehicle_control(control))


def control_ackermann(session: Session, actor_id: object, control: object) -> None:
    acts.apply_ackermann(find_vehicle(session, actor_id), values.decode_ackermann(control))


def ackermann_settings(session: Session, actor_id: object) -> list[float]:
    return values.numbers(astuple(find_vehicle(session, actor_id).ackermann_gains))


def set_ackermann_settings(session: Session, actor_id: object, gains: object) -> None:
    find_vehicle(session, actor_id).ackermann_gains = values.decode_ackermann_gains(gains)


def telemetry(session: Session, actor_id: object) -> list:
    return telemetries.telemetry(find_vehicle(session, actor_id))


def door(session: Session, actor_id: object, number: object) -> None:
    """Doors are part of the body: they neither open nor close."""
    find_vehicle(session, actor_id)


def show_telemetry(session: Session, actor_id: object, enabled: object) -> None:
    """There is no window to show it in."""
    find_vehicle(session, actor_id)


def physics(session: Session, actor_id: object) -> list:
    vehicle = find_vehicle(session, actor_id)
    return values.physics(vehicle.physics, vehicle.location, vehicle.rotation)


def set_physics(session: Session, actor_id: object, wanted: object) -> None:
    """The wheels stay where they are: a client sends back the world positions of some earlier tick."""
    vehicle, decoded = find_vehicle(session, actor_id), values.decode_physics(wanted)
    own = vehicle.physics["wheels"]
    if len(decoded["wheels"]) != len(own):
        raise values.WireValueError(f"{vehicle.type_id} has {len(own)} wheels; found {len(decoded['wheels'])}")
    wheels = [dict(wheel, position=mine["position"]) for wheel, mine in zip(decoded["wheels"], own)]
    session.world.set_physics(vehicle.id, dict(decoded, wheels=wheels))


def vehicle_lights(session: Session, actor_id: object) -> list[int]:
    return [find_vehicle(session, actor_id).light_state]


def set_vehicle_lights(session: Session, actor_id: object, state: object) -> None:
    """Takes the struct of the single call and the bare integer of the batch command."""
    flags = values.fields_of(state, 1, "VehicleLightState")[0] if isinstance(state, list) else state
    find_vehicle(session, actor_id).light_state = values.unsigned(flags, "vehicle light bits")


def all_vehicle_lights(session: Session) -> list:
    return [[actor.id, actor.light_state] for actor in session.world.actors.values() if isinstance(actor, Vehicle)]


def wheel_steer_angle(session: Session, actor_id: object, wheel: object) -> float:
    """Degrees, right positive; rear wheels do not turn."""
    vehicle = find_vehicle(session, actor_id)
    return float(vehicle.wheel_angle_deg) if wheel in (0, 1) else 0.0


def set_autopilot(session: Session, actor_id: object, enabled: object) -> None:
    """Only for the server's own traffic: the client's Traffic Manager drives all others."""
    vehicle = find_vehicle(session, actor_id)
    if vehicle.attributes.get("role_name") == TRAFFIC_ROLE:
        vehicle.autopilot = bool(enabled)


def control_walker(session: Session, actor_id: object, control: object) -> None:
    _walker(session, actor_id).control = values.decode_walker_control(control)


def place_walker(session: Session, actor_id: object, pose: object, speed: object) -> None:
    """Where the client's crowd says that a walker is by now, and how fast it walks there."""
    walker, wanted = _walker(session, actor_id), values.decode_pose(pose)
    walker.control.speed = values.number(speed, "speed")
    x, y, _ = wanted.location.tolist()
    session.world.place_walker(walker.id, x, y, float(wanted.rotation[1]))
