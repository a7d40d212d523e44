"""Calls about vehicles and walkers."""

from __future__ import annotations

from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world.actor import Vehicle, Walker
from autovla_core.minicarla.world.world import TRAFFIC_ROLE


def _number(actor_id: object) -> int:
    return values.integer(actor_id, "actor id")


def control_vehicle(session: Session, actor_id: object, control: object) -> None:
    session.world.apply_control(_number(actor_id), values.decode_vehicle_control(control))


def physics(session: Session, actor_id: object) -> list:
    return values.physics(session.world.physics_control(_number(actor_id)))


def set_physics(session: Session, actor_id: object, wanted: object) -> None:
    """The wheels stay where they are: a client sends back the world positions of some earlier tick."""
    decoded, vehicle = values.decode_physics(wanted), session.world.vehicle(_number(actor_id))
    count = len(vehicle.physics["wheels"])
    if len(decoded["wheels"]) != count:
        raise values.WireValueError(f"{vehicle.type_id} has {count} wheels; found {len(decoded['wheels'])}")
    session.world.apply_physics_control(vehicle.id, decoded)


def vehicle_lights(session: Session, actor_id: object) -> list[int]:
    return [session.world.vehicle(_number(actor_id)).light_state]


def set_vehicle_lights(session: Session, actor_id: object, state: object) -> None:
    """Takes the struct of the single call and the bare integer of the batch command."""
    flags = values.fields_of(state, 1, "VehicleLightState")[0] if isinstance(state, list) else state
    session.world.set_light_state(_number(actor_id), values.integer(flags, "vehicle light bits"))


def all_vehicle_lights(session: Session) -> list:
    return [[actor.id, actor.light_state] for actor in session.world.actors.values() if isinstance(actor, Vehicle)]


def wheel_steer_angle(session: Session, actor_id: object, wheel: object) -> float:
    """Degrees, right positive; rear wheels do not turn."""
    vehicle = session.world.vehicle(_number(actor_id))
    return float(vehicle.wheel_angle_deg) if wheel in (0, 1) else 0.0


def set_autopilot(session: Session, actor_id: object, enabled: object) -> None:
    """Only for the server's own traffic: the client's Traffic Manager drives all others."""
    vehicle = session.world.vehicle(_number(actor_id))
    if vehicle.attributes.get("role_name") == TRAFFIC_ROLE:
        session.world.set_autopilot(vehicle.id, bool(enabled))


def control_walker(session: Session, actor_id: object, control: object) -> None:
    session.world.apply_walker_control(_number(actor_id), values.decode_walker_control(control))


def place_walker(session: Session, actor_id: object, pose: object, speed: object) -> None:
    """Where the client's crowd says that a walker is by now, and how fast it walks there."""
    walker, wanted = session.world.actor(_number(actor_id)), values.decode_pose(pose)
    if not isinstance(walker, Walker):
        raise values.WireValueError(f"actor {walker.id} is a {walker.type_id}, not a walker")
    session.world.set_transform(walker.id, wanted.location, wanted.rotation)
    walker.control.speed = values.number(speed, "speed")
