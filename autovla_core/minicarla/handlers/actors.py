"""Calls about any actor: spawn, destroy, place, push."""

from __future__ import annotations

from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world import acts
from autovla_core.minicarla.world.actor import Actor, Vehicle


def find(session: Session, actor_id: object) -> Actor:
    """Look an actor up.

    Raises:
        ActorNotFound: no living actor has this id.
    """
    return session.world.actor(values.integer(actor_id, "actor id"))


def find_vehicle(session: Session, actor_id: object) -> Vehicle:
    """Look a vehicle up.

    Raises:
        ActorNotFound: no living vehicle has this id.
    """
    return session.world.vehicle(values.integer(actor_id, "actor id"))


def by_id(session: Session, ids: object) -> list:
    """Unknown ids are left out without a word, as CARLA does."""
    actors, port = session.world.actors, session.simulation.stream_port
    wanted = [values.integer(i, "actor id") for i in values.fields_of(ids, 0, "actor ids")]
    return [values.actor(actors[i], port) for i in wanted if i in actors]


def spawn(session: Session, description: object, pose: object) -> list:
    wanted = values.decode_description(description)
    actor = session.simulation.spawn(wanted, values.decode_pose(pose))
    return values.actor(actor, session.simulation.stream_port)


def spawn_attached(
    session: Session, description: object, pose: object, parent: object, attachment: object = 0, socket: object = ""
) -> list:
    wanted = values.decode_description(description)
    actor = session.simulation.spawn(
        wanted,
        values.decode_pose(pose),
        values.integer(parent, "parent"),
        values.integer(attachment, "attachment type"),
    )
    return values.actor(actor, session.simulation.stream_port)


def destroy(session: Session, actor_id: object) -> bool:
    session.simulation.destroy(values.integer(actor_id, "actor id"))
    return True


def bounding_box(session: Session, actor_id: object) -> list:
    """Also of an actor that was destroyed since the last tick: scenario_runner's agents look at all whom they see."""
    actor = session.world.actor_seen(values.integer(actor_id, "actor id"))
    return values.bounding_box(actor.box_center, actor.box_extent, actor_id=actor.id)


def set_location(session: Session, actor_id: object, location: object) -> None:
    actor = find(session, actor_id)
    session.world.set_transform(actor.id, values.decode_vector(location, "Location"), actor.rotation.copy())


def set_transform(session: Session, actor_id: object, pose: object) -> None:
    wanted = values.decode_pose(pose)
    session.world.set_transform(find(session, actor_id).id, wanted.location, wanted.rotation)


def set_target_velocity(session: Session, actor_id: object, velocity: object) -> None:
    acts.set_target_velocity(find(session, actor_id), values.decode_vector(velocity, "velocity"))


def set_target_angular_velocity(session: Session, actor_id: object, velocity: object) -> None:
    """A turning rate, deg/s."""
    find(session, actor_id).angular_velocity[:] = values.decode_vector(velocity, "angular velocity")


def enable_constant_velocity(session: Session, actor_id: object, velocity: object) -> None:
    """Hold a speed along the vehicle's own x axis, m/s, whatever its pedals say.

    CARLA takes y and z too; here they are ignored, because the wheels of a bicycle model cannot be held sideways.
    """
    forward = values.decode_vector(velocity, "velocity")[0]
    find_vehicle(session, actor_id).constant_velocity = float(forward)


def disable_constant_velocity(session: Session, actor_id: object) -> None:
    find_vehicle(session, actor_id).constant_velocity = None


def add_impulse(session: Session, actor_id: object, impulse: object) -> None:
    acts.add_impulse(find(session, actor_id), values.decode_vector(impulse, "impulse"))


def add_impulse_at(session: Session, actor_id: object, impulse: object, location: object) -> None:
    """As a plain impulse: where it acts would turn the actor, which is not simulated."""
    values.decode_vector(location, "location")
    add_impulse(session, actor_id, impulse)


def add_force(session: Session, actor_id: object, force: object) -> None:
    """A force, N, during one tick."""
    impulse = values.decode_vector(force, "force") * session.simulation.delta_s
    acts.add_impulse(find(session, actor_id), impulse)


def add_force_at(session: Session, actor_id: object, force: object, location: object) -> None:
    """As a plain force, see ``add_impulse_at``."""
    values.decode_vector(location, "location")
    add_force(session, actor_id, force)


def set_enable_gravity(session: Session, actor_id: object, enabled: object) -> None:
    """Without gravity what is in the air keeps its climb."""
    find(session, actor_id).has_gravity = bool(enabled)


def set_simulate_physics(session: Session, actor_id: object, enabled: object) -> None:
    session.world.set_simulate_physics(find(session, actor_id).id, bool(enabled))


def set_collisions(session: Session, actor_id: object, enabled: object) -> None:
    session.world.set_collisions(find(session, actor_id).id, bool(enabled))
