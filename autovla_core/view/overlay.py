"""What lies over the camera's picture: side cameras, thought, infractions, the instruction being typed, the keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from autovla_core.view.paint import AMBER, BACK, DIM, RED, TEXT, font

TOP = 48  # px, below the headline
SIDE_WIDTH = 224
LINES, LINE_PX = 6, 20  # of a thought; a longer one shows its end
SHADE = 205  # of 255: how much a panel hides


def draw_sides(canvas: Image.Image, sides: Sequence[np.ndarray], width: int) -> None:
    """Left and right camera (h, w, 3) in the upper corners of a picture so wide."""
    for image, left in zip(sides, (10, width - SIDE_WIDTH - 10)):
        small = Image.fromarray(image)
        small = small.resize((SIDE_WIDTH, round(SIDE_WIDTH * small.height / small.width)), Image.Resampling.BILINEAR)
        canvas.paste(small, (left, TOP))
        box = (left - 1, TOP - 1, left + SIDE_WIDTH, TOP + small.height)
        ImageDraw.Draw(canvas).rectangle(box, outline=TEXT)


def draw_texts(
    canvas: Image.Image, size: tuple[int, int], infractions: Sequence[str], thought: str, typing: str | None
) -> None:
    """From the lower edge of a picture (width, height) upwards: what is typed, the thought, the last infractions."""
    width, bottom = size
    if typing is not None:
        bottom = _panel(canvas, width, bottom, [f"instruction: {typing}_"], AMBER)
    if thought:
        bottom = _panel(canvas, width, bottom, wrapped(thought, width - 24)[-LINES:], TEXT)
    pen = ImageDraw.Draw(canvas)
    for message in list(infractions)[-3:]:
        bottom -= 26
        pen.rectangle((0, bottom, 24 + pen.textlength(message, font(16)), bottom + 25), fill=BACK)
        pen.text((12, bottom + 3), message, font=font(16), fill=RED)


def draw_keys(canvas: Image.Image, size: tuple[int, int], keys: Sequence[tuple[str, str]]) -> None:
    """A list of keys (name, what it does) in the middle of a picture (width, height)."""
    if not keys:
        return
    line = min(28, (size[1] - 84) // len(keys))  # below the headline
    width, height = 560, line * len(keys) + 24
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    _shade(canvas, (left, top, left + width, top + height))
    pen = ImageDraw.Draw(canvas)
    for row, (name, text) in enumerate(keys):
        y = top + 14 + line * row
        pen.text((left + 96, y), name, font=font(18), fill=AMBER, anchor="ra")
        pen.text((left + 116, y), text, font=font(18), fill=TEXT)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` px; line ends in the text stay."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font(16).getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        if line:
            lines.append(line)
    return lines


def _panel(canvas: Image.Image, width: int, bottom: int, lines: Sequence[str], color: tuple[int, int, int]) -> int:
    """A panel over the whole width that ends at ``bottom``; returns where it begins."""
    top = bottom - LINE_PX * len(lines) - 10
    _shade(canvas, (0, top, width, bottom))
    pen = ImageDraw.Draw(canvas)
    for row, line in enumerate(lines):
        heading = line.startswith("#")
        pen.text((12, top + 5 + LINE_PX * row), line, font=font(16), fill=DIM if heading else color)
    return top


def _shade(canvas: Image.Image, box: tuple[int, int, int, int]) -> None:
    under = canvas.crop(box)
    canvas.paste(Image.blend(under, Image.new("RGB", under.size, BACK), SHADE / 255), box[:2])
