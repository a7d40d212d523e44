"""One picture of one or two codebooks: the fan of motions, what is covered, the error by speed, the use of entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from autovla_core.action import report, tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.action.report import Report
from autovla_core.view.paint import font

INK, FAINT, PAPER, RULE = (30, 32, 36), (120, 124, 130), (252, 252, 250), (214, 214, 210)
COVERED, NEAR, FAR = (60, 150, 90), (232, 160, 50), (206, 60, 60)
BARS: Mapping[str, tuple[int, int, int]] = {"greedy": (70, 110, 190), "beam": (120, 180, 220)}
PANEL = (640, 330)
MARGIN = 46
DOTS = 4000  # held-out motions drawn


@dataclass(frozen=True)
class Frame:
    """A panel's place in the picture and the range of values in it."""

    left: int
    top: int
    x: tuple[float, float]
    y: tuple[float, float]

    def pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        """Pixel positions of points (N, 2)."""
        width, height = PANEL[0] - 2 * MARGIN, PANEL[1] - 2 * MARGIN
        u = self.left + MARGIN + (points[:, 0] - self.x[0]) / (self.x[1] - self.x[0]) * width
        v = self.top + MARGIN + (self.y[1] - points[:, 1]) / (self.y[1] - self.y[0]) * height
        return list(zip(u.tolist(), v.tolist(), strict=True))


def draw(
    codebooks: Sequence[Codebook], reports: Sequence[Report], names: Sequence[str], plans: np.ndarray
) -> Image.Image:
    """The sheet, one column a codebook, all columns to one scale; ``reports`` as ``report.measure`` gave them."""
    sheet = Image.new("RGB", (PANEL[0] * len(codebooks), 40 + PANEL[1] * 4), PAPER)
    pen = ImageDraw.Draw(sheet)
    span = np.concatenate([book.motions for book in codebooks])
    for column, (book, found, name) in enumerate(zip(codebooks, reports, names, strict=True)):
        left = column * PANEL[0]
        pen.text((left + MARGIN, 14), f"{name}   {len(book)} entries   {book.hash[:12]}", INK, font(17))
        _fan(pen, _area(left, 40, span), book)
        _coverage(pen, _area(left, 40 + PANEL[1], span), book, plans)
        worst = max(_errors(r, "greedy").max(initial=0.01) for r in reports)
        _error_bars(pen, Frame(left, 40 + 2 * PANEL[1], (0.0, 1.0), (0.0, 1.15 * worst)), found)
        _use(pen, left, 40 + 3 * PANEL[1], book, plans)
    return sheet


def _area(left: int, top: int, motions: np.ndarray) -> Frame:
    ahead = (float(motions[:, 0].min()) - 0.2, float(motions[:, 0].max()) + 0.2)
    side = float(np.abs(motions[:, 1]).max()) + 0.1
    return Frame(left, top, ahead, (-side, side))


def _title(pen: ImageDraw.ImageDraw, frame: Frame, text: str) -> None:
    pen.text((frame.left + MARGIN, frame.top + 14), text, INK, font(14))
    box = frame.pixels(np.array([[frame.x[0], frame.y[1]], [frame.x[1], frame.y[0]]]))
    pen.rectangle([box[0], box[1]], outline=RULE)


def _ticks(pen: ImageDraw.ImageDraw, frame: Frame, x_unit: str, y_unit: str) -> None:
    for value in (frame.x[0], 0.0, frame.x[1]):
        (place,) = frame.pixels(np.array([[value, frame.y[0]]]))
        pen.text((place[0] - 12, place[1] + 4), f"{value:.3g}", FAINT, font(11))
    for value in (frame.y[0], frame.y[1]):
        (place,) = frame.pixels(np.array([[frame.x[0], value]]))
        pen.text((place[0] - 38, place[1] - 7), f"{value:.2f}", FAINT, font(11))
    pen.text((frame.left + PANEL[0] - 170, frame.top + PANEL[1] - 26), f"{x_unit}, {y_unit}", FAINT, font(11))


def _fan(pen: ImageDraw.ImageDraw, frame: Frame, book: Codebook) -> None:
    _title(pen, frame, "Motions of 0.5 s from one start; the line is the path of the box centre, red slow, blue fast")
    share = np.linspace(0.0, 1.0, 9)
    reach = np.abs(book.motions[:, 0])
    for motion, part in zip(book.motions, reach / max(reach.max(), 1e-9), strict=True):
        path = np.stack([arc(motion, s) for s in share])
        pen.line(frame.pixels(path), fill=(int(200 - 150 * part), int(70 + 60 * part), int(70 + 130 * part)))
    _ticks(pen, frame, "m ahead", "m left")


def arc(motion: np.ndarray, share: float) -> np.ndarray:
    """The point (2,) after ``share`` of a motion (3,) along the curve that leaves straight ahead and ends at it."""
    ahead = np.hypot(motion[0], motion[1]) * np.sign(motion[0])
    return np.array([motion[0] * share, motion[1] * share**2 if ahead else motion[1] * share])


def _coverage(pen: ImageDraw.ImageDraw, frame: Frame, book: Codebook, plans: np.ndarray) -> None:
    motions = report.motions_of(plans).reshape(-1, 3)
    motions = motions[:: max(1, len(motions) // DOTS)]
    distance = report.distances(book, motions)
    share = float((distance <= report.DELTA_M).mean())
    _title(
        pen, frame, f"Held-out motions: {100 * share:.1f} % within {report.DELTA_M} m (green), within twice (orange)"
    )
    inside = (np.abs(motions[:, 1]) < frame.y[1]) & (motions[:, 0] > frame.x[0]) & (motions[:, 0] < frame.x[1])
    for point, far in zip(frame.pixels(motions[inside, :2]), distance[inside], strict=True):
        color = COVERED if far <= report.DELTA_M else NEAR if far <= 2 * report.DELTA_M else FAR
        pen.ellipse([point[0] - 1.5, point[1] - 1.5, point[0] + 1.5, point[1] + 1.5], fill=color)
    _ticks(pen, frame, "m ahead", "m left")


def _bands(found: Report) -> list[str]:
    return [band for band in found["greedy"] if band == "all" or band.endswith("m/s")]


def _errors(found: Report, encoder: str) -> np.ndarray:
    return np.array([float(found[encoder][band]["ADE, m"]) for band in _bands(found)])


def _error_bars(pen: ImageDraw.ImageDraw, frame: Frame, found: Report) -> None:
    _title(pen, frame, "Error of the decoded plan (ADE, m) by its fastest motion: greedy dark, beam light")
    bands = _bands(found)
    for row, (encoder, color) in enumerate(BARS.items()):
        for i, value in enumerate(_errors(found, encoder)):
            x = (i + 0.15 + 0.35 * row) / len(bands)
            low, high = frame.pixels(np.array([[x, 0.0], [x + 0.33 / len(bands), value]]))
            pen.rectangle([low[0], high[1], high[0], low[1]], fill=color)
            pen.text((low[0], high[1] - 13), f"{value:.3f}"[1:], INK, font(10))
    for i, band in enumerate(bands):
        ((x, y),) = frame.pixels(np.array([[(i + 0.1) / len(bands), 0.0]]))
        pen.text((x, y + 4), band.replace(" m/s", "").replace(" to ", "-"), FAINT, font(11))


def _use(pen: ImageDraw.ImageDraw, left: int, top: int, book: Codebook, plans: np.ndarray) -> None:
    counts = np.sort(np.bincount(tokenizer.encode(book, plans).ravel(), minlength=len(book)))[::-1]
    height = np.log10(np.maximum(counts, 1))
    frame = Frame(left, top, (0.0, float(len(book))), (0.0, float(height.max()) + 0.2))
    used = float((counts > 0).mean())
    _title(pen, frame, f"How often each entry is used, sorted (log10); {100 * used:.1f} % are used at all")
    pen.line(frame.pixels(np.stack([np.arange(len(book)), height], axis=1)), fill=BARS["greedy"], width=2)
    _ticks(pen, frame, "entries", "log10 uses")
