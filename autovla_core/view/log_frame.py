"""One planning time of a route log as a picture with all its labels: cameras, boxes, plan, street from above, words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from autovla_core import footprints, geometry
from autovla_core.contracts import Actor, LightState
from autovla_core.logs.truth import ACTOR_KINDS, LIGHT_STATES, PolygonKind, RouteMap, RouteTracks
from autovla_core.view.bev import BirdsEye, Lamp, LaneStrip
from autovla_core.view.paint import AMBER, BACK, DIM, GREEN, TEXT, font

CAMERAS_WIDTH, BIRD_SIZE = 900, (380, 560)
TEXT_SIZE, LINE_PX, LETTERS = 15, 20, 118
SEEN, HIDDEN, BOUND = (90, 235, 140), (140, 146, 156), (250, 205, 60)
HEIGHTS = {"vehicle": 1.6, "bicycle": 1.7, "walker": 1.8, "static": 1.0}  # m: logs do not hold them
NEAR_PLANE_M = 0.3
LANE_WIDTH_M = 3.5
_EDGES = [(i, (i + 1) % 4) for i in range(4)]
_EDGES += [(a + 4, b + 4) for a, b in _EDGES] + [(i, i + 4) for i in range(4)]


@dataclass(frozen=True)
class LogFrame:
    """Everything that the picture shows; what a log lacks stays empty."""

    images: Mapping[str, np.ndarray]  # camera id -> (H, W, 3) uint8
    rig: Mapping[str, Mapping[str, float]]  # camera id -> CameraSpec fields, CARLA's convention
    pose: np.ndarray  # (3,) world
    plan: np.ndarray  # (10, 3) ego frame
    lines: Sequence[str]  # labels in words
    actors: Sequence[Actor] = ()
    seen: frozenset[int] = frozenset()  # ids that the cameras show
    bound: int = 0  # id of who binds the expert
    lanes: Sequence[LaneStrip] = ()
    route: np.ndarray | None = None  # (N, 2) world
    lamps: Sequence[Lamp] = field(default_factory=tuple)


def draw(frame: LogFrame) -> np.ndarray:
    """Picture (H, W, 3) uint8 RGB: cameras and words at the left, the street from above at the right."""
    order = sorted(frame.images, key=lambda id: frame.rig[id]["yaw"])  # as they look, from left to right
    pictures = [_camera(frame, id, frame.images[id]) for id in order]
    row = _in_a_row(pictures)
    rows = [part for line in frame.lines for part in (textwrap.wrap(line, LETTERS) or [""])]
    height = max(BIRD_SIZE[1], row.height + LINE_PX * (len(rows) + 1))
    canvas = Image.new("RGB", (CAMERAS_WIDTH + BIRD_SIZE[0], height), BACK)
    canvas.paste(row, (0, 0))
    canvas.paste(Image.fromarray(_from_above(frame)), (CAMERAS_WIDTH, 0))
    pen, top = ImageDraw.Draw(canvas), row.height + LINE_PX // 2
    for i, line in enumerate(rows):
        pen.text((10, top + LINE_PX * i), line, font=font(TEXT_SIZE), fill=AMBER if line.startswith("#") else TEXT)
    return np.asarray(canvas)


def save(picture: np.ndarray, file: str | Path) -> Path:
    """Write a PNG; it appears when it is whole."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.partial.png")
    Image.fromarray(picture).save(partial)
    return partial.replace(file)


def actors_at(tracks: RouteTracks, frame: int) -> list[Actor]:
    """Everybody whom the tracks hold at a frame."""
    rows = slice(*tracks.offsets[frame : frame + 2])
    found = []
    for number, pose, velocity in zip(tracks.actor[rows], tracks.pose[rows].astype(float), tracks.velocity[rows]):
        speed = float(velocity @ [math.cos(pose[2]), math.sin(pose[2])])
        length, width = (float(v) for v in tracks.actor_size[number])
        kind = ACTOR_KINDS[tracks.actor_kind[number]]
        found.append(Actor(int(tracks.actor_id[number]), kind, pose, speed, length, width))
    return found


def lanes_of(route_map: RouteMap) -> list[LaneStrip]:
    """Lanes and connectors as strips to draw."""
    found = []
    for i, kind in enumerate(route_map.kind):
        points = route_map.baseline[route_map.baseline_offsets[i] : route_map.baseline_offsets[i + 1], :2]
        if len(points) > 1:
            found.append(LaneStrip(points.astype(float), LANE_WIDTH_M, kind == PolygonKind.LANE))
    return found


def lamps_at(route_map: RouteMap, tracks: RouteTracks, frame: int) -> list[Lamp]:
    """A lamp where each connector with a light begins."""
    column = {int(id): k for k, id in enumerate(tracks.light_id)}
    found = []
    for i, id in enumerate(route_map.light_id):
        if id >= 0 and int(id) in column:
            state = LIGHT_STATES[tracks.light_state[frame, column[int(id)]]]
            start = route_map.baseline[route_map.baseline_offsets[i], :2].astype(float)
            found.append(Lamp(start, "" if state is LightState.OFF else state.value))
    return found


def to_camera(points: np.ndarray, spec: Mapping[str, float]) -> np.ndarray:
    """Points (..., 3) of the ego frame (y left) in a camera's own: x forward, y right, z up."""
    yaw, pitch = math.radians(spec["yaw"]), math.radians(spec["pitch"])
    x, y, z = points[..., 0] - spec["x"], -points[..., 1] - spec["y"], points[..., 2] - spec["z"]
    ahead, right = math.cos(yaw) * x + math.sin(yaw) * y, -math.sin(yaw) * x + math.cos(yaw) * y
    forward, up = math.cos(pitch) * ahead + math.sin(pitch) * z, -math.sin(pitch) * ahead + math.cos(pitch) * z
    return np.stack([forward, right, up], -1)


def _camera(frame: LogFrame, id: str, image: np.ndarray) -> Image.Image:
    """One camera at twice its size or more, with boxes and plan."""
    spec = frame.rig[id]
    scale = max(1, round(CAMERAS_WIDTH / len(frame.images) / image.shape[1]))
    picture = Image.fromarray(image).resize((image.shape[1] * scale, image.shape[0] * scale))
    pen = ImageDraw.Draw(picture)
    for actor in frame.actors:
        color = BOUND if actor.id == frame.bound else SEEN if actor.id in frame.seen else HIDDEN
        _box(pen, geometry.relative(frame.pose, actor.pose), actor, spec, picture.size, color)
    for x, y, _ in frame.plan:
        spot = _pixels(to_camera(np.array([[x, y, 0.0]]), spec), spec, picture.size)
        if len(spot):
            pen.ellipse((*(spot[0] - 4), *(spot[0] + 4)), outline=GREEN, width=2)
    pen.text((8, 6), id, font=font(TEXT_SIZE), fill=TEXT)
    return picture


def _box(
    pen: ImageDraw.ImageDraw,
    pose: np.ndarray,
    actor: Actor,
    spec: Mapping[str, float],
    size: tuple[int, int],
    color: tuple[int, int, int],
) -> None:
    ground = footprints.corners(pose, actor.length, actor.width)
    corners = np.array([(*corner, up) for up in (0.0, HEIGHTS[actor.kind]) for corner in ground])
    seen = to_camera(corners, spec)
    if (seen[:, 0] < NEAR_PLANE_M).any():
        return
    pixels = _pixels(seen, spec, size)
    inside = (pixels > 0).all(1) & (pixels < size).all(1)
    if not inside.any():
        return
    for a, b in _EDGES:
        pen.line((*pixels[a], *pixels[b]), fill=color, width=1)
    pen.text((pixels[:, 0].min(), pixels[:, 1].min() - 16), str(actor.id), font=font(12), fill=color)


def _pixels(points: np.ndarray, spec: Mapping[str, float], size: tuple[int, int]) -> np.ndarray:
    """Pixels (M, 2) of the points (N, 3) of a camera frame that lie before it."""
    points = points[points[:, 0] > NEAR_PLANE_M]
    focal = size[0] / (2.0 * math.tan(math.radians(spec["fov_deg"]) / 2.0))
    right, down = points[:, 1] / points[:, 0], -points[:, 2] / points[:, 0]
    return np.stack([size[0] / 2 + focal * right, size[1] / 2 + focal * down], 1)


def _in_a_row(pictures: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), DIM)
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width
    return whole.resize((CAMERAS_WIDTH, round(whole.height * CAMERAS_WIDTH / whole.width)))


def _from_above(frame: LogFrame) -> np.ndarray:
    bird = BirdsEye(frame.lanes, BIRD_SIZE)
    plan = geometry.compose(frame.pose, frame.plan)
    return bird.draw(frame.pose, frame.actors, frame.route, plan, frame.lamps)
