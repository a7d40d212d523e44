"""One frame of the Waymo end-to-end data set out of its serialised ``E2EDFrame``.

Only the fields below are read; their numbers come from the public schema (end_to_end_driving_data.proto and
dataset.proto of waymo-open-dataset). Images are not copied out: a frame says where in the record they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.datasets.protobuf_wire import (
    BYTES,
    FIXED32,
    VARINT,
    Field,
    Span,
    WireError,
    floats,
    message,
    spans,
)

FRAME, FUTURE, PAST, INTENT, RATED = 1, 5, 6, 7, 8  # of E2EDFrame
CONTEXT, IMAGES = 1, 4  # of Frame
CONTEXT_NAME = 1
IMAGE_CAMERA, IMAGE_BYTES = 1, 2
COLUMNS = {"x": 1, "y": 2, "vx": 4, "vy": 5, "ax": 6, "ay": 7}  # of EgoTrajectoryStates; z (3) is for pictures only
SCORE = 8

E2ED_FRAME = {FRAME: (BYTES,), FUTURE: (BYTES,), PAST: (BYTES,), INTENT: (VARINT,), RATED: (BYTES,)}
STATES = {**{number: (BYTES, FIXED32) for number in COLUMNS.values()}, SCORE: (FIXED32,)}

CAMERAS: Mapping[int, str] = {  # CameraName.Name -> our camera id
    1: "front",
    2: "front_left",
    3: "front_right",
    4: "left",
    5: "right",
    6: "back_left",
    7: "back",
    8: "back_right",
}


@dataclass(frozen=True)
class States:
    """Places of the rear axle at 4 Hz, in its frame now (x forward, y left), SI; empty where not given."""

    x: np.ndarray
    y: np.ndarray
    vx: np.ndarray
    vy: np.ndarray
    ax: np.ndarray
    ay: np.ndarray
    score: float | None = None  # 0..10 of the raters; negative or None: not rated

    @property
    def points(self) -> np.ndarray:
        """(N, 2).

        Raises:
            WireError: x and y differ in length.
        """
        if len(self.x) != len(self.y):
            raise WireError(f"{len(self.x)} values of pos_x, but {len(self.y)} of pos_y")
        return np.stack([self.x, self.y], axis=1)


@dataclass(frozen=True)
class Frame:
    """What one record holds."""

    name: str  # <segment>-<number of the frame, 10 Hz>
    images: Mapping[str, Span]  # by camera id: where in the record's data the picture lies
    past: States
    future: States
    intent: int
    rated: tuple[States, ...]


def decode(data: bytes) -> Frame:
    """Read one record's data.

    Raises:
        WireError: broken, another schema, no name, two pictures of one camera.
    """
    top = message(data, [(0, len(data))], E2ED_FRAME)
    frame = message(data, spans(top[FRAME]), {CONTEXT: (BYTES,), IMAGES: (BYTES,)})
    return Frame(
        name=_name(data, spans(frame[CONTEXT])),
        images=_images(data, frame[IMAGES]),
        past=_states(data, spans(top[PAST])),
        future=_states(data, spans(top[FUTURE])),
        intent=top[INTENT][-1].value if top[INTENT] else 0,
        rated=tuple(_states(data, [span]) for span in spans(top[RATED])),
    )


def _name(data: bytes, context: list[Span]) -> str:
    names = message(data, context, {CONTEXT_NAME: (BYTES,)})[CONTEXT_NAME]
    if not names:
        raise WireError("no context name: this is no E2EDFrame")
    raw = data[names[-1].start : names[-1].end]
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise WireError(f"the context name {raw[:40]!r} is no ASCII text") from None


def _images(data: bytes, found: list[Field]) -> dict[str, Span]:
    images: dict[str, Span] = {}
    for span in spans(found):
        image = message(data, [span], {IMAGE_CAMERA: (VARINT,), IMAGE_BYTES: (BYTES,)})
        number = image[IMAGE_CAMERA][-1].value if image[IMAGE_CAMERA] else 0
        camera = CAMERAS.get(number)
        if camera is None or camera in images:
            raise WireError(f"camera {number} is unknown or comes twice; known: {dict(CAMERAS)}")
        images[camera] = spans(image[IMAGE_BYTES])[-1] if image[IMAGE_BYTES] else (span[0], span[0])
    return images


def _states(data: bytes, where: list[Span]) -> States:
    found = message(data, where, STATES)
    columns = {name: floats(data, found[number]) for name, number in COLUMNS.items()}
    score = float(floats(data, found[SCORE])[-1]) if found[SCORE] else None
    return States(**columns, score=score)
