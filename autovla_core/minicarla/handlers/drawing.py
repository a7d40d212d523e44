"""Calls that draw into the world for people to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world import debug_shapes
from autovla_core.minicarla.world.debug_shapes import Color, DebugShape

MOST_LETTERS = 200
FARTHEST_M, LARGEST_M = 1e6, 1e3  # beyond these nothing could be seen
HUD = range(5, 9)  # on the screen of CARLA's window, which no sensor sees and minicarla does not have


def draw_shape(session: Session, shape: object) -> None:
    """DebugShape: primitive, colour, life time; the fourth field changes nothing in CARLA either."""
    primitive, color, life_time = values.fields_of(shape, 3, "DebugShape")[:3]
    index, content = values.fields_of(primitive, 2, "primitive of a DebugShape")[:2]
    if values.integer(index, "kind of a DebugShape") in HUD:
        return
    if index not in PRIMITIVES:
        raise values.WireValueError(f"primitive {index!r:.20} of a DebugShape; known: 0..{HUD[-1]}")
    drawn = PRIMITIVES[index](values.fields_of(content, 2, "primitive of a DebugShape"), _color(color))
    session.world.draw(drawn, values.number(life_time, "life time of a DebugShape"))


def clear_shapes(session: Session) -> None:
    session.world.erase()


def clear_words(session: Session) -> None:
    session.world.erase(words_only=True)


def _color(value: object) -> Color:
    red, green, blue = (values.integer(item, "Color") & 255 for item in values.fields_of(value, 3, "Color")[:3])
    return red, green, blue


def _place(value: object, what: str) -> np.ndarray:
    return np.clip(values.decode_vector(value, what), -FARTHEST_M, FARTHEST_M)


def _size(value: object, what: str) -> float:
    return min(max(values.number(value, what), 0.0), LARGEST_M)


def _point(fields: Sequence, color: Color) -> DebugShape:
    return debug_shapes.point(_place(fields[0], "Location"), _size(fields[1], "size"), color)


def _line(fields: Sequence, color: Color) -> DebugShape:
    begin, end, thickness = values.fields_of(fields, 3, "Line")[:3]
    ends = _place(begin, "begin of a Line"), _place(end, "end of a Line")
    return debug_shapes.line(*ends, _size(thickness, "thickness"), color)


def _arrow(fields: Sequence, color: Color) -> DebugShape:
    begin, end, thickness = values.fields_of(fields[0], 3, "Line of an Arrow")[:3]
    ends = _place(begin, "begin of an Arrow"), _place(end, "end of an Arrow")
    return debug_shapes.arrow(*ends, _size(thickness, "thickness"), _size(fields[1], "size"), color)


def _box(fields: Sequence, color: Color) -> DebugShape:
    box, rotation, thickness = values.fields_of(fields, 3, "Box")[:3]
    center, extent = values.fields_of(box, 2, "BoundingBox")[:2]
    return debug_shapes.box(
        _place(center, "centre of a Box"),
        _place(extent, "extent of a Box"),
        values.decode_vector(rotation, "rotation of a Box"),
        _size(thickness, "thickness"),
        color,
    )


def _words(fields: Sequence, color: Color) -> DebugShape:
    text = values.text(fields[1], "text of a String")[:MOST_LETTERS]
    return debug_shapes.words(_place(fields[0], "Location"), text or " ", color)


PRIMITIVES: dict[int, Callable[[Sequence, Color], DebugShape]] = {0: _point, 1: _line, 2: _arrow, 3: _box, 4: _words}
