"""Writes the town Havenbrook as OpenDRIVE: python -m autovla_core.minicarla.towns.havenbrook [--out FILE].

Five by four nodes, 120 m apart; corners are curves, nodes on the edge are T junctions, nodes inside are
crossings or the roundabout. The middle column is an avenue with two lanes per direction. The north-east lies on
a hill. The shipped file is this program's output, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from autovla_core.minicarla.towns import writing
from autovla_core.minicarla.towns.cross_sections import street
from autovla_core.minicarla.towns.plan import Meeting, add_roundabout
from autovla_core.minicarla.world.opendrive import SPEED_LIMIT, STOP, Arm, Network, Road
from autovla_core.minicarla.world.opendrive_geometry import Arc, Geometry, Line, Pose, ramp

Node = tuple[int, int]

NAME = "Havenbrook"

BLOCK_M = 120.0
COLUMNS, ROWS = 5, 4
CUT_M, ROUNDABOUT_CUT_M = 16.0, 30.0
CORNER_RADIUS_M = 28.0
BOW_RADIUS_M, BOW_RAD = 42.0, math.radians(25.0)

AVENUE_COLUMN = 2
ROUNDABOUT: Node = (3, 1)
SIGNALISED: tuple[Node, ...] = ((1, 1), (2, 0), (2, 1), (2, 2), (3, 2))
ALL_WAY_STOP: tuple[Node, ...] = ((1, 2),)
BOWED: tuple[tuple[Node, str], ...] = (((0, 1), "E"), ((3, 2), "E"), ((1, 3), "E"), ((4, 1), "N"), ((1, 0), "N"))
NODE_HEIGHT_M: dict[Node, float] = {(2, 3): 2.5, (3, 3): 6.0, (3, 2): 3.0, (4, 2): 4.0}
SPEED_SIGN_EVERY = 3
SPEED_SIGN_BEFORE_END_M = 65.0

SIDES = {"E": (1, 0), "N": (0, 1), "W": (-1, 0), "S": (0, -1)}  # counter-clockwise
HEADING = {"E": 0.0, "N": math.pi / 2, "W": math.pi, "S": -math.pi / 2}
OPPOSITE = {"E": "W", "W": "E", "N": "S", "S": "N"}


def is_corner(node: Node) -> bool:
    return node[0] in (0, COLUMNS - 1) and node[1] in (0, ROWS - 1)


def cut(node: Node) -> float:
    """How far before the node a street ends."""
    return ROUNDABOUT_CUT_M if node == ROUNDABOUT else CUT_M


def neighbour(node: Node, side: str) -> Node:
    return node[0] + SIDES[side][0], node[1] + SIDES[side][1]


def in_town(node: Node) -> bool:
    return 0 <= node[0] < COLUMNS and 0 <= node[1] < ROWS


def pose_beside(node: Node, side: str) -> Pose:
    """Where the street begins that leaves a node to one side."""
    dx, dy = SIDES[side]
    return Pose(node[0] * BLOCK_M + dx * cut(node), node[1] * BLOCK_M + dy * cut(node), HEADING[side])


def straight_or_bow(length: float, bowed: bool) -> list[Geometry]:
    """A line, or a line with a bow to the left that comes back to it."""
    if not bowed:
        return [Line(length)]
    arc = BOW_RADIUS_M * BOW_RAD
    lead = (length - 4 * BOW_RADIUS_M * math.sin(BOW_RAD)) / 2
    bend = [Arc(arc, BOW_RADIUS_M), Arc(2 * arc, -BOW_RADIUS_M), Arc(arc, BOW_RADIUS_M)]
    return [Line(lead), *bend, Line(lead)]


def add_streets(network: Network) -> dict[Node, dict[str, Arm]]:
    """Add the straight and bowed streets and the corner curves; returns the arms of every node by side."""
    arms: dict[Node, dict[str, Arm]] = {}
    for node in nodes():
        for side in ("E", "N"):
            other = neighbour(node, side)
            if in_town(other) and not is_corner(node) and not is_corner(other):
                length = BLOCK_M - cut(node) - cut(other)
                avenue = side == "N" and node[0] == AVENUE_COLUMN
                pieces = straight_or_bow(length, (node, side) in BOWED)
                name = f"{'Avenue' if avenue else 'Street'} {node[0]}{node[1]}{side}"
                road = network.add_road(name, pose_beside(node, side), pieces, street(2 if avenue else 1))
                _attach(arms, road, (node, side), (other, OPPOSITE[side]))
    for node in nodes():
        if is_corner(node):
            _add_corner(network, arms, node)
    return arms


def nodes() -> Iterator[Node]:
    return ((i, j) for j in range(ROWS) for i in range(COLUMNS))


def _add_corner(network: Network, arms: dict[Node, dict[str, Arm]], corner: Node) -> None:
    """One street from the neighbour on the row around the corner to the neighbour on the column."""
    across, along = ("E" if corner[0] == 0 else "W"), ("N" if corner[1] == 0 else "S")
    first, last = neighbour(corner, across), neighbour(corner, along)
    turn_left = (across, along) in (("E", "S"), ("W", "N"))
    radius = CORNER_RADIUS_M if turn_left else -CORNER_RADIUS_M
    quarter = Arc(CORNER_RADIUS_M * math.pi / 2, radius)
    legs = [Line(BLOCK_M - cut(node) - CORNER_RADIUS_M) for node in (first, last)]
    pose = pose_beside(first, OPPOSITE[across])
    road = network.add_road(f"Corner {corner[0]}{corner[1]}", pose, [legs[0], quarter, legs[1]], street(1))
    _attach(arms, road, (first, OPPOSITE[across]), (last, OPPOSITE[along]))


def _attach(arms: dict[Node, dict[str, Arm]], road: Road, start: tuple[Node, str], end: tuple[Node, str]) -> None:
    heights = [NODE_HEIGHT_M.get(node, 0.0) for node, _ in (start, end)]
    road.elevation = ((0.0, ramp(*heights, road.length)),)
    arms.setdefault(start[0], {})[start[1]] = (road, "start")
    arms.setdefault(end[0], {})[end[1]] = (road, "end")


def add_junctions(network: Network, arms: dict[Node, dict[str, Arm]]) -> None:
    """Join the streets and set lights, signs and crosswalks."""
    for node in (n for n in nodes() if not is_corner(n)):
        sides = {side: arms[node][side] for side in SIDES if side in arms[node]}
        if node == ROUNDABOUT:
            meetings = [Meeting(sides[side], HEADING[side], side) for side in SIDES]
            add_roundabout(network, "Roundabout", (node[0] * BLOCK_M, node[1] * BLOCK_M), meetings)
            continue
        junction = network.add_junction(f"Node {node[0]}{node[1]}", list(sides.values()))
        if node in SIGNALISED:
            axes = [[sides[side] for side in axis if side in sides] for axis in ("EW", "NS")]
            network.add_lights(junction, axes)
            for arm in sides.values():
                network.add_crosswalk(arm)
        else:
            for side, arm in sides.items():
                if node in ALL_WAY_STOP or OPPOSITE[side] not in sides:
                    network.add_signal(arm, STOP)


def add_speed_signs(network: Network, streets: list[Road]) -> None:
    """Remind of the limit on every third street, in both directions."""
    for road in streets[::SPEED_SIGN_EVERY]:
        for contact in ("end", "start"):
            before_end = min(SPEED_SIGN_BEFORE_END_M, 0.8 * road.length)
            network.add_signal((road, contact), SPEED_LIMIT, before_end, road.speed_kmh)


def build() -> Network:
    """Return Havenbrook."""
    network = Network(NAME)
    arms = add_streets(network)
    streets = list(network.roads)
    add_junctions(network, arms)
    add_speed_signs(network, streets)
    return network


if __name__ == "__main__":
    writing.main(NAME, build)
