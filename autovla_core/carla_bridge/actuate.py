"""Control -> carla.VehicleControl."""

from __future__ import annotations

from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control


def vehicle_control(control: Control) -> carla.VehicleControl:
    """CARLA's control: steer right positive, plain floats, clipped to its ranges."""
    return carla.VehicleControl(
        throttle=min(max(float(control.throttle), 0.0), 1.0),
        steer=min(max(float(-control.steer), -1.0), 1.0),
        brake=min(max(float(control.brake), 0.0), 1.0),
        reverse=bool(control.reverse),
    )


def control_of(carla_control: carla.VehicleControl) -> Control:
    """The inverse: steer left positive."""
    return Control(
        steer=-float(carla_control.steer),
        throttle=float(carla_control.throttle),
        brake=float(carla_control.brake),
        reverse=bool(carla_control.reverse),
    )
