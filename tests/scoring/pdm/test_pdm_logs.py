"""Scenes from route logs: the same road as elsewhere, driven by an expert at 8 m/s and recorded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autovla_core.contracts import Actor, LightState
from autovla_core.logs.truth import PolygonKind, RouteMap, TrackRecorder
from autovla_core.scoring import pdm_logs
from autovla_core.scoring.pdm import score
from autovla_core.scoring.pdm_types import AreaKind, ScoringError, TrackKind, VehicleShape, Version

SHAPE = VehicleShape(1.1, 3.9, 1.0, 2.85)  # the box centre is 1.45 m before the rear axle
SPEED, LEAD_X, FRAMES = 8.0, 40.0, 100


def road_map(pdm, surfaces: bool = True) -> RouteMap:
    kinds = [PolygonKind.LANE, PolygonKind.LANE, PolygonKind.CONNECTOR, PolygonKind.LANE]
    boxes = [
        pdm.box(-50, 300, -1.75, 1.75),
        pdm.box(-50, 300, 1.75, 5.25),
        pdm.box(60, 70, -1.75, 1.75),
        pdm.box(900, 999, -2, 2),
    ]
    if surfaces:
        kinds, boxes = [*kinds, PolygonKind.ROAD], [*boxes, pdm.box(-50, 300, -1.75, 5.25)]
    count = len(kinds)
    return RouteMap(
        np.concatenate(boxes).astype(np.float32),
        np.arange(0, 4 * count + 1, 4, dtype=np.int32),
        np.array(kinds, np.uint8),
        np.zeros((count, 3), np.int32),
        np.isin(np.arange(count), [0, 2]),
        np.full(count, 10.0, np.float32),
        np.where(np.arange(count) == 2, 7, -1).astype(np.int32),
        pdm.line().astype(np.float32),
        np.array([0] + [351] * count, np.int32),
        pdm.line(),
    )


def drive(reverse_light: bool = False):
    """The ego's box centre at 1.45 + 8 t; a parked car in the lane beside, a walker who appears after 3 s."""
    recorder = TrackRecorder(dataclasses.astuple(SHAPE))
    for f in range(FRAMES):
        time = 0.1 * f
        actors = [Actor(3, "vehicle", np.array([LEAD_X, 3.5, 0.0]), 0.0, 4.6, 1.9)]
        if time >= 2.95:
            actors.append(Actor(4, "walker", np.array([200.0, 9.0, 0.0]), 1.0, 0.5, 0.5))
        ego = [1.45 + SPEED * time, 0.0, 0.0, SPEED, 0.0, 0.0, 0.0, 0.0, 0.0]
        light = LightState.RED if (time < 5.05) != reverse_light else LightState.GREEN
        recorder.add(time, ego, actors, {7: light})
    return recorder.finish()


def test_only_frames_with_five_seconds_ahead_can_be_scored(pdm):
    tracks = drive()
    assert pdm_logs.scorable_frames(tracks) == range(50)
    with pytest.raises(ScoringError, match="frame 50 cannot be scored"):
        pdm_logs.scene_at(road_map(pdm), tracks, 50)
    with pytest.raises(ScoringError, match="frame -1"):
        pdm_logs.scene_at(road_map(pdm), tracks, -1)


def test_the_ego_is_moved_to_its_rear_axle(pdm):
    scene = pdm_logs.scene_at(road_map(pdm), drive(), 10)
    assert scene.ego.pose == pytest.approx([8.0, 0.0, 0.0])
    assert scene.ego.vx == SPEED and scene.vehicle == SHAPE


def test_a_turning_car_is_slower_sideways_at_its_axle():
    # yaw rate 0.5: the axle lies 1.45 m back, so vy is 0.725 less and ax 0.25 * 1.45 more
    rows = pdm_logs._axle_rows(np.array([[0, 0, np.pi / 2, 8, 0.725, 0, 0, 0.5, 0.1]], float), SHAPE)
    assert rows[0] == pytest.approx([0, -1.45, np.pi / 2, 8, 0, 0.3625, 0, 0.5, 0.1], abs=1e-12)


def test_the_expert_scores_one_against_itself(pdm):
    for version in Version:
        scene = pdm_logs.scene_at(road_map(pdm), drive(reverse_light=True), 20)
        found = score(scene, scene.reference.poses, 0.1, version)
        assert found.ego_progress[0] == pytest.approx(1.0) and found.progress_m[0] == pytest.approx(32.0)
        assert found.score[0] == pytest.approx(1.0)


def test_tracks_are_sightings_of_the_frames_to_come(pdm):
    scene = pdm_logs.scene_at(road_map(pdm), drive(), 20)
    car, walker = scene.tracks
    assert (car.kind, walker.kind) == (TrackKind.VEHICLE, TrackKind.PEDESTRIAN)
    assert car.states.shape == (11, 5) and (car.states[:, 0] == LEAD_X).all()
    assert np.isnan(walker.states[:2]).all() and np.isfinite(walker.states[2:]).all()  # 2.0 and 2.5 s, from 3.0 s on


def test_a_light_is_red_where_its_connector_is_on_the_route(pdm):
    scene = pdm_logs.scene_at(road_map(pdm), drive(), 40)
    assert scene.route_lane_ids == ("0", "2")
    assert scene.red_lights["2"].tolist() == [True] * 3 + [False] * 8  # 4.0, 4.5 and 5.0 s
    # the bumper is at 32 + 3.9 and reaches 60 after 3 s, when the light is green; from the start it would be red
    assert score(scene, scene.reference.poses, 0.1, Version.V2).traffic_light_compliance[0] == 1.0
    late = pdm_logs.scene_at(road_map(pdm), drive(reverse_light=True), 40)
    assert score(late, late.reference.poses, 0.1, Version.V2).traffic_light_compliance[0] == 0.0


def test_far_areas_are_left_out_and_lanes_stand_in_for_missing_surfaces(pdm):
    scene = pdm_logs.scene_at(road_map(pdm), drive(), 0)
    assert [area.id for area in scene.areas] == ["0", "1", "2", "4"]
    bare = pdm_logs.scene_at(road_map(pdm, surfaces=False), drive(), 0)
    assert sum(area.kind is AreaKind.DRIVABLE_AREA for area in bare.areas) == 2
    assert score(bare, bare.reference.poses, 0.1).drivable_area_compliance[0] == 1.0
    assert len(bare.route_lane_ids) == 2


def test_the_past_is_there_once_1_5_s_are_driven(pdm):
    assert pdm_logs.scene_at(road_map(pdm), drive(), 14).history is None
    history = pdm_logs.scene_at(road_map(pdm), drive(), 15).history
    assert history[:, 0] == pytest.approx([-1.5, -1.0, -0.5])
    assert history[:, 1] == pytest.approx([0.0, 4.0, 8.0])


def test_of_a_route_that_crosses_itself_the_part_that_leads_our_way_is_taken():
    there, back = np.zeros((100, 3)), np.zeros((100, 3))
    there[:, 0] = np.arange(100)
    back[:, 0], back[:, 2] = np.arange(99, -1, -1), np.pi
    line = pdm_logs._centerline(np.concatenate([there, back]), np.array([50.0, 0.0, np.pi]))
    # from 30 m before the place on the way back to the end: x = 80, 79 ... 0
    assert line[:, 0] == pytest.approx(np.arange(80, -1, -1)) and (line[:, 2] == np.pi).all()


def test_plans_of_the_box_centre_become_plans_of_the_axle(pdm):
    assert pdm_logs.axle_plans(pdm.straight(5.0), SHAPE) == pytest.approx(pdm.straight(5.0))
    # turned by 90 degrees on the spot of the centre: the axle goes from behind it to beside it
    turned = pdm_logs.axle_plans(np.array([[0.0, 0.0, np.pi / 2]]), SHAPE)
    assert turned[0] == pytest.approx([1.45, -1.45, np.pi / 2])


def test_what_lies_in_the_past_changes_nothing_but_the_history(pdm):
    tracks = drive()
    ego = tracks.ego.copy()
    ego[:20, 1] = 99.0
    changed = dataclasses.replace(tracks, ego=ego)
    a, b = (pdm_logs.scene_at(road_map(pdm), t, 20) for t in (tracks, changed))
    assert score(a, a.reference.poses, 0.1).score == score(b, b.reference.poses, 0.1).score
