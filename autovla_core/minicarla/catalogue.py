"""What of CARLA 0.9.16 is served, served in part, or refused: the tables of docs/minicarla.md, from the method table.

python -m autovla_core.minicarla.catalogue     prints them
"""

from __future__ import annotations

import sys

from autovla_core.minicarla.blueprints import BLUEPRINTS
from autovla_core.minicarla.methods import ABSENT, ABSENT_VOID, METHODS

PRIVATE = "minicarla_"  # calls that CARLA does not have
SERVED, PARTLY, REFUSED = "served", "partly", "refused"

# Fields of the physics control that are stored and given back, and change no drive.
IDLE_PHYSICS = (
    *("moi", "damping_rate_full_throttle", "damping_rate_zero_throttle_clutch_engaged"),
    *("damping_rate_zero_throttle_clutch_disengaged", "use_gear_autobox", "gear_switch_time", "clutch_strength"),
    *("forward_gears", "center_of_mass", "use_sweep_wheel_collision"),
)
IDLE_WHEEL = ("damping_rate", "radius", "lat_stiff_max_load", "lat_stiff_value", "long_stiff_value")

# What is missing in a call that is served; the tests hold the names to the method table.
MISSING: dict[str, str] = {
    "add_actor_force_at_location": "acts as a plain force: nothing turns",
    "add_actor_impulse_at_location": "acts as a plain impulse: nothing turns",
    "apply_batch": "ApplyAngularImpulse, ApplyTorque and ConsoleCommand are refused",
    "apply_physics_control": (
        f"stored without effect on the drive: {', '.join(IDLE_PHYSICS)}; of a wheel {', '.join(IDLE_WHEEL)}, position"
    ),
    "cast_ray": "meets the ground only",
    "close_vehicle_door": "without effect",
    "copy_opendrive_to_file": "roads and signals; no walls, the mesh options are ignored",
    "enable_actor_constant_velocity": "x, forward, is held; y and z are ignored",
    "get_required_files": "the walkers' navigation mesh only",
    "get_telemetry_data": "loads at rest, no slip along the wheels",
    "load_new_episode": "map layers are ignored",
    "open_vehicle_door": "without effect",
    "project_point": "onto the ground only",
    "replay_file": "recordings of minicarla, of the present town, without sensors",
    "set_actor_target_angular_velocity": "yaw only; on the ground the tyres end it within a few ticks",
    "set_actor_autopilot": "for the server's own traffic; the Traffic Manager drives all others",
    "show_vehicle_debug_telemetry": "without effect: there is no window",
    "spawn_actor_with_parent": "attached rigidly, without a spring arm's swing",
    "start_recorder": "vehicles, walkers, props, lights, contacts; the flags change nothing",
    "query_lights_state": "street lamps only: no lights of houses, those of vehicles have calls of their own",
    "update_lights_state": "intensities and colours show at the lamp and below it, without shadows",
}

SENSORS: dict[str, tuple[str, str]] = {
    "sensor.camera.rgb": (PARTLY, "size, fov and sensor_tick count; lens and exposure attributes are ignored"),
    "sensor.camera.depth": (SERVED, ""),
    "sensor.camera.semantic_segmentation": (SERVED, ""),
    "sensor.camera.instance_segmentation": (SERVED, ""),
    "sensor.camera.optical_flow": (SERVED, "since the last tick"),
    "sensor.camera.normals": (REFUSED, ""),
    "sensor.camera.dvs": (PARTLY, "a packet for every picture, also an empty one; lens and exposure are ignored"),
    "sensor.camera.cosmos_visualization": (REFUSED, ""),
    "sensor.lidar.ray_cast": (SERVED, ""),
    "sensor.lidar.ray_cast_semantic": (SERVED, ""),
    "sensor.other.radar": (SERVED, ""),
    "sensor.other.gnss": (SERVED, ""),
    "sensor.other.imu": (SERVED, ""),
    "sensor.other.collision": (SERVED, ""),
    "sensor.other.obstacle": (PARTLY, "vehicles, walkers, props and solids as boxes, not the ground"),
    "sensor.other.lane_invasion": (SERVED, "computed by the client"),
    "sensor.other.rss": (REFUSED, ""),
    "sensor.other.v2x": (REFUSED, ""),
    "sensor.other.v2x_custom": (REFUSED, ""),
}


def calls() -> dict[str, tuple[str, str]]:
    """(state, remark) of every call of CARLA, by name."""
    served = {name: (PARTLY if name in MISSING else SERVED, MISSING.get(name, "")) for name in METHODS}
    ours = {name: state for name, state in served.items() if not name.startswith(PRIVATE)}
    return dict(sorted({**ours, **dict.fromkeys(ABSENT | ABSENT_VOID, (REFUSED, ""))}.items()))


def sensors() -> dict[str, tuple[str, str]]:
    """(state, remark) of every sensor of CARLA, by blueprint."""
    return dict(sorted(SENSORS.items()))


def table(entries: dict[str, tuple[str, str]], heading: str) -> str:
    """A Markdown table."""
    rows = [f"| `{name}` | {state} | {remark} |" for name, (state, remark) in entries.items()]
    return "\n".join([f"| {heading} | | what is missing |", "|---|---|---|", *rows]) + "\n"


def offered_sensors() -> set[str]:
    """The sensors that there are blueprints of."""
    return {name for name in BLUEPRINTS if name.startswith("sensor.")}


if __name__ == "__main__":
    sys.stdout.write(table(calls(), "call") + "\n" + table(sensors(), "sensor"))
