"""A picture of one sample for people: its cameras, the plan and the truth from above, the thought and the scores."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from autovla_core import footprints, geometry
from training.datasets.sample import DatasetError, Sample

WIDTH, VIEW_HEIGHT, MAP = 960, 200, 340
GROUND, TEXT, TRUTH, PLAN, EGO = (30, 34, 38), (225, 225, 225), (90, 220, 120), (255, 150, 40), (250, 205, 60)
OTHERS = (214, 92, 84)
CAR_M = (4.1, 1.85)
ORDER = ("front_left", "front", "front_right")


def draw(
    file: Path,
    sample: Sample,
    plan: np.ndarray,
    thought: str,
    scores: Mapping[str, float],
    cameras: tuple[str, ...],
    note: str = "",
) -> Path:
    """Write one JPEG; ``plan`` is (10, 3) in the sample's frame."""
    sheet = Image.new("RGB", (WIDTH, VIEW_HEIGHT + MAP), GROUND)
    views = [_view(sample, camera, WIDTH // len(cameras)) for camera in sorted(cameras, key=_place)]
    for i, view in enumerate(views):
        sheet.paste(view, (i * (WIDTH // len(cameras)), 0))
    sheet.paste(_from_above(sample, plan), (0, VIEW_HEIGHT))
    pen = ImageDraw.Draw(sheet)
    pen.multiline_text((MAP + 12, VIEW_HEIGHT + 8), _words(sample, thought, scores, note), fill=TEXT, spacing=3)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, quality=88)
    return file


def _place(camera: str) -> int:
    return ORDER.index(camera) if camera in ORDER else len(ORDER)


def _view(sample: Sample, camera: str, width: int) -> Image.Image:
    """The newest image of one camera, or a grey one that says why there is none."""
    frame = Image.new("RGB", (width, VIEW_HEIGHT), (80, 80, 80))
    try:
        image = Image.fromarray(sample.images[camera][-1].read())
    except (DatasetError, KeyError, IndexError) as error:
        ImageDraw.Draw(frame).text((6, 6), f"{camera}: {type(error).__name__}", fill=TEXT)
        return frame
    image = ImageOps.contain(image, (width, VIEW_HEIGHT))
    frame.paste(image, ((width - image.width) // 2, (VIEW_HEIGHT - image.height) // 2))
    return frame


def _from_above(sample: Sample, plan: np.ndarray) -> Image.Image:
    """Truth and plan with boxes at each pose; the ego looks up, at the largest scale that shows both."""
    picture = Image.new("RGB", (MAP, MAP), GROUND)
    pen = ImageDraw.Draw(picture)
    driven = sample.poses[sample.mask]
    points = np.concatenate([np.zeros((1, 2)), plan[:, :2], driven[:, :2]])
    low, high = points.min(0) - 4.0, points.max(0) + 4.0
    scale = MAP / max(*(high - low), 20.0)
    middle = (low + high) / 2.0

    def pixels(xy: np.ndarray) -> list[tuple[float, float]]:
        ahead, left = (xy - middle).T
        return [(MAP / 2 - y * scale, MAP / 2 - x * scale) for x, y in zip(ahead, left)]

    for box in _obstacles(sample):
        pen.polygon(pixels(box), outline=OTHERS)
    for poses, colour in ((driven, TRUTH), (plan, PLAN)):
        for box in footprints.corners(poses, *CAR_M) if len(poses) else ():
            pen.polygon(pixels(box), outline=colour)
        pen.line(pixels(np.concatenate([np.zeros((1, 2)), poses[:, :2]])), fill=colour, width=2)
    pen.polygon(pixels(footprints.corners(np.zeros(3), *CAR_M)), outline=EGO, fill=EGO)
    pen.text((6, 4), "truth", fill=TRUTH)
    pen.text((6, 18), "plan", fill=PLAN)
    return picture


def _obstacles(sample: Sample) -> np.ndarray:
    """Corners (M, 4, 2) of the annotated vehicles at the next key frame, where a data set has them (nuScenes)."""
    if "vehicles" not in sample.extra:
        return np.zeros((0, 4, 2))
    boxes = sample.extra["vehicles"][0]
    return footprints.corners(geometry.compose(sample.extra["lidar"], boxes[:, :3]), boxes[:, 3], boxes[:, 4])


def _words(sample: Sample, thought: str, scores: Mapping[str, float], note: str) -> str:
    columns = (WIDTH - MAP - 24) // 6
    shown = [f"{name} {value:.2f}" for name, value in scores.items() if np.isfinite(value)]
    state = f"{sample.speed:.1f} m/s, {sample.acceleration:+.1f} m/s2, {sample.command.name.lower()}"
    parts = [f"{sample.id}  ({sample.scene})", state, note, "; ".join(shown), "", thought or "no thought"]
    lines = [line for part in parts for line in textwrap.wrap(part, columns) or [""]]
    return "\n".join(line.encode("latin-1", "replace").decode("latin-1") for line in lines[:24])
