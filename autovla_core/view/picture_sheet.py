"""Several pictures of one size on one sheet, each with a word in its corner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP_PX, GAP_COLOR = 4, (255, 255, 255)
LABEL_PX, LABEL_BACK, LABEL_INK = 15, (20, 22, 26), (245, 245, 245)


def sheet_of(pictures: Sequence[np.ndarray], labels: Sequence[str], columns: int = 2) -> Image.Image:
    """Pictures (H, W, 3) uint8 RGB row by row.

    Raises:
        ValueError: no pictures, or as many labels as pictures are not there, or sizes differ.
    """
    if not pictures or len(pictures) != len(labels) or len({picture.shape for picture in pictures}) != 1:
        shapes = sorted({picture.shape for picture in pictures})
        raise ValueError(f"expected pictures of one size and a label for each, found {shapes} and {len(labels)} labels")
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    size = columns * (width + GAP_PX) - GAP_PX, rows * (height + GAP_PX) - GAP_PX
    sheet = Image.new("RGB", size, GAP_COLOR)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        corner = (number % columns) * (width + GAP_PX), (number // columns) * (height + GAP_PX)
        sheet.paste(_labelled(picture, label), corner)
    return sheet


def _labelled(picture: np.ndarray, label: str) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture))
    if label:
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(LABEL_PX)
        width = pen.textlength(label, font)
        pen.rectangle((0, 0, width + 12, LABEL_PX + 8), fill=LABEL_BACK)
        pen.text((6, 3), label, LABEL_INK, font)
    return image
