"""Ackermann control: a wanted speed, acceleration and wheel angle become pedals and wheel, tick by tick.

Two loops as in CARLA: the error of the speed moves the wanted acceleration, the error of the acceleration
trims it. Both move by steps per tick, so gains are felt in ticks, not in seconds. The pedals follow from the
vehicle's own dynamics; CARLA's second loop moves them directly, which makes this vehicle hunt. CARLA's frame.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from autovla_core.minicarla.world import physics, vehicle
from autovla_core.minicarla.world.actor import AckermannGains, AckermannLoop, AckermannTarget, Vehicle, VehicleControl

STANDING = 0.1  # m/s
MAX_ACCELERATION, MAX_DECELERATION = 3.0 * vehicle.GRAVITY, 8.0  # m/s2, if the client sets no limit
MOST_TRIM = 3.0  # m/s2
SMOOTHING = 0.8  # of the measured acceleration


def aim(loop: AckermannLoop | None, target: AckermannTarget) -> AckermannLoop:
    """Give a loop a new target; what it has learnt of the vehicle stays."""
    return AckermannLoop(target) if loop is None else replace(loop, target=target)


def step(car: Vehicle, row: np.ndarray, dt: float) -> tuple[AckermannLoop, VehicleControl]:
    """The loop one tick later, and what it does to pedals and wheel; ``row`` are the car's dynamics."""
    loop, gains, speed = car.ackermann, car.ackermann_gains, car.forward_speed
    measured = 0.0 if loop.speed is None else (speed - loop.speed) / dt
    acceleration = SMOOTHING * loop.acceleration + (1.0 - SMOOTHING) * measured
    angle = _towards(loop.angle, loop.target.steer, abs(loop.target.steer_speed) * dt)
    loop = replace(loop, angle=angle)
    steer = _steer_of(angle, speed, row)
    if abs(speed) < STANDING and abs(loop.target.speed) < STANDING:
        loop = replace(loop, speed=speed, acceleration=acceleration, wanted=0.0, trim=0.0)
        return loop, VehicleControl(steer=steer, brake=1.0, reverse=car.control.reverse)
    reverse = loop.target.speed < 0.0 if abs(speed) < STANDING else car.control.reverse
    loop = _moved(loop, gains, speed, measured, acceleration, dt)
    way = -1.0 if reverse else 1.0
    slope = way * math.radians(float(car.rotation[0]))
    throttle, brake = vehicle.pedals(way * (loop.wanted + loop.trim), way * speed, slope, row)
    return loop, VehicleControl(float(throttle), steer, float(brake), reverse=reverse)


def _moved(
    loop: AckermannLoop, gains: AckermannGains, speed: float, measured: float, acceleration: float, dt: float
) -> AckermannLoop:
    """Both loops one tick on; a vehicle that goes the other way must first come to rest."""
    target = loop.target.speed if speed * loop.target.speed >= 0.0 or abs(speed) < STANDING else 0.0
    error = target - speed
    speed_sum = loop.speed_sum + gains.speed_ki * error * dt
    change = gains.speed_kp * error + speed_sum - gains.speed_kd * measured
    limit = abs(loop.target.acceleration)
    low, high = (-limit, limit) if limit > 1e-4 else (-MAX_DECELERATION, MAX_ACCELERATION)
    wanted = min(max(loop.wanted + change, low), high)
    error = wanted - acceleration
    trim_sum = loop.trim_sum + gains.accel_ki * error * dt
    jerk = (acceleration - loop.acceleration) / dt
    trim = loop.trim + gains.accel_kp * error + trim_sum - gains.accel_kd * jerk
    return replace(
        loop,
        speed=speed,
        acceleration=acceleration,
        speed_sum=speed_sum,
        wanted=wanted,
        trim_sum=trim_sum,
        trim=min(max(trim, -MOST_TRIM), MOST_TRIM),
    )


def _towards(now: float, wanted: float, most: float) -> float:
    """``wanted``, or as near to it as a change of ``most`` comes; no limit if that is zero."""
    return wanted if most <= 0.0 else now + min(max(wanted - now, -most), most)


def _steer_of(angle: float, speed: float, row: np.ndarray) -> float:
    """The steering command that turns the wheels by an angle (rad) at a speed."""
    full = (row[physics.FRONT_M] + row[physics.REAR_M]) * vehicle.curvature_per_steer(speed, row)
    wanted = math.tan(min(max(angle, -1.5), 1.5)) / max(full, 1e-6)
    return float(min(max(wanted, -1.0), 1.0))
