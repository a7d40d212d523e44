"""Pictures of any size to the size that a model was trained with."""

from __future__ import annotations

import numpy as np
from PIL import Image

from autovla_core.errors import ObservationError

MOST_STRETCH = 0.02


def fit(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (..., H, W, 3) uint8 pictures to ``height`` x ``width``, smoothed as Qwen's processor does (bicubic).

    Raises:
        ObservationError: not uint8 RGB pictures, or of another aspect ratio than asked for.
    """
    if images.ndim < 3 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ObservationError(f"images are {images.dtype} {images.shape}; expected uint8 (..., H, W, 3)")
    found = images.shape[-3:-1]
    if found == (height, width):
        return images
    if not all(found) or abs(found[1] * height / (found[0] * width) - 1.0) > MOST_STRETCH:
        raise ObservationError(f"images of {found[1]}x{found[0]} pixels would be stretched to fit {width}x{height}")
    flat = images.reshape(-1, *images.shape[-3:])
    resized = [np.asarray(Image.fromarray(i).resize((width, height), Image.Resampling.BICUBIC)) for i in flat]
    return np.stack(resized).reshape(*images.shape[:-3], height, width, 3)


def crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest middle part of a picture (H, W, 3) that has the shape ``height`` to ``width``; sky goes first.

    Where rows must go, two thirds of them are taken from the top: the road is below.
    """
    rows, columns = image.shape[:2]
    if rows * width > columns * height:
        keep = max(1, round(columns * height / width))
        top = round((rows - keep) * 2 / 3)
        return image[top : top + keep]
    keep = max(1, round(rows * width / height))
    left = (columns - keep) // 2
    return image[:, left : left + keep]
