"""Beside the recorder: what was true and seen at each plan, so that a thought can be written and judged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from autovla_core import geometry
from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import route_plan
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Actor, Scene, StopLine
from autovla_core.evaluation.insight import asked_of
from autovla_core.evaluation.recording import Recorder
from autovla_core.evaluation.watching import Scenery, TickFacts, Watcher
from autovla_core.expert.expert import ExpertDecision
from autovla_core.logs import reasons, visibility
from autovla_core.logs.visibility import LIGHT_TAG, SIGN_TAG, TAGS, Candidate, Pinhole
from autovla_core.prompt.reasoning_facts import KINDS, Facts, SeenLight, SeenObject, SeenSign, Sky, to_line
from autovla_core.route.progress import RouteProgress
from autovla_core.sensing.rig import IMAGE_PERIOD_S, CameraSpec

logger = logging.getLogger(__name__)

PREFIX = "see_"
RANGE_M = 60.0
SIGN_HALF_M, SIGN_HEIGHT_M = 0.8, 4.0
OBEYED_M = 0.8  # a line this far behind the bumper is passed
THINGS: Mapping[str, str] = {
    "cone": "cone",
    "barrier": "barrier",
    "warning": "barrier",
}  # part of a prop's name -> kind


class ReasonRecorder(Watcher):
    """Writes ``reasons.jsonl`` into the recorder's log.

    Instance cameras look where the logged cameras look; a line belongs to each plan that the recorder stores.
    """

    def __init__(self, recorder: Recorder, cameras: Sequence[CameraSpec]) -> None:
        self._cameras = tuple(cameras)
        recorder.beside(lambda folder: reasons.write_lines(folder, self._lines))

    def sensors(self) -> list[dict[str, object]]:
        """One instance camera for each camera of the log, at its rhythm."""
        kind = {"type": "sensor.camera.instance_segmentation", "sensor_tick": IMAGE_PERIOD_S}
        return [{**camera.sensor(), **kind, "id": PREFIX + camera.id} for camera in self._cameras]

    def begin(self, scenery: Scenery) -> None:
        """Learn the route and the places of lights and signs."""
        self._scenery, self._world = scenery, scenery.session.world
        plan = route_plan(scenery.dense)
        self._view = PrivilegedView(self._world, scenery.ego, plan)
        self._progress = RouteProgress(plan)
        self._junctions = _junctions(scenery, plan.length)
        self._lamps = {id: [_vertices(box) for box in light.get_light_boxes()] for id, light in scenery.lights.items()}
        signs = self._world.get_actors().filter("traffic.stop*")
        self._boards = {sign.id: _around(sign.get_transform().location) for sign in signs}
        self._actors: dict[int, carla.Actor | None] = {}
        self._lines: list[str] = []

    def tick(self, facts: TickFacts) -> None:
        """Keep what is true wherever the recorder keeps a plan."""
        agent, time_s = self._scenery.agent, facts.moment.time_s
        scene = self._view.scene(self._progress.s)
        self._progress.update(scene.pose)
        plan = asked_of(agent)
        pictures = {
            c.id: facts.input_data[PREFIX + c.id][1] for c in self._cameras if PREFIX + c.id in facts.input_data
        }
        if pictures and plan is not None and plan.observed_at_s == time_s:
            self._lines.append(to_line(self._facts(facts.number, scene, pictures)))

    def _facts(self, number: int, scene: Scene, pictures: Mapping[str, np.ndarray]) -> Facts:
        eye = _Eye(self._cameras, self._scenery.ego.get_transform(), pictures)
        near = [a for a in scene.actors if np.hypot(*(a.pose[:2] - scene.pose[:2])) < RANGE_M]
        pixels = eye.pixels({a.id: (a.kind, self._corners(a.id)) for a in near})
        decision = getattr(self._scenery.agent, "decision", None)
        reason = decision.reason if isinstance(decision, ExpertDecision) else None
        front_s = self._progress.s + scene.length / 2.0
        lines = [line for line in scene.stop_lines if line.route_s > front_s - OBEYED_M]
        return Facts(
            tick=number,
            speed=scene.speed,
            command=int(self._progress.command()),
            rule=reason.rule if reason else "",
            rule_id=reason.actor_id if reason else 0,
            junction_m=self._to_junction(front_s),
            sky=_sky(self._world.get_weather()),
            light=self._light(_first(lines, "light"), front_s, eye),
            sign=self._sign(_first(lines, "stop"), front_s, eye, decision),
            objects=tuple(self._object(a, scene, pixels.get(a.id, (0, ""))) for a in near),
        )

    def _object(self, actor: Actor, scene: Scene, shown: tuple[int, str]) -> SeenObject:
        x, y, yaw = (float(v) for v in geometry.relative(scene.pose, actor.pose))
        kind = self._kind(actor)
        return SeenObject(actor.id, kind, x, y, yaw, actor.speed, actor.length, actor.width, *shown)

    def _light(self, line: StopLine | None, front_s: float, eye: _Eye) -> SeenLight | None:
        if line is None:
            return None
        shown = eye.tagged(LIGHT_TAG, self._lamps.get(line.id, []))
        return SeenLight(line.id, line.state.value, line.route_s - front_s, shown)

    def _sign(self, line: StopLine | None, front_s: float, eye: _Eye, decision: object) -> SeenSign | None:
        obeyed = isinstance(decision, ExpertDecision) and not np.isfinite(decision.outlook.sign_m)
        if line is None or obeyed:
            return None
        return SeenSign(line.id, line.route_s - front_s, eye.tagged(SIGN_TAG, [self._boards[line.id]]))

    def _to_junction(self, front_s: float) -> float | None:
        place, inside = self._junctions
        ahead = (place >= front_s) & (place <= front_s + RANGE_M) & inside
        here = inside[np.abs(place - front_s).argmin()]
        if here:
            return 0.0
        return float(place[ahead.argmax()] - front_s) if ahead.any() else None

    def _corners(self, id: int) -> np.ndarray:
        actor = self._actor(id)
        transform = self._world.get_snapshot().find(id).get_transform()
        return np.array([(v.x, v.y, v.z) for v in actor.bounding_box.get_world_vertices(transform)])

    def _kind(self, actor: Actor) -> str:
        if actor.kind == "walker":
            return "pedestrian"
        if actor.kind == "static":
            return next((kind for part, kind in THINGS.items() if part in actor.type_id), "obstacle")
        attributes = self._actor(actor.id).attributes
        if attributes.get("special_type") == "emergency":
            return "emergency"
        base = attributes.get("base_type", "").lower()
        return "bicycle" if actor.kind == "bicycle" else base if base in KINDS else "car"

    def _actor(self, id: int) -> carla.Actor:
        if id not in self._actors:
            self._actors[id] = self._world.get_actor(id)
        return self._actors[id]


class _Eye:
    """The instance pictures of one tick and how to look for boxes in them."""

    def __init__(self, cameras: Sequence[CameraSpec], ego: carla.Transform, pictures: Mapping[str, np.ndarray]) -> None:
        world_from_ego = np.array(ego.get_matrix())
        self._views = [
            (c.id, Pinhole(c.width, c.height, c.fov_deg), _camera_from_world(world_from_ego, c), pictures[c.id])
            for c in cameras
            if c.id in pictures
        ]

    def pixels(self, boxes: Mapping[int, tuple[str, np.ndarray]]) -> dict[int, tuple[int, str]]:
        """Pixels in all cameras, and the camera with most of them, by actor."""
        shown: dict[int, dict[str, int]] = {}
        for id, lens, camera_from_world, bgra in self._views:
            windows = {a: visibility.window_of(_moved(camera_from_world, box), lens) for a, (_, box) in boxes.items()}
            candidates = [Candidate(a, TAGS[boxes[a][0]], w) for a, w in windows.items() if w is not None]
            for actor, count in visibility.visible(*visibility.split_channels(bgra), candidates).items():
                shown.setdefault(actor, {})[id] = count
        return {a: (sum(counts.values()), max(counts, key=counts.get)) for a, counts in shown.items()}

    def tagged(self, tag: int, boxes: Sequence[np.ndarray]) -> int:
        """Pixels of a tag in the outlines of boxes (8, 3), the most in any one camera."""
        found = [0]
        for _, lens, camera_from_world, bgra in self._views:
            windows = [visibility.window_of(_moved(camera_from_world, box), lens) for box in boxes]
            found.append(visibility.pixels_with(bgra[..., 2], tag, [w for w in windows if w is not None]))
        return max(found)


def _camera_from_world(world_from_ego: np.ndarray, camera: CameraSpec) -> np.ndarray:
    place = carla.Transform(
        carla.Location(camera.x, camera.y, camera.z), carla.Rotation(camera.pitch, camera.yaw, camera.roll)
    )
    return np.linalg.inv(world_from_ego @ np.array(place.get_matrix()))


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _vertices(box: carla.BoundingBox) -> np.ndarray:
    """Corners (8, 3) of a box that lies in the world already."""
    return np.array([(v.x, v.y, v.z) for v in box.get_world_vertices(carla.Transform())])


def _around(foot: carla.Location) -> np.ndarray:
    """Corners (8, 3) of the box in which the board of a sign hangs."""
    offsets = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (0, 1)]
    size = (SIGN_HALF_M, SIGN_HALF_M, SIGN_HEIGHT_M)
    return np.array([foot.x, foot.y, foot.z]) + np.array(offsets) * size


def _first(lines: Sequence[StopLine], kind: str) -> StopLine | None:
    return next((line for line in lines if line.kind == kind), None)


def _sky(weather: carla.WeatherParameters) -> Sky:
    return Sky(weather.sun_altitude_angle, weather.cloudiness, weather.precipitation, weather.fog_density)


def _junctions(scenery: Scenery, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Metres along the route (R,) of its dense points, and whether each lies in a junction."""
    locations = [transform.location for transform, _ in scenery.dense]
    place = geometry.arc_length(np.array([(at.x, at.y) for at in locations]))
    waypoints = [scenery.session.map.get_waypoint(at) for at in locations]
    return place * (length / place[-1]), np.array([w is not None and w.is_junction for w in waypoints])
