"""Calls about the town itself: its boxes, its objects, and rays against the ground."""

from __future__ import annotations

import logging

import numpy as np

from autovla_core.minicarla.handlers import lights
from autovla_core.minicarla.simulation import Session
from autovla_core.minicarla.wire import values
from autovla_core.minicarla.world.layout import Solid
from autovla_core.minicarla.world.mesh import Tag

logger = logging.getLogger(__name__)

ANY_TAG = 255
RAY_STEP_M = 0.5
RAY_BISECTIONS = 20
RAY_MAX_M = 10_000.0


def level_boxes(session: Session, tag: object) -> list:
    """World boxes of everything that stands, of one semantic tag or of all (255)."""
    boxes = [_box(solid) for _, solid in _solids(session, tag)]
    if tag in (ANY_TAG, Tag.TRAFFIC_LIGHT):
        boxes += [box for light in session.world.lights() for box in lights.lamp_boxes(session, light)]
    return boxes


def environment_objects(session: Session, tag: object) -> list:
    found = []
    for number, solid in _solids(session, tag):
        foot = solid.center - [0.0, 0.0, solid.half_extent[2]]
        pose = values.pose(foot, [0.0, solid.yaw_deg, 0.0])
        found.append([pose, _box(solid), number + 1, _name(number, solid), int(solid.tag)])
    return found


def object_names(session: Session) -> list[str]:
    return [_name(number, solid) for number, solid in _solids(session, ANY_TAG)]


def _solids(session: Session, tag: object) -> list[tuple[int, Solid]]:
    solids = enumerate(session.world.town.solids)
    return [(number, solid) for number, solid in solids if tag in (ANY_TAG, solid.tag)]


def _box(solid: Solid) -> list:
    return values.bounding_box(solid.center, solid.half_extent, [0.0, solid.yaw_deg, 0.0])


def _name(number: int, solid: Solid) -> str:
    return f"{solid.type_id.removeprefix('static.')}_{number:05d}"


def project_point(session: Session, location: object, direction: object, distance: object) -> list:
    """Follow a ray to the ground: [hit, LabelledPoint]."""
    start = values.decode_vector(location, "location")
    heading = values.decode_vector(direction, "direction")
    norm = float(np.linalg.norm(heading))
    if norm == 0.0:
        raise values.WireValueError("the direction of a projection must not be zero")
    reach = min(values.number(distance, "search distance"), RAY_MAX_M)
    hit = _ground_hit(session, start, start + heading / norm * reach)
    return [hit is not None, _labelled(session, start if hit is None else hit)]


def cast_ray(session: Session, start: object, end: object) -> list:
    """The point where a ray meets the ground, if it does."""
    first, last = values.decode_vector(start, "start"), values.decode_vector(end, "end")
    reach = float(np.linalg.norm(last - first))
    hit = _ground_hit(session, first, first + (last - first) * min(1.0, RAY_MAX_M / max(reach, 1e-9)))
    return [] if hit is None else [_labelled(session, hit)]


def _ground_hit(session: Session, start: np.ndarray, end: np.ndarray) -> np.ndarray | None:
    """March until the ray is below the ground, then bisect."""

    def above(share: float) -> float:
        x, y, z = start + share * (end - start)
        return z - session.world.town.height(float(x), float(y))

    if above(0.0) < 0.0:
        return None
    steps = max(1, int(np.linalg.norm((end - start)[:2]) / RAY_STEP_M))
    shares = np.linspace(0.0, 1.0, steps + 1)
    low = next((a for a, b in zip(shares, shares[1:]) if above(b) <= 0.0), None)
    if low is None:
        return None
    high = low + 1.0 / steps
    for _ in range(RAY_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > 0.0 else (low, middle)
    return start + high * (end - start)


def _labelled(session: Session, point: np.ndarray) -> list:
    index, _, offset = session.world.town.nearest_lane(float(point[0]), float(point[1]))
    on_road = abs(offset) <= session.world.town.lanes[index].width / 2
    return [values.numbers(point), int(Tag.ROAD if on_road else Tag.TERRAIN)]
