"""Colours and the font of all our pictures of drives."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

BACK, TEXT, DIM, LINE = (22, 24, 28), (235, 238, 242), (140, 146, 156), (54, 58, 66)
GREEN, RED, BLUE, AMBER = (90, 235, 140), (235, 84, 76), (80, 150, 245), (250, 205, 60)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with PIL: the same on every machine."""
    return ImageFont.load_default(size)
