"""What a vehicle's physics control says, and the few numbers that the dynamics need of it.

The drive is fitted to the published 20 Hz polynomials of CARLA's ego (carla_garage's
kinematic_bicycle_model.py): acceleration at throttle 0.5 to 1 within 1.1 m/s rms over 12 s, the
braking curve point by point, a curvature of about 0.278 x steer at town speed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MAX_STEER_DEG = 70.0
TIRE_FRICTION = 3.5
BRAKE_TORQUE = 1500.0
HAND_BRAKE_TORQUE = 3000.0
DRAG_COEFFICIENT = 0.24
ENGINE_TORQUE = 500.0
STEERING_CURVE = ((0.0, 1.0), (20.0, 0.9), (60.0, 0.8), (120.0, 0.7))  # km/h, factor

CURVATURE_PER_STEER = 0.278 / 0.9  # 1/m, of a 2.85 m wheel base; the fit is met where the curve says 0.9
FITTED_WHEEL_BASE_M = 2.85
HAND_BRAKE_DECELERATION = 6.0  # m/s2

CURVE_STEP_KMH = 10.0
CURVE_POINTS = 21
# Full-brake deceleration of the fit: CARLA's brakes bite far harder at low speed.
BRAKE_KMH = (0, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100, 110, 120)
BRAKE_DECELERATION = (20, 20, 20, 19, 16.6, 12.4, 9.3, 7.5, 7.0, 7.4, 8.0, 7.5, 6.7, 6.7, 7.2, 7.0, 6.0)


@dataclass(frozen=True)
class Drive:
    """Longitudinal character of a kind of vehicle, per kilogram where it scales with the mass."""

    acceleration: float  # m/s2 at standstill
    power: float  # W/kg at the wheels
    drag: float  # N/(m/s)2
    brake: float = 1.0  # of the car's braking curve


DRIVES = {
    "car": Drive(11840.0 / 1845.0, 0.85 * 1.43e5 / 1845.0, 0.47),
    "van": Drive(4.6, 38.0, 0.9),
    "truck": Drive(2.8, 16.0, 2.6, 0.75),
    "bus": Drive(2.4, 16.0, 3.0, 0.75),
    "motorcycle": Drive(6.5, 110.0, 0.35, 0.8),
    "bicycle": Drive(2.0, 4.5, 0.3, 0.45),
}

# Columns of a parameter row; behind them the steering curve, CURVE_POINTS values every CURVE_STEP_KMH.
MASS, FRONT_M, REAR_M, TURN_INERTIA, FRONT_STIFFNESS, REAR_STIFFNESS, DRIVE_FORCE, DRIVE_POWER, DRAG = range(9)
BRAKE, HAND_BRAKE, GRIP, CURVATURE, HALF_WIDTH = range(9, 14)
CURVE = 14
COLUMNS = CURVE + CURVE_POINTS


def default_physics(base_type: str, mass: float, wheel_base: float, half_width: float) -> dict:
    """Return VehiclePhysicsControl by field names; wheel positions are local centimetres here."""
    half = 100.0 * wheel_base / 2.0
    across = 0.0 if base_type in ("motorcycle", "bicycle") else 85.0 * half_width
    places = ((half, -across), (half, across), (-half, -across), (-half, across))
    return {
        "torque_curve": [[0.0, ENGINE_TORQUE], [1890.0, ENGINE_TORQUE], [5729.0, 400.0]],
        "max_rpm": 5800.0,
        "moi": 1.0,
        "damping_rate_full_throttle": 0.15,
        "damping_rate_zero_throttle_clutch_engaged": 2.0,
        "damping_rate_zero_throttle_clutch_disengaged": 0.35,
        "use_gear_autobox": True,
        "gear_switch_time": 0.5,
        "clutch_strength": 10.0,
        "final_ratio": 4.0,
        "forward_gears": [{"ratio": ratio, "down_ratio": 0.5, "up_ratio": 0.65} for ratio in (4.0, 2.0, 1.5, 1.1, 1.0)],
        "mass": mass,
        "drag_coefficient": DRAG_COEFFICIENT,
        "center_of_mass": [0.0, 0.0, -0.3],
        "steering_curve": [list(point) for point in STEERING_CURVE],
        "wheels": [_wheel(x, y, front=x > 0) for x, y in places],
        "use_sweep_wheel_collision": False,
    }


def _wheel(x: float, y: float, front: bool) -> dict:
    return {
        "tire_friction": TIRE_FRICTION,
        "damping_rate": 0.25,
        "max_steer_angle": MAX_STEER_DEG if front else 0.0,
        "radius": 35.5,
        "max_brake_torque": BRAKE_TORQUE,
        "max_handbrake_torque": 0.0 if front else HAND_BRAKE_TORQUE,
        "lat_stiff_max_load": 3.0,
        "lat_stiff_value": 20.0,
        "long_stiff_value": 3000.0,
        "position": [x, y, 0.0],
    }


def parameters(
    physics: dict, base_type: str, blueprint_mass: float, wheel_base: float, half_width: float
) -> np.ndarray:
    """Return one row (COLUMNS,) for the dynamics.

    Forces belong to the engine and the brakes as built, so a heavier load makes the same vehicle lazier.
    """
    drive, wheels, mass = DRIVES[base_type], physics["wheels"], max(physics["mass"], 1.0)
    engine = _mean(torque for _, torque in physics["torque_curve"]) / _mean((ENGINE_TORQUE, ENGINE_TORQUE, 400.0))
    friction = _mean(wheel["tire_friction"] for wheel in wheels) / TIRE_FRICTION
    front, rear = 0.47 * wheel_base, 0.53 * wheel_base
    row = np.zeros(COLUMNS)
    row[[MASS, FRONT_M, REAR_M, GRIP, HALF_WIDTH]] = mass, front, rear, friction, half_width
    row[TURN_INERTIA] = 0.82 * mass * front * rear
    stiffness = 110.0 * mass * friction  # N/rad for both axles, split so that the car steers neutrally
    row[FRONT_STIFFNESS], row[REAR_STIFFNESS] = stiffness * rear / wheel_base, stiffness * front / wheel_base
    row[DRIVE_FORCE] = drive.acceleration * blueprint_mass * engine * physics["final_ratio"] / 4.0
    row[DRIVE_POWER] = drive.power * blueprint_mass * engine * physics["max_rpm"] / 5800.0
    row[DRAG] = drive.drag * physics["drag_coefficient"] / DRAG_COEFFICIENT
    load = blueprint_mass / mass * drive.brake
    brakes = _mean(wheel["max_brake_torque"] for wheel in wheels) / BRAKE_TORQUE
    hand = _mean(wheel["max_handbrake_torque"] for wheel in wheels) / (HAND_BRAKE_TORQUE / 2)
    row[BRAKE] = min(brakes * load, max(friction, 0.05))
    row[HAND_BRAKE] = HAND_BRAKE_DECELERATION * min(hand * load, max(friction, 0.05))
    steer = max(wheel["max_steer_angle"] for wheel in wheels) / MAX_STEER_DEG
    row[CURVATURE] = CURVATURE_PER_STEER * FITTED_WHEEL_BASE_M / wheel_base * steer
    speeds, factors = zip(*sorted(map(tuple, physics["steering_curve"])))
    row[CURVE:] = np.interp(np.arange(CURVE_POINTS) * CURVE_STEP_KMH, speeds, factors)
    return row


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(sum(values) / len(values)) if values else 0.0
