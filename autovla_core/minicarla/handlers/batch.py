"""Batches: many commands in one call, run in order, each with its own answer."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla.handlers import actors, lights, movers
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import rpc, values

logger = logging.getLogger(__name__)

SPAWN = 0
CONSOLE = 20  # the only command whose first field is no actor
COMMANDS: dict[int, tuple[str, Callable[..., object]]] = {
    1: ("DestroyActor", actors.destroy),
    2: ("ApplyVehicleControl", movers.control_vehicle),
    3: ("ApplyVehicleAckermannControl", movers.control_ackermann),
    4: ("ApplyWalkerControl", movers.control_walker),
    5: ("ApplyVehiclePhysicsControl", movers.set_physics),
    6: ("ApplyTransform", actors.set_transform),
    7: ("ApplyWalkerState", movers.place_walker),
    8: ("ApplyTargetVelocity", actors.set_target_velocity),
    9: ("ApplyTargetAngularVelocity", actors.set_target_angular_velocity),
    10: ("ApplyImpulse", actors.add_impulse),
    11: ("ApplyForce", actors.add_force),
    14: ("SetSimulatePhysics", actors.set_simulate_physics),
    15: ("SetEnableGravity", actors.set_enable_gravity),
    16: ("SetAutopilot", movers.set_autopilot),
    17: ("ShowDebugTelemetry", movers.show_telemetry),
    18: ("SetVehicleLightState", movers.set_vehicle_lights),
    19: ("ApplyLocation", actors.set_location),
    21: ("SetTrafficLightState", lights.set_state),
}
FIELDS = {index: len(inspect.signature(handler).parameters) - 1 for index, (_, handler) in COMMANDS.items()}
ABSENT = {
    12: "ApplyAngularImpulse",
    13: "ApplyTorque",
    20: "ConsoleCommand",
}


def apply(session: Session, commands: object, do_tick: object = False) -> list:
    """Run commands; return one Response of an actor id for each."""
    answers = [_answer(session, command) for command in values.fields_of(commands, 0, "commands")]
    if do_tick and session.simulation.synchronous:
        session.simulation.tick()
    return answers


def _answer(session: Session, command: object) -> list:
    try:
        return rpc.success(_run(session, command))
    except (AutoVLAError, ValueError) as error:
        logger.debug("command %.200r: %s", command, error)
        return rpc.failure(str(error))


def _run(session: Session, command: object) -> int:
    """Run one command and return the actor that it is about."""
    index, fields = values.variant(command, "Command")
    if index == SPAWN:
        return _spawn(session, fields)
    if index not in COMMANDS:
        raise values.WireValueError(f"command {ABSENT.get(index, index)} is not in minicarla")
    name, handler = COMMANDS[index]
    wanted = FIELDS[index]
    if len(fields) < wanted:
        raise values.WireValueError(f"command {name} has {wanted} fields; found {len(fields)}")
    handler(session, *fields[:wanted])
    return values.integer(fields[0], "actor id")


def _spawn(session: Session, fields: Sequence) -> int:
    description, pose, parent, attachment, _socket, after = values.fields_of(list(fields), 6, "SpawnActor")[:6]
    wanted, place = values.decode_description(description), values.decode_pose(pose)
    parent_id = values.optional(parent, "parent")
    if parent_id is None:
        actor = session.simulation.spawn(wanted, place)
    else:
        kind = values.integer(attachment, "attachment type")
        actor = session.simulation.spawn(wanted, place, values.integer(parent_id, "parent"), kind)
    for command in values.fields_of(after, 0, "do_after"):
        _answer(session, _about(command, actor.id))
    return actor.id


def _about(command: object, actor_id: int) -> list:
    """The same command with the placeholder replaced by the new actor."""
    index, fields = values.variant(command, "Command")
    return [[index, list(fields) if index == CONSOLE else [actor_id, *fields[1:]]]]
