"""What a client does to one actor: push it, steer it. CARLA's frame.

What others must learn of, a new place or that nothing collides with it any more, is up to the world.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autovla_core.minicarla.world import ackermann
from autovla_core.minicarla.world.actor import AckermannTarget, Actor, Vehicle, VehicleControl


def set_target_velocity(actor: Actor, velocity: Sequence[float]) -> None:
    """Give an actor a velocity, m/s in the world; a vehicle's tyres then act on it. Without physics it takes none."""
    if isinstance(actor, Vehicle) and not actor.simulate_physics:
        return
    actor.velocity[:] = velocity
    if isinstance(actor, Vehicle):
        roll(actor)


def halt(actor: Actor) -> None:
    """Take all motion from an actor."""
    for motion in (actor.velocity, actor.acceleration, actor.angular_velocity):
        motion[:] = 0.0
    if isinstance(actor, Vehicle):
        actor.forward_speed = actor.lateral_speed = 0.0


def roll(vehicle: Vehicle) -> None:
    """Let a vehicle's own speeds be those of its velocity in the world, however it stands now."""
    yaw = math.radians(float(vehicle.rotation[1]))
    vx, vy = vehicle.velocity[:2].tolist()
    vehicle.forward_speed = vx * math.cos(yaw) + vy * math.sin(yaw)
    vehicle.lateral_speed = -vx * math.sin(yaw) + vy * math.cos(yaw)


def add_impulse(actor: Actor, impulse: Sequence[float]) -> None:
    """Push an actor, N s in the world; only vehicles give way."""
    if isinstance(actor, Vehicle):
        set_target_velocity(actor, actor.velocity + np.array(impulse, float) / actor.physics["mass"])


def apply_control(vehicle: Vehicle, control: VehicleControl) -> None:
    """Set a vehicle's pedals and wheel; they hold until the next call. Server traffic soon overrules it."""
    vehicle.control, vehicle.ackermann = control, None


def apply_ackermann(vehicle: Vehicle, target: AckermannTarget) -> None:
    """Let two loops hold a vehicle's speed and wheel angle until the next ``apply_control``."""
    vehicle.ackermann = ackermann.aim(vehicle.ackermann, target)
