"""A builder for towns in OpenDRIVE 1.4; opendrive_xml writes them. Standard library only.

OpenDRIVE's frame: right-handed, metres, radians; s along a road's reference line, t to its left. Lanes with
negative ids lie to the right and are driven along s, lanes with positive ids against it.
Ids of junctions differ from all ids of roads: equal ones silently cut the lane graph in carla.Map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from autovla_core.minicarla.world.opendrive_geometry import (
    FLAT,
    Cubic,
    Geometry,
    Pose,
    Profile,
    curve_between,
    ramp,
    value_of,
    wrap,
)

Contact = Literal["start", "end"]

STRAIGHT_RAD = math.radians(35.0)
STOP_LINE_BEFORE_END_M = 1.0
POST_BESIDE_LANE_M = 1.0  # from the outermost lane's border: on the sidewalk, behind the kerb
BESIDE_DRIVING = ("parking", "biking")  # lanes between the driving lanes and the kerb; wide shoulders count too
WIDE_SHOULDER_M = 0.5

LIGHT, STOP, YIELD, SPEED_LIMIT = "1000001", "206", "205", "274"


@dataclass(frozen=True)
class LaneSpec:
    """One lane of a road's only section; the mark is that of its outer border."""

    type: str
    width: Cubic = FLAT
    mark: str = "none"
    color: str = "white"
    lane_change: str = "none"


@dataclass(frozen=True)
class SignalSpec:
    id: int
    type: str
    s: float
    t: float
    orientation: str
    value: float
    lanes: tuple[int, int]


@dataclass(eq=False)
class Road:
    """A road with one lane section."""

    id: int
    name: str
    start: Pose
    geometry: Sequence[Geometry]
    lanes: dict[int, LaneSpec]
    elevation: Profile = ((0.0, FLAT),)
    junction: int = -1
    speed_kmh: float = 40.0
    kind: str = "town"  # of OpenDRIVE: town, rural, motorway
    predecessor: tuple[str, int, str] | None = None  # element type, id, contact point
    successor: tuple[str, int, str] | None = None
    lane_links: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    signals: list[SignalSpec] = field(default_factory=list)
    references: list[int] = field(default_factory=list)
    crosswalks: list[tuple[float, float, float, float, float]] = field(default_factory=list)  # s, u from/to, t from/to

    @property
    def poses(self) -> list[Pose]:
        """The start of every geometry and the end of the last."""
        poses = [self.start]
        for piece in self.geometry:
            poses.append(piece.end(poses[-1]))
        return poses

    @property
    def length(self) -> float:
        return math.fsum(piece.length for piece in self.geometry)

    def at(self, contact: Contact) -> Pose:
        return self.start if contact == "start" else self.poses[-1]

    def height(self, contact: Contact) -> float:
        s, cubic = self.elevation[0 if contact == "start" else -1]
        return value_of(cubic, 0.0 if contact == "start" else self.length - s)

    def width(self, lane: int, contact: Contact) -> float:
        return value_of(self.lanes[lane].width, 0.0 if contact == "start" else self.length)

    def inner_border(self, lane: int, contact: Contact) -> float:
        """Signed t of the lane's border next to the reference line."""
        side = 1 if lane > 0 else -1
        return side * math.fsum(self.width(side * i, contact) for i in range(1, abs(lane)))

    def driving(self, contact: Contact, incoming: bool, kind: str = "driving") -> list[int]:
        """Lanes of a kind that arrive at (or leave from) this end, innermost first."""
        side = -1 if (contact == "end") == incoming else 1
        return sorted((i for i, lane in self.lanes.items() if lane.type == kind and i * side > 0), key=abs)

    def beside_driving(self, contact: Contact, side: int) -> float:
        """Metres of parking, bicycle lane and wide shoulder on one side (-1 right of s, +1 left)."""
        lanes = [(self.lanes[i].type, self.width(i, contact)) for i in self.lanes if i * side > 0]
        shoulders = [width for kind, width in lanes if kind == "shoulder" and width > WIDE_SHOULDER_M]
        return math.fsum([*shoulders, *(width for kind, width in lanes if kind in BESIDE_DRIVING)])


Arm = tuple[Road, Contact]
Movement = tuple[Arm, int, Arm, int]  # from which lane of which road end to which


@dataclass(eq=False)
class Junction:
    id: int
    name: str
    arms: list[Arm]
    connections: list[tuple[Arm, int, Road]] = field(default_factory=list)  # incoming arm and lane, connecting road
    controllers: list[int] = field(default_factory=list)


class Network:
    """Roads, junctions and controllers under construction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.roads: list[Road] = []
        self.junctions: list[Junction] = []
        self.controllers: dict[int, list[int]] = {}
        self._next_signal = 5000

    def add_road(self, name: str, start: Pose, geometry: Sequence[Geometry], lanes: dict[int, LaneSpec]) -> Road:
        """Append a road; ids count from 1."""
        road = Road(len(self.roads) + 1, name, start, tuple(geometry), lanes)
        self.roads.append(road)
        return road

    def add_junction(self, name: str, arms: Sequence[Arm], widest_turn: float = math.radians(150)) -> Junction:
        """Join road ends: one connecting road for each permitted movement from lane to lane.

        Straight on lane by lane, left from the innermost lane, right from the outermost one.
        """
        junction = self._open_junction(name, arms)
        for source in arms:
            for target in arms:
                if source[0] is not target[0]:
                    self._join(junction, source, target, widest_turn)
        return junction

    def add_lanes_junction(self, name: str, movements: Sequence[Movement]) -> Junction:
        """Join road ends by exactly these movements: where a motorway parts, merges or loses a lane."""
        arms = [arm for source, _, target, _ in movements for arm in (source, target)]
        junction = self._open_junction(name, list(dict.fromkeys(arms)))
        for source, lane_in, target, lane_out in movements:
            self._connect(junction, source, lane_in, target, lane_out)
        return junction

    def _open_junction(self, name: str, arms: Sequence[Arm]) -> Junction:
        junction = Junction(1000 + len(self.junctions), name, list(arms))
        self.junctions.append(junction)
        for road, contact in arms:
            link = ("junction", junction.id, "")
            if contact == "start":
                road.predecessor = link
            else:
                road.successor = link
        return junction

    def _join(self, junction: Junction, source: Arm, target: Arm, widest_turn: float) -> None:
        incoming, outgoing = source[0].driving(source[1], True), target[0].driving(target[1], False)
        if not incoming or not outgoing:
            return
        turn = wrap(_leaving(target).heading - _arriving(source).heading)
        if abs(turn) > widest_turn:
            return
        if abs(turn) < STRAIGHT_RAD:
            pairs = list(zip(incoming, outgoing, strict=False))
        else:
            pairs = [(incoming[0], outgoing[0])] if turn > 0 else [(incoming[-1], outgoing[-1])]
        for lane_in, lane_out in pairs:
            self._connect(junction, source, lane_in, target, lane_out)
        if abs(turn) < STRAIGHT_RAD:
            bicycles = source[0].driving(source[1], True, "biking"), target[0].driving(target[1], False, "biking")
            for lane_in, lane_out in zip(*bicycles, strict=False):
                self._connect(junction, source, lane_in, target, lane_out)

    def _connect(self, junction: Junction, source: Arm, lane_in: int, target: Arm, lane_out: int) -> None:
        start = _lane_border(source, lane_in, arriving=True)
        piece = curve_between(start, _lane_border(target, lane_out, arriving=False))
        width = ramp(source[0].width(lane_in, source[1]), target[0].width(lane_out, target[1]), piece.length)
        lanes = {0: LaneSpec("none"), -1: LaneSpec(source[0].lanes[lane_in].type, width)}
        road = self.add_road(f"{junction.name} {source[0].name} to {target[0].name}", start, [piece], lanes)
        road.junction = junction.id
        road.elevation = ((0.0, ramp(source[0].height(source[1]), target[0].height(target[1]), piece.length)),)
        road.speed_kmh = min(source[0].speed_kmh, target[0].speed_kmh)
        road.kind = source[0].kind
        road.predecessor = ("road", source[0].id, source[1])
        road.successor = ("road", target[0].id, target[1])
        road.lane_links[-1] = (lane_in, lane_out)
        junction.connections.append((source, lane_in, road))

    def add_signal(
        self,
        arm: Arm,
        kind: str,
        before_end: float = STOP_LINE_BEFORE_END_M,
        value: float = -1,
        lanes: Sequence[int] = (),
    ) -> int:
        """Put a signal beside the lanes that arrive at a road's end, for all or only some of them; returns its id."""
        road, contact = arm
        arriving = road.driving(contact, incoming=True)
        side = -1 if contact == "end" else 1
        beside = road.beside_driving(contact, side) + POST_BESIDE_LANE_M
        t = side * (math.fsum(road.width(i, contact) for i in arriving) + beside)
        lanes = lanes or arriving
        s = road.length - before_end if contact == "end" else before_end
        orientation = "+" if contact == "end" else "-"
        signal = SignalSpec(self._next_signal, kind, s, t, orientation, value, (min(lanes), max(lanes)))
        self._next_signal += 1
        road.signals.append(signal)
        return signal.id

    def add_lights(self, junction: Junction, phases: Sequence[Sequence[Arm]]) -> None:
        """Give every arm a light, the lights of each phase a controller, and the connecting roads references.

        The client finds the lanes that a light affects by its references on connecting roads.
        """
        for arms in phases:
            controller = 9000 + len(self.controllers)
            self.controllers[controller] = []
            junction.controllers.append(controller)
            for arm in arms:
                signal = self.add_signal(arm, LIGHT)
                self.controllers[controller].append(signal)
                for source, _, road in junction.connections:
                    if source == arm:
                        road.references.append(signal)

    def add_crosswalk(self, arm: Arm, gap: float = 0.6, width: float = 2.8) -> None:
        """Paint a crosswalk just inside the junction, beyond the stop line."""
        road, contact = arm
        paved = [i for i, lane in road.lanes.items() if lane.type in ("driving", "biking", "shoulder")]
        edges = [math.fsum(road.width(i, contact) for i in paved if i * side > 0) for side in (-1, 1)]
        if contact == "end":
            road.crosswalks.append((road.length, gap, gap + width, -edges[0], edges[1]))
        else:
            road.crosswalks.append((0.0, -gap - width, -gap, -edges[0], edges[1]))


def _arriving(arm: Arm) -> Pose:
    pose = arm[0].at(arm[1])
    return pose if arm[1] == "end" else pose.turned()


def _leaving(arm: Arm) -> Pose:
    return _arriving(arm).turned()


def _lane_border(arm: Arm, lane: int, arriving: bool) -> Pose:
    """The left border of a lane at a road's end, looking in its driving direction."""
    road, contact = arm
    pose = road.at(contact).beside(road.inner_border(lane, contact))
    return pose if (contact == "end") == arriving else pose.turned()
