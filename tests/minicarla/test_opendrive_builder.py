"""The builder behind the towns: paths, profiles, plans and what they become in OpenDRIVE."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from autovla_core.minicarla.towns import plan
from autovla_core.minicarla.towns.cross_sections import BICYCLE_M, LANE_M, PARKING_M, carriageway, slip_road, street
from autovla_core.minicarla.towns.plan import Node, Street
from autovla_core.minicarla.world.opendrive import LIGHT, SPEED_LIMIT, STOP, YIELD, Network
from autovla_core.minicarla.world.opendrive_geometry import (
    Arc,
    Line,
    Path,
    Pose,
    ramp,
    rounded,
    smooth_profile,
    value_of,
    wrap,
)
from autovla_core.minicarla.world.opendrive_xml import to_xml

CROSS = {"M": Node(0.0, 0.0), "E": Node(200.0, 0.0), "N": Node(0.0, 200.0), "W": Node(-200.0, 0.0)}


def assert_same(pose: Pose, other: Pose) -> None:
    assert (pose.x, pose.y) == pytest.approx((other.x, other.y), abs=1e-9)
    assert wrap(pose.heading - other.heading) == pytest.approx(0.0, abs=1e-9)


@pytest.fixture
def bend() -> Path:
    """10 m east, a quarter to the left with radius 20, 5 m north."""
    return Path(Pose(0.0, 0.0, 0.0), (Line(10.0), Arc(10.0 * math.pi, 20.0), Line(5.0)))


def test_a_path_ends_where_its_pieces_lead(bend):
    assert_same(bend.end, Pose(30.0, 25.0, math.pi / 2))
    assert bend.length == pytest.approx(15.0 + 10.0 * math.pi)


def test_a_part_is_the_same_line(bend):
    part = bend.part(4.0, 40.0)
    assert part.length == pytest.approx(36.0)
    for s in (0.0, 3.0, 20.0, 36.0):
        assert_same(part.at(s), bend.at(s + 4.0))


@pytest.mark.parametrize(("first", "last"), [(-1.0, 5.0), (5.0, 5.0), (8.0, 3.0), (0.0, 99.0)])
def test_a_part_that_is_none_is_refused(bend, first, last):
    with pytest.raises(ValueError, match="no part from"):
        bend.part(first, last)


def test_a_parallel_keeps_its_distance_and_its_headings(bend):
    left = bend.beside(3.0)
    assert left.length == pytest.approx(bend.length - 3.0 * math.pi / 2)  # inside of a left quarter
    assert_same(left.end, bend.end.beside(3.0))


def test_walking_back_twice_is_walking_there(bend):
    assert_same(bend.reversed().start, bend.end.turned())
    assert_same(bend.reversed().end, bend.start.turned())
    again = bend.reversed().reversed()
    assert_same(again.at(17.0), bend.at(17.0))


def test_a_rounded_corner_touches_both_legs():
    path, stations = rounded([(0.0, 0.0), (50.0, 0.0), (50.0, 40.0)], 10.0)
    assert [type(piece) for piece in path.pieces] == [Line, Arc, Line]
    assert path.length == pytest.approx(40.0 + 5.0 * math.pi + 30.0)
    assert_same(path.end, Pose(50.0, 40.0, math.pi / 2))
    assert stations == pytest.approx([0.0, 40.0 + 2.5 * math.pi, path.length])


def test_points_in_a_row_make_a_straight_line():
    path, _ = rounded([(0.0, 0.0), (10.0, 0.0), (30.0, 0.0)], 10.0)
    assert all(isinstance(piece, Line) for piece in path.pieces)
    assert path.length == pytest.approx(30.0)


def test_a_leg_too_short_for_its_curves_is_told_with_the_metres_that_lack():
    with pytest.raises(ValueError, match=r"5\.00 m too short for curves of 15"):
        rounded([(0.0, 0.0), (10.0, 0.0), (10.0, 40.0)], 15.0)


def test_a_profile_of_two_heights_is_the_ramp_between_them():
    ((start, cubic),) = smooth_profile((0.0, 80.0), (2.0, 5.0))
    assert start == 0.0
    assert cubic == pytest.approx(ramp(2.0, 5.0, 80.0))


def test_a_profile_meets_its_heights_without_kinks_and_never_leaves_their_range():
    stations, heights = (0.0, 30.0, 70.0, 100.0), (0.0, 6.0, 6.0, 2.0)
    pieces = smooth_profile(stations, heights)
    samples = [value_of(c, s) for (_, c), run in zip(pieces, (30, 40, 30), strict=True) for s in range(run + 1)]
    assert (min(samples), max(samples)) == pytest.approx((0.0, 6.0))
    for (s0, cubic), (s1, following) in zip(pieces[:-1], pieces[1:], strict=True):
        run = s1 - s0
        assert value_of(cubic, run) == pytest.approx(following[0])
        assert cubic[1] + 2 * cubic[2] * run + 3 * cubic[3] * run**2 == pytest.approx(following[1], abs=1e-12)


def test_a_street_lies_mirrored_on_both_sides():
    lanes = street(2, parking=True, bicycles=True)
    assert [lanes[i].type for i in range(-1, -7, -1)] == [
        "driving",
        "driving",
        "biking",
        "parking",
        "shoulder",
        "sidewalk",
    ]
    assert all(lanes[i] == lanes[-i] for i in range(1, 7))


def crossing(control: str, **more: object) -> tuple[Network, dict]:
    nodes = CROSS | {"M": Node(0.0, 0.0, control=control, **more)}
    streets = [Street("M", name, street(1)) for name in "ENW"]
    network = Network("cross")
    _, meetings = plan.add_streets(network, nodes, streets)
    plan.add_nodes(network, {"M": nodes["M"]}, meetings)
    return network, meetings


def signs(network: Network) -> dict[str, list[str]]:
    """Names of the streets by kind of sign."""
    found: dict[str, list[str]] = {}
    for road in network.roads:
        for signal in road.signals:
            found.setdefault(signal.type, []).append(road.name)
    return found


def test_a_stem_stops_and_the_through_road_does_not():
    assert signs(crossing("stop")[0]) == {STOP: ["M to N"]}
    assert signs(crossing("yield")[0]) == {YIELD: ["M to N"]}
    assert signs(crossing("stop", minor=("E",))[0]) == {STOP: ["M to E"]}
    assert signs(crossing("all_way_stop")[0]) == {STOP: ["M to E", "M to N", "M to W"]}
    assert signs(crossing("plain")[0]) == {}


def test_opposite_arms_have_green_together():
    network, _ = crossing("lights")
    (junction,) = network.junctions
    assert [len(network.controllers[i]) for i in junction.controllers] == [2, 1]
    assert sorted(signs(network)[LIGHT]) == ["M to E", "M to N", "M to W"]
    assert all(len(road.crosswalks) == 1 for road in network.roads if road.junction < 0)
    assert all(len(road.references) == 1 for road in network.roads if road.junction >= 0)


def test_a_post_stands_beyond_parking_and_bicycle_lanes():
    network = Network("post")
    road = network.add_road("street", Pose(0.0, 0.0, 0.0), [Line(50.0)], street(1, parking=True, bicycles=True))
    network.add_signal((road, "end"), STOP)
    network.add_signal((road, "start"), STOP)
    t = LANE_M + BICYCLE_M + PARKING_M + 1.0
    assert [signal.t for signal in road.signals] == pytest.approx([-t, t])


def test_bicycles_go_straight_on_through_a_junction_on_a_lane_of_their_own():
    network = Network("bicycles")
    west = network.add_road("west", Pose(-60.0, 0.0, 0.0), [Line(50.0)], street(1, bicycles=True))
    east = network.add_road("east", Pose(10.0, 0.0, 0.0), [Line(50.0)], street(1, bicycles=True))
    junction = network.add_junction("node", [(west, "end"), (east, "start")])
    kinds = sorted(road.lanes[-1].type for _, _, road in junction.connections)
    assert kinds == ["biking", "biking", "driving", "driving"]


def test_a_lane_junction_has_exactly_the_movements_that_it_was_given():
    network = Network("merge")
    wide = network.add_road("three", Pose(0.0, 0.0, 0.0), [Line(100.0)], carriageway(3))
    narrow = network.add_road("two", Pose(170.0, 0.0, 0.0), [Line(100.0)], carriageway(2))
    wide.speed_kmh, narrow.speed_kmh = 90.0, 60.0
    pairs = [((wide, "end"), lane, (narrow, "start"), max(lane, -2)) for lane in (-1, -2, -3)]
    junction = network.add_lanes_junction("drop", pairs)
    assert [(lane, road.lane_links[-1]) for _, lane, road in junction.connections] == [
        (-1, (-1, -1)),
        (-2, (-2, -2)),
        (-3, (-3, -2)),
    ]
    assert {road.speed_kmh for _, _, road in junction.connections} == {60.0}
    network.add_signal((wide, "end"), YIELD, lanes=(-3,))
    assert wide.signals[0].lanes == (-3, -3)


def test_a_limit_is_told_behind_a_node_where_limits_differ_to_those_who_leave_it():
    nodes = {"A": Node(0.0, 0.0), "B": Node(200.0, 0.0), "C": Node(200.0, 200.0)}
    streets = [Street("A", "B", street(1), speed_kmh=50.0), Street("B", "C", street(1), speed_kmh=30.0)]
    network = plan.build("limits", {"B": nodes["B"]} | nodes, streets)
    told = {(road.name, s.orientation): (s.value, s.s) for road in network.roads for s in road.signals}
    length = network.roads[0].length
    assert told == {("A to B", "-"): (50.0, pytest.approx(length - 15.0)), ("B to C", "+"): (30.0, pytest.approx(15.0))}
    assert {signal.type for road in network.roads for signal in road.signals} == {SPEED_LIMIT}


def test_nobody_arrives_by_a_road_that_only_leads_away():
    network = Network("one way")
    road = network.add_road("ramp", Pose(0.0, 0.0, 0.0), [Line(50.0)], slip_road())
    assert plan.Meeting((road, "end"), math.pi, "ramp").arrives
    assert not plan.Meeting((road, "start"), 0.0, "ramp").arrives


def test_the_text_tells_kind_limit_and_every_piece_of_the_profile():
    network = Network("text")
    road = network.add_road("hill", Pose(0.0, 0.0, 0.0), [Line(100.0)], street(1))
    road.elevation, road.speed_kmh, road.kind = smooth_profile((0.0, 40.0, 100.0), (0.0, 4.0, 0.0)), 70.0, "rural"
    root = ET.fromstring(to_xml(network))
    assert root.find("road/type").get("type") == "rural"
    assert root.find("road/type/speed").get("max") == "70"
    assert [float(x.get("s")) for x in root.iter("elevation")] == [0.0, 40.0]
    assert [float(x.get("a")) for x in root.iter("elevation")] == [0.0, 4.0]
