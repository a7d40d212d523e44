"""What an annotator is asked: the clips, the motion, the command and, as a hint, what the driver did next."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from autovla_core.prompt.reasoning import HEADERS
from autovla_core.prompt.reasoning_action import action_of
from autovla_core.prompt.reasoning_wordings import WORDS
from autovla_core.prompt.text import COMMANDS
from training.datasets.sample import DatasetError, Sample

LONGEST_SIDE, QUALITY = 960, 85  # of a picture that is sent
SYSTEM = (
    "You look at the pictures of a car's cameras and explain, as its driver, what matters and what to do. "
    "Say only what the pictures show. Be short: at most three objects, at most 120 words in all."
)
TASK = (
    "Write four parts, each under its heading exactly as given:\n{headings}\n"
    "Under the first: weather, road, traffic. Under the second: the objects that matter, each with its kind, its "
    "distance in metres, where it is and how it moves; traffic lights with their colour. Under the third: what follows "
    "for us from the instruction and from these objects. Under the fourth: the best driving action in one sentence."
)
STATE = "Our speed is {speed:.1f} m/s, our acceleration {acceleration:.1f} m/s2. The instruction is: {command}."
PAST = "In the last seconds we were, every half second, at (metres ahead, metres left): {places}."
HINT = "A careful driver did this next: {lateral} and {longitudinal}. Explain it from what you see."
CLIP = "Camera {camera}: four pictures, half a second apart, the last one is now."


def messages_of(sample: Sample, cameras: Sequence[str]) -> list[dict[str, object]]:
    """Chat messages with pictures as data URLs.

    Raises:
        DatasetError: a camera that the sample lacks, an unreadable picture, or a future too short for a hint.
    """
    missing = [camera for camera in cameras if camera not in sample.images]
    if missing:
        raise DatasetError(f"sample {sample.id}: no camera {missing}; it has {sorted(sample.images)}")
    if not sample.mask.all():
        raise DatasetError(f"sample {sample.id}: its future is not whole, so there is no hint to give")
    parts: list[dict[str, object]] = []
    for camera in cameras:
        parts.append(_text(CLIP.format(camera=camera.replace("_", " "))))
        parts += [_picture(image.read()) for image in sample.images[camera]]
    parts.append(_text("\n".join(_words(sample))))
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": parts}]


def prompt_hash(cameras: Sequence[str]) -> str:
    """Names everything that is asked alike of every sample."""
    fixed = (SYSTEM, TASK, STATE, PAST, HINT, CLIP, LONGEST_SIDE, QUALITY, *HEADERS.values(), *cameras)
    return hashlib.sha256(repr(fixed).encode()).hexdigest()[:16]


def _words(sample: Sample) -> list[str]:
    command = sample.instruction or COMMANDS[sample.command]
    found = [STATE.format(speed=sample.speed, acceleration=sample.acceleration, command=command)]
    if len(sample.history):
        found.append(PAST.format(places=", ".join(f"({x:.1f}, {y:.1f})" for x, y, _ in sample.history)))
    action = action_of(sample.poses)
    lateral, longitudinal = WORDS["lateral"][action.lateral][0], WORDS["longitudinal"][action.longitudinal][0]
    headings = "\n".join(HEADERS.values())
    return [*found, HINT.format(lateral=lateral, longitudinal=longitudinal), TASK.format(headings=headings)]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _picture(rgb: np.ndarray) -> dict[str, object]:
    image = Image.fromarray(rgb)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}
