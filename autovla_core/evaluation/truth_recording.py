"""Beside the recorder: what scores a plan on the log later, the map around the route and everybody's tracks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autovla_core import frames, geometry
from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import LaneGraph, LaneKey, lane_key, route_plan
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import LightState
from autovla_core.evaluation.recording import Recorder
from autovla_core.evaluation.watching import Scenery, TickFacts, Watcher
from autovla_core.logs import route_map, truth
from autovla_core.logs.route_map import LaneRecord
from autovla_core.logs.truth import FRAME_S, TrackRecorder
from autovla_core.route.plan import RoutePlan

logger = logging.getLogger(__name__)

STATES = {"Red": LightState.RED, "Yellow": LightState.YELLOW, "Green": LightState.GREEN}
WHEEL_BASE_SHARE, REAR_OVERHANG_SHARE = 0.585, 0.21  # of the length, for a car whose wheels are not told
PLAUSIBLE_BASE_M = (0.8, 8.0)
CM = 100.0  # CARLA tells places of wheels in centimetres
LINE_M = 30.0  # a stop waypoint so far before its junction is still its line's


class TruthRecorder(Watcher):
    """Writes ``map.npz`` and ``tracks.npz`` into the recorder's log."""

    def __init__(self, recorder: Recorder) -> None:
        recorder.beside(self._write)

    def begin(self, scenery: Scenery) -> None:
        """Measure the car and learn its route."""
        self._scenery = scenery
        self._plan = route_plan(scenery.dense)
        self._view = PrivilegedView(scenery.session.world, scenery.ego, self._plan)
        self._ahead = float(scenery.ego.bounding_box.location.x)
        self._tracks = TrackRecorder(vehicle_of(scenery.ego))
        self._every = max(1, round(FRAME_S / scenery.session.tick_s))
        self._limits: list[tuple[float, float, float]] = []
        self._map = scenery.session.map
        self._stops = stop_waypoints(scenery.lights)

    def tick(self, facts: TickFacts) -> None:
        """Keep every second tick: tracks are at 10 Hz."""
        if facts.number % self._every:
            return
        scene = self._view.scene()
        row = self._ego_row(scene.pose)
        states = {id: light_state(light) for id, light in self._scenery.lights.items()}
        self._tracks.add(facts.moment.time_s, row, scene.actors, states)
        self._limits.append((*scene.pose[:2], scene.speed_limit))

    def _write(self, folder: Path) -> None:
        if not self._limits:
            return
        tracks = self._tracks.finish()
        truth.write_tracks(folder, truth.with_accelerations(tracks))
        lanes = lane_records(self._map, self._stops)
        truth.write_map(folder, route_map.build(lanes, _poses(self._plan), np.array(self._limits)))

    def _ego_row(self, pose: np.ndarray) -> list[float]:
        """``truth.EGO_COLUMNS`` of now; accelerations follow from the speeds at the end."""
        ego = self._scenery.ego
        velocity, forward, right = ego.get_velocity(), *_axes(ego.get_transform())
        yaw_rate = -float(np.radians(ego.get_angular_velocity().z))
        ahead = velocity.x * forward.x + velocity.y * forward.y + velocity.z * forward.z
        left = -(velocity.x * right.x + velocity.y * right.y + velocity.z * right.z) + yaw_rate * self._ahead
        return [*(float(v) for v in pose), ahead, left, 0.0, 0.0, yaw_rate, tyre_angle(ego)]


def _axes(transform: carla.Transform) -> tuple[carla.Vector3D, carla.Vector3D]:
    return transform.get_forward_vector(), transform.get_right_vector()


def _poses(plan: RoutePlan) -> np.ndarray:
    return np.column_stack([plan.points, geometry.wrap_angle(plan.yaw)])


def light_state(light: carla.TrafficLight) -> LightState:
    """The colour; OFF for what is none of ours."""
    return STATES.get(str(light.get_state()), LightState.OFF)


def tyre_angle(vehicle: carla.Vehicle) -> float:
    """rad, left positive: the mean of the front wheels."""
    wheels = (carla.VehicleWheelLocation.FL_Wheel, carla.VehicleWheelLocation.FR_Wheel)
    return -float(np.radians(np.mean([vehicle.get_wheel_steer_angle(wheel) for wheel in wheels])))


def vehicle_of(vehicle: carla.Vehicle) -> tuple[float, float, float, float]:
    """Half width, rear axle to front, rear axle to rear, wheel base, m: of ``pdm_types.VehicleShape``.

    A car whose wheels lie where they cannot be gets the usual shares of its length, with a warning.
    """
    box, transform = vehicle.bounding_box, vehicle.get_transform()
    forward, at = transform.get_forward_vector(), transform.location
    wheels = [wheel.position for wheel in vehicle.get_physics_control().wheels]
    along = sorted(
        (p.x / CM - at.x) * forward.x + (p.y / CM - at.y) * forward.y + (p.z / CM - at.z) * forward.z for p in wheels
    )
    half = len(along) // 2
    rear, front = (float(np.mean(part)) if part else 0.0 for part in (along[:half], along[half:]))
    base, front_m, rear_m = front - rear, box.location.x + box.extent.x, box.location.x - box.extent.x
    inside = rear_m < rear < front < front_m and PLAUSIBLE_BASE_M[0] < base < PLAUSIBLE_BASE_M[1]
    if not inside:
        logger.warning("%s: wheels at %s m; its axles are guessed from its length", vehicle.type_id, along)
        length = 2.0 * box.extent.x
        base, rear = WHEEL_BASE_SHARE * length, rear_m + REAR_OVERHANG_SHARE * length
    return float(box.extent.y), front_m - rear, rear - rear_m, base


def stop_waypoints(lights: Mapping[int, carla.TrafficLight]) -> dict[int, list[carla.Waypoint]]:
    """Where each light asks to stop."""
    return {id: list(light.get_stop_waypoints()) for id, light in lights.items()}


def lane_records(carla_map: carla.Map, stops: Mapping[int, Sequence[carla.Waypoint]]) -> list[LaneRecord]:
    """Every lane of a map as values: driving lanes, connectors with their light, parking lanes and shoulders."""
    lights = {key: id for id, waypoints in stops.items() for waypoint in waypoints for key in _let_in(waypoint)}
    found: list[LaneRecord] = []
    beside: dict[LaneKey, LaneRecord] = {}
    for key, lane in LaneGraph(carla_map).lanes.items():
        junction = lane.waypoints[0].junction_id if lane.in_junction else -1
        found.append(_record(key, lane.waypoints, junction, False, lights.get(key, -1)))
        if not lane.in_junction:
            beside |= _parking(lane.waypoints)
    return [*found, *beside.values()]


def _let_in(waypoint: carla.Waypoint) -> set[LaneKey]:
    """The connectors behind a stop line."""
    step, walked = 0.5, 0.0
    while not waypoint.is_junction and walked < LINE_M:
        following = waypoint.next(step)
        entered = {lane_key(w) for w in following if w.is_junction}
        if entered:
            return entered
        if not following:
            return set()
        waypoint, walked = following[0], walked + step
    return {lane_key(waypoint)} if waypoint.is_junction else set()


def _parking(lane: Sequence[carla.Waypoint]) -> dict[LaneKey, LaneRecord]:
    """Parking lanes and shoulders at either side of a driving lane."""
    kinds = (carla.LaneType.Parking, carla.LaneType.Shoulder)
    out = {}
    for side in ([w.get_right_lane() for w in lane], [w.get_left_lane() for w in lane]):
        there = [w for w in side if w is not None and w.lane_type in kinds]
        for key in {lane_key(w) for w in there}:
            own = [w for w in there if lane_key(w) == key]
            if len(own) > 1:
                out[key] = _record(key, own, -1, True, -1)
    return out


def _record(
    key: LaneKey, waypoints: Sequence[carla.Waypoint], junction: int, parking: bool, light_id: int
) -> LaneRecord:
    transforms = [waypoint.transform for waypoint in waypoints]
    center = [frames.pose_from_carla(t.location.x, t.location.y, t.rotation.yaw) for t in transforms]
    width = np.array([waypoint.lane_width for waypoint in waypoints])
    return LaneRecord(key, np.array(center), width, junction, parking, light_id)
