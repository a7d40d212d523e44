"""The reference planner: speeds along a path, leaders, the choice among proposals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.scoring.pdm import idm, prepare, reference
from autovla_core.scoring.pdm.starting_lane import starting_lane
from autovla_core.scoring.pdm_types import AreaKind, MapArea, ScoringError, TrackKind, Version


def planned(scene, version=Version.V1):
    prepared = prepare(scene, version)
    return reference.closed_loop_reference(scene, prepared.around)


def speeds(poses):
    return np.hypot(*np.diff(poses[:, :2], axis=0).T) / 0.1


def test_idm_keeps_the_wanted_speed_on_a_free_road_but_for_the_gap_term():
    # v = target: 1 - 1 - (s*/s)^2 with s* = 1 + 10*1.5 + 10*10/(2 sqrt(4.5)) = 39.57 and s = 1000
    further, faster = idm.step(np.zeros(1), np.full(1, 10.0), np.full(1, 10.0), np.array([[1000.0, 0.0, 0.0]]))
    wanted = 16.0 + 100.0 / (2 * np.sqrt(4.5))
    assert further[0] == 1.0  # Euler with the old speed
    assert faster[0] == pytest.approx(10.0 - 0.1 * 1.5 * (wanted / 1000.0) ** 2)


def test_idm_is_bounded_on_both_sides():
    lead = np.array([[5.0, 0.0, 0.0], [1000.0, 0.0, 0.0]])
    _, faster = idm.step(np.zeros(2), np.array([10.0, 0.0]), np.full(2, 10.0), lead)
    assert faster[0] == pytest.approx(10.0 - 0.3)  # -3 m/s2
    assert 0.0 < faster[1] <= 0.15  # 1.5 m/s2


def test_every_proposal_brakes_in_the_first_step(pdm):
    # the leader is looked for at even steps: at step 1 there is a phantom at the start of the path
    poses = planned(pdm.scene(8.0, reference=None))
    assert speeds(poses)[0] == pytest.approx(8.0)
    assert speeds(poses)[1] == pytest.approx(8.0 - 0.3)


def test_on_a_free_road_the_fastest_proposal_on_the_centreline_wins(pdm):
    poses = planned(pdm.scene(8.0, reference=None))
    assert len(poses) == 51
    assert np.abs(poses[:, 1]).max() < 1e-9
    assert 9.0 < speeds(poses)[-1] < 10.0  # the limit of the lane is 10


def test_without_a_limit_15_m_s_are_wanted(pdm):
    open_road = tuple(dataclasses.replace(area, speed_limit=None) for area in pdm.road())
    fast = planned(pdm.scene(12.0, reference=None, areas=open_road))
    assert speeds(fast)[-1] > 12.5


def test_it_does_not_reach_a_parked_car(pdm):
    poses = planned(pdm.scene(8.0, reference=None, tracks=(pdm.parked(40.0),)))
    assert poses[-1, 0] + 4.049 < 40.0 - 2.3
    assert poses[-1, 0] > 10.0


@pytest.mark.parametrize("version", Version)
def test_it_does_not_reach_a_red_light_on_the_route(pdm, version):
    turn = MapArea("turn", AreaKind.LANE_CONNECTOR, pdm.box(40.0, 50.0, -1.75, 1.75), pdm.line(0.0, 40.0, 50.0))
    areas = (*pdm.road(), turn)
    lit = {"areas": areas, "red_lights": {"turn": np.array([True])}, "reference": None}
    stopped = planned(pdm.scene(8.0, route_lane_ids=("route", "turn"), **lit), version)
    assert stopped[-1, 0] + 4.049 < 40.0
    foreign = planned(pdm.scene(8.0, **lit), version)
    assert foreign[-1, 0] + 4.049 > 40.0


def test_a_leader_is_foreseen_at_constant_velocity_whatever_it_does(pdm):
    # it goes on at 6 m/s in the forecast, though the log has it stop after half a second
    stops = pdm.track([(20.0, 0.0, 0.0, 6.0, 0.0)] + [(23.0, 0.0, 0.0, 0.0, 0.0)] * 10)
    goes = pdm.moving(20.0, 0.0, 0.0, 6.0)
    same = [planned(pdm.scene(8.0, reference=None, tracks=(track,))) for track in (stops, goes)]
    assert same[0] == pytest.approx(same[1])


def test_what_overlaps_us_now_or_is_not_seen_now_or_is_far_leads_nobody(pdm):
    free = planned(pdm.scene(8.0, reference=None))
    later = pdm.track([None] + [(30.0, 0.0, 0.0, 0.0, 0.0)] * 10)
    for track in (pdm.parked(6.0), later, pdm.parked(110.0)):
        forecast = reference._forecast(pdm.scene(8.0, reference=None, tracks=(track,)))
        assert not forecast.counts.any()
    assert planned(pdm.scene(8.0, reference=None, tracks=(later,))) == pytest.approx(free)


def test_a_car_that_goes_backwards_is_foreseen_backwards(pdm):
    back = pdm.track([(20.0, 0.0, 0.0, -5.0, 0.0)] * 11)
    forecast = reference._forecast(pdm.scene(8.0, reference=None, tracks=(back,)))
    assert forecast.centroids[5, 0] == pytest.approx([15.0, 0.0])  # after 1 s


def test_the_nearest_fifty_cars_count(pdm):
    cars = tuple(pdm.parked(20.0 + i, y=30.0, name=str(i)) for i in range(60))
    cones = tuple(pdm.parked(20.0, y=-30.0, kind=TrackKind.TRAFFIC_CONE, name=f"cone {i}") for i in range(60))
    names = [track.id for track in reference._nearest(pdm.scene(8.0, reference=None, tracks=cars + cones))]
    assert len(names) == 100 and "49" in names and "50" not in names


def test_the_record_of_the_leader_leaks_from_proposal_to_proposal(pdm):
    # the first has a car at 6 m/s ahead; the second has passed it, and its free road keeps the 6 m/s
    scene = pdm.scene(8.0, reference=None, tracks=(pdm.moving(20.0, 0.0, 0.0, 6.0),))
    path, forecast = reference._path(scene, 0.0, 10.0), reference._forecast(scene)
    poses = np.array([[0.0, 0.0, 0.0], [40.0, 0.0, 0.0]])
    leaders = reference._leaders(poses, np.array([50.0, 90.0]), path, scene, forecast, 0)
    gap = 20.0 - 2.3 - 4.049
    assert leaders[0] == pytest.approx([50.0 + gap, 6.0, 0.0])
    assert leaders[1] == pytest.approx([350.0, 6.0, 2.588])  # else its speed would be 0
    alone = reference._leaders(poses[1:], np.array([90.0]), path, scene, forecast, 0)
    assert alone[0] == pytest.approx([350.0, 0.0, 2.588])


def test_paths_lie_a_metre_to_each_side(pdm):
    scene = pdm.scene(8.0, reference=None)
    assert [reference._path(scene, offset, 10.0).poses[0, 1] for offset in (0.0, -1.0, 1.0)] == [0.0, -1.0, 1.0]


def test_at_the_end_of_the_route_there_is_still_a_reference(pdm):
    for length in (0.4, -3.0):
        short = pdm.line(0.0, -50.0, 0.0)
        short[-1, 0] = length if length > 0 else 0.0
        scene = pdm.scene(8.0, reference=None, centerline=short)
        assert np.isfinite(planned(scene)).all()


def test_the_starting_lane_points_as_the_ego_does(pdm):
    crossing = MapArea("crossing", AreaKind.LANE_CONNECTOR, pdm.box(-5, 5, -5, 5), pdm.line() @ np.diag([0, 1, 0]))
    turned = dataclasses.replace(crossing, baseline=crossing.baseline + [0.0, 0.0, 1.5], speed_limit=3.0)
    scene = pdm.scene(8.0, areas=(turned, *pdm.road()), route_lane_ids=("crossing", "route"))
    assert starting_lane(scene).id == "route"


def test_off_the_route_the_nearest_lane_of_it_is_the_start(pdm):
    scene = pdm.scene(8.0, y=9.0, route_lane_ids=("route", "beside"))
    assert starting_lane(scene).id == "beside"
    with pytest.raises(ScoringError, match="none of the route's lanes"):
        prepare(pdm.scene(8.0, route_lane_ids=("elsewhere",)))
