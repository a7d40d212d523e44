"""One frame of a route log in the words of a Bench2Drive annotation: CARLA's left hand, metres, degrees.

Written from the published description of the format. Heights, pitch and roll are not logged: boxes are as high as
``HEIGHTS`` says and stand upright at the ego's own height; ``x``, ``y`` and ``theta`` have no sensor noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from autovla_core import frames, geometry
from autovla_core.contracts import Command, LightState
from autovla_core.errors import LogError
from autovla_core.footprints import corners
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.truth import ACTOR_KINDS, LIGHT_STATES, PolygonKind, RouteMap, RouteTracks

GRAVITY = 9.81
NEAR_M, FAR_M = 7.5, 50.0  # how far ahead the two commands look
AFFECTED_M, LIGHT_RANGE_M = 50.0, 100.0
BRAKING = 0.05
HEIGHTS = {"ego": 1.49, "vehicle": 1.6, "walker": 1.8, "bicycle": 1.7, "static": 1.0}  # m
CLASSES = {"vehicle": "vehicle", "bicycle": "vehicle", "walker": "walker", "static": "traffic_sign"}
STATES = {LightState.RED: 0, LightState.YELLOW: 1, LightState.GREEN: 2, LightState.OFF: 3}  # carla.TrafficLightState
STANDING = 0.1  # m/s
LIGHT_HEIGHT_M = 3.0


class Annotator:
    """Annotations of one log, frame by frame at 10 Hz.

    Raises:
        LogError: a frame of the tracks is no tick of the log.
    """

    def __init__(self, log: RouteLog, tracks: RouteTracks, route_map: RouteMap) -> None:
        self._log, self._tracks, self._map = log, tracks, route_map
        self.ticks = np.searchsorted(log.ticks["time_s"], tracks.time_s - 1e-3)
        if (self.ticks >= len(log)).any() or np.abs(log.ticks["time_s"][self.ticks] - tracks.time_s).max() > 1e-3:
            raise LogError(f"{log.folder}: the tracks were not taken at ticks of this log")
        self._along = geometry.arc_length(route_map.route)

    def __len__(self) -> int:
        """Frames."""
        return len(self.ticks)

    def frame(self, frame: int) -> dict[str, object]:
        """The annotation of one frame, ready for JSON."""
        tick, row = self._tick(frame), self._tracks.ego[frame]
        near, far = self._ahead(frame, NEAR_M), self._ahead(frame, FAR_M)
        carla_x, carla_y = float(row[0]), -float(row[1])
        return {
            "x": carla_x,
            "y": carla_y,
            "theta": float(geometry.wrap_angle(math.pi / 2 - row[2])),
            "speed": tick["speed"],
            "throttle": tick["throttle"],
            "steer": -tick["steer"],
            "brake": tick["brake"],
            "reverse": bool(tick["speed"] < -STANDING),
            **_waypoint("near", near, self._command(frame, NEAR_M)),
            **_waypoint("far", far, self._command(frame, FAR_M)),
            "next_command": self._command(frame, NEAR_M),
            "x_target": float(near[0]),
            "y_target": -float(near[1]),
            "should_brake": float(tick["brake"] > BRAKING),
            "only_ap_brake": float(tick["brake"] > BRAKING),
            "weather": {name: float(value) for name, value in self._log.meta.weather.items()},
            "acceleration": [float(row[5]), -float(row[6]), GRAVITY],
            "angular_velocity": [0.0, 0.0, -float(row[7])],
            "bounding_boxes": [self._ego(frame), *self._actors(frame), *self._lights(frame)],
            "sensors": self._cameras(frame),
        }

    def _tick(self, frame: int) -> dict[str, float]:
        at = self.ticks[frame]
        return {name: float(column[at]) for name, column in self._log.ticks.items()}

    def _place(self, frame: int) -> float:
        return float(self._along[np.hypot(*(self._map.route[:, :2] - self._tracks.ego[frame, :2]).T).argmin()])

    def _ahead(self, frame: int, metres: float) -> np.ndarray:
        """Point (3,) of the route so far ahead of the ego."""
        s = min(self._place(frame) + metres, self._along[-1])
        return self._map.route[min(int(np.searchsorted(self._along, s)), len(self._along) - 1)]

    def _command(self, frame: int, metres: float) -> int:
        """What the log says where the ego will be so far on; FOLLOW past its end."""
        path = geometry.arc_length(self._tracks.ego[frame:, :2])
        later = frame + int(np.searchsorted(path, metres))
        return int(self._log.ticks["command"][self.ticks[later]]) if later < len(self) else int(Command.FOLLOW)

    def _ego(self, frame: int) -> dict[str, object]:
        pose, z = self._tracks.ego[frame, :3], self._tick(frame)["z"]
        half_width, front, rear, _ = (float(v) for v in self._tracks.vehicle)
        box = _box("ego_vehicle", 0, pose, z, (front + rear, 2 * half_width, HEIGHTS["ego"]))
        road, section, lane = self._lane_at(pose)
        more = {"type_id": self._log.meta.vehicle, "base_type": "car", "speed": float(self._tick(frame)["speed"])}
        lanes = {"road_id": road, "section_id": section, "lane_id": lane, "brake": self._tick(frame)["brake"]}
        return box | more | lanes | {"world2ego": _inverse(_matrix(pose, z)).tolist()}

    def _actors(self, frame: int) -> list[dict[str, object]]:
        rows, tracks, z = slice(*self._tracks.offsets[frame : frame + 2]), self._tracks, self._tick(frame)["z"]
        found = []
        for number, pose, velocity in zip(tracks.actor[rows], tracks.pose[rows], tracks.velocity[rows]):
            kind = ACTOR_KINDS[tracks.actor_kind[number]]
            size = (*(float(v) for v in tracks.actor_size[number]), HEIGHTS[kind])
            box = _box(CLASSES[kind], int(tracks.actor_id[number]), pose.astype(float), z, size)
            speed = float(np.hypot(*velocity))
            box |= {"type_id": tracks.actor_type[number].decode() or kind, "distance": self._distance(frame, pose)}
            box |= {"speed": speed, "state": "dynamic", "base_type": "bicycle" if kind == "bicycle" else "car"}
            name = {"vehicle": "world2vehicle", "walker": "world2ped", "traffic_sign": "world2sign"}[box["class"]]
            found.append(box | {name: _inverse(_matrix(pose.astype(float), z)).tolist()})
        return found

    def _lights(self, frame: int) -> list[dict[str, object]]:
        """One box for each light near the ego, over the middle of the line that it governs."""
        column = {int(id): k for k, id in enumerate(self._tracks.light_id)}
        z, place, found = self._tick(frame)["z"], self._place(frame), []
        for id, (pose, half_width, line_s) in self._lines.items():
            distance = self._distance(frame, pose)
            if id not in column or distance > LIGHT_RANGE_M:
                continue
            box = _box("traffic_light", id, pose, z + LIGHT_HEIGHT_M, (0.4, 0.4, 1.0))
            state = STATES[LIGHT_STATES[self._tracks.light_state[frame, column[id]]]]
            ahead = line_s is not None and 0.0 <= line_s - place < AFFECTED_M
            volume = {"location": _carla_point(pose, z), "rotation": [0.0, 0.0, 0.0], "extent": [1.5, half_width, 1.0]}
            box |= {"state": state, "affects_ego": ahead, "distance": distance, "type_id": "traffic.traffic_light"}
            found.append(box | {f"trigger_volume_{name}": value for name, value in volume.items()})
        return found

    @cached_property
    def _lines(self) -> dict[int, tuple[np.ndarray, float, float | None]]:
        """By light: pose of the middle of its line, half width, and metres along the route if it lies there."""
        found: dict[int, list[int]] = {}
        for i, id in enumerate(self._map.light_id):
            if id >= 0:
                found.setdefault(int(id), []).append(i)
        return {id: self._line(areas) for id, areas in found.items()}

    def _line(self, areas: list[int]) -> tuple[np.ndarray, float, float | None]:
        starts = np.array([self._map.baseline[self._map.baseline_offsets[i]] for i in areas], float)
        pose = np.array([*starts[:, :2].mean(0), starts[0, 2]])
        half = float(np.ptp(starts[:, :2], axis=0).max()) / 2.0 + 1.75
        used = [i for i in areas if self._map.on_route[i]]
        if not used:
            return pose, half, None
        gap = np.hypot(*(self._map.route[:, :2] - self._map.baseline[self._map.baseline_offsets[used[0]], :2]).T)
        return pose, half, float(self._along[gap.argmin()])

    def _lane_at(self, pose: np.ndarray) -> tuple[int, int, int]:
        """Road, section and lane whose centre is nearest among those that lead the ego's way."""
        owner = np.repeat(np.arange(len(self._map.kind)), np.diff(self._map.baseline_offsets))
        same = np.abs(geometry.wrap_angle(self._map.baseline[:, 2] - pose[2])) < math.pi / 2
        lanes = np.isin(self._map.kind[owner], (PolygonKind.LANE, PolygonKind.CONNECTOR))
        gap = np.hypot(*(self._map.baseline[:, :2] - pose[:2]).T) + 1e6 * ~(same & lanes)
        return tuple(int(v) for v in self._map.lane[owner[gap.argmin()]])

    def _distance(self, frame: int, pose: np.ndarray) -> float:
        return float(np.hypot(*(pose[:2] - self._tracks.ego[frame, :2])))

    def _cameras(self, frame: int) -> dict[str, object]:
        world_from_ego = _matrix(self._tracks.ego[frame, :3], self._tick(frame)["z"])
        return {f"CAM_{id.upper()}": _camera(spec, world_from_ego) for id, spec in self._log.meta.rig.items()}


def _waypoint(name: str, point: np.ndarray, command: int) -> dict[str, object]:
    return {f"x_command_{name}": float(point[0]), f"y_command_{name}": -float(point[1]), f"command_{name}": command}


def _box(name: str, id: int, pose: np.ndarray, z: float, size: tuple[float, float, float]) -> dict[str, object]:
    """The keys that every box has; ``size`` are whole lengths, the file holds halves."""
    length, width, height = size
    ground = np.asarray(corners(pose, length, width), float)
    verts = [_carla_point(corner, z + up) for up in (0.0, height) for corner in ground]
    return {
        "class": name,
        "id": str(id),
        "location": _carla_point(pose, z),
        "rotation": [0.0, 0.0, frames.yaw_to_carla_deg(float(pose[2]))],  # pitch, roll, yaw
        "bbx_loc": [0.0, 0.0, height / 2],
        "center": _carla_point(pose, z + height / 2),
        "extent": [length / 2, width / 2, height / 2],
        "world_cord": verts,
    }


def _carla_point(point: np.ndarray, z: float) -> list[float]:
    return [float(point[0]), -float(point[1]), float(z)]


def _matrix(pose: np.ndarray, z: float) -> np.ndarray:
    """carla_world_from_body (4, 4)."""
    yaw = math.radians(frames.yaw_to_carla_deg(float(pose[2])))
    return _transform(_carla_point(pose, z), (0.0, yaw, 0.0))


def _transform(place: list[float], angles: tuple[float, float, float]) -> np.ndarray:
    """A CARLA transform (4, 4) of pitch, yaw, roll in radians: yaw to the right, pitch up, roll to the right."""
    (cp, cy, cr), (sp, sy, sr) = np.cos(angles), np.sin(angles)
    out = np.eye(4)
    out[:3, 0] = cp * cy, cp * sy, sp
    out[:3, 1] = cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, -cp * sr
    out[:3, 2] = -cy * sp * cr - sy * sr, -sy * sp * cr + cy * sr, cp * cr
    out[:3, 3] = place
    return out


def _inverse(matrix: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = matrix[:3, :3].T
    out[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return out


def _camera(spec: Mapping[str, float], world_from_ego: np.ndarray) -> dict[str, object]:
    angles = tuple(math.radians(spec[name]) for name in ("pitch", "yaw", "roll"))
    ego_from_camera = _transform([spec["x"], spec["y"], spec["z"]], angles)
    world_from_camera = world_from_ego @ ego_from_camera
    width, height = int(spec["width"]), int(spec["height"])
    focal = width / (2.0 * math.tan(math.radians(spec["fov_deg"]) / 2.0))
    yaw = math.degrees(math.atan2(world_from_camera[1, 0], world_from_camera[0, 0]))
    return {
        "location": world_from_camera[:3, 3].tolist(),
        "rotation": [float(spec["pitch"]), float(spec["roll"]), yaw],
        "intrinsic": [[focal, 0.0, width / 2.0], [0.0, focal, height / 2.0], [0.0, 0.0, 1.0]],
        "world2cam": _inverse(world_from_camera).tolist(),
        "cam2ego": ego_from_camera.tolist(),
        "fov": float(spec["fov_deg"]),
        "image_size_x": width,
        "image_size_y": height,
    }
