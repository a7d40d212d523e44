"""Actors as they are born: from a blueprint, or from a signal of the town."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla.blueprints import BLUEPRINTS, Blueprint
from autovla_core.minicarla.world import physics
from autovla_core.minicarla.world.actor import Actor, TrafficLight, TrafficSign, Vehicle, Walker
from autovla_core.minicarla.world.layout import Signal
from autovla_core.minicarla.world.mesh import Tag

UNKNOWN_BLUEPRINT = "Spawn failed because of invalid actor description"
PLACE_TAKEN = "Spawn failed because of collision at spawn position"
TOO_MANY = "Spawn failed because the world is full"
MOST_ACTORS = 20_000
PARENT_MISSING = "unable to attach actor: parent actor not found"

LIGHT_BOX = ((0.0, 0.0, 2.5), (0.3, 0.3, 2.5))  # centre, half sizes
SIGN_BOX = ((0.0, 0.0, 1.3), (0.3, 0.1, 1.3))


class SpawnError(AutoVLAError):
    """An actor cannot be born; the text is the one that CARLA's client scripts know."""


class ActorNotFound(AutoVLAError):
    """No living actor has this id."""


def blueprint_of(type_id: str) -> Blueprint:
    """Look a blueprint up.

    Raises:
        SpawnError: if there is none of this name.
    """
    try:
        return BLUEPRINTS[type_id]
    except KeyError:
        raise SpawnError(UNKNOWN_BLUEPRINT) from None


def make_actor(actor_id: int, blueprint: Blueprint, attributes: Mapping[str, str]) -> Actor:
    """Return an actor at the origin, with box, colour and tags; a vehicle also with its physics."""
    merged = {**blueprint.defaults(), **attributes}
    types = {attribute.id: attribute.type for attribute in blueprint.attributes}
    common = {"blueprint_uid": blueprint.uid, "attributes": merged, "attribute_types": types}
    if blueprint.id.startswith("vehicle."):
        actor: Actor = Vehicle(actor_id, blueprint.id, **common)
        actor.physics = physics_of(blueprint)
    elif blueprint.id.startswith("walker."):
        actor = Walker(actor_id, blueprint.id, **common)
    else:
        actor = Actor(actor_id, blueprint.id, **common)
    if blueprint.extent is not None:
        actor.box_extent = np.array(blueprint.extent, float)
        actor.box_center = np.array([0.0, 0.0, 0.0 if actor.kind == "walker" else blueprint.extent[2]])
        actor.semantic_tags = bytes([blueprint.semantic_tag])
    if "color" in merged:
        actor.color = _color(merged["color"])
    return actor


def physics_of(blueprint: Blueprint) -> dict:
    """A vehicle's physics control as built."""
    return physics.default_physics(blueprint.base_type, blueprint.mass, blueprint.wheel_base, blueprint.extent[1])


def parameters_of(vehicle: Vehicle) -> np.ndarray:
    """The dynamics' row for a vehicle with its present physics control."""
    blueprint = BLUEPRINTS[vehicle.type_id]
    return physics.parameters(
        vehicle.physics, blueprint.base_type, blueprint.mass, blueprint.wheel_base, blueprint.extent[1]
    )


def make_sign(actor_id: int, signal: Signal, index: int) -> TrafficSign:
    """Return the actor of a signal; ``index`` numbers the lights of the town."""
    is_light = signal.kind == "traffic_light"
    made: TrafficSign = (TrafficLight if is_light else TrafficSign)(actor_id, _type_of(signal), sign_id=signal.id)
    if isinstance(made, TrafficLight):
        made.pole_index, made.group, made.phase = index, signal.junction_id, signal.phase
    center, extent = LIGHT_BOX if is_light else SIGN_BOX
    made.location = signal.location
    made.rotation = 0.0, (signal.yaw_deg + 180.0) % 360.0 - 180.0, 0.0
    made.box_center, made.box_extent = np.array(center), np.array(extent)
    made.trigger_center = np.array(signal.trigger_center, float)
    made.trigger_extent = np.array(signal.trigger_extent, float)
    made.semantic_tags = bytes([Tag.TRAFFIC_LIGHT if is_light else Tag.TRAFFIC_SIGN])
    return made


def _type_of(signal: Signal) -> str:
    if signal.kind == "speed_limit":
        return f"traffic.speed_limit.{round(signal.value)}"
    return f"traffic.{signal.kind}"


def _color(text: str) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in text.split(","))
    return red, green, blue
