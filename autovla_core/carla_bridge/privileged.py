"""The scene as values: what only the expert and the scorer may see."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from autovla_core import frames, geometry
from autovla_core.carla_bridge.room import room_of, way_of
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Actor, LightState, Scene, StopLine
from autovla_core.expert.scene import RoadScene, Room
from autovla_core.route.plan import RoutePlan
from autovla_core.route.progress import project

RANGE_M = 80.0
FAR_M = 170.0  # of vehicles that may come towards an overtaking ego
STAGED = "scenario"  # how the role name of an actor begins that a scenario put there (scenario_runner's and ours)
MOVING = 1.0  # m/s
OFF_WAY_M = 0.7  # beside the way that was read from the map
FLAT_M = 0.1  # half height: what is flatter is driven over
HIDDEN_M = 40.0  # above or below the ego: where the official scenarios keep actors until their entrance
LINES_AHEAD_M = 80.0
_LINE_BESIDE_M = 1.8  # a stop line this far beside the route is another lane's
_SAME_WAY_RAD = math.radians(60.0)
_BICYCLES = ("crossbike", "omafiets", "century")
_STATES = {
    "Red": LightState.RED,
    "Yellow": LightState.YELLOW,
    "Green": LightState.GREEN,
}


class PrivilegedView:
    """Reads the simulator's truth for one ego on one route; asks the server only about new actors."""

    def __init__(self, world: carla.World, ego: carla.Vehicle, plan: RoutePlan) -> None:
        self._world, self._ego, self._plan = world, ego, plan
        self._shapes: dict[int, _Shape | None] = {}
        self._ways: dict[int, np.ndarray] = {}  # (M, 2) by actor id
        self._room: Room | None = None  # read from the map when a scenario needs it
        box = ego.bounding_box
        self._ego_shape = _Shape("vehicle", ego.type_id, box.extent.x * 2, box.extent.y * 2, box.location.x)
        actors = world.get_actors()
        self._lights = {a.id: a for a in actors.filter("traffic.traffic_light*")}
        self._lines = _stop_lines(world.get_map(), self._lights.values(), actors.filter("traffic.stop*"), plan)

    def scene(self, s: float = 0.0) -> Scene:
        """The scene of the newest tick; stop lines between 8 m behind ``s`` (m along the route) and 80 m ahead."""
        snapshot = self._world.get_snapshot()
        self._learn(snapshot)
        ego = snapshot.find(self._ego.id)
        pose, velocity = _pose(ego.get_transform(), self._ego_shape.ahead), ego.get_velocity()
        forward = ego.get_transform().get_forward_vector()
        pull = ego.get_acceleration()
        limit = self._ego.get_speed_limit()
        staged = frozenset(a.id for a in snapshot if (shape := self._shapes[a.id]) and shape.role.startswith(STAGED))
        height = ego.get_transform().location.z
        others = self._others(snapshot, pose, height, FAR_M if staged else RANGE_M)
        scene = Scene(
            time_s=snapshot.timestamp.elapsed_seconds,
            pose=pose,
            speed=velocity.x * forward.x + velocity.y * forward.y + velocity.z * forward.z,
            acceleration=pull.x * forward.x + pull.y * forward.y + pull.z * forward.z,
            length=self._ego_shape.length,
            width=self._ego_shape.width,
            speed_limit=(limit if limit > 0.0 else 30.0) / 3.6,
            actors=tuple(actor for away, actor in others if away <= RANGE_M),
            stop_lines=tuple(self._ahead(s)),
        )
        if not staged:
            return scene
        far = tuple(actor for away, actor in others if away > RANGE_M and actor.kind == "vehicle")
        return self._with_staged(scene, staged, far)

    def _with_staged(self, scene: Scene, staged: frozenset[int], far: tuple[Actor, ...]) -> RoadScene:
        """The scene with what the expert needs in a scenario."""
        if self._room is None:
            self._room = room_of(self._world.get_map(), self._plan)
        emergency = frozenset(id for id in staged if self._shapes[id].emergency)
        ways = {a.id: self._way(a) for a in scene.actors if a.id in staged and a.kind == "vehicle" and a.speed > MOVING}
        plain = {field.name: getattr(scene, field.name) for field in fields(Scene)}
        return RoadScene(**plain, room=self._room, staged=staged, emergency=emergency, far=far, ways=ways)

    def _way(self, actor: Actor) -> np.ndarray:
        """The lane of an actor onwards, as far as it goes straightest; found anew when it has left it."""
        known = self._ways.get(actor.id)
        if known is None or not _is_on(known, actor):
            self._ways[actor.id] = known = way_of(self._world.get_map(), actor.pose)
        return known

    def _learn(self, snapshot: carla.WorldSnapshot) -> None:
        unknown = [a.id for a in snapshot if a.id not in self._shapes]
        if unknown:
            found = {a.id: a for a in self._world.get_actors(unknown)}
            self._shapes |= {id: _shape(found.get(id)) for id in unknown}

    def _others(
        self, snapshot: carla.WorldSnapshot, pose: np.ndarray, height: float, range_m: float
    ) -> list[tuple[float, Actor]]:
        """Those no further than ``range_m`` north, south, east and west, each with how far that is."""
        out = []
        for actor in snapshot:
            shape = self._shapes[actor.id]
            if shape is None or actor.id == self._ego.id:
                continue
            transform = actor.get_transform()
            at = transform.location
            away = max(abs(at.x - pose[0]), abs(at.y + pose[1]))
            if away > range_m or abs(at.z - height) > HIDDEN_M:
                continue
            velocity, forward = actor.get_velocity(), transform.get_forward_vector()
            speed = velocity.x * forward.x + velocity.y * forward.y
            where = _pose(transform, shape.ahead)
            out.append((away, Actor(actor.id, shape.kind, where, speed, shape.length, shape.width, shape.type_id)))
        return out

    def _ahead(self, s: float) -> list[StopLine]:
        out = []
        for line in self._lines:
            if s - 8.0 < line.route_s < s + LINES_AHEAD_M:
                light = self._lights.get(line.id)
                state = _STATES.get(str(light.get_state()), LightState.OFF) if light is not None else LightState.OFF
                out.append(StopLine(line.id, line.kind, line.route_s, state))
        return out


@dataclass(frozen=True)
class _Shape:
    """What of an actor never changes."""

    kind: str
    type_id: str
    length: float  # m
    width: float
    ahead: float  # of the box centre before the actor's origin
    role: str = ""
    emergency: bool = False


def _shape(actor: carla.Actor | None) -> _Shape | None:
    """The box of a road user; None for sensors, lights, signs, flat dirt and what vanished."""
    if actor is None or not actor.type_id.startswith(("vehicle.", "walker.", "static.prop.")):
        return None
    box = actor.bounding_box
    if actor.type_id.startswith("static.") and box.extent.z < FLAT_M:
        return None
    kind = {"v": "vehicle", "w": "walker", "s": "static"}[actor.type_id[0]]
    if actor.attributes.get("base_type") == "bicycle" or actor.type_id.endswith(_BICYCLES):
        kind = "bicycle"
    role, special = actor.attributes.get("role_name", ""), actor.attributes.get("special_type", "")
    size = box.extent.x * 2, box.extent.y * 2
    return _Shape(kind, actor.type_id, *size, box.location.x, role, special == "emergency")


def _is_on(way: np.ndarray, actor: Actor) -> bool:
    away = np.hypot(*(way - actor.pose[:2]).T)
    nearest = int(np.argmin(away))
    return bool(away[nearest] < OFF_WAY_M + 0.5) and nearest < len(way) - 30


def _pose(transform: carla.Transform, ahead: float) -> np.ndarray:
    """World pose of the box centre, ``ahead`` metres in front of the actor's origin."""
    at, yaw = transform.location, transform.rotation.yaw
    return geometry.compose(frames.pose_from_carla(at.x, at.y, yaw), np.array([ahead, 0.0, 0.0]))


def _stop_lines(
    carla_map: carla.Map,
    lights: list[carla.TrafficLight],
    signs: list[carla.Actor],
    plan: RoutePlan,
) -> list[StopLine]:
    """Every line of a light or stop sign on the route, sorted along it."""
    lines = []
    for light in lights:
        for waypoint in light.get_stop_waypoints():
            at = waypoint.transform
            lines += _crossings(
                light.id, "light", frames.pose_from_carla(at.location.x, at.location.y, at.rotation.yaw), plan
            )
    for sign in signs:
        centre = sign.get_transform().transform(sign.trigger_volume.location)
        waypoint = carla_map.get_waypoint(centre)
        if waypoint is not None:
            pose = frames.pose_from_carla(centre.x, centre.y, waypoint.transform.rotation.yaw)
            extent = sign.trigger_volume.extent
            reach = max(extent.x, extent.y, 1.0)  # the line is where the volume ends
            found = _crossings(sign.id, "stop", pose, plan, max(extent.x + 0.3, _LINE_BESIDE_M))
            lines += [StopLine(line.id, line.kind, line.route_s + reach) for line in found]
    unique = {(line.id, round(line.route_s)): line for line in lines}
    return sorted(unique.values(), key=lambda line: line.route_s)


def _crossings(id: int, kind: str, pose: np.ndarray, plan: RoutePlan, beside: float = _LINE_BESIDE_M) -> list[StopLine]:
    """Where the route passes a place on a lane in the lane's direction; a route may pass it twice."""
    away = np.hypot(*(plan.points - pose[:2]).T)
    same_way = np.abs(geometry.wrap_angle(plan.yaw - pose[2])) < _SAME_WAY_RAD
    near = np.flatnonzero((away < beside + 1.0) & same_way)
    out = []
    for group in np.split(near, np.flatnonzero(np.diff(near) > 5) + 1):
        if len(group) == 0:
            continue
        first, last = max(group[0] - 1, 0), min(group[-1] + 2, len(plan.points))
        s, offset = project(plan.points[first:last], plan.s[first:last], pose)
        if abs(offset) < beside:
            out.append(StopLine(id, kind, s))
    return out
