"""One picture of a drive, for the video and for the window: camera with plan, street from above, instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from autovla_core import geometry
from autovla_core.contracts import Actor, Command, Control
from autovla_core.view import overlay
from autovla_core.view.bev import BirdsEye, Lamp
from autovla_core.view.paint import AMBER, BACK, BLUE, DIM, GREEN, LINE, RED, TEXT, font

SIZE = (1280, 720)
CAMERA_SIZE = (896, 504)
PANEL_TOP = CAMERA_SIZE[1]
COMMANDS = {
    Command.VOID: "-",
    Command.LEFT: "turn left",
    Command.RIGHT: "turn right",
    Command.STRAIGHT: "straight on",
    Command.FOLLOW: "follow the lane",
    Command.CHANGE_LEFT: "change left",
    Command.CHANGE_RIGHT: "change right",
}


@dataclass(frozen=True)
class Lens:
    """A pinhole camera on the ego, right-handed, looking forward."""

    x: float  # m ahead of the ego's origin
    z: float  # m above the ground
    fov_deg: float  # horizontal
    pitch_deg: float = 0.0  # up positive


@dataclass(frozen=True)
class View:
    """Everything that one picture shows."""

    time_s: float
    pose: np.ndarray  # (3,) world
    speed: float  # m/s
    speed_limit: float  # m/s
    command: Command
    control: Control
    camera: np.ndarray  # (H, W, 3) uint8 RGB
    lens: Lens
    distance: float  # m along the route
    route_length: float  # m
    route: np.ndarray | None = None  # (N, 2) world
    plan: np.ndarray | None = None  # (M, 3) world poses, in order of time
    fan: Sequence[np.ndarray] = ()  # each (M, 3) world poses: plans that were not taken
    tokens: Sequence[int] = ()
    probabilities: Sequence[float] = ()  # of the tokens, 0 to 1
    thought: str = ""
    thinking: str = ""  # how the plan was thought
    plan_ms: float = 0.0
    pace: float = 0.0  # seconds of simulation a second of the wall; 0: unknown
    ticks_per_s: float = 0.0  # of the wall; 0: unknown
    score: float | None = None  # driving score so far
    clip: np.ndarray | None = None  # (4, h, w, 3) uint8: what the model saw
    actors: Sequence[Actor] = ()
    lamps: Sequence[Lamp] = ()
    sides: Sequence[np.ndarray] = ()  # of cameras left and right of the front, (h, w, 3) uint8 RGB
    infractions: Sequence[str] = ()
    title: str = ""
    notes: Sequence[str] = field(default_factory=tuple)  # such as PAUSED
    typing: str | None = None  # an instruction that is being typed
    help: Sequence[tuple[str, str]] = ()  # keys and what they do


def compose(view: View, bird: BirdsEye, camera_large: bool = True) -> np.ndarray:
    """Picture (720, 1280, 3) uint8 RGB; with ``camera_large`` false the model's own images take the large place."""
    canvas = Image.new("RGB", SIZE, BACK)
    large = camera_large or view.clip is None
    front = view.camera if large else view.clip[-1]
    picture = Image.fromarray(front).resize(CAMERA_SIZE, Image.Resampling.BILINEAR)
    if large:
        picture = _draw_plans(picture, view)
    canvas.paste(picture, (0, 0))
    above = bird.draw(view.pose, view.actors, view.route, view.plan, view.lamps, fan=view.fan)
    canvas.paste(Image.fromarray(above), (CAMERA_SIZE[0], 0))
    pen = ImageDraw.Draw(canvas)
    _headline(pen, view)
    overlay.draw_sides(canvas, view.sides if large else (), CAMERA_SIZE[0])
    overlay.draw_texts(canvas, CAMERA_SIZE, view.infractions, view.thought, view.typing)
    overlay.draw_keys(canvas, CAMERA_SIZE, view.help)
    _instruments(pen, view)
    _tokens(pen, view)
    _clip(canvas, view)
    pen.line((CAMERA_SIZE[0], 0, CAMERA_SIZE[0], SIZE[1]), fill=LINE, width=2)
    return np.asarray(canvas)


def project(points: np.ndarray, lens: Lens, size: tuple[int, int]) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in the ego frame; NaN where a point is not in front of the camera."""
    pitch = np.radians(lens.pitch_deg)
    ahead, up = points[:, 0] - lens.x, points[:, 2] - lens.z
    depth = np.cos(pitch) * ahead + np.sin(pitch) * up
    height = -np.sin(pitch) * ahead + np.cos(pitch) * up
    focal = size[0] / (2.0 * np.tan(np.radians(lens.fov_deg) / 2.0))
    depth = np.where(depth > 0.5, depth, np.nan)
    return np.stack([size[0] / 2 - focal * points[:, 1] / depth, size[1] / 2 - focal * height / depth], 1)


def _draw_plans(picture: Image.Image, view: View) -> Image.Image:
    layer = Image.new("RGBA", CAMERA_SIZE, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    for poses in view.fan:
        path = _ahead(poses, view)
        pixels = project(np.hstack([path[:, :2], np.zeros((len(path), 1))]), view.lens, CAMERA_SIZE)
        pen.line([tuple(p) for p in pixels[np.isfinite(pixels).all(-1)]], fill=(*AMBER, 170), width=3)
    if view.plan is not None:
        _draw_carpet(pen, _ahead(view.plan, view), view.lens)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def _ahead(world: np.ndarray, view: View) -> np.ndarray:
    """Poses (K, 3) of a plan that the camera may see, in the ego frame; none where it leads nowhere."""
    poses = geometry.relative(view.pose, world)
    poses = poses[poses[:, 0] > view.lens.x + 0.6]
    return poses if len(poses) > 1 and poses[-1, 0] - poses[0, 0] >= 0.5 else poses[:0]


def _draw_carpet(pen: ImageDraw.ImageDraw, poses: np.ndarray, lens: Lens) -> None:
    normal = np.stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])], 1)
    ground = np.zeros((len(poses), 1))
    edges = [project(np.hstack([poses[:, :2] + side * normal, ground]), lens, CAMERA_SIZE) for side in (0.9, -0.9)]
    for i in range(len(poses) - 1):
        quad = [tuple(edges[k][j]) for k, j in ((0, i), (0, i + 1), (1, i + 1), (1, i))]
        if np.isfinite(quad).all():
            pen.polygon(quad, fill=(*GREEN, max(40, 150 - 12 * i)), outline=(*GREEN, 220))


def _headline(pen: ImageDraw.ImageDraw, view: View) -> None:
    pen.rectangle((0, 0, CAMERA_SIZE[0], 34), fill=(0, 0, 0))
    pen.text((12, 7), view.title, font=font(18), fill=TEXT)
    share = 0.0 if view.route_length <= 0 else min(view.distance / view.route_length, 1.0)
    score = "" if view.score is None else f"score so far {view.score:.1f}    "
    pace = f"    {view.pace:.1f}x" if view.pace else ""
    pace += f"  {view.ticks_per_s:.0f} ticks/s" if view.ticks_per_s else ""
    right = f"{score}{view.distance:.0f} of {view.route_length:.0f} m    {view.time_s:5.1f} s{pace}"
    pen.text((CAMERA_SIZE[0] - 12, 7), right, font=font(18), fill=TEXT, anchor="ra")
    pen.rectangle((0, 34, int(CAMERA_SIZE[0] * share), 38), fill=BLUE)
    for i, note in enumerate(view.notes):
        pen.text((CAMERA_SIZE[0] // 2, 60 + 34 * i), note, font=font(28), fill=AMBER, anchor="ma")


def _instruments(pen: ImageDraw.ImageDraw, view: View) -> None:
    top = PANEL_TOP + 14
    pen.text((20, top), f"{view.speed * 3.6:.0f}", font=font(64), fill=TEXT)
    pen.text((118, top + 40), f"km/h   limit {view.speed_limit * 3.6:.0f}", font=font(18), fill=DIM)
    color = DIM if view.command in (Command.FOLLOW, Command.VOID) else AMBER
    pen.text((118, top + 10), COMMANDS[view.command], font=font(22), fill=color)
    control = view.control
    _bar(pen, (20, top + 88), "steer", control.steer, BLUE, centred=True)
    _bar(pen, (20, top + 118), "throttle", control.throttle, GREEN)
    _bar(pen, (20, top + 148), "brake", control.brake, RED)


def _bar(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    name: str,
    value: float,
    color: tuple[int, int, int],
    centred: bool = False,
) -> None:
    x, y, width = at[0] + 80, at[1], 170
    pen.text(at, name, font=font(16), fill=DIM)
    pen.rectangle((x, y, x + width, y + 16), fill=LINE)
    if centred:  # steer is left positive, so a left turn grows to the left
        middle = x + width // 2
        ends = sorted((middle, middle - int(value * width / 2)))
        pen.rectangle((ends[0], y, ends[1], y + 16), fill=color)
    elif value > 0.0:
        pen.rectangle((x, y, x + int(value * width), y + 16), fill=color)


def _tokens(pen: ImageDraw.ImageDraw, view: View) -> None:
    if not view.tokens:
        return
    left, top = 300, PANEL_TOP + 14
    timing = f"   {view.plan_ms:.0f} ms a plan" if view.plan_ms else ""
    thinking = f"   thought {view.thinking}" if view.thinking else ""
    pen.text((left, top), f"action tokens{timing}{thinking}", font=font(16), fill=DIM)
    for i, token in enumerate(view.tokens):
        x, y = left + 58 * (i % 10), top + 24
        pen.rounded_rectangle((x, y, x + 52, y + 26), 5, fill=LINE)
        pen.text((x + 26, y + 13), str(token), font=font(16), fill=GREEN, anchor="mm")
    for i, probability in enumerate(view.probabilities):  # a bar below each token: as wide as it is probable
        x, y = left + 58 * (i % 10), top + 54
        pen.rectangle((x, y, x + 52, y + 5), fill=LINE)
        pen.rectangle((x, y, x + round(52 * probability), y + 5), fill=GREEN)


def _clip(canvas: Image.Image, view: View) -> None:
    if view.clip is None:
        return
    pen = ImageDraw.Draw(canvas)
    left, top, width = 300, PANEL_TOP + 84, 140
    pen.text((left, top), "what the model sees: 1.5 s, 1.0 s, 0.5 s ago, now", font=font(14), fill=DIM)
    for i, image in enumerate(view.clip):
        small = Image.fromarray(image)
        small = small.resize((width, round(width * small.height / small.width)), Image.Resampling.BILINEAR)
        canvas.paste(small, (left + i * (width + 6), top + 22))
