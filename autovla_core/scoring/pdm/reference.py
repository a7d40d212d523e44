"""The reference whose progress a plan is measured against: the PDM-Closed planner on the same scene.

It unrolls 15 proposals (three paths, five speeds) behind leaders that go on at constant velocity,
drives and scores each like a plan, and keeps the best. For a scene whose reference is known, such
as a logged expert, ``PdmScene.reference`` takes its place.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import shapely

from autovla_core.footprints import corners
from autovla_core.geometry import YAW, arc_length, wrap_angle
from autovla_core.scoring.pdm import comfort, idm, tracker
from autovla_core.scoring.pdm.contacts import overlapping
from autovla_core.scoring.pdm.obstacles import STOPPED_SPEED, Obstacles, red_at_start
from autovla_core.scoring.pdm.route_line import line_of, progress_along
from autovla_core.scoring.pdm.scene_shapes import ego_box, ego_boxes, ego_length, polygon_of
from autovla_core.scoring.pdm.starting_lane import speed_limit
from autovla_core.scoring.pdm.terms import STATES, Surroundings, terms_of
from autovla_core.scoring.pdm.weighing import aggregate, shares_of_best
from autovla_core.scoring.pdm_types import AGENTS, GRID_S, PdmScene, Track, TrackKind, Version

PLAN_STEPS = 50  # the winner is unrolled to 5 s
OFFSETS_M = (0.0, -1.0, 1.0)  # of the three paths, left positive
RADIUS_M = 100.0
NEAREST = {TrackKind.VEHICLE: 50, TrackKind.PEDESTRIAN: 25, TrackKind.BICYCLE: 10}
NEAREST_STATIC = 50
FORECAST_STEP = 2  # grid steps between forecasts, and between looks for a leader
PROGRESS, SPEED, REAR = 0, 1, 2  # of a leader


@dataclass(frozen=True)
class Forecast:
    """What may lead: K things with polygons at every second grid step, and how each moves."""

    polygons: np.ndarray  # (F, K) shapely polygons
    centroids: np.ndarray  # (F, K, 2)
    speed: np.ndarray  # (K,) m/s; 0 for static objects and red lights
    yaw: np.ndarray  # (K,)
    light: np.ndarray  # (K,) bool
    counts: np.ndarray  # (K,) bool: False for what touches the ego now
    obstacles: Obstacles  # the moving and static boxes among them, at 10 Hz


@dataclass(frozen=True)
class Path:
    """One of the three paths."""

    poses: np.ndarray  # (M, 3) yaw unwrapped
    along: np.ndarray  # (M,) arc length
    line: shapely.LineString
    start: float  # m along it, of the ego now
    corridor: shapely.Geometry


@dataclass(frozen=True)
class Rollout:
    """Proposals of one path, P policies."""

    poses: np.ndarray  # (T + 1, P, 3)
    progress: np.ndarray  # (T + 1, P)
    speed: np.ndarray  # (T + 1, P)
    lead: np.ndarray  # (P, 3) the last leaders


def closed_loop_reference(scene: PdmScene, around: Surroundings) -> np.ndarray:
    """Poses (51, 3) at 10 Hz, world, that PDM-Closed plans; the first is the ego projected on the path."""
    forecast = _forecast(scene)
    limit = speed_limit(scene)
    targets = np.array(idm.SPEED_SHARES) * (idm.FALLBACK_SPEED if limit is None else limit)
    paths = [_path(scene, offset, targets.max()) for offset in OFFSETS_M]
    rollouts = [_unroll(path, targets, scene, forecast) for path in paths]
    proposals = np.concatenate([rollout.poses.transpose(1, 0, 2) for rollout in rollouts])
    best = int(np.argmax(_scores(proposals, scene, around, forecast)))
    path, policy = divmod(best, len(targets))
    return _extend(paths[path], rollouts[path], policy, targets, scene, forecast)


def _scores(proposals: np.ndarray, scene: PdmScene, around: Surroundings, forecast: Forecast) -> np.ndarray:
    """What each proposal (P, 41, 3) would score among themselves, with the forecast for truth."""
    states = tracker.simulate(proposals, scene.ego, scene.vehicle)
    lights = red_at_start(scene.red_lights)
    named = {area.id: area for area in scene.areas}
    red = [polygon_of(named[name]) for name in lights if name in named and name in scene.route_lane_ids]
    terms = terms_of(
        states,
        dataclasses.replace(
            around,
            obstacles=forecast.obstacles,
            red_areas=np.array(red, object),
            red=np.full((len(red), STATES), around.version is Version.V2),
        ),
    )
    calm = comfort.within_bounds(comfort.signals_v1(states)) if around.version is Version.V1 else np.ones(len(states))
    values = terms.values(around.version) | {"comfort": calm}
    product = terms.product(around.version)
    best = np.full(len(states), (terms.progress_m * product).max())
    values["ego_progress"] = shares_of_best(terms.progress_m, product, best, around.version)
    return aggregate(values, around.version)


def _forecast(scene: PdmScene) -> Forecast:
    tracks = _nearest(scene)
    states = np.array([track.states[0] for track in tracks]).reshape(-1, 5)
    agent = np.array([track.kind in AGENTS for track in tracks], bool)
    speed = np.where(agent, np.hypot(states[:, 3], states[:, 4]), 0.0)
    ahead = np.abs(wrap_angle(states[:, YAW] - np.arctan2(states[:, 4], states[:, 3]))) < np.pi / 2
    heading = np.where(ahead, states[:, YAW], states[:, YAW] + np.pi)
    velocity = speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    size = np.array([(track.length, track.width) for track in tracks]).reshape(-1, 2)
    boxes = corners(states[:, :3], size[:, 0], size[:, 1])
    times = np.arange(0, PLAN_STEPS + FORECAST_STEP, FORECAST_STEP) * GRID_S
    moved = boxes + (times[:, None, None] * velocity)[:, :, None]
    held = np.repeat(moved, FORECAST_STEP, axis=0)[: PLAN_STEPS + 1]
    obstacles = Obstacles(
        np.ascontiguousarray(held),
        np.ones(held.shape[:2], bool),
        ~agent | (np.hypot(states[:, 3], states[:, 4]) <= STOPPED_SPEED),
        agent,
        np.zeros(len(tracks), bool),
    )
    obstacles = dataclasses.replace(obstacles, ignored=overlapping(ego_box(scene), obstacles))
    lights, counts = _red_polygons(scene)
    polygons = np.concatenate([shapely.polygons(moved), np.broadcast_to(lights, (len(times), len(lights)))], axis=1)
    centroids = shapely.get_coordinates(shapely.centroid(polygons)).reshape(*polygons.shape, 2)
    still = np.zeros(len(lights))
    return Forecast(
        polygons,
        centroids,
        np.concatenate([speed, still]),
        np.concatenate([states[:, YAW], still]),
        np.arange(len(tracks) + len(lights)) >= len(tracks),
        np.concatenate([~obstacles.ignored, counts]),
        obstacles,
    )


def _nearest(scene: PdmScene) -> list[Track]:
    """Static objects, vehicles, pedestrians, bicycles seen now within ``RADIUS_M``, the nearest of each."""
    center = ego_box(scene).mean(0)
    seen = [track for track in scene.tracks if len(track.states) and np.isfinite(track.states[0]).all()]
    far = {track.id: float(np.hypot(*(track.states[0, :2] - center))) for track in seen}
    near = sorted((track for track in seen if far[track.id] <= RADIUS_M), key=lambda track: far[track.id])
    chosen = [track for track in near if track.kind not in AGENTS][:NEAREST_STATIC]
    for kind, count in NEAREST.items():
        chosen += [track for track in near if track.kind is kind][:count]
    return chosen


def _red_polygons(scene: PdmScene) -> tuple[np.ndarray, np.ndarray]:
    """Polygons (L,) of the route's red connectors, and whether each counts: not where the ego is inside."""
    named = {area.id: area for area in scene.areas}
    names = [name for name in red_at_start(scene.red_lights) if name in named and name in scene.route_lane_ids]
    polygons = np.array([polygon_of(named[name]) for name in names], object)
    box = shapely.polygons(ego_box(scene))
    return polygons, np.array([not shapely.within(box, polygon) for polygon in polygons], bool)


def _path(scene: PdmScene, offset: float, top_speed: float) -> Path:
    poses = np.array(scene.centerline, float)
    side = poses[:, YAW] + np.pi / 2
    poses[:, :2] += offset * np.stack([np.cos(side), np.sin(side)], -1)
    poses[:, YAW] = np.unwrap(poses[:, YAW])
    along = arc_length(poses)
    line = line_of(poses)
    start = float(progress_along(line, np.asarray(scene.ego.pose, float)[:2]))
    end = min(start + abs(top_speed) * PLAN_STEPS * GRID_S, along[-1])
    inside = (start <= along) & (along <= end)
    ahead = shapely.linestrings(poses[inside, :2]) if inside.sum() > 1 else _stub(line, start, end, poses[inside, :2])
    corridor = shapely.buffer(ahead, scene.vehicle.half_width, quad_segs=16, cap_style="square")
    return Path(poses, along, line, start, corridor)


def _stub(line: shapely.LineString, start: float, end: float, between: np.ndarray) -> shapely.Geometry:
    """The part of a line between two arc lengths, with the vertices ``between`` (N, 2); a point at its end."""
    ends = shapely.get_coordinates(shapely.line_interpolate_point(line, [start, end]))
    if end <= start:
        return shapely.Point(ends[0])
    return shapely.linestrings(np.vstack([ends[:1], between, ends[1:]]))


def _at(path: Path, progress: np.ndarray) -> np.ndarray:
    """Poses (P, 3) at ``progress`` (P,) m."""
    s = np.clip(progress, 1e-5, path.along[-1])
    high = np.clip(np.searchsorted(path.along, s), 1, len(path.along) - 1)
    span = path.along[high] - path.along[high - 1]
    share = np.divide(s - path.along[high - 1], span, out=np.zeros_like(s), where=span > 0.0)
    poses = path.poses[high - 1] + share[:, None] * (path.poses[high] - path.poses[high - 1])
    poses[:, YAW] = wrap_angle(poses[:, YAW])
    return poses


def _unroll(path: Path, targets: np.ndarray, scene: PdmScene, forecast: Forecast) -> Rollout:
    count = len(targets)
    start = np.full(count, path.start)
    begin = Rollout(_at(path, start)[None], start[None], np.full((1, count), float(scene.ego.vx)), np.zeros((count, 3)))
    return _continue(begin, range(1, STATES), path, targets, scene, forecast)


def _extend(
    path: Path, rollout: Rollout, policy: int, targets: np.ndarray, scene: PdmScene, forecast: Forecast
) -> np.ndarray:
    one = slice(policy, policy + 1)
    chosen = Rollout(rollout.poses[:, one], rollout.progress[:, one], rollout.speed[:, one], rollout.lead[one])
    return _continue(chosen, range(STATES, PLAN_STEPS + 1), path, targets[one], scene, forecast).poses[:, 0]


def _continue(
    rollout: Rollout, steps: range, path: Path, targets: np.ndarray, scene: PdmScene, forecast: Forecast
) -> Rollout:
    """Unroll over ``steps``. The leader is looked for at even steps only, so at step 1 there is a phantom at 0."""
    poses, progress, speed, lead = list(rollout.poses), list(rollout.progress), list(rollout.speed), rollout.lead
    for step in steps:
        if step % FORECAST_STEP == 0:
            lead = _leaders(poses[-1], progress[-1], path, scene, forecast, step // FORECAST_STEP)
        further, faster = idm.step(progress[-1], speed[-1], targets, lead)
        progress.append(further)
        speed.append(faster)
        poses.append(_at(path, further))
    return Rollout(np.array(poses), np.array(progress), np.array(speed), lead)


def _leaders(
    poses: np.ndarray, progress: np.ndarray, path: Path, scene: PdmScene, forecast: Forecast, at: int
) -> np.ndarray:
    """Leaders (P, 3) of proposals at ``poses`` (P, 3): the nearest thing in the corridor whose centroid is ahead.

    One record is refilled from proposal to proposal and never cleared, in the benchmark and so
    here: behind a free road stays the speed of the last leader, ahead of a leader the rear overhang
    of a free road, and a red light does not reset the speed.
    """
    gaps, who = _nearest_ahead(poses, progress, path, scene, forecast, at)
    record, leaders = np.zeros(3), np.zeros((len(poses), 3))
    for p in range(len(poses)):
        if np.isinf(gaps[p]):
            record[PROGRESS], record[REAR] = path.along[-1], ego_length(scene.vehicle) / 2.0
        else:
            record[PROGRESS] = progress[p] + gaps[p]
            if not forecast.light[who[p]]:
                record[SPEED] = forecast.speed[who[p]] * np.cos(forecast.yaw[who[p]] - poses[p, YAW])
        leaders[p] = record
    return leaders


def _nearest_ahead(
    poses: np.ndarray, progress: np.ndarray, path: Path, scene: PdmScene, forecast: Forecast, at: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gap (P,) in metres and number (P,) of the nearest thing ahead in the corridor; inf where there is none."""
    tree = shapely.STRtree(forecast.polygons[at], node_capacity=10)
    found = tree.query(path.corridor, predicate="intersects")
    found = found[forecast.counts[found]]
    if len(found) == 0:
        return np.full(len(poses), np.inf), np.zeros(len(poses), int)
    ahead = progress_along(path.line, forecast.centroids[at, found]) > progress[:, None]
    boxes = shapely.polygons(ego_boxes(poses, scene.vehicle))
    gaps = np.where(ahead, shapely.distance(boxes[:, None], forecast.polygons[at, found]), np.inf)
    return gaps.min(1), found[gaps.argmin(1)]
