"""Writes the town Kestrelway as OpenDRIVE: python -m autovla_core.minicarla.towns.kestrelway [--out FILE].

A motorway of 1.4 km between two junctions with lights. Each carriageway has an exit, an entrance whose lane runs on
as a third one, and a lane drop; the ramps lead to service roads of 60 km/h, with which the loop closes.
"""

from __future__ import annotations

from dataclasses import dataclass

from autovla_core.minicarla.towns import plan, writing
from autovla_core.minicarla.towns.cross_sections import (
    HARD_SHOULDER_M,
    MOTORWAY_LANE_M,
    carriageway,
    country_road,
    slip_road,
)
from autovla_core.minicarla.towns.plan import Meeting, Node, Street
from autovla_core.minicarla.world.opendrive import YIELD, Movement, Network, Road
from autovla_core.minicarla.world.opendrive_geometry import Path, Pose, Profile, rounded, smooth_profile

NAME = "Kestrelway"

LENGTH_M, BULGE_M, AXIS_RADIUS_M = 1400.0, 36.0, 1500.0
LEFT_EDGE_M = 3.0  # of the lanes, beside the axis
END_CUT_M = 26.0
EXIT_M, ENTRANCE_M, DROP_M = (330.0, 400.0), (730.0, 800.0), (1010.0, 1080.0)  # from and to, along a carriageway
RAMP_BESIDE_M = 2 * MOTORWAY_LANE_M + HARD_SHOULDER_M + 1.8
RAMP_STRAIGHT_M, RAMP_DOWN_M, RAMP_RADIUS_M, RAMP_CUT_M = (90.0, 120.0), 62.0, 34.0, 15.0
BANK_M, RAMP_LEVEL_M = 1.5, 84.0  # the motorway's height, kept by a ramp as long as it is beside it
MOTORWAY_KMH, END_KMH, RAMP_KMH, SERVICE_KMH = 90.0, 60.0, 50.0, 60.0
SERVICE_Y_M = (-62.0, 118.0)


@dataclass(frozen=True, eq=False)
class Direction:
    """One carriageway with its ramps, and the poses at which they meet the service road."""

    first: Road
    last: Road
    exit: Road
    entrance: Road
    exit_foot: Pose
    entrance_foot: Pose


def add_direction(network: Network, name: str, edge: Path) -> Direction:
    """Add the roads and junctions of one carriageway; ``edge`` is the left border of its lanes."""
    spans = ((END_CUT_M, EXIT_M[0]), (EXIT_M[1], ENTRANCE_M[0]), (ENTRANCE_M[1], DROP_M[0]), (DROP_M[1], None))
    heights = ((0.0, BANK_M), (BANK_M, BANK_M), (BANK_M, BANK_M), (BANK_M, 0.0))
    limits = (MOTORWAY_KMH,) * 3 + (END_KMH,)
    roads = []
    for number, ((begin, end), lanes) in enumerate(zip(spans, (2, 2, 3, 2), strict=True)):
        part = edge.part(begin, edge.length - END_CUT_M if end is None else end)
        road = network.add_road(f"{name} {number}", part.start, part.pieces, carriageway(lanes))
        road.elevation = smooth_profile((0.0, road.length), heights[number])
        road.speed_kmh, road.kind = limits[number], "motorway"
        roads.append(road)
    leave, exit_foot = _exit(network, name, edge.at(EXIT_M[1]).beside(-RAMP_BESIDE_M))
    enter, entrance_foot = _entrance(network, name, edge.at(ENTRANCE_M[0]).beside(-RAMP_BESIDE_M))
    first, second, third, last = roads
    network.add_lanes_junction(f"{name} exit", [*_onwards(first, second), ((first, "end"), -2, (leave, "start"), -1)])
    merge = [*_onwards(second, third), ((enter, "end"), -1, (third, "start"), -3)]
    network.add_lanes_junction(f"{name} entrance", merge)
    network.add_lanes_junction(f"{name} drop", [*_onwards(third, last), ((third, "end"), -3, (last, "start"), -2)])
    network.add_signal((third, "end"), YIELD, lanes=(-3,))
    for road in (first, last, leave):
        plan.add_speed_sign(network, (road, "start"))
    return Direction(first, last, leave, enter, exit_foot, entrance_foot)


def _onwards(source: Road, target: Road) -> list[Movement]:
    return [((source, "end"), lane, (target, "start"), lane) for lane in (-1, -2)]


def _exit(network: Network, name: str, start: Pose) -> tuple[Road, Pose]:
    """A ramp that runs beside the motorway, turns right and ends before its foot on the service road."""
    corner = start.ahead(RAMP_STRAIGHT_M[0])
    foot, end = corner.beside(-RAMP_DOWN_M), corner.beside(RAMP_CUT_M - RAMP_DOWN_M)
    path, _ = rounded([_xy(start), _xy(corner), _xy(end)], RAMP_RADIUS_M)
    level = (0.0, RAMP_LEVEL_M, path.length), (BANK_M, BANK_M, 0.0)
    return _ramp(network, f"{name} exit ramp", path, smooth_profile(*level)), foot


def _entrance(network: Network, name: str, end: Pose) -> tuple[Road, Pose]:
    """The way up: from the service road, right, and beside the motorway until it joins."""
    corner = end.ahead(-RAMP_STRAIGHT_M[1])
    foot, start = corner.beside(-RAMP_DOWN_M), corner.beside(RAMP_CUT_M - RAMP_DOWN_M)
    path, _ = rounded([_xy(start), _xy(corner), _xy(end)], RAMP_RADIUS_M)
    level = (0.0, path.length - RAMP_LEVEL_M - 30.0, path.length), (0.0, BANK_M, BANK_M)
    return _ramp(network, f"{name} entrance ramp", path, smooth_profile(*level)), foot


def _ramp(network: Network, name: str, path: Path, elevation: Profile) -> Road:
    road = network.add_road(name, path.start, path.pieces, slip_road())
    road.elevation = elevation
    road.speed_kmh, road.kind = RAMP_KMH, "motorway"
    return road


def _xy(pose: Pose) -> tuple[float, float]:
    return pose.x, pose.y


def build() -> Network:
    """Return Kestrelway."""
    network = Network(NAME)
    axis, _ = rounded([(0.0, 0.0), (LENGTH_M / 2, BULGE_M), (LENGTH_M, 0.0)], AXIS_RADIUS_M)
    east = add_direction(network, "Eastbound", axis.beside(-LEFT_EDGE_M))
    west = add_direction(network, "Westbound", axis.reversed().beside(-LEFT_EDGE_M))
    nodes = _nodes(east, west)
    _, meetings = plan.add_streets(network, nodes, _service_roads())
    for node, road, contact in (
        ("West end", east.first, "start"),
        ("West end", west.last, "end"),
        ("East end", west.first, "start"),
        ("East end", east.last, "end"),
        ("South exit", east.exit, "end"),
        ("South entrance", east.entrance, "start"),
        ("North exit", west.exit, "end"),
        ("North entrance", west.entrance, "start"),
    ):
        heading = road.start.heading if contact == "start" else road.at("end").turned().heading
        meetings[node].append(Meeting((road, contact), heading, road.name))
    plan.add_nodes(network, nodes, meetings)
    plan.add_speed_signs(network, {name: meetings[name] for name in ("South exit", "North exit")})
    return network


def _nodes(east: Direction, west: Direction) -> dict[str, Node]:
    feet = {
        "South exit": (east.exit_foot, "stop", ("N",)),
        "South entrance": (east.entrance_foot, "plain", ()),
        "North exit": (west.exit_foot, "stop", ("S",)),
        "North entrance": (west.entrance_foot, "plain", ()),
    }
    nodes = {name: Node(*_xy(pose), 0.0, control, minor) for name, (pose, control, minor) in feet.items()}
    ends = {"West end": 0.0, "East end": LENGTH_M}
    return nodes | {name: Node(x, 0.0, 0.0, "lights", cut=END_CUT_M) for name, x in ends.items()}


def _service_roads() -> list[Street]:
    stops = {"South": ("West end", "South exit", "South entrance", "East end")}
    stops["North"] = ("West end", "North entrance", "North exit", "East end")
    found = []
    for side, y in zip(("South", "North"), SERVICE_Y_M, strict=True):
        first, second, third, last = stops[side]
        for start, end, via in ((first, second, ((0.0, y),)), (second, third, ()), (third, last, ((LENGTH_M, y),))):
            found.append(Street(start, end, country_road(), via, 32.0, SERVICE_KMH, "rural"))
    return found


if __name__ == "__main__":
    writing.main(NAME, build)
