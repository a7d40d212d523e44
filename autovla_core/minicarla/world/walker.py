"""How pedestrians move: they walk where they are told, stand on the ground, and are thrown by cars."""

from __future__ import annotations

import math

import numpy as np

from autovla_core.minicarla.world.actor import Walker

JUMP_SPEED = 4.2  # m/s upwards
THROWN_DECELERATION = 6.0  # m/s2 of a body that slides
UPRIGHT_BELOW = 0.3  # m/s: slower than this a thrown walker walks again
RUNNER = 50.0  # m/s: no control makes a walker faster
FASTEST = 12.0  # m/s: whoever is put further away in a tick was not walking


def advance(walker: Walker, ground: float, gravity: float, dt: float) -> None:
    """Move one walker by one tick, in place; ``ground`` is the ground's z in metres under it.

    The origin of a walker is its box centre, half its height above its soles.
    """
    before = walker.velocity.copy()
    velocity = _thrown(walker, dt) if walker.thrown else _walking(walker)
    soles = float(walker.location[2]) - float(walker.box_extent[2])
    standing = soles <= ground + 0.02
    climb = JUMP_SPEED if walker.control.jump and standing else float(before[2])
    if not standing or climb > 0.0:
        climb -= gravity * dt
    walker.location[:2] += velocity * dt
    walker.walked_m += math.hypot(*velocity.tolist()) * dt
    soles += climb * dt
    if soles <= ground + 0.02:
        soles, climb = ground, 0.0
    walker.location[2] = soles + float(walker.box_extent[2])
    walker.velocity[:] = (velocity[0], velocity[1], climb)
    walker.acceleration[:] = (walker.velocity - before) / dt


def place(walker: Walker, x: float, y: float, yaw_deg: float, ground: float) -> None:
    """Put a walker where a crowd outside of this world says that it is by now; ``carry`` then tells its velocity."""
    walker.carried += (x - walker.location[0], y - walker.location[1])
    walker.location[:] = x, y, ground + walker.box_extent[2]
    walker.rotation[:] = 0.0, yaw_deg, 0.0


def carry(walker: Walker, dt: float) -> None:
    """Let a tick pass for a walker that moves only by ``place``: velocity and gait follow from how far it came."""
    before = walker.velocity.copy()
    distance = math.hypot(*walker.carried.tolist())
    walking = distance <= FASTEST * dt
    walker.velocity[:2] = walker.carried / dt if walking else 0.0
    walker.velocity[2] = 0.0
    walker.walked_m += distance if walking else 0.0
    walker.acceleration[:] = (walker.velocity - before) / dt
    walker.carried[:] = 0.0


def _walking(walker: Walker) -> np.ndarray:
    """Return the (2,) velocity that the control asks for, and face that way."""
    x, y = float(walker.control.direction[0]), float(walker.control.direction[1])
    length, speed = math.hypot(x, y), min(max(0.0, float(walker.control.speed)), RUNNER)
    if length < 1e-6 or speed == 0.0:
        return np.zeros(2)
    walker.rotation[1] = math.degrees(math.atan2(y, x))
    return np.array([x, y]) * (speed / length)


def _thrown(walker: Walker, dt: float) -> np.ndarray:
    velocity = walker.velocity[:2].copy()
    speed = math.hypot(*velocity.tolist())
    left = max(0.0, speed - THROWN_DECELERATION * dt)
    walker.thrown = left > UPRIGHT_BELOW
    return velocity * (left / speed) if speed > 0.0 else velocity
