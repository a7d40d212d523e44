"""Every rule of the sub-scores on a straight road, with the numbers worked out.

The ego's box reaches from 1.127 m behind the rear axle to 4.049 m before it and 1.1485 m to each side.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.geometry import compose, transform_points
from autovla_core.scoring.pdm import contacts, prepare, score
from autovla_core.scoring.pdm.areas import AXLE_IN_INTERSECTION, MULTIPLE_LANES, NON_DRIVABLE
from autovla_core.scoring.pdm_types import AreaKind, EgoState, MapArea, PosePlan, PreviousFrame, TrackKind, Version

BOTH = pytest.mark.parametrize("version", Version)
SIDEWAYS = -np.pi / 2  # heading of one who comes from the left


def scored(scene, plan, version=Version.V1):
    return score(scene, plan, version=version)


# no at-fault collision ------------------------------------------------------------------------------------------------


@BOTH
def test_an_empty_road_costs_nothing(pdm, version):
    found = scored(pdm.scene(10.0), pdm.straight(10.0), version)
    assert found.score[0] == found.no_at_fault_collisions[0] == 1.0
    assert found.collision_time_s[0] == found.ttc_time_s[0] == np.inf


@BOTH
def test_running_into_a_parked_car_is_our_fault(pdm, version):
    # its rear is at 30 - 2.3 = 27.7; the bumper gets there after (27.7 - 4.049) / 10 = 2.365 s
    found = scored(pdm.scene(10.0, tracks=(pdm.parked(30.0),)), pdm.straight(10.0), version)
    assert found.no_at_fault_collisions[0] == found.score[0] == 0.0
    assert found.collision_time_s[0] == pytest.approx(2.4)


@BOTH
def test_a_static_object_costs_half(pdm, version):
    cone = pdm.parked(30.0, kind=TrackKind.TRAFFIC_CONE, length=0.4, width=0.4)
    assert scored(pdm.scene(10.0, tracks=(cone,)), pdm.straight(10.0), version).no_at_fault_collisions[0] == 0.5


@BOTH
def test_a_cone_and_a_car_cost_all(pdm, version):
    cone = pdm.parked(20.0, kind=TrackKind.TRAFFIC_CONE, length=0.4, width=0.4, name="cone")
    found = scored(pdm.scene(10.0, tracks=(cone, pdm.parked(35.0))), pdm.straight(10.0), version)
    assert found.no_at_fault_collisions[0] == 0.0


@BOTH
def test_who_stands_is_never_at_fault(pdm, version):
    ram = pdm.moving(-20.0, 0.0, 0.0, 10.0)
    assert scored(pdm.scene(0.0, tracks=(ram,)), pdm.straight(0.0), version).no_at_fault_collisions[0] == 1.0


@BOTH
def test_being_hit_from_behind_is_not_our_fault(pdm, version):
    ram = pdm.moving(-15.0, 0.0, 0.0, 20.0)
    assert scored(pdm.scene(10.0, tracks=(ram,)), pdm.straight(10.0), version).no_at_fault_collisions[0] == 1.0


@BOTH
def test_running_into_a_slower_car_is_our_fault(pdm, version):
    slow = pdm.moving(15.0, 0.0, 0.0, 2.0)
    found = scored(pdm.scene(10.0, tracks=(slow,)), pdm.straight(10.0), version)
    # 15 - 2.3 - 4.049 = 8.651 m at 8 m/s: 1.08 s
    assert found.no_at_fault_collisions[0] == 0.0 and found.collision_time_s[0] == pytest.approx(1.1)


def side_hit(pdm, y):
    """A car that drives beside us from the left into our side, its middle 1.4 m ahead of the rear axle at contact."""
    times = 0.5 * np.arange(11)
    return pdm.track([(1.4 + 10.0 * t, y + 4.0 - 2.0 * t, 0.0, 10.0, -2.0) for t in times])


@BOTH
def test_a_hit_in_the_side_is_ours_only_while_we_are_between_lanes(pdm, version):
    in_lane = scored(pdm.scene(10.0, tracks=(side_hit(pdm, 0.0),)), pdm.straight(10.0), version)
    assert in_lane.no_at_fault_collisions[0] == 1.0
    between = scored(pdm.scene(10.0, y=1.0, tracks=(side_hit(pdm, 1.0),)), pdm.straight(10.0), version)
    assert between.no_at_fault_collisions[0] == 0.0


@BOTH
def test_who_hit_us_without_our_fault_is_ignored_from_then_on(pdm, version):
    # touches our rear while we drive, then stands in our way
    states = [(-4.0 + 12.0 * t, 0.0, 0.0, 12.0, 0.0) for t in (0.0, 0.5, 1.0, 1.5)] + [(45.0, 0.0, 0.0, 0.0, 0.0)] * 7
    passing = pdm.track(states)
    assert scored(pdm.scene(10.0, tracks=(passing,)), pdm.straight(10.0), version).no_at_fault_collisions[0] == 1.0


@BOTH
def test_whether_a_car_stands_is_decided_at_its_first_sighting(pdm, version):
    # it rams us from behind at 20 m/s, but stood at first: a fault of ours
    states = np.array([(-15.0 + 20.0 * t, 0.0, 0.0, 20.0, 0.0) for t in 0.5 * np.arange(11)])
    states[0, 3] = 0.05
    assert scored(pdm.scene(10.0, tracks=(pdm.track(states),)), pdm.straight(10.0), version).score[0] == 0.0
    states[0, 3] = 0.051
    again = scored(pdm.scene(10.0, tracks=(pdm.track(states),)), pdm.straight(10.0), version)
    assert again.no_at_fault_collisions[0] == 1.0


def test_v2_forgets_who_overlaps_us_at_the_start_and_v1_does_not(pdm):
    inside = pdm.scene(10.0, tracks=(pdm.parked(6.0),))  # its rear at 3.7 < 4.049
    assert scored(inside, pdm.straight(10.0), Version.V1).no_at_fault_collisions[0] == 0.0
    assert scored(inside, pdm.straight(10.0), Version.V2).no_at_fault_collisions[0] == 1.0


@BOTH
def test_a_track_is_there_between_its_sightings_and_not_outside(pdm, version):
    row = (30.0, 0.0, 0.0, 0.0, 0.0)
    bridged = pdm.track([row, None, None, None, None, None, row, row])
    gone = pdm.track([row, row, row, row, row])  # last seen at 2 s, contact would be at 2.4 s
    late = pdm.track([None] * 6 + [row] * 5)  # first seen at 3.0 s, when we are past its rear
    assert scored(pdm.scene(10.0, tracks=(bridged,)), pdm.straight(10.0), version).collision_time_s[0] < 2.5
    assert scored(pdm.scene(10.0, tracks=(gone,)), pdm.straight(10.0), version).no_at_fault_collisions[0] == 1.0
    found = scored(pdm.scene(10.0, tracks=(late,)), pdm.straight(10.0), version)
    assert found.collision_time_s[0] == pytest.approx(3.0)


@BOTH
def test_a_track_seen_once_stands_there_all_the_time(pdm, version):
    once = pdm.track([None, (30.0, 0.0, 0.0, 0.0, 0.0)] + [None] * 9)
    assert scored(pdm.scene(10.0, tracks=(once,)), pdm.straight(10.0), version).no_at_fault_collisions[0] == 0.0


def test_v2_knows_nothing_after_four_seconds_and_v1_a_second_more(pdm):
    late = pdm.track([None] * 9 + [(46.0, 0.0, 0.0, 0.0, 0.0)] * 2)  # seen at 4.5 and 5 s only
    # bumper at 4 s: 44.049; 0.9 s on it would reach the rear at 43.7
    assert scored(pdm.scene(10.0, tracks=(late,)), pdm.straight(10.0)).time_to_collision_within_bound[0] == 0.0
    found = scored(pdm.scene(10.0, tracks=(late,)), pdm.straight(10.0), Version.V2)
    assert found.time_to_collision_within_bound[0] == 1.0


def test_boxes_that_touch_collide():
    a = np.array([[2.0, 1.0], [0.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    assert contacts._touch(a, a + [2.0, 0.0]) and contacts._touch(a, a + [2.0, 1.0])
    assert not contacts._touch(a, a + [2.0 + 1e-9, 0.0])


def test_the_bumper_is_the_line_between_the_front_corners():
    box = np.array([[4.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [4.0, -1.0]])
    other = np.array([[1.0, 0.5], [0.0, 0.5], [0.0, -0.5], [1.0, -0.5]])
    assert contacts._bumper_touches(box, other + [4.0, 0.0])
    assert not contacts._bumper_touches(box, other + [2.9, 0.0])  # inside the box, behind the bumper


# time to collision ----------------------------------------------------------------------------------------------------


def test_time_to_collision_looks_0_9_s_ahead(pdm):
    # a gap of 5 m at the end; 0.9 s reach it from 3.6 s on (4.049 + 36 + 9 = 49.049 >= 49.0), V2 stops looking at 3.1 s
    scene = pdm.scene(10.0, tracks=(pdm.parked(51.3),))
    found = scored(scene, pdm.straight(10.0))
    assert found.no_at_fault_collisions[0] == 1.0 and found.time_to_collision_within_bound[0] == 0.0
    assert found.ttc_time_s[0] == pytest.approx(3.6)
    assert scored(scene, pdm.straight(10.0), Version.V2).time_to_collision_within_bound[0] == 1.0
    far = pdm.scene(10.0, tracks=(pdm.parked(56.0),))  # rear at 53.7, reach at the end 53.049
    assert scored(far, pdm.straight(10.0)).time_to_collision_within_bound[0] == 1.0


@BOTH
def test_a_leader_that_moves_on_is_no_threat(pdm, version):
    found = scored(pdm.scene(10.0, tracks=(pdm.moving(8.0, 0.0, 0.0, 10.0),)), pdm.straight(10.0), version)
    assert found.time_to_collision_within_bound[0] == 1.0


@BOTH
def test_who_stands_threatens_nobody(pdm, version):
    found = scored(pdm.scene(0.0, tracks=(pdm.moving(10.0, 0.0, np.pi, 5.0),)), pdm.straight(0.0), version)
    assert found.time_to_collision_within_bound[0] == 1.0


@pytest.mark.parametrize(
    ("bearing_deg", "bits", "threat"),
    [
        (29.0, 0, True),
        (31.0, 0, False),
        (31.0, MULTIPLE_LANES, True),
        (31.0, NON_DRIVABLE, True),
        (149.0, AXLE_IN_INTERSECTION, True),
        (151.0, AXLE_IN_INTERSECTION, False),
    ],
)
def test_a_predicted_contact_counts_by_where_the_other_is(bearing_deg, bits, threat):
    center = 8.0 * np.array([np.cos(np.radians(bearing_deg)), np.sin(np.radians(bearing_deg))])
    box = center + np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    assert contacts._threatened(np.zeros(11), box, bits) == threat


@BOTH
def test_a_harmless_predicted_contact_is_ignored_for_good(pdm, version):
    # at 0.3 s its middle is at (1.5, 2.0): in our predicted side, 53 degrees to the left; later it stands in our way
    later = [(30.0, 0.0, 0.0, 1.0, 0.0)] * 9
    beside = pdm.track([(1.5, 2.6, 0.0, 1.0, 0.0), (1.5, 1.6, 0.0, 1.0, 0.0), *later])
    found = scored(pdm.scene(10.0, tracks=(beside,)), pdm.straight(10.0), version)
    assert found.time_to_collision_within_bound[0] == found.no_at_fault_collisions[0] == 1.0
    alone = scored(pdm.scene(10.0, tracks=(pdm.track([None, None, *later]),)), pdm.straight(10.0), version)
    assert alone.time_to_collision_within_bound[0] == alone.no_at_fault_collisions[0] == 0.0


# areas ----------------------------------------------------------------------------------------------------------------


@BOTH
def test_one_corner_off_the_road_at_any_time_is_non_compliance(pdm, version):
    # the road ends 1.75 m to the right: the corners leave it when the axle is 0.6015 m off
    assert scored(pdm.scene(10.0, y=-0.60), pdm.straight(10.0), version).drivable_area_compliance[0] == 1.0
    found = scored(pdm.scene(10.0, y=-0.61), pdm.straight(10.0), version)
    assert found.drivable_area_compliance[0] == 0.0 == found.score[0]
    swerve = pdm.straight(10.0)
    swerve[3:5, 1] = -1.0
    assert scored(pdm.scene(10.0), swerve, version).drivable_area_compliance[0] == 0.0


@BOTH
@pytest.mark.parametrize("kind", [AreaKind.INTERSECTION, AreaKind.CARPARK_AREA, AreaKind.DRIVABLE_AREA])
def test_other_surfaces_are_drivable_too_and_lanes_alone_are_not(pdm, version, kind):
    lanes = tuple(area for area in pdm.road() if area.kind is AreaKind.LANE)
    lanes += (MapArea("link", AreaKind.ROADBLOCK_CONNECTOR, pdm.box(-50.0, 300.0, -1.75, 5.25)),)
    surface = MapArea("more", kind, pdm.box(-50.0, 300.0, -1.75, 5.25))
    bare = pdm.scene(10.0, areas=lanes)
    assert scored(bare, pdm.straight(10.0), version).drivable_area_compliance[0] == 0.0
    covered = dataclasses.replace(bare, areas=(*lanes, surface))
    assert scored(covered, pdm.straight(10.0), version).drivable_area_compliance[0] == 1.0


def test_a_corner_on_an_edge_or_in_a_hole_is_outside(pdm):
    surface = pdm.road()[2]
    narrow = dataclasses.replace(surface, polygon=pdm.box(-50.0, 300.0, -1.1485, 5.25))
    hole = dataclasses.replace(surface, holes=(pdm.box(20.0, 22.0, -1.6, -1.0),))
    for changed in (narrow, hole):
        scene = pdm.scene(10.0, areas=(*pdm.road()[:2], changed))
        assert scored(scene, pdm.straight(10.0)).drivable_area_compliance[0] == 0.0


@pytest.mark.parametrize(("speed", "expected"), [(1.0, 1.0), (3.0, 0.5), (6.0, 0.0)])
@BOTH
def test_driving_off_the_route_costs_by_the_metres_of_a_second(pdm, version, speed, expected):
    # eleven steps of speed * 0.1: 1.1, 3.3 and 6.6 m against 2 and 6 m
    found = scored(pdm.scene(speed, y=3.5), pdm.straight(speed), version)
    assert found.driving_direction_compliance[0] == expected


def test_v1_reports_the_direction_and_gives_it_no_weight(pdm):
    found = scored(pdm.scene(10.0, y=3.5), pdm.straight(10.0))
    assert found.driving_direction_compliance[0] == 0.0 and found.score[0] == 1.0
    assert scored(pdm.scene(10.0, y=3.5), pdm.straight(10.0), Version.V2).score[0] == 0.0


def test_v2_forgives_the_direction_inside_an_intersection(pdm):
    junction = MapArea("junction", AreaKind.INTERSECTION, pdm.box(-50.0, 300.0, -1.75, 5.25))
    scene = pdm.scene(10.0, y=3.5, areas=(*pdm.road(), junction))
    assert scored(scene, pdm.straight(10.0), Version.V2).driving_direction_compliance[0] == 1.0
    assert scored(scene, pdm.straight(10.0), Version.V1).driving_direction_compliance[0] == 0.0


# lights and lanes -----------------------------------------------------------------------------------------------------


def lit(pdm, states, route=("route", "turn")):
    """A connector from x = 20 on whose light has ``states`` every half second; the bumper is there after 1.6 s."""
    connector = MapArea("turn", AreaKind.LANE_CONNECTOR, pdm.box(20.0, 30.0, -1.75, 1.75), pdm.line(0.0, 20.0, 30.0))
    return pdm.scene(
        10.0, areas=(*pdm.road(), connector), route_lane_ids=route, red_lights={"turn": np.array(states, bool)}
    )


@pytest.mark.parametrize(
    ("states", "expected"), [([1, 1, 1, 0, 0, 0, 0, 0, 0], 1.0), ([1, 1, 1, 1, 0, 0, 0, 0, 0], 0.0), ([1], 0.0)]
)
def test_touching_a_connector_while_it_is_red_is_a_violation(pdm, states, expected):
    assert scored(lit(pdm, states), pdm.straight(10.0), Version.V2).traffic_light_compliance[0] == expected


def test_lights_of_other_routes_do_not_count_and_v1_has_no_lights(pdm):
    other = lit(pdm, [1], route=("route",))
    assert scored(other, pdm.straight(10.0), Version.V2).traffic_light_compliance[0] == 1.0
    assert np.isnan(scored(lit(pdm, [1]), pdm.straight(10.0)).traffic_light_compliance[0])


def test_standing_on_a_red_connector_from_the_start_is_a_violation(pdm):
    scene = lit(pdm, [1])
    ego = dataclasses.replace(scene.ego, pose=np.array([24.0, 0.0, 0.0]), vx=0.0)
    found = scored(dataclasses.replace(scene, ego=ego), pdm.straight(0.0), Version.V2)
    assert found.traffic_light_compliance[0] == 0.0


@pytest.mark.parametrize(("offset", "expected"), [(0.45, 1.0), (0.55, 0.0), (-0.55, 0.0)])
def test_lane_keeping_fails_half_a_metre_off_the_centreline(pdm, offset, expected):
    found = scored(pdm.scene(10.0, y=offset), pdm.straight(10.0), Version.V2)
    assert found.lane_keeping[0] == expected
    assert np.isnan(scored(pdm.scene(10.0, y=offset), pdm.straight(10.0)).lane_keeping[0])


@pytest.mark.parametrize(("junction_from", "expected"), [(18.0, 1.0), (22.0, 0.0)])
def test_lane_keeping_skips_states_in_an_intersection_without_starting_anew(pdm, junction_from, expected):
    # 0.55 m off throughout; centre at 1.461 + t, in steps of 1 m. A junction of 10 m: 17 states before it and 14 after
    # it are 31 without a reset (0); a junction to the end leaves 17 (1) or 21 (0) before it
    junction = MapArea("junction", AreaKind.INTERSECTION, pdm.box(junction_from, 300.0, -1.75, 5.25))
    scene = pdm.scene(10.0, y=0.55, areas=(*pdm.road(), junction))
    assert scored(scene, pdm.straight(10.0), Version.V2).lane_keeping[0] == expected
    short = dataclasses.replace(junction, polygon=pdm.box(18.0, 28.0, -1.75, 5.25))
    split = dataclasses.replace(scene, areas=(*pdm.road(), short))
    assert scored(split, pdm.straight(10.0), Version.V2).lane_keeping[0] == 0.0


def test_a_swerve_shorter_than_two_seconds_keeps_the_lane(pdm):
    away = pdm.straight(10.0)
    away[1:3, 1] = 0.8
    assert scored(pdm.scene(10.0), away, Version.V2).lane_keeping[0] == 1.0


# progress -------------------------------------------------------------------------------------------------------------


@BOTH
def test_progress_is_a_share_of_the_reference(pdm, version):
    # 20 m of a reference that keeps 10 m/s for 4 s; a plan of 5 m/s begins at 10 m/s too, so take its own metres
    found = scored(pdm.scene(10.0), np.stack([pdm.straight(10.0), pdm.straight(5.0)]), version)
    assert found.progress_m[0] == pytest.approx(40.0) == found.reference_progress_m
    assert found.ego_progress == pytest.approx([1.0, found.progress_m[1] / 40.0])


@BOTH
def test_who_beats_the_reference_gets_one_and_not_more(pdm, version):
    scene = pdm.scene(10.0, reference_speed=5.0)
    assert scored(scene, pdm.straight(10.0), version).ego_progress[0] == 1.0


@BOTH
def test_below_five_metres_nobody_is_asked_for_progress(pdm, version):
    assert scored(pdm.scene(1.0), pdm.straight(0.0), version).ego_progress[0] == 1.0  # the reference makes 4 m
    assert scored(pdm.scene(1.3), pdm.straight(0.0), version).ego_progress[0] < 0.5  # 5.2 m


def test_a_plan_with_a_fault_makes_no_progress_in_v1_and_its_own_in_v2(pdm):
    # 40 m into the parked car against a reference of some 22 m that stays clear of it
    scene = pdm.scene(10.0, reference_speed=5.0, tracks=(pdm.parked(42.0),))
    assert scored(scene, pdm.straight(10.0)).no_at_fault_collisions[0] == 0.0
    assert scored(scene, pdm.straight(10.0)).ego_progress[0] == 0.0
    assert scored(scene, pdm.straight(10.0), Version.V2).ego_progress[0] == 1.0


@BOTH
def test_a_reference_with_a_fault_is_no_measure(pdm, version):
    # the reference runs into the parked car: its 40 m count nothing and the slow plan is its own best
    scene = pdm.scene(10.0, tracks=(pdm.parked(42.0),))
    plan = np.stack([np.minimum(5.0 * np.arange(1, 11), 25.0), np.zeros(10), np.zeros(10)], -1)
    found = scored(scene, plan, version)
    assert found.no_at_fault_collisions[0] == 1.0 and found.ego_progress[0] == 1.0


def test_driving_backwards_is_no_progress(pdm):
    assert scored(pdm.scene(-2.0, reference_speed=5.0), pdm.straight(-2.0)).progress_m[0] == 0.0


def test_progress_is_measured_to_the_end_and_not_on_the_way(pdm):
    # out and back: only where the centre is after 4 s counts
    there = np.stack([[2, 4, 6, 8, 8, 6, 4, 2, 2, 2], np.zeros(10), np.zeros(10)], -1).astype(float)
    found = scored(pdm.scene(4.0, reference_speed=10.0), there)
    assert found.progress_m[0] == pytest.approx(found.states[0, -1, 0] - found.states[0, 0, 0])


# weighing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "expected"), [(Version.V1, 7.0 / 12.0), (Version.V2, 9.0 / 14.0)])
def test_a_standing_car_scores_more_than_half(pdm, version, expected):
    # progress 0 of a reference that makes more than 5 m; all else is perfect: (5 + 2) / 12 and (5 + 2 + 2) / 14
    found = scored(pdm.scene(0.0, reference_speed=10.0), pdm.straight(0.0), version)
    assert found.reference_progress_m > 5.0
    assert found.score[0] == pytest.approx(expected, abs=1e-9)


@BOTH
def test_a_crawling_car_scores_hardly_more(pdm, version):
    # 1 m/s makes 4 m
    found = scored(pdm.scene(1.0, reference_speed=10.0), pdm.straight(1.0), version)
    share = 4.0 / found.reference_progress_m
    expected = (5 * share + 7) / 12 if version is Version.V1 else (5 * share + 9) / 14
    assert found.score[0] == pytest.approx(expected, abs=1e-9) and share < 0.25


def test_the_extended_comfort_term_comes_and_goes_with_the_previous_frame(pdm):
    before = EgoState(np.array([-5.0, 0.0, 0.0]), 10.0)
    same = pdm.scene(10.0, previous=PreviousFrame(before, PosePlan(pdm.straight(10.0))))
    other = pdm.scene(10.0, previous=PreviousFrame(before, PosePlan(pdm.straight(2.0))))
    assert scored(same, pdm.straight(10.0), Version.V2).score[0] == pytest.approx(1.0)
    found = scored(other, pdm.straight(10.0), Version.V2)
    assert found.extended_comfort[0] == 0.0 and found.score[0] == pytest.approx(14.0 / 16.0)
    assert found.unfiltered_score[0] == pytest.approx(1.0)
    assert np.isnan(scored(pdm.scene(10.0), pdm.straight(10.0), Version.V2).extended_comfort[0])


def test_what_the_human_got_zero_for_is_held_against_nobody(pdm):
    jam = pdm.scene(10.0, tracks=(pdm.parked(30.0),), human=PosePlan(pdm.straight(10.0, steps=8)))
    found = scored(jam, pdm.straight(10.0), Version.V2)
    assert found.no_at_fault_collisions[0] == found.time_to_collision_within_bound[0] == found.score[0] == 1.0
    assert found.unfiltered_score[0] == 0.0
    assert scored(jam, pdm.straight(10.0), Version.V1).score[0] == 0.0  # V1 has no such filter


def test_half_a_fault_of_the_human_is_not_forgiven(pdm):
    cone = pdm.parked(30.0, kind=TrackKind.TRAFFIC_CONE, length=0.4, width=0.4)
    scene = pdm.scene(10.0, tracks=(cone,), human=PosePlan(pdm.straight(10.0, steps=8)))
    assert scored(scene, pdm.straight(10.0), Version.V2).no_at_fault_collisions[0] == 0.5


# the whole ------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_batch_gives_what_each_plan_gives_alone(pdm, version):
    rng = np.random.default_rng(1)
    plans = pdm.straight(10.0) * rng.uniform(0.5, 1.2, (16, 1, 1)) + rng.normal(0.0, 0.1, (16, 10, 3)) * [1, 1, 0.05]
    prepared = prepare(pdm.scene(10.0, tracks=(pdm.parked(45.0), pdm.moving(10.0, 3.5, 0.0, 8.0, name="b"))), version)
    together = score(prepared, plans)
    for i, plan in enumerate(plans):
        assert score(prepared, plan).score[0] == pytest.approx(together.score[i], abs=1e-12)


@BOTH
def test_where_the_world_puts_its_origin_does_not_matter(pdm, version):
    scene = pdm.scene(9.0, tracks=(pdm.parked(50.0), pdm.moving(20.0, 3.5, 0.0, 7.0, name="b")), reference=None)
    frame = np.array([300.0, -120.0, 2.2])
    plans = np.stack([pdm.straight(9.0), pdm.straight(7.0), pdm.straight(8.0, y=0.3)])
    here, there = score(scene, plans, version=version), score(moved(scene, frame), plans, version=version)
    assert here.score == pytest.approx(there.score, abs=1e-6)
    assert here.progress_m == pytest.approx(there.progress_m, abs=1e-6)


def moved(scene, frame):
    def shift(track):
        states = track.states.copy()
        states[:, :3] = compose(frame, states[:, :3])
        states[:, 3:] = transform_points(np.array([0.0, 0.0, frame[2]]), states[:, 3:])
        return dataclasses.replace(track, states=states)

    return dataclasses.replace(
        scene,
        ego=dataclasses.replace(scene.ego, pose=compose(frame, scene.ego.pose)),
        centerline=compose(frame, scene.centerline),
        areas=tuple(
            dataclasses.replace(
                area,
                polygon=transform_points(frame, area.polygon),
                baseline=None if area.baseline is None else compose(frame, area.baseline),
            )
            for area in scene.areas
        ),
        tracks=tuple(shift(track) for track in scene.tracks),
    )
