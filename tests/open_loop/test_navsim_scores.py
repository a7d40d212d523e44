"""nuPlan's map, and PDM scores of plans whose numbers are known: standing, straight, too fast, off the road, at red."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from autovla_core.scoring import pdm
from autovla_core.scoring.pdm_types import AreaKind, PdmScene, PosePlan, Version
from tests.open_loop.fixtures import write_navsim as writer
from training.datasets import navsim
from training.datasets.navsim_maps import Maps
from training.datasets.navsim_scenes import Scenes
from training.datasets.sample import DatasetError, Sample

STANDING = np.zeros((8, 3))


def straight(speed: float) -> np.ndarray:
    """(8, 3) along the ego's x axis."""
    return np.column_stack([speed * np.arange(1, 9) / 2.0, np.zeros(8), np.zeros(8)])


@pytest.fixture(scope="module")
def reader(navsim_data: Path) -> navsim.NavsimReader:
    return navsim.open_split(navsim_data, navsim_data / "index", "navmini")


@pytest.fixture(scope="module")
def scene(navsim_data: Path, reader: navsim.NavsimReader) -> PdmScene:
    """Record 3: x = 22 m, 8 m/s, a car 25 m ahead as fast as we are."""
    return Scenes(navsim_data, "navmini")(reader[0])


@pytest.mark.parametrize("in_degrees", [True, False])
def test_map_areas_have_the_sizes_that_were_drawn(in_degrees: bool, tmp_path: Path) -> None:
    writer.write_maps(tmp_path, in_degrees)
    city = Maps(tmp_path)(writer.LOCATION)
    found: dict[tuple[AreaKind, str], float] = {}
    for area in city.areas_near(writer.ORIGIN + [50.0, 0.0], 100.0):
        size = shapely.Polygon(area.polygon, area.holes).area
        found[area.kind, area.id] = size
    assert found[AreaKind.LANE, "101"] == pytest.approx(350.0, rel=1e-4)  # 100 m of 3.5 m
    assert found[AreaKind.LANE_CONNECTOR, "302"] == pytest.approx(105.0, rel=1e-4)  # 30 m of 3.5 m
    assert found[AreaKind.ROADBLOCK, "11"] == pytest.approx(700.0, rel=1e-4)
    assert found[AreaKind.INTERSECTION, "1"] == pytest.approx(1200.0, rel=1e-4)  # 30 m by 40 m
    assert found[AreaKind.CARPARK_AREA, "1"] == pytest.approx(40.0 * 8.5 - 4.0 * 3.0, rel=1e-4)  # less its hole


def test_lanes_are_linked_through_the_junction(navsim_data: Path) -> None:
    city = Maps(navsim_data)(writer.LOCATION)
    assert city.lanes["101"].outgoing == ("301", "303") and city.lanes["302"].outgoing == ("104",)
    assert city.lanes["102"].length == pytest.approx(100.0, abs=1e-3)
    assert city.lanes["101"].speed_limit == 13.4 and city.lanes["106"].speed_limit is None


def test_an_unknown_map_is_named_with_those_that_exist(navsim_data: Path) -> None:
    with pytest.raises(DatasetError, match="unknown map 'atlantis'.*us-ma-boston"):
        Maps(navsim_data)("atlantis")


def test_a_missing_map_says_where_it_should_lie(tmp_path: Path) -> None:
    (writer.write_maps(tmp_path) / writer.LOCATION / "9.0.1817" / "map.gpkg").unlink()
    with pytest.raises(DatasetError, match=r"no map .*9\.0\.1817/map\.gpkg"):
        Maps(tmp_path)(writer.LOCATION)


def test_a_scene_is_in_world_metres(scene: PdmScene) -> None:
    np.testing.assert_allclose(scene.ego.pose[:2], writer.ego(3)[:2] + writer.ORIGIN, atol=1e-6)
    tracks = {track.id: track for track in scene.tracks}
    assert set(tracks) == {"car-ahead", "person", "cone", "car-left"}
    np.testing.assert_allclose(tracks["car-ahead"].states[0, :2] - writer.ORIGIN, [47.0, -1.75], atol=1e-6)
    np.testing.assert_allclose(tracks["car-ahead"].states[0, 3:], [8.0, 0.0], atol=1e-6)
    first_seen = np.isfinite(tracks["car-left"].states[:, 0])
    assert first_seen.tolist() == [False] * 3 + [True] * 7 + [False]  # records 6 ... 12 of 3 ... 13
    assert scene.red_lights["302"].tolist() == [False] * 7 + [True] * 4  # red from record 10


@pytest.mark.parametrize("speed, progress", [(8.0, 0.8), (5.0, 0.5), (10.0, 1.0)])
def test_progress_is_metres_against_those_of_the_reference(scene: PdmScene, speed: float, progress: float) -> None:
    """Both start at the plan's own speed, so the metres are speed times 4 s; v1: (5 progress + 5 + 2) / 12."""
    moving = replace(scene, ego=replace(scene.ego, vx=speed, ax=0.0), tracks=())
    at_ten = replace(scene, ego=replace(scene.ego, vx=10.0, ax=0.0), tracks=(), reference=PosePlan(straight(10.0)))
    ten_m = pdm.prepare(at_ten, Version.V1).reference_m
    found = pdm.score(
        pdm.prepare(replace(moving, reference=PosePlan(straight(speed))), Version.V1), straight(speed)[None]
    )
    assert ten_m == pytest.approx(40.0, abs=0.2)
    assert found.reference_progress_m / ten_m == pytest.approx(progress, abs=0.01)
    assert found.score[0] == pytest.approx(1.0, abs=1e-6)  # as far as its reference


def test_standing_from_a_stand_scores_seven_twelfths(navsim_data: Path, reader: navsim.NavsimReader) -> None:
    """No progress, but no fault: 7 / 12; in v2 9 / 14, with nothing threatening."""
    still = Scenes(navsim_data, "navmini")(reader[0])
    still = replace(still, ego=replace(still.ego, vx=0.0, vy=0.0, ax=0.0, ay=0.0), history=None, human=None)
    for version, points in ((Version.V1, 7 / 12), (Version.V2, 9 / 14)):
        assert pdm.score(pdm.prepare(still, version), STANDING[None]).score[0] == pytest.approx(points, abs=1e-3)


def test_the_terms_make_the_score(reader: navsim.NavsimReader) -> None:
    found = navsim.score(straight(8.0), reader[0])
    weighted = 5 * found["ego_progress"] + 5 * found["time_to_collision_within_bound"] + 2 * found["comfort"]
    assert found["no_at_fault_collisions"] == found["drivable_area_compliance"] == 1.0
    assert found["score"] == pytest.approx(weighted / 12)
    assert 0.85 < found["ego_progress"] < 1.0  # the reference may speed up to the limit behind the car ahead


def test_braking_hard_costs_the_comfort(reader: navsim.NavsimReader) -> None:
    found = navsim.score(STANDING, reader[0])  # from 8 m/s
    assert found["comfort"] == 0.0 and found["no_at_fault_collisions"] == 1.0
    assert found["score"] == pytest.approx(5 * (found["ego_progress"] + 1.0) / 12)


def test_driving_into_the_car_ahead_scores_nothing(reader: navsim.NavsimReader) -> None:
    """Bumpers are 25 - 2.3 - 4.05 = 18.65 m apart; twice its speed eats 32 m."""
    found = navsim.score(straight(16.0), reader[0])
    assert found["no_at_fault_collisions"] == 0.0 and found["score"] == 0.0


def test_leaving_the_road_scores_nothing(reader: navsim.NavsimReader) -> None:
    """Lanes end at y = 7; a plan at 0.5 rad gets from -1.5 to 13."""
    turned = straight(8.0) @ np.array([[np.cos(0.5), np.sin(0.5), 0.0], [-np.sin(0.5), np.cos(0.5), 0.0], [0, 0, 1.0]])
    turned[:, 2] = 0.5
    found = navsim.score(turned, reader[0])
    assert found["drivable_area_compliance"] == 0.0 and found["score"] == 0.0


def test_a_red_light_counts_in_v2_unless_the_human_ran_it(navsim_data: Path, reader: navsim.NavsimReader) -> None:
    """Record 19 stands at x = 86 m, the red connector begins at 100 m; a straight plan passes it, as the human did."""
    scene = Scenes(navsim_data, "navmini")(reader[8])
    alone, forgiven = (
        pdm.score(pdm.prepare(replace(scene, human=human), Version.V2), straight(8.0)[None])
        for human in (None, scene.human)
    )
    assert alone.traffic_light_compliance[0] == 0.0 and alone.score[0] == 0.0
    assert forgiven.traffic_light_compliance[0] == 1.0 and forgiven.unfiltered_score[0] == 0.0


def test_the_point_of_the_poses_does_not_change_the_score(navsim_data: Path, reader: navsim.NavsimReader) -> None:
    axle = navsim.open_split(navsim_data, navsim_data / "index", "navmini", point="rear_axle")
    scores = [navsim.score(sample.poses, sample)["score"] for sample in (reader[3], axle[3])]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


def test_options_are_named(navsim_data: Path) -> None:
    def opened(**options: str) -> Sample:
        return navsim.open_split(navsim_data, navsim_data / "index", "navmini", **options)[0]

    assert navsim.score(STANDING, opened(score="none")) == {}
    assert "lane_keeping" in navsim.score(STANDING, opened(score="epdms"))
    with pytest.raises(DatasetError, match="score='pdm'; known: pdms, epdms, none"):
        opened(score="pdm")
    with pytest.raises(DatasetError, match="point='nose'; known: centre, rear_axle"):
        opened(point="nose")
    with pytest.raises(DatasetError, match="no metric cache"):
        opened(cache=str(navsim_data / "nowhere"))
