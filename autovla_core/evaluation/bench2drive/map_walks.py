"""Walks over a ``carla.Map``: ahead through junctions, back to the last one, and across the lanes that lie abreast.

Angles are CARLA's degrees, clockwise: right is positive. Nothing here asks a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autovla_core.carla_bridge.wheel import carla

STEP_M = 2.0  # between the waypoints of a walk
TURN_DEG = {"left": -90.0, "straight": 0.0, "right": 90.0}
TURNS_FROM_DEG = 40.0  # a way through a junction that turns by less is straight
LONGEST_JUNCTION_M = 80


@dataclass(frozen=True)
class Abreast:
    """What lies beside a lane, at one place."""

    count: int  # driving lanes of this direction
    to_right: int  # so many of them on the right
    oncoming: bool  # the lane left of the leftmost one is a driving lane of the other direction
    edge: carla.LaneType | None  # what lies right of the rightmost one


def turned_deg(later: float, earlier: float) -> float:
    """Difference of two yaws, in [-180, 180)."""
    return (later - earlier + 180.0) % 360.0 - 180.0


def yaw_deg(waypoint: carla.Waypoint) -> float:
    """CARLA's yaw of a waypoint."""
    return waypoint.transform.rotation.yaw


def ahead(start: carla.Waypoint, metres: float, turn: str = "straight", step: float = STEP_M) -> list[carla.Waypoint]:
    """Waypoints from ``start`` on; takes ``turn`` at the first junction and goes straight at later ones."""
    way, wanted = [start], TURN_DEG[turn]
    while len(way) * step <= metres + step / 2:
        options = way[-1].next(step)
        if not options:
            break
        if len(options) > 1 or (options[0].is_junction and not way[-1].is_junction):
            here = yaw_deg(way[-1])
            options = sorted(options, key=lambda w: abs(turned_deg(_yaw_behind_junction(w), here) - wanted))
            wanted = 0.0
        way.append(options[0])
    return way


def back(start: carla.Waypoint, metres: float, step: float = STEP_M) -> list[carla.Waypoint]:
    """Waypoints before ``start`` in the direction of travel, the farthest first; ends behind the last junction."""
    way: list[carla.Waypoint] = []
    while len(way) * step < metres:
        options = (way[-1] if way else start).previous(step)
        if not options or options[0].is_junction:
            break
        way.append(options[0])
    return way[::-1]


def turn_of(inside: carla.Waypoint, before: carla.Waypoint) -> str:
    """left, straight or right: the way through a junction that ``inside`` begins, for who comes from ``before``."""
    turned = turned_deg(_yaw_behind_junction(inside), yaw_deg(before))
    return "left" if turned < -TURNS_FROM_DEG else "right" if turned > TURNS_FROM_DEG else "straight"


def first_behind_junction(way: Sequence[carla.Waypoint]) -> int | None:
    """Index of the first waypoint of a walk behind the first junction on it."""
    inside = next((i for i, w in enumerate(way) if w.is_junction), len(way))
    return next((i for i in range(inside, len(way)) if not way[i].is_junction), None)


def abreast(waypoint: carla.Waypoint) -> Abreast:
    """What lies beside a lane."""
    right, edge = _outermost(waypoint, "get_right_lane")
    left, beyond = _outermost(waypoint, "get_left_lane")
    oncoming = beyond is not None and is_driving(beyond) and not _same_direction(beyond, waypoint)
    return Abreast(1 + right + left, right, oncoming, edge.lane_type if edge else None)


def is_driving(waypoint: carla.Waypoint) -> bool:
    """Whether cars drive there."""
    return waypoint.lane_type == carla.LaneType.Driving


def beside(waypoint: carla.Waypoint, side: str) -> carla.Waypoint | None:
    """The driving lane of the same direction on the ``left`` or ``right``, None if there is none."""
    lane = waypoint.get_left_lane() if side == "left" else waypoint.get_right_lane()
    usable = lane is not None and is_driving(lane) and _same_direction(lane, waypoint)
    return lane if usable else None


def right_edge(waypoint: carla.Waypoint) -> carla.Waypoint | None:
    """The first lane to the right that is not a driving lane of this direction."""
    return _outermost(waypoint, "get_right_lane")[1]


def lane_of(waypoint: carla.Waypoint) -> tuple[int, int, int]:
    """What names the lane: road, section, lane."""
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _outermost(waypoint: carla.Waypoint, step: str) -> tuple[int, carla.Waypoint | None]:
    """How many driving lanes lie on one side, and what lies behind the last of them."""
    count, lane = 0, getattr(waypoint, step)()
    while lane is not None and is_driving(lane) and _same_direction(lane, waypoint):
        count, lane = count + 1, getattr(lane, step)()
    return count, lane


def _same_direction(one: carla.Waypoint, other: carla.Waypoint) -> bool:
    return one.lane_id * other.lane_id > 0


def _yaw_behind_junction(inside: carla.Waypoint) -> float:
    for _ in range(LONGEST_JUNCTION_M):
        following = inside.next(1.0) if inside.is_junction else []
        if not following:
            break
        inside = following[0]
    return yaw_deg(inside)
