"""A town as nodes and the streets between them, turned into an OpenDRIVE network.

A street leaves its node straight, follows its way points with rounded corners and ends before the next node; what
happens at a node is one word. Metres, OpenDRIVE's frame (y north, to the left of east), km/h.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autovla_core.minicarla.towns.cross_sections import Section, ring
from autovla_core.minicarla.world.opendrive import SPEED_LIMIT, STOP, YIELD, Arm, Junction, Network, Road
from autovla_core.minicarla.world.opendrive_geometry import Arc, Pose, rounded, smooth_profile, wrap

Control = Literal["plain", "lights", "stop", "all_way_stop", "yield", "roundabout"]
Side = Literal["E", "N", "W", "S"]

RING_RADIUS_M, RING_GAP_RAD = 14.0, math.radians(28.0)
RING_WIDEST_TURN_RAD = math.radians(170)
OPPOSITE_WITHIN_RAD = math.radians(35.0)
SAME_AXIS_WITHIN_RAD = math.radians(45.0)
SIGN_AFTER_START_M = 15.0
LONG_ENOUGH_FOR_A_SIGN_M = 60.0


@dataclass(frozen=True)
class Node:
    """Where streets meet."""

    x: float
    y: float
    z: float = 0.0
    control: Control = "plain"
    minor: tuple[Side, ...] = ()  # sides from which one arrives at the sign; none: whoever cannot go straight on
    cut: float = 16.0  # streets end this far before the node
    crosswalks: bool = False  # always at lights


@dataclass(frozen=True)
class Street:
    """From node to node; way points are (x, y), or (x, y, z) to fix the height there."""

    start: str
    end: str
    section: Section
    via: tuple[tuple[float, ...], ...] = ()
    radius: float = 30.0  # of the curves at the way points
    speed_kmh: float = 40.0
    kind: str = "town"


@dataclass(frozen=True, eq=False)
class Meeting:
    """One street's end at a node."""

    arm: Arm
    heading: float  # away from the node
    neighbour: str

    @property
    def side(self) -> Side:
        """The quarter of the compass in which the street leaves."""
        return ("E", "N", "W", "S")[round(self.heading / (math.pi / 2)) % 4]

    @property
    def arrives(self) -> bool:
        """Whether somebody can come from there; nobody does on a one-way street."""
        return bool(self.arm[0].driving(self.arm[1], incoming=True))


def add_streets(
    network: Network, nodes: Mapping[str, Node], streets: Sequence[Street]
) -> tuple[list[Road], dict[str, list[Meeting]]]:
    """Add all streets; return their roads, and what meets at each node, counter-clockwise from the east."""
    roads, meetings = [], {name: [] for name in nodes}
    for street in streets:
        road = _add_street(network, nodes, street)
        roads.append(road)
        meetings[street.start].append(Meeting((road, "start"), road.start.heading, street.end))
        meetings[street.end].append(Meeting((road, "end"), road.at("end").turned().heading, street.start))
    for ends in meetings.values():
        ends.sort(key=_turn_from_east)
    return roads, meetings


def _turn_from_east(meeting: Meeting) -> float:
    """Counter-clockwise; rounding noise below east counts as east."""
    return (meeting.heading + 1e-6) % (2 * math.pi)


def _add_street(network: Network, nodes: Mapping[str, Node], street: Street) -> Road:
    first, last = nodes[street.start], nodes[street.end]
    middle = [point[:2] for point in street.via]
    points = [(first.x, first.y), *middle, (last.x, last.y)]
    points[0] = _towards(points[0], points[1], first.cut)
    points[-1] = _towards(points[-1], points[-2], last.cut)
    path, stations = rounded(points, street.radius)
    road = network.add_road(f"{street.start} to {street.end}", path.start, path.pieces, street.section)
    heights = [(0.0, first.z), *((s, p[2]) for s, p in zip(stations[1:], street.via, strict=False) if len(p) > 2)]
    heights.append((road.length, last.z))
    road.elevation = smooth_profile(*zip(*heights, strict=True))
    road.speed_kmh, road.kind = street.speed_kmh, street.kind
    return road


def _towards(here: tuple[float, float], there: tuple[float, float], metres: float) -> tuple[float, float]:
    share = metres / math.dist(here, there)
    return here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])


def add_nodes(network: Network, nodes: Mapping[str, Node], meetings: Mapping[str, Sequence[Meeting]]) -> None:
    """Join the streets at every node, with its lights, signs and crosswalks."""
    for name, node in nodes.items():
        if node.control == "roundabout":
            add_roundabout(network, name, (node.x, node.y), meetings[name], height=node.z)
            continue
        junction = network.add_junction(name, [meeting.arm for meeting in meetings[name]])
        _regulate(network, junction, node, [meeting for meeting in meetings[name] if meeting.arrives])


def _regulate(network: Network, junction: Junction, node: Node, arriving: Sequence[Meeting]) -> None:
    if node.control == "lights":
        network.add_lights(junction, phases(arriving))
    elif node.control != "plain":
        for meeting in arriving:
            if node.control == "all_way_stop" or _gives_way(node, meeting, arriving):
                network.add_signal(meeting.arm, YIELD if node.control == "yield" else STOP)
    if node.crosswalks or node.control == "lights":
        for meeting in arriving:
            if any(lane.type == "sidewalk" for lane in meeting.arm[0].lanes.values()):
                network.add_crosswalk(meeting.arm)


def _gives_way(node: Node, meeting: Meeting, others: Sequence[Meeting]) -> bool:
    if node.minor:
        return meeting.side in node.minor
    return not any(abs(wrap(x.heading + math.pi - meeting.heading)) < OPPOSITE_WITHIN_RAD for x in others)


def phases(arriving: Sequence[Meeting]) -> list[list[Arm]]:
    """Arms of the first one's axis, then all others; opposite arms have green together."""
    first = arriving[0].heading
    turns = [abs(wrap(2 * (meeting.heading - first))) / 2 < SAME_AXIS_WITHIN_RAD for meeting in arriving]
    along = [meeting.arm for meeting, same in zip(arriving, turns, strict=True) if same]
    across = [meeting.arm for meeting, same in zip(arriving, turns, strict=True) if not same]
    return [arms for arms in (along, across) if arms]


def add_roundabout(
    network: Network,
    name: str,
    center: tuple[float, float],
    meetings: Sequence[Meeting],
    radius: float = RING_RADIUS_M,
    height: float = 0.0,
) -> None:
    """Arcs around the island and a small junction at every arm, which yields; arms counter-clockwise."""
    arcs = []
    for number, meeting in enumerate(meetings):
        following = meetings[(number + 1) % len(meetings)].heading
        first, span = meeting.heading + RING_GAP_RAD, (following - meeting.heading) % (2 * math.pi) - 2 * RING_GAP_RAD
        x, y = center[0] + radius * math.cos(first), center[1] + radius * math.sin(first)
        arc = Arc(radius * span, radius)
        road = network.add_road(f"Ring {meeting.neighbour}", Pose(x, y, first + math.pi / 2), [arc], ring())
        road.elevation = smooth_profile((0.0, road.length), (height, height))
        road.speed_kmh = min(m.arm[0].speed_kmh for m in meetings)
        arcs.append(road)
    for number, meeting in enumerate(meetings):
        joined: list[Arm] = [meeting.arm, (arcs[number - 1], "end"), (arcs[number], "start")]
        network.add_junction(f"{name} {meeting.neighbour}", joined, widest_turn=RING_WIDEST_TURN_RAD)
        network.add_signal(meeting.arm, YIELD)


def add_speed_signs(network: Network, meetings: Mapping[str, Sequence[Meeting]]) -> None:
    """Behind every node at which limits differ, tell the new one."""
    for ends in meetings.values():
        if len({meeting.arm[0].speed_kmh for meeting in ends}) > 1:
            for meeting in ends:
                add_speed_sign(network, meeting.arm)


def add_speed_sign(network: Network, leaving: Arm) -> None:
    """Tell whoever leaves a node by this arm how fast it may go, if the road is long and open to it."""
    road, contact = leaving
    far: Arm = (road, "end" if contact == "start" else "start")
    if road.length >= LONG_ENOUGH_FOR_A_SIGN_M and road.driving(far[1], incoming=True):
        network.add_signal(far, SPEED_LIMIT, road.length - SIGN_AFTER_START_M, road.speed_kmh)


def build(name: str, nodes: Mapping[str, Node], streets: Sequence[Street]) -> Network:
    """Return the network of a whole plan."""
    network = Network(name)
    _, meetings = add_streets(network, nodes, streets)
    add_nodes(network, nodes, meetings)
    add_speed_signs(network, meetings)
    return network
