"""Reads the lanes of an OpenDRIVE map: shapes through ``carla.Map`` waypoints, kinds and marks from the XML.

The map object comes in as an argument, so that this file does not import carla.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from autovla_core import geometry
from autovla_core.minicarla.world.layout import Lane, TownError
from autovla_core.minicarla.world.opendrive import BESIDE_DRIVING, WIDE_SHOULDER_M

STEP_M = {"driving": 0.85, "shoulder": 2.0, "sidewalk": 2.0, "parking": 2.0, "biking": 2.0, "median": 2.0}
END_GAP_M = 1e-3  # waypoints exactly at a section's end belong to the next one
STRAIGHT_DEG = 35.0
CONFLICT_M = 2.0
DEFAULT_SPEED_KMH = 40.0
MOST_LANES_M = 1e6  # all together

Key = tuple[int, int, int]  # road, section, lane


@dataclass(frozen=True)
class LaneRecord:
    """One lane of one section as the XML describes it."""

    key: Key
    junction_id: int
    type: str
    s_start: float
    s_end: float
    mark: tuple[str, str]  # type, colour of its outer border
    center_mark: tuple[str, str]  # of the section's centre line
    speed_limit_kmh: float
    road_kind: str  # of OpenDRIVE: town, rural, motorway ...


@dataclass(frozen=True, eq=False)
class Strip:
    """A lane's shape in its driving direction, CARLA frame."""

    record: LaneRecord
    points: np.ndarray  # (N, 3) centre line
    yaw_deg: np.ndarray  # (N,)
    width: np.ndarray  # (N,)

    def edge(self, side: float) -> np.ndarray:
        """Return (N, 3): side -1 is the left border, +1 the right one."""
        yaw = np.radians(self.yaw_deg)
        offset = side * self.width / 2
        return self.points + np.stack([-np.sin(yaw) * offset, np.cos(yaw) * offset, np.zeros_like(yaw)], axis=1)


def read_records(root: ET.Element) -> Iterator[LaneRecord]:
    """Yield every lane of the kinds that are drawn or driven, in file order."""
    for road in root.iter("road"):
        length, junction = float(road.get("length")), int(road.get("junction"))
        limit, kind = road.find("type/speed"), road.find("type")
        speed = float(limit.get("max")) if limit is not None else DEFAULT_SPEED_KMH
        sections = road.findall("lanes/laneSection")
        starts = [float(section.get("s")) for section in sections] + [length]
        for number, section in enumerate(sections):
            center = _mark(section.find("center/lane"))
            for lane in [*section.iterfind("left/lane"), *section.iterfind("right/lane")]:
                if lane.get("type") in STEP_M:
                    key = (int(road.get("id")), number, int(lane.get("id")))
                    span = starts[number], starts[number + 1]
                    road_kind = kind.get("type", "town") if kind is not None else "town"
                    yield LaneRecord(key, junction, lane.get("type"), *span, _mark(lane), center, speed, road_kind)


def _mark(lane: ET.Element) -> tuple[str, str]:
    mark = lane.find("roadMark")
    return (mark.get("type"), mark.get("color", "white")) if mark is not None else ("none", "white")


def survey(carla_map: object, root: ET.Element) -> list[Strip]:
    """Sample every lane of the map, at most STEP_M apart on the reference line (more outside of a bend).

    Raises:
        TownError: if a lane has no waypoint or a NaN in it, or the lanes are too long together.
    """
    records = list(read_records(root))
    metres = sum(abs(record.s_end - record.s_start) for record in records)
    if not metres <= MOST_LANES_M:
        most = MOST_LANES_M / 1000.0
        raise TownError(f"a town may have {most:.0f} km of lanes; this one has {metres / 1000.0:.0f} km")
    return [_sample(carla_map, record) for record in records]


def _sample(carla_map: object, record: LaneRecord) -> Strip:
    road, _, lane = record.key
    length = record.s_end - record.s_start
    count = max(2, math.ceil(length / STEP_M[record.type]) + 1)
    stations = np.linspace(record.s_start + END_GAP_M, record.s_end - END_GAP_M, count)
    rows = []
    for s in stations if lane < 0 else stations[::-1]:  # waypoints of left lanes face against s
        waypoint = carla_map.get_waypoint_xodr(road, lane, float(s))
        if waypoint is None:
            raise TownError(f"road {road} has no waypoint on lane {lane} at s={s:.2f}")
        transform = waypoint.transform
        location = transform.location
        rows.append((location.x, location.y, location.z, transform.rotation.yaw, waypoint.lane_width))
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise TownError(f"road {road} lane {lane} has a waypoint that is not a number")
    return Strip(record, table[:, :3], table[:, 3], table[:, 4])


def beside_driving(strips: list[Strip]) -> dict[tuple[int, int, int], float]:
    """Metres of parking, bicycle lane and wide shoulder by (road, section, side); side +1 is that of positive ids."""
    found: dict[tuple[int, int, int], float] = {}
    for strip in strips:
        road, section, lane = strip.record.key
        width = float(strip.width.mean())
        kind = strip.record.type
        if kind in BESIDE_DRIVING or (kind == "shoulder" and width > WIDE_SHOULDER_M):
            side = (road, section, 1 if lane > 0 else -1)
            found[side] = found.get(side, 0.0) + width
    return found


def outermost(strips: list[Strip]) -> set[Key]:
    """The lanes that nothing lies beyond, of roads outside junctions."""
    last: dict[tuple[int, int, bool], Key] = {}
    for strip in strips:
        road, section, lane = strip.record.key
        side = (road, section, lane > 0)
        if strip.record.junction_id < 0 and (side not in last or abs(lane) > abs(last[side][2])):
            last[side] = strip.record.key
    return set(last.values())


def build_lanes(carla_map: object, strips: list[Strip]) -> list[Lane]:
    """Turn the driving strips into linked lanes (without light_id and stop_id)."""
    driving = [strip for strip in strips if strip.record.type == "driving"]
    index_of = {strip.record.key: index for index, strip in enumerate(driving)}
    conflicts = _conflicts(driving)
    return [_lane(carla_map, index, strip, index_of, conflicts[index]) for index, strip in enumerate(driving)]


def _lane(carla_map: object, index: int, strip: Strip, index_of: dict[Key, int], conflicts: tuple[int, ...]) -> Lane:
    record = strip.record
    road, section, lane = record.key
    last_s = record.s_end - END_GAP_M if lane < 0 else record.s_start + END_GAP_M
    last = carla_map.get_waypoint_xodr(road, lane, last_s)
    successors = {index_of[_key(waypoint)] for waypoint in last.next(0.05) if _key(waypoint) in index_of}
    middle = carla_map.get_waypoint_xodr(road, lane, (record.s_start + record.s_end) / 2)
    return Lane(
        index=index,
        road_id=road,
        section_id=section,
        lane_id=lane,
        points=strip.points,
        yaw_deg=strip.yaw_deg,
        s=geometry.arc_length(strip.points),
        width=float(strip.width.mean()),
        speed_limit_kmh=record.speed_limit_kmh,
        junction_id=record.junction_id,
        turn=_turn(strip) if record.junction_id >= 0 else "",
        successors=tuple(sorted(successors)),
        left=_neighbour(middle, "Left", index_of),
        right=_neighbour(middle, "Right", index_of),
        light_id="",
        stop_id="",
        conflicts=conflicts,
    )


def _key(waypoint: object) -> Key:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _neighbour(waypoint: object, side: str, index_of: dict[Key, int]) -> int:
    if str(waypoint.lane_change) not in (side, "Both"):
        return -1
    other = waypoint.get_left_lane() if side == "Left" else waypoint.get_right_lane()
    if other is None or other.lane_id * waypoint.lane_id < 0:
        return -1
    return index_of.get(_key(other), -1)


def _turn(strip: Strip) -> str:
    change = (strip.yaw_deg[-1] - strip.yaw_deg[0] + 180.0) % 360.0 - 180.0
    if abs(change) < STRAIGHT_DEG:
        return "straight"
    return "right" if change > 0 else "left"  # CARLA's yaw grows clockwise


def _conflicts(driving: list[Strip]) -> list[tuple[int, ...]]:
    """For each strip the junction strips that cross it or end where it ends; strips that part are none."""
    by_junction: dict[int, list[int]] = {}
    for index, strip in enumerate(driving):
        if strip.record.junction_id >= 0:
            by_junction.setdefault(strip.record.junction_id, []).append(index)
    found: list[set[int]] = [set() for _ in driving]
    lines = [shapely.LineString(strip.points[:, :2]) for strip in driving]
    for members in by_junction.values():
        for a in members:
            for b in (other for other in members if other > a):
                parting = np.hypot(*(driving[a].points[0] - driving[b].points[0])[:2]) < CONFLICT_M
                merging = np.hypot(*(driving[a].points[-1] - driving[b].points[-1])[:2]) < CONFLICT_M
                if merging or (not parting and lines[a].distance(lines[b]) < CONFLICT_M):
                    found[a].add(b)
                    found[b].add(a)
    return [tuple(sorted(indices)) for indices in found]


def simplify(points: np.ndarray, tolerance: float = 0.02, longest: float = 12.0) -> np.ndarray:
    """Return the indices of the points (N, 3) that a polyline needs, ends included.

    No dropped point is further than ``tolerance`` from its chord and no chord is longer than ``longest``.
    """
    keep = [0]
    last = len(points) - 1
    while keep[-1] < last:
        start = keep[-1]
        end = start + 1
        while end < last and _fits(points[start : end + 2], tolerance, longest):
            end += 1
        keep.append(end)
    return np.array(keep)


def _fits(points: np.ndarray, tolerance: float, longest: float) -> bool:
    chord = points[-1] - points[0]
    length = np.linalg.norm(chord)
    if length > longest or length < 1e-9:
        return False
    offsets = points[1:-1] - points[0]
    along = offsets @ chord / length
    across = np.linalg.norm(offsets - along[:, None] * chord / length, axis=1)
    return bool((across < tolerance).all())
