"""CARLA's vehicle telemetry, as far as a bicycle model knows it: loads at rest, no slip along the wheels."""

from __future__ import annotations

import math

from autovla_core.minicarla.world.actor import Vehicle

IDLE_RPM = 800.0
GRAVITY = 9.81


def telemetry(vehicle: Vehicle) -> list:
    """VehicleTelemetryData: speed m/s, pedals, engine, gear, drag, and eleven numbers a wheel."""
    control, physics = vehicle.control, vehicle.physics
    speed = vehicle.forward_speed
    radius = physics["wheels"][0]["radius"] / 100.0
    spin = speed / max(radius, 0.01)  # rad/s
    gears = physics["forward_gears"]
    ratio = gears[min(max(control.gear, 1), len(gears)) - 1]["ratio"] if gears else 1.0
    rpm = abs(spin) * 60.0 / (2.0 * math.pi) * ratio * physics["final_ratio"]
    wheels = [_wheel(vehicle, wheel, spin) for wheel in physics["wheels"]]
    engine_rpm = min(max(rpm, IDLE_RPM), physics["max_rpm"])
    pedals = [float(control.steer), float(control.throttle), float(control.brake)]
    return [float(speed), *pedals, engine_rpm, int(control.gear), float(physics["drag_coefficient"]), wheels]


def _wheel(vehicle: Vehicle, wheel: dict, spin: float) -> list[float]:
    """Friction, slips, spin (rad/s), load (N) and share of the load at rest, torque and forces (N, N m)."""
    load = vehicle.physics["mass"] * GRAVITY / len(vehicle.physics["wheels"])
    steered = math.radians(vehicle.wheel_angle_deg) if wheel["max_steer_angle"] > 0.0 else 0.0
    slip = math.atan2(vehicle.lateral_speed, max(abs(vehicle.forward_speed), 1.0)) - steered
    yaw = math.radians(float(vehicle.rotation[1]))
    ax, ay = vehicle.acceleration[:2].tolist()
    share = vehicle.physics["mass"] / len(vehicle.physics["wheels"])
    along = share * (ax * math.cos(yaw) + ay * math.sin(yaw))
    across = share * (ay * math.cos(yaw) - ax * math.sin(yaw))
    torque = along * wheel["radius"] / 100.0
    return [wheel["tire_friction"], slip, 0.0, spin, load, 1.0, torque, along, across, along / load, across / load]
