"""The shipped towns, and what each promises to the cars, the cameras and the client."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import carla
import numpy as np
import pytest
import shapely

from autovla_core.frames import point_from_carla
from autovla_core.minicarla.world.mesh import Material, Tag
from autovla_core.minicarla.world.opendrive import LaneSpec, Network
from autovla_core.minicarla.world.opendrive_geometry import Line, Pose
from autovla_core.minicarla.world.opendrive_xml import to_xml
from autovla_core.minicarla.world.town import TOWNS, TOWNS_FOLDER, Town, TownError, load_opendrive, load_town

REPOSITORY = Path(__file__).parents[2]
HAVENBROOK_SHA256 = "8753f6fad2bb1288299feb91e4457eee09286fdec175b8727b8f41d54de5ea2d"


@pytest.fixture(scope="module", params=TOWNS)
def town(request: pytest.FixtureRequest) -> Town:
    return load_town(request.param)


@pytest.fixture(scope="module")
def havenbrook() -> Town:
    return load_town("Havenbrook")


@pytest.fixture(scope="module")
def carla_map(town: Town) -> carla.Map:
    return carla.Map(town.name, town.xodr)


@pytest.fixture(scope="module")
def root(town: Town) -> ET.Element:
    return ET.fromstring(town.xodr)


def generated(name: str) -> str:
    return to_xml(importlib.import_module(f"autovla_core.minicarla.towns.{name.lower()}").build())


def test_an_unknown_town_is_refused_with_the_known_names():
    with pytest.raises(TownError, match="Nowhere.*Havenbrook"):
        load_town("Nowhere")


@pytest.mark.parametrize(
    ("length", "apart", "refusal"), [(40.0, 1e5, "may cover 40 km2"), (1e6, 10.0, "may have 1000 km of lanes")]
)
def test_a_map_that_would_fill_the_memory_is_refused(length: float, apart: float, refusal: str):
    network = Network("Vast")
    for y in (0.0, apart):
        network.add_road(
            "road",
            Pose(y, y, 0.0),
            [Line(length)],
            {0: LaneSpec("none"), -1: LaneSpec("driving", (3.5, 0.0, 0.0, 0.0))},
        )
    with pytest.raises(TownError, match=refusal):
        load_opendrive("vast", to_xml(network))


def test_a_text_that_is_no_map_is_refused():
    with pytest.raises(TownError, match="not an OpenDRIVE map"):
        load_opendrive("broken", "<OpenDRIVE")


@pytest.mark.parametrize("name", TOWNS)
def test_a_shipped_file_is_what_its_program_builds(name):
    assert (TOWNS_FOLDER / f"{name}.xodr").read_text(encoding="utf-8") == generated(name)


def test_havenbrook_stays_as_it_is_because_models_and_route_files_know_it():
    text = (TOWNS_FOLDER / "Havenbrook.xodr").read_bytes()
    assert hashlib.sha256(text).hexdigest() == HAVENBROOK_SHA256


def test_a_town_program_writes_the_file_that_it_is_told_to_write(tmp_path):
    out = tmp_path / "town.xodr"
    command = [sys.executable, "-m", "autovla_core.minicarla.towns.havenbrook", "--out", out]
    subprocess.run(command, check=True, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True)
    assert out.read_bytes() == (TOWNS_FOLDER / "Havenbrook.xodr").read_bytes()


def test_junctions_have_ids_of_their_own(root):
    roads = [road.get("id") for road in root.iter("road")]
    junctions = {junction.get("id") for junction in root.iter("junction")}
    assert len(set(roads)) == len(roads) >= 10
    assert not set(roads) & junctions


def test_no_lane_ends_and_every_lane_goes_on_where_the_last_one_stopped(town):
    for lane in town.lanes:
        assert lane.successors, f"road {lane.road_id} lane {lane.lane_id} is a dead end"
        for index in lane.successors:
            following = town.lanes[index]
            assert np.linalg.norm(following.points[0] - lane.points[-1]) < 0.3
            turn = (following.yaw_deg[0] - lane.yaw_deg[-1] + 180.0) % 360.0 - 180.0
            assert abs(turn) < 3.0


def test_every_lane_is_reached_from_every_other(town):
    forward = {lane.index: {*lane.successors, lane.left, lane.right} - {-1} for lane in town.lanes}
    backward: dict[int, set[int]] = {index: set() for index in forward}
    for index, targets in forward.items():
        for target in targets:
            backward[target].add(index)
    for graph in (forward, backward):
        seen, waiting = {0}, [0]
        while waiting:
            fresh = graph[waiting.pop()] - seen
            seen |= fresh
            waiting += sorted(fresh)
        assert len(seen) == len(town.lanes)


def test_the_client_walks_every_lane_without_an_end_or_a_nan(carla_map):
    waypoints = [start for start, _ in carla_map.get_topology()]
    assert len(waypoints) >= 15
    for waypoint in waypoints:
        for _ in range(30):
            following = waypoint.next(5.0)
            assert following
            waypoint = following[0]
            location = waypoint.transform.location
            assert np.isfinite([location.x, location.y, location.z, waypoint.transform.rotation.yaw]).all()


def test_lane_points_are_dense_and_finite(town):
    for lane in town.lanes:
        assert np.isfinite(lane.points).all()
        assert np.linalg.norm(np.diff(lane.points, axis=0), axis=1).max() <= 1.0
        assert len(lane.points) == len(lane.yaw_deg) == len(lane.s)


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("Havenbrook", {40.0}),
        ("Pennyfield", {30.0, 40.0}),
        ("Ironmere", {40.0, 50.0}),
        ("Rowanfold", {30.0, 40.0}),
        ("Kestrelway", {50.0, 60.0, 90.0}),
        ("Fellside", {40.0, 70.0}),
    ],
)
def test_signs_tell_the_limits_that_the_lanes_have(name, limits):
    town = load_town(name)
    assert {lane.speed_limit_kmh for lane in town.lanes} == limits
    assert {signal.value for signal in town.signals if signal.kind == "speed_limit"} == limits


@pytest.mark.parametrize(
    ("name", "lights", "stops", "yields"),
    [
        ("Havenbrook", 19, 13, 4),
        ("Pennyfield", 3, 1, 0),
        ("Ironmere", 42, 2, 1),
        ("Rowanfold", 0, 7, 8),
        ("Kestrelway", 6, 2, 2),
        ("Fellside", 0, 3, 2),
    ],
)
def test_each_town_has_the_signals_of_its_purpose(name, lights, stops, yields):
    signals = load_town(name).signals
    kinds = Counter(signal.kind for signal in signals)
    assert (kinds["traffic_light"], kinds["stop"], kinds["yield"]) == (lights, stops, yields)
    assert len({signal.id for signal in signals}) == len(signals)


def test_the_lights_of_a_junction_have_two_phases_that_do_not_face_each_other(town):
    lights = [signal for signal in town.signals if signal.kind == "traffic_light"]
    for junction in {light.junction_id for light in lights}:
        members = [light for light in lights if light.junction_id == junction]
        assert {light.phase for light in members} == {0, 1}
        for light in members:
            axis = np.cos(np.radians(2 * (light.yaw_deg - members[0].yaw_deg)))
            assert (axis > 0) == (light.phase == members[0].phase)


def test_every_approach_of_a_signalised_junction_knows_its_light(town):
    signalised = {signal.junction_id for signal in town.signals if signal.kind == "traffic_light"}
    lights = {signal.id: signal for signal in town.signals}
    for lane in town.lanes:
        leads_to = {town.lanes[i].junction_id for i in lane.successors}
        if lane.junction_id < 0 and leads_to & signalised:
            assert lane.index in lights[lane.light_id].lanes
        else:
            assert lane.light_id == ""


def test_a_trigger_box_lies_on_its_lanes_just_before_their_end(town):
    for signal in town.signals:
        yaw = np.radians(signal.yaw_deg)
        across, back = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
        for index in signal.lanes:
            lane = town.lanes[index]
            end = lane.points[-1, :2] - signal.location[:2]
            local = np.array([end @ across, end @ back])
            box, half = signal.trigger_center[:2], signal.trigger_extent[:2]
            assert box[1] - half[1] == pytest.approx(local[1] + 1.0, abs=0.1)  # the stop line, 1 m before the end
            assert abs(local[0] - box[0]) <= half[0]


def test_the_client_finds_a_light_ahead_its_group_and_the_lanes_that_it_affects(town, carla_map):
    for signal in (s for s in town.signals if s.kind == "traffic_light"):
        x, y, z = town.lanes[signal.lanes[0]].points[-12].tolist()
        ahead = carla_map.get_waypoint(carla.Location(x, y, z)).get_landmarks(15.0)
        lights = [mark for mark in ahead if mark.type == "1000001"]
        assert {mark.id for mark in lights} == {signal.id}
        phase = {s.id for s in town.signals if (s.junction_id, s.phase) == (signal.junction_id, signal.phase)}
        assert {mark.id for mark in carla_map.get_landmark_group(lights[0])} == phase
        # the client takes as affected the references on roads inside the junction
        roads = [mark.road_id for mark in carla_map.get_all_landmarks_from_id(signal.id)]
        affected = {carla_map.get_waypoint_xodr(road, -1, 0.5).get_junction() for road in roads[:-1]}
        assert {junction.id for junction in affected if junction} == {signal.junction_id}


def test_scripts_that_sample_a_trigger_box_along_local_x_find_the_approach_lanes(town, carla_map):
    lanes = {(lane.road_id, lane.lane_id): lane for lane in town.lanes if lane.junction_id < 0}
    for signal in (s for s in town.signals if s.kind == "traffic_light"):
        place = carla.Transform(carla.Location(*signal.location.tolist()), carla.Rotation(yaw=signal.yaw_deg))
        x0, y0, z0 = signal.trigger_center.tolist()
        reach = float(signal.trigger_extent[0])
        found = set()
        for x in np.arange(-0.9 * reach, 0.9 * reach, 1.0):
            waypoint = carla_map.get_waypoint(place.transform(carla.Location(x0 + float(x), y0, z0)))
            assert not waypoint.is_junction
            found.add(lanes[waypoint.road_id, waypoint.lane_id].index)
        assert found == set(signal.lanes)


def test_each_light_has_a_near_and_a_far_head_that_face_its_drivers_and_hang_off_the_ground(town):
    for signal in (s for s in town.signals if s.kind == "traffic_light"):
        lane = town.lanes[signal.lanes[0]]
        yaw = np.radians(lane.yaw_deg[-1])
        ahead = [(head - lane.points[-1]) @ (np.cos(yaw), np.sin(yaw), 0.0) for head, _ in signal.heads]
        assert -1.0 < ahead[0] < 2.0
        assert 10.0 < ahead[1] < 45.0
        for _, facing in signal.heads:
            assert np.cos(np.radians(facing) - yaw) == pytest.approx(-1.0, abs=1e-3)


def test_a_post_never_stands_on_a_lane(town):
    lines = np.concatenate([lane.points[:, :2] for lane in town.lanes])
    width = np.concatenate([np.full(len(lane.points), lane.width) for lane in town.lanes])
    for solid in town.solids:
        reach = np.hypot(*solid.half_extent[:2]) if "pole" in solid.type_id or "tree" in solid.type_id else 0.0
        distance = np.hypot(*(lines - solid.center[:2]).T)
        assert (distance - width / 2 > reach).all(), solid


def test_there_is_a_roundabout_that_is_driven_counter_clockwise(havenbrook):
    yields = [havenbrook.lanes[s.lanes[0]] for s in havenbrook.signals if s.kind == "yield"]
    center = np.mean([lane.points[-1, :2] for lane in yields], axis=0)
    ring = [x for x in havenbrook.lanes if abs(np.hypot(*(x.points[len(x.points) // 2, :2] - center)) - 16.25) < 0.5]
    assert len(ring) >= 8
    for lane in ring:
        to_left = (center - lane.points[0, :2]) @ (
            np.sin(np.radians(lane.yaw_deg[0])),
            -np.cos(np.radians(lane.yaw_deg[0])),
        )
        assert to_left > 10.0


def test_lanes_change_only_to_lanes_of_the_same_direction_and_back(town):
    for lane in (lane for lane in town.lanes if lane.left >= 0):
        neighbour = town.lanes[lane.left]
        assert neighbour.right == lane.index
        assert neighbour.lane_id * lane.lane_id > 0


def test_conflicts_are_mutual_and_stay_within_a_junction(town):
    assert any(lane.conflicts for lane in town.lanes)
    for lane in town.lanes:
        for other in lane.conflicts:
            assert lane.index in town.lanes[other].conflicts
            assert town.lanes[other].junction_id == lane.junction_id >= 0


def test_crossing_straights_conflict_and_opposing_straights_do_not(town):
    straights = [lane for lane in town.lanes if lane.turn == "straight" and lane.conflicts]
    for lane in straights:
        for other in (x for x in straights if x.junction_id == lane.junction_id and x is not lane):
            between = np.cos(np.radians(lane.yaw_deg[0] - other.yaw_deg[0]))
            if between < -0.99:
                assert other.index not in lane.conflicts


def test_heights_follow_the_roads(town):
    for lane in town.lanes:
        for x, y, z in lane.points[::3]:
            assert town.height(x, y) == pytest.approx(z, abs=0.01)


@pytest.mark.parametrize(("name", "rise"), [("Havenbrook", 5.0), ("Fellside", 30.0)])
def test_there_are_hills_that_a_car_can_climb(name, rise):
    lanes = load_town(name).lanes
    heights = np.concatenate([lane.points[:, 2] for lane in lanes])
    assert np.ptp(heights) > rise
    assert max(np.abs(np.gradient(lane.points[:, 2], lane.s)).max() for lane in lanes) < 0.1


def test_heights_are_continuous(havenbrook):
    xs = np.arange(0.0, 480.0, 0.5)
    for y in (-357.0, -300.0, -240.0, -100.0):
        z = np.array([havenbrook.height(x, y) for x in xs])
        assert np.abs(np.diff(z)).max() < 0.2


def test_the_nearest_lane_is_the_one_stood_on(town):
    for lane in town.lanes:
        if lane.junction_id < 0:
            middle = len(lane.points) // 2
            x, y, _ = lane.points[middle]
            yaw = np.radians(lane.yaw_deg[middle])
            index, s, offset = town.nearest_lane(x - 0.5 * np.sin(yaw), y + 0.5 * np.cos(yaw))
            assert index == lane.index
            assert s == pytest.approx(lane.s[middle], abs=0.1)
            assert offset == pytest.approx(0.5, abs=0.02)


def test_a_far_place_still_has_a_nearest_lane(havenbrook):
    index, _, offset = havenbrook.nearest_lane(-300.0, -100.0)
    assert havenbrook.lanes[index].points[:, 0].min() < 10.0
    assert abs(offset) > 290.0


def test_spawn_points_lie_on_lanes_and_away_from_their_ends(town):
    assert len(town.spawn_points) > 60
    for x, y, z, _, yaw, _ in town.spawn_points:
        index, s, offset = town.nearest_lane(x, y)
        lane = town.lanes[index]
        assert lane.junction_id == -1
        assert abs(offset) < 0.05
        assert 7.0 < s < lane.s[-1] - 7.0
        assert z == pytest.approx(town.height(x, y) + 0.5, abs=0.02)
        assert np.cos(np.radians(yaw - np.interp(s, lane.s, lane.yaw_deg))) > 0.99


def test_the_mesh_is_finite_and_small_enough_to_draw(town):
    mesh = town.mesh
    assert np.isfinite(mesh.triangles).all()
    assert 10_000 < len(mesh.triangles) < 150_000
    assert len(mesh.triangles) == len(mesh.colors) == len(mesh.materials) == len(mesh.tags)
    assert set(np.unique(mesh.materials)) <= {int(material) for material in Material}


def test_roads_and_markings_face_up(town):
    t = town.mesh.triangles[np.isin(town.mesh.tags, (Tag.ROAD, Tag.ROAD_LINE))].astype(float)
    first, second = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] > -1e-6).all()


def test_there_is_road_under_every_lane(town):
    flat = shapely.polygons(town.mesh.triangles[town.mesh.tags == Tag.ROAD][:, :, :2].astype(float))
    tree = shapely.STRtree(flat)
    for lane in town.lanes:
        points = shapely.points(point_from_carla(lane.points[::4, :2]))
        covered = np.unique(tree.query(points, predicate="intersects")[0])
        assert len(covered) == len(points), f"road {lane.road_id} lane {lane.lane_id}"


def test_loading_twice_gives_the_same_bytes(havenbrook):
    again = load_town("Havenbrook")
    assert again.mesh.triangles.tobytes() == havenbrook.mesh.triangles.tobytes()
    assert again.mesh.colors.tobytes() == havenbrook.mesh.colors.tobytes()
    assert [s.center.tolist() for s in again.solids] == [s.center.tolist() for s in havenbrook.solids]


def test_any_opendrive_text_loads_without_houses(havenbrook):
    plain = load_opendrive("plain", havenbrook.xodr)
    assert len(plain.lanes) == len(havenbrook.lanes)
    assert not (plain.mesh.tags == Tag.BUILDING).any()
    assert {solid.type_id for solid in plain.solids} == {"static.pole"}
