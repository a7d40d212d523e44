"""How pedestrians move: they walk where they are told, stand on the ground, and are thrown by cars."""

from __future__ import annotations

import math

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
    old = walker.motion.tolist()
    vx, vy = _thrown(walker, old[6], old[7], dt) if walker.thrown else _walking(walker)
    height = float(walker.box_extent[2])
    soles = old[2] - height
    standing = soles <= ground + 0.02
    climb = JUMP_SPEED if walker.control.jump and standing else old[8]
    if not standing or climb > 0.0:
        climb -= gravity * dt
    walker.walked_m += math.hypot(vx, vy) * dt
    soles += climb * dt
    if soles <= ground + 0.02:
        soles, climb = ground, 0.0
    walker.location = old[0] + vx * dt, old[1] + vy * dt, soles + height
    walker.velocity = vx, vy, climb
    walker.acceleration = (vx - old[6]) / dt, (vy - old[7]) / dt, (climb - old[8]) / dt


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


def _walking(walker: Walker) -> tuple[float, float]:
    """Return the velocity in the plane that the control asks for, and face that way."""
    x, y = float(walker.control.direction[0]), float(walker.control.direction[1])
    length, speed = math.hypot(x, y), min(max(0.0, float(walker.control.speed)), RUNNER)
    if length < 1e-6 or speed == 0.0:
        return 0.0, 0.0
    walker.rotation[1] = math.degrees(math.atan2(y, x))
    return x * (speed / length), y * (speed / length)


def _thrown(walker: Walker, vx: float, vy: float, dt: float) -> tuple[float, float]:
    """Return the velocity in the plane of one who slides after a blow, a tick later."""
    speed = math.hypot(vx, vy)
    left = max(0.0, speed - THROWN_DECELERATION * dt)
    walker.thrown = left > UPRIGHT_BELOW
    return (vx * (left / speed), vy * (left / speed)) if speed > 0.0 else (vx, vy)
