"""Lanes side by side: streets, carriageways, country roads, the ring of a roundabout. Widths in metres.

Lane ids as in OpenDRIVE: negative to the right of the reference line and driven along it.
"""

from __future__ import annotations

from autovla_core.minicarla.world.opendrive import LaneSpec
from autovla_core.minicarla.world.opendrive_geometry import Cubic

Section = dict[int, LaneSpec]

LANE_M, MOTORWAY_LANE_M, COUNTRY_LANE_M, RING_LANE_M = 3.5, 3.6, 3.4, 4.5
KERB_STRIP_M, WALK_M = 0.3, 2.5
PARKING_M, BICYCLE_M = 2.4, 1.8
HARD_SHOULDER_M, INNER_SHOULDER_M, COUNTRY_SHOULDER_M, RAMP_SHOULDER_M = 2.5, 1.0, 1.0, 1.2


def wide(metres: float) -> Cubic:
    """A constant width."""
    return (metres, 0.0, 0.0, 0.0)


def street(lanes_per_side: int, parking: bool = False, bicycles: bool = False) -> Section:
    """A two-way street: driving lanes, maybe a bicycle and a parking lane, the kerb, a sidewalk."""
    center = "broken" if lanes_per_side == 1 else "solid solid"
    lanes = {0: LaneSpec("none", mark=center, color="yellow")}
    for side in (1, -1):
        row = _driving_lanes(lanes_per_side, LANE_M)
        row += [LaneSpec("biking", wide(BICYCLE_M), "solid")] if bicycles else []
        row += [LaneSpec("parking", wide(PARKING_M))] if parking else []
        row += [LaneSpec("shoulder", wide(KERB_STRIP_M), "curb"), LaneSpec("sidewalk", wide(WALK_M))]
        lanes |= {side * (number + 1): lane for number, lane in enumerate(row)}
    return lanes


def _driving_lanes(count: int, width: float) -> list[LaneSpec]:
    """Lanes that may be changed between, inside out."""
    inner = LaneSpec("driving", wide(width), "broken", lane_change="both")
    return [inner] * (count - 1) + [LaneSpec("driving", wide(width), "solid")]


def carriageway(lanes: int) -> Section:
    """One direction of a motorway; the reference line is the left edge of its lanes."""
    row = [*_driving_lanes(lanes, MOTORWAY_LANE_M), LaneSpec("shoulder", wide(HARD_SHOULDER_M))]
    return _one_way(row, INNER_SHOULDER_M)


def slip_road() -> Section:
    """A ramp of one lane."""
    return _one_way([LaneSpec("driving", wide(4.0), "solid"), LaneSpec("shoulder", wide(RAMP_SHOULDER_M))], 0.6)


def _one_way(row: list[LaneSpec], left_shoulder: float) -> Section:
    lanes = {1: LaneSpec("shoulder", wide(left_shoulder)), 0: LaneSpec("none", mark="solid", color="yellow")}
    return lanes | {-1 - number: lane for number, lane in enumerate(row)}


def country_road() -> Section:
    """Two lanes and narrow shoulders, no kerb and no sidewalk."""
    lanes = {0: LaneSpec("none", mark="broken", color="yellow")}
    for side in (1, -1):
        lanes[side] = LaneSpec("driving", wide(COUNTRY_LANE_M), "solid")
        lanes[2 * side] = LaneSpec("shoulder", wide(COUNTRY_SHOULDER_M))
    return lanes


def ring() -> Section:
    """A roundabout's one lane, driven counter-clockwise around the island."""
    return {
        1: LaneSpec("shoulder", wide(KERB_STRIP_M), "curb"),
        0: LaneSpec("none", mark="solid", color="yellow"),
        -1: LaneSpec("driving", wide(RING_LANE_M), "solid"),
        -2: LaneSpec("shoulder", wide(KERB_STRIP_M), "curb"),
        -3: LaneSpec("sidewalk", wide(WALK_M)),
    }
