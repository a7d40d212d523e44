"""A town as a map on paper: lanes by kind, crosswalks, lights and signs, a scale and a legend. North is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (246, 244, 238), (40, 44, 48)
LANES = {  # kind: colour; drawn in this order
    "sidewalk": (206, 200, 190),
    "shoulder": (158, 160, 164),
    "median": (158, 160, 164),
    "parking": (150, 176, 214),
    "biking": (124, 186, 130),
    "driving": (84, 88, 94),
}
SIGNS = {  # kind: colour, number of corners (0: a dot)
    "light": ((24, 150, 70), 0),
    "stop": ((200, 30, 34), 8),
    "yield": ((224, 140, 20), 3),
    "limit": ((236, 236, 236), 0),
}
LEGEND = {"light": "traffic light", "stop": "stop", "yield": "yield", "limit": "speed limit (km/h)"}
MARGIN_PX, HEADER_PX, FOOTER_PX = 34, 62, 58
SUPERSAMPLING = 2


@dataclass(frozen=True, eq=False)
class MapStrip:
    """One lane."""

    kind: str  # of ``LANES``
    left: np.ndarray  # (N, 2) borders in world metres, y to the left of x
    right: np.ndarray


@dataclass(frozen=True)
class MapSign:
    """One light or sign."""

    kind: str  # of ``SIGNS``
    x: float
    y: float
    text: str = ""


def draw_town(
    title: str,
    lines: Sequence[str],
    strips: Sequence[MapStrip],
    crosswalks: Sequence[np.ndarray],
    signs: Sequence[MapSign],
    width_px: int = 1000,
) -> Image.Image:
    """The finished sheet; ``crosswalks`` are outlines (4, 2) in world metres.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not strips:
        raise ValueError(f"{title}: no lanes to draw")
    borders = [border for strip in strips for border in (strip.left, strip.right)]
    sheet = _Sheet(np.concatenate(borders), width_px * SUPERSAMPLING)
    for kind, color in LANES.items():
        for strip in (s for s in strips if s.kind == kind):
            sheet.polygon(np.concatenate([strip.left, strip.right[::-1]]), color)
    for outline in crosswalks:
        sheet.polygon(outline, (250, 250, 250))
    for sign in signs:
        sheet.sign(sign)
    sheet.header(title, lines)
    sheet.footer(sorted({sign.kind for sign in signs}), sorted({strip.kind for strip in strips}))
    return sheet.picture()


class _Sheet:
    """The paper and the pen."""

    def __init__(self, points: np.ndarray, width_px: int) -> None:
        self._unit = SUPERSAMPLING
        low, high = points.min(0), points.max(0)
        margin = MARGIN_PX * self._unit
        self._scale = (width_px - 2 * margin) / float(high[0] - low[0])
        height = int((high[1] - low[1]) * self._scale) + 2 * margin + (HEADER_PX + FOOTER_PX) * self._unit
        self._corner = np.array([low[0], high[1]])
        self._offset = np.array([margin, margin + HEADER_PX * self._unit])
        self._image = Image.new("RGB", (width_px, height), PAPER)
        self._pen = ImageDraw.Draw(self._image)

    def picture(self) -> Image.Image:
        small = (self._image.width // self._unit, self._image.height // self._unit)
        return self._image.resize(small, Image.Resampling.LANCZOS)

    def _pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        placed = (np.asarray(points, float) - self._corner) * (1.0, -1.0) * self._scale + self._offset
        return [(float(x), float(y)) for x, y in placed]

    def polygon(self, points: np.ndarray, color: tuple[int, int, int]) -> None:
        self._pen.polygon(self._pixels(points), fill=color)

    def sign(self, sign: MapSign) -> None:
        (center,) = self._pixels(np.array([(sign.x, sign.y)]))
        self._symbol(center, sign.kind)
        if sign.text:
            self._pen.text(center, sign.text, INK, _font(8 * self._unit), anchor="mm")

    def _symbol(self, center: tuple[float, float], kind: str) -> None:
        color, corners = SIGNS[kind]
        radius = (7.0 if kind == "limit" else 4.5) * self._unit
        if corners:
            self._pen.regular_polygon((*center, radius), corners, rotation=180 if corners == 3 else 22, fill=color)
        else:
            x, y = center
            outline = (200, 30, 34) if kind == "limit" else None
            self._pen.ellipse((x - radius, y - radius, x + radius, y + radius), color, outline, self._unit)

    def header(self, title: str, lines: Sequence[str]) -> None:
        x, u = MARGIN_PX * self._unit, self._unit
        self._pen.text((x, 10 * u), title, INK, _font(22 * u))
        for number, line in enumerate(lines):
            self._pen.text((x, (40 + 15 * number) * u), line, INK, _font(12 * u))

    def footer(self, signs: Sequence[str], kinds: Sequence[str]) -> None:
        u, y = self._unit, self._image.height - (FOOTER_PX - 22) * self._unit
        x = MARGIN_PX * u
        bar = 100.0 * self._scale
        self._pen.rectangle((x, y + 4 * u, x + bar, y + 8 * u), fill=INK)
        self._pen.text((x, y + 12 * u), "100 m", INK, _font(11 * u))
        x += max(bar, 40 * u) + 24 * u
        for kind in [kind for kind in LANES if kind in kinds]:
            self._pen.rectangle((x, y, x + 14 * u, y + 12 * u), fill=LANES[kind])
            x = self._word(x + 19 * u, y, kind)
        x, y = (MARGIN_PX + 24) * u + max(bar, 40 * u), y + 20 * u
        for kind in [kind for kind in SIGNS if kind in signs]:
            self._symbol((x + 7 * u, y + 6 * u), kind)
            x = self._word(x + 19 * u, y, LEGEND[kind])

    def _word(self, x: float, y: float, text: str) -> float:
        self._pen.text((x, y), text, INK, _font(11 * self._unit))
        return x + self._pen.textlength(text, _font(11 * self._unit)) + 18 * self._unit


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
