"""A route of our own collection holds what scores a plan on it: the expert's, a standing one, one into a car."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autovla_core import geometry
from autovla_core.carla_bridge.route_planner import LaneGraph
from autovla_core.carla_bridge.wheel import carla
from autovla_core.evaluation.episode import EpisodeConfig, run_episode
from autovla_core.evaluation.evaluator import simulator
from autovla_core.evaluation.reason_recording import PREFIX, ReasonRecorder
from autovla_core.evaluation.recording import ExpertPilot, Recorder
from autovla_core.evaluation.route_generator import RouteStyle, random_route
from autovla_core.evaluation.truth_recording import TruthRecorder
from autovla_core.evaluation.watching import Scenery, TickFacts, Watcher
from autovla_core.evaluation.weathers import preset
from autovla_core.logs import reasons, truth
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.truth import PolygonKind
from autovla_core.logs.visibility import TAGS, split_channels
from autovla_core.prompt.reasoning_action import action_of
from autovla_core.prompt.reasoning_claims import cause_of, claims, compose
from autovla_core.prompt.reasoning_facts import Facts, from_line
from autovla_core.scoring import pdm_logs
from autovla_core.scoring.faithfulness import judge, total
from autovla_core.scoring.pdm import score
from autovla_core.scoring.pdm_types import Version
from autovla_core.sensing import rig as rigs

pytestmark = pytest.mark.xdist_group("truth_recording")

ROOT = Path(__file__).resolve().parents[2]
SEED = 4


class ParkedBeside(Watcher):
    """A car that stands in the next lane to the left, 40 m after the start."""

    def begin(self, scenery: Scenery) -> None:
        place = scenery.dense[40][0]
        left = -3.5 * place.get_right_vector()
        at = place.location + carla.Location(left.x, left.y, 0.5)
        scenery.session.spawn("vehicle.audi.tt", carla.Transform(at, place.rotation))


class PaintedIds(Watcher):
    """Pixels of each car by the numbers that our own server paints, which are those of actors; its shadow is road."""

    def __init__(self) -> None:
        self.pixels: dict[int, dict[int, int]] = {}

    def tick(self, facts: TickFacts) -> None:
        picture = facts.input_data.get(PREFIX + "front")
        if picture is not None:
            tags, instances = split_channels(picture[1])
            numbers, counts = np.unique(instances[np.isin(tags, TAGS["vehicle"])], return_counts=True)
            self.pixels[facts.number] = dict(zip(numbers.tolist(), counts.tolist()))


PAINTED = PaintedIds()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("truth")
    with simulator(threads=1) as there:
        graph = LaneGraph(there.session.map)
        rng = np.random.default_rng(SEED)
        route, _ = random_route(
            graph, there.session.map, rng, "truth", preset("ClearNoon"), RouteStyle(120.0, 200.0, turns=1)
        )
        pilot, recorder = ExpertPilot(), Recorder(root, "truth", rigs.rig("front"))
        seeing = ReasonRecorder(recorder, rigs.rig("front"))
        watchers = [pilot, recorder, TruthRecorder(recorder), seeing, PAINTED, ParkedBeside()]
        record = run_episode(there.session, route, pilot, "", SEED, 0, EpisodeConfig(traffic=20), watchers)
    faults = [i for i in record.infractions if i.kind != "min_speed_infractions"]
    assert record.status == "Completed" and not faults, (record.status, faults, record.detail)
    return recorder.folder


@pytest.fixture(scope="module")
def log(folder: Path) -> RouteLog:
    return RouteLog(folder)


@pytest.fixture(scope="module")
def tracks(folder: Path) -> truth.RouteTracks:
    return truth.read_tracks(folder)


@pytest.fixture(scope="module")
def route_map(folder: Path) -> truth.RouteMap:
    return truth.read_map(folder)


@pytest.fixture(scope="module")
def scorable(log, tracks) -> list[tuple[int, int]]:
    """(plan, frame) of the plans that were made at a frame with 5 s ahead."""
    frames = truth.frames_of(tracks, log.plans["time_s"])
    return [(i, int(f)) for i, f in enumerate(frames) if f >= 0 and f in pdm_logs.scorable_frames(tracks)]


def scores_of(route_map, tracks, frame: int, plans: np.ndarray, version: Version = Version.V1):
    """Scores of plans (P, 10, 3) of the box centre."""
    scene = pdm_logs.scene_at(route_map, tracks, frame)
    return score(scene, pdm_logs.axle_plans(plans, scene.vehicle), version=version)


def test_frames_are_ticks_and_half_of_the_plans_have_one(log, tracks, scorable):
    assert tracks.time_s == pytest.approx(log.ticks["time_s"][::2][: len(tracks.time_s)], abs=1e-9)
    assert tracks.ego[:, :3] == pytest.approx(log.poses[::2][: len(tracks.ego)], abs=1e-9)
    assert len(scorable) > 0.35 * len(log.plans["tick"])
    driven = np.diff(tracks.ego[:, :2], axis=0) @ np.eye(2)
    assert np.hypot(*driven.T) == pytest.approx(0.1 * tracks.ego[1:, 3], abs=0.05)  # speeds fit the places


def test_the_lincoln_has_its_axles(tracks):
    half_width, front, rear, base = tracks.vehicle
    assert front + rear == pytest.approx(4.89, abs=0.03) and half_width == pytest.approx(0.92, abs=0.02)
    assert base == pytest.approx(2.86, abs=0.05) and (front - rear) / 2 == pytest.approx(1.418, abs=0.05)


def test_the_expert_stays_on_the_map_and_hits_nobody(route_map, tracks, log, scorable):
    for plan, frame in scorable[::3]:
        for version in Version:
            found = scores_of(route_map, tracks, frame, log.plans["poses"][plan].astype(float)[None], version)
            assert found.no_at_fault_collisions[0] == 1.0 and found.drivable_area_compliance[0] == 1.0, (plan, version)
            assert found.driving_direction_compliance[0] == 1.0, (plan, version)
            if version is Version.V2:
                assert found.traffic_light_compliance[0] == 1.0 and found.lane_keeping[0] == 1.0, plan


def test_the_expert_beats_a_standing_car_which_still_gets_seven_twelfths(route_map, tracks, log, scorable):
    shape = pdm_logs.vehicle_shape(tracks)
    ways = {frame: float(np.hypot(*pdm_logs._expert(tracks, frame, shape)[-1, :2])) for _, frame in scorable[::2]}
    moving = [(i, f) for i, f in scorable[::2] if ways[f] > 15.0]
    plans = np.stack([log.plans["poses"][[i for i, _ in moving]].astype(float), np.zeros((len(moving), 10, 3))], 1)
    found = [scores_of(route_map, tracks, frame, both) for (_, frame), both in zip(moving, plans)]
    expert, standing = np.array([f.score for f in found]).T
    assert len(moving) >= 5 and expert.mean() > 0.9 and (expert > standing).all()
    # nobody near and no progress: 7/12, 5/12 where the braking is uncomfortable, more where it takes some metres
    assert 0.35 < standing.mean() < 0.75


def test_a_plan_into_a_car_is_a_collision_of_our_own_making(route_map, tracks, scorable):
    hit = [plan for plan in (into_a_car(tracks, frame) for _, frame in scorable) if plan is not None]
    assert hit
    outcomes = [scores_of(route_map, tracks, frame, plan[None]) for frame, plan in hit]
    crashed = [found.no_at_fault_collisions[0] == 0.0 and found.score[0] == 0.0 for found in outcomes]
    assert np.mean(crashed) > 0.7


def into_a_car(tracks, frame: int, after_s: float = 3.0) -> tuple[int, np.ndarray] | None:
    """A straight drive to where a car ahead will be, if the ego's speed is about right for it."""
    later = frame + round(after_s / truth.FRAME_S)
    rows = slice(tracks.offsets[later], tracks.offsets[later + 1])
    seen = geometry.relative(tracks.ego[frame, :3], tracks.pose[rows].astype(float))
    speed = float(tracks.ego[frame, 3])
    wanted = np.hypot(seen[:, 0], seen[:, 1]) / after_s
    ahead = (np.abs(np.arctan2(seen[:, 1], seen[:, 0])) < 0.35) & (np.abs(wanted - speed) < 6.0) & (wanted > 2.5)
    if not ahead.any():
        return None
    x, y, _ = seen[np.flatnonzero(ahead)[0]]
    share = np.arange(1, 11)[:, None] * 0.5 / after_s
    return frame, np.column_stack([share * [x, y], np.full(10, np.arctan2(y, x))])


def test_a_plan_off_the_road_and_one_on_the_wrong_side_are_seen(route_map, tracks, log, scorable):
    straight = [
        (i, f) for i, f in scorable if abs(log.plans["poses"][i, -1, 2]) < 0.05 and log.plans["poses"][i, -1, 0] > 25.0
    ]
    assert straight
    plan, frame = straight[len(straight) // 2]
    poses = log.plans["poses"][plan].astype(float)
    drift = poses + np.linspace(0.0, -9.0, 10)[:, None] * [0, 1, 0]
    found = scores_of(route_map, tracks, frame, np.stack([poses, drift]))
    assert found.drivable_area_compliance.tolist() == [1.0, 0.0] and found.score[1] == 0.0


def test_the_map_holds_surfaces_lights_and_limits(route_map, tracks):
    assert {PolygonKind.LANE, PolygonKind.CONNECTOR, PolygonKind.ROAD, PolygonKind.JUNCTION} <= set(route_map.kind)
    lit = route_map.light_id[route_map.light_id >= 0]
    assert len(lit) and set(lit) <= set(tracks.light_id)
    assert (route_map.light_id[route_map.kind != PolygonKind.CONNECTOR] == -1).all()
    limits = route_map.speed_limit[~np.isnan(route_map.speed_limit)]
    assert len(limits) and ((limits > 5.0) & (limits < 30.0)).all()


def test_the_truth_is_small(folder, log):
    size = sum((folder / name).stat().st_size for name in (truth.MAP_FILE, truth.TRACKS_FILE))
    assert size < 40_000 + 1_000 * len(log) / 2  # a kilobyte a frame and the map


@pytest.fixture(scope="module")
def facts(folder) -> list[Facts]:
    return [from_line(line) for line in reasons.read_lines(folder)]


def test_every_plan_has_its_facts(facts, log):
    assert [f.tick for f in facts] == log.plans["tick"].tolist()
    assert [f.speed for f in facts] == pytest.approx(log.plans["speed"].tolist(), abs=0.011)
    assert [f.command for f in facts] == log.plans["command"].tolist()


def test_what_boxes_own_is_what_the_server_painted_for_these_actors(facts):
    shown = [(PAINTED.pixels[f.tick].get(o.id & 0xFFFF, 0), o.pixels) for f in facts for o in f.objects]
    painted, found = np.array(shown).T
    seen = painted >= 12
    assert seen.sum() > 20
    assert (np.abs(found - painted)[seen] <= 0.02 * painted[seen] + 1).mean() > 0.95
    assert (found[painted == 0] == 0).mean() > 0.98  # nobody is seen who is not there


def test_the_parked_car_is_seen_before_it_is_passed_and_not_after(facts):
    parked = [
        o for f in facts for o in f.objects if o.kind == "car" and o.motion == "standing" and abs(o.left_m - 3.5) < 0.5
    ]
    ahead = [o for o in parked if 8.0 < o.ahead_m < 30.0]
    assert len(ahead) > 5 and all(o.seen and o.side == "ahead_left" for o in ahead)
    assert not any(o.seen for o in parked if o.ahead_m < -3.0)


def test_distances_to_junctions_shrink_to_nothing(facts):
    metres = [f.junction_m for f in facts]
    assert 0.0 in metres and any(m is not None and 0.0 < m < 30.0 for m in metres)


def test_thoughts_of_the_drive_are_true_to_the_meter(facts, log):
    rng = np.random.default_rng(0)
    judged = []
    for f, poses in zip(facts, log.plans["poses"]):
        parts = claims(f, action_of(poses))
        assert (parts is None) == (cause_of(f) is None)
        if parts is not None:
            judged.append(judge(compose(parts, rng), f, action_of(poses), poses))
    found = total(judged)
    assert found.thoughts > 20 and found.right == found.claims and found.score == 1.0


def run_tool(name: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / name), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


def test_one_plan_is_drawn_with_all_its_labels(folder, tmp_path):
    done = run_tool("show_frame.py", folder, "--tick", 200, "--out", tmp_path / "frame.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "frame.png") as picture:
        assert picture.width == 1280 and picture.height >= 560
    missing = run_tool("show_frame.py", tmp_path, "--out", tmp_path / "none.png")
    assert missing.returncode == 1 and "not a route log" in missing.stderr


def test_the_log_becomes_a_clip_that_continues_where_it_stopped(folder, tmp_path):
    done = run_tool("export_bench2drive.py", folder.parent, "--out", tmp_path)
    assert done.returncode == 0 and "1 clips" in done.stdout and ", 1 new" in done.stdout, done.stderr
    (clip,) = tmp_path.iterdir()
    assert clip.name.startswith("RandomRoute_Havenbrook_Route") and (clip / "camera" / "rgb_front").is_dir()
    again = run_tool("export_bench2drive.py", folder.parent, "--out", tmp_path)
    assert again.returncode == 0 and ", 0 new" in again.stdout
