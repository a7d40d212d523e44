"""A builder for towns in OpenDRIVE 1.4; opendrive_xml writes them. Standard library only.

OpenDRIVE's frame: right-handed, metres, radians; s along a road's reference line, t to its left. Lanes with
negative ids lie to the right and are driven along s, lanes with positive ids against it.
Ids of junctions differ from all ids of roads: equal ones silently cut the lane graph in carla.Map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

Contact = Literal["start", "end"]
Cubic = tuple[float, float, float, float]

FLAT: Cubic = (0.0, 0.0, 0.0, 0.0)
STRAIGHT_RAD = math.radians(35.0)
STOP_LINE_BEFORE_END_M = 1.0
POST_BESIDE_LANE_M = 1.0

LIGHT, STOP, YIELD, SPEED_LIMIT = "1000001", "206", "205", "274"


@dataclass(frozen=True)
class Pose:
    """A point and a heading of a reference line."""

    x: float
    y: float
    heading: float

    def beside(self, t: float) -> Pose:
        """The pose t metres to the left."""
        return Pose(self.x - t * math.sin(self.heading), self.y + t * math.cos(self.heading), self.heading)

    def turned(self) -> Pose:
        """The same point, looking back."""
        return Pose(self.x, self.y, self.heading + math.pi)


@dataclass(frozen=True)
class Line:
    length: float

    def end(self, start: Pose) -> Pose:
        x = start.x + self.length * math.cos(start.heading)
        return Pose(x, start.y + self.length * math.sin(start.heading), start.heading)

    def xml(self) -> str:
        return "<line/>"


@dataclass(frozen=True)
class Arc:
    """A circle of signed radius, positive to the left."""

    length: float
    radius: float

    def end(self, start: Pose) -> Pose:
        heading = start.heading + self.length / self.radius
        x = start.x + self.radius * (math.sin(heading) - math.sin(start.heading))
        return Pose(x, start.y - self.radius * (math.cos(heading) - math.cos(start.heading)), heading)

    def xml(self) -> str:
        return f'<arc curvature="{number(1 / self.radius)}"/>'


@dataclass(frozen=True)
class Curve:
    """Cubics u(p), v(p), p from 0 to 1, in the frame of the start."""

    length: float
    u: Cubic
    v: Cubic

    def end(self, start: Pose) -> Pose:
        u, v = sum(self.u), sum(self.v)
        du, dv = self.u[1] + 2 * self.u[2] + 3 * self.u[3], self.v[1] + 2 * self.v[2] + 3 * self.v[3]
        cos, sin = math.cos(start.heading), math.sin(start.heading)
        return Pose(start.x + u * cos - v * sin, start.y + u * sin + v * cos, start.heading + math.atan2(dv, du))

    def xml(self) -> str:
        parts = [
            f'{name}{axis}="{number(value)}"'
            for axis, cubic in (("U", self.u), ("V", self.v))
            for name, value in zip("abcd", cubic, strict=True)
        ]
        return f'<paramPoly3 {" ".join(parts)} pRange="normalized"/>'


Geometry = Line | Arc | Curve


def curve_between(start: Pose, end: Pose) -> Curve | Line:
    """Return a Hermite cubic that leaves and arrives along the headings, near a circle where one fits."""
    cos, sin = math.cos(start.heading), math.sin(start.heading)
    dx, dy = end.x - start.x, end.y - start.y
    u, v = dx * cos + dy * sin, -dx * sin + dy * cos
    turn = wrap(end.heading - start.heading)
    if abs(v) < 1e-6 and abs(turn) < 1e-6:
        return Line(u)
    chord = math.hypot(u, v)
    pull = chord if abs(turn) < 0.05 else 2 * chord * math.tan(turn / 4) / math.sin(turn / 2)
    tu, tv = pull * math.cos(turn), pull * math.sin(turn)
    cubic_u = (0.0, pull, 3 * u - 2 * pull - tu, -2 * u + pull + tu)
    cubic_v = (0.0, 0.0, 3 * v - tv, -2 * v + tv)
    return Curve(_cubic_length(cubic_u, cubic_v), cubic_u, cubic_v)


def _cubic_length(u: Cubic, v: Cubic, steps: int = 400) -> float:
    points = [(_value(u, k / steps), _value(v, k / steps)) for k in range(steps + 1)]
    return math.fsum(math.dist(a, b) for a, b in pairwise(points))


def wrap(angle: float) -> float:
    """Return the same direction in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def number(value: float) -> str:
    """Nine digits; rounding noise around zero becomes 0."""
    return f"{round(value, 11) + 0.0:.9g}"


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
    elevation: Cubic = FLAT
    junction: int = -1
    speed_kmh: float = 40.0
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
        return _value(self.elevation, 0.0 if contact == "start" else self.length)

    def width(self, lane: int, contact: Contact) -> float:
        return _value(self.lanes[lane].width, 0.0 if contact == "start" else self.length)

    def inner_border(self, lane: int, contact: Contact) -> float:
        """Signed t of the lane's border next to the reference line."""
        side = 1 if lane > 0 else -1
        return side * math.fsum(self.width(side * i, contact) for i in range(1, abs(lane)))

    def driving(self, contact: Contact, incoming: bool) -> list[int]:
        """Driving lanes that arrive at (or leave from) this end, innermost first."""
        side = -1 if (contact == "end") == incoming else 1
        return sorted((i for i, lane in self.lanes.items() if lane.type == "driving" and i * side > 0), key=abs)


def _value(cubic: Cubic, s: float) -> float:
    a, b, c, d = cubic
    return a + b * s + c * s**2 + d * s**3


def ramp(start: float, end: float, length: float) -> Cubic:
    """A cubic from one value to another, flat at both ends."""
    rise = end - start
    return (start, 0.0, 3 * rise / length**2, -2 * rise / length**3)


Arm = tuple[Road, Contact]


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
        junction = Junction(1000 + len(self.junctions), name, list(arms))
        self.junctions.append(junction)
        for road, contact in arms:
            link = ("junction", junction.id, "")
            if contact == "start":
                road.predecessor = link
            else:
                road.successor = link
        for source in arms:
            for target in arms:
                if source[0] is not target[0]:
                    self._join(junction, source, target, widest_turn)
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

    def _connect(self, junction: Junction, source: Arm, lane_in: int, target: Arm, lane_out: int) -> None:
        start = _lane_border(source, lane_in, arriving=True)
        piece = curve_between(start, _lane_border(target, lane_out, arriving=False))
        width = ramp(source[0].width(lane_in, source[1]), target[0].width(lane_out, target[1]), piece.length)
        lanes = {0: LaneSpec("none"), -1: LaneSpec("driving", width)}
        road = self.add_road(f"{junction.name} {source[0].name} to {target[0].name}", start, [piece], lanes)
        road.junction = junction.id
        road.elevation = ramp(source[0].height(source[1]), target[0].height(target[1]), piece.length)
        road.predecessor = ("road", source[0].id, source[1])
        road.successor = ("road", target[0].id, target[1])
        road.lane_links[-1] = (lane_in, lane_out)
        junction.connections.append((source, lane_in, road))

    def add_signal(self, arm: Arm, kind: str, before_end: float = STOP_LINE_BEFORE_END_M, value: float = -1) -> int:
        """Put a signal beside the lanes that arrive at a road's end; returns its id."""
        road, contact = arm
        lanes = road.driving(contact, incoming=True)
        side = -1 if contact == "end" else 1
        t = side * (math.fsum(road.width(i, contact) for i in lanes) + POST_BESIDE_LANE_M)
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
        paved = [i for i, lane in road.lanes.items() if lane.type in ("driving", "shoulder")]
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
