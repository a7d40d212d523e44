"""Agreement with the genuine NAVSIM scorer: with what it said of known cases, where these are at hand, and with itself.

These variables, all or none, let the genuine code run on variations of the cases (``genuine_navsim.py``):
NAVSIM_V1_CLONE, NAVSIM_V2_CLONE   clones of autonomousvision/navsim, branches v1.1 and v2.2
NUPLAN_DEVKIT_CLONE                a clone of motional/nuplan-devkit
"""

from __future__ import annotations

import copy
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autovla_core.geometry import wrap_angle
from autovla_core.scoring.pdm import prepare, score
from autovla_core.scoring.pdm.reference import closed_loop_reference
from autovla_core.scoring.pdm_types import (
    AreaKind,
    EgoState,
    MapArea,
    PdmScene,
    PosePlan,
    PreviousFrame,
    Track,
    TrackKind,
    VehicleShape,
    Version,
)

FOLDERS = [Path(__file__).resolve().parents[up] / "shared" / "cases" for up in (3, 4)]  # in the checkout, beside it
FILES = [file for folder in FOLDERS if (file := folder / "pdm_cases.json.xz").exists()]
CASES = json.loads(lzma.decompress(FILES[0].read_bytes())) if FILES else []
COMMON = {
    name: name
    for name in (
        "no_at_fault_collisions",
        "drivable_area_compliance",
        "driving_direction_compliance",
        "ego_progress",
        "time_to_collision_within_bound",
        "score",
    )
}
NAMES = {  # theirs -> ours
    Version.V1: COMMON | {"comfort": "comfort"},
    Version.V2: COMMON
    | {
        "traffic_light_compliance": "traffic_light_compliance",
        "lane_keeping": "lane_keeping",
        "history_comfort": "comfort",
        "two_frame_extended_comfort": "extended_comfort",
        "pdm_score": "unfiltered_score",
    },
}


def ego_of(value: dict) -> EgoState:
    pose = np.array([value["x"], value["y"], value["heading"]])
    motion = (value["vx"], value["vy"], value["ax"], value["ay"])
    return EgoState(pose, *motion, value.get("steering_angle", 0.0), value.get("angular_velocity", 0.0))


def plan_of(value: dict | None) -> PosePlan | None:
    return PosePlan(np.array(value["poses"]), value["dt"]) if value else None


def area_of(value: dict) -> MapArea:
    baseline = np.array(value["baseline"]) if value.get("baseline") else None
    return MapArea(value["id"], AreaKind[value["type"]], np.array(value["xy"]), baseline, value.get("speed_limit"))


def track_of(value: dict) -> Track:
    states = np.array([row if row is not None else [np.nan] * 5 for row in value["states"]], float)
    return Track(value["token"], TrackKind[value["type"]], value["length"], value["width"], states)


def scene_of(value: dict) -> PdmScene:
    previous = value.get("previous")
    return PdmScene(
        ego_of(value["ego"]),
        tuple(area_of(area) for area in value["map"]["polygons"]),
        tuple(value["map"]["route_lane_ids"]),
        np.array(value["centerline"]),
        tuple(track_of(agent) for agent in value["agents"]),
        {name: np.atleast_1d(np.array(red, bool)) for name, red in value["red_lights"].items()},
        vehicle=VehicleShape(),
        history=np.array(value["ego_history"]) if value.get("ego_history") else None,
        previous=PreviousFrame(ego_of(previous["ego"]), plan_of(previous["trajectory"])) if previous else None,
        human=plan_of(value.get("human_trajectory")),
    )


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("case", CASES, ids=[str(i) for i in range(len(CASES))])
def test_every_sub_score_agrees_with_the_genuine_scorer(case: dict, version: Version) -> None:
    plan, truth = plan_of(case["scene"]["trajectory"]), case[version.value]
    found = score(prepare(scene_of(case["scene"]), version), plan.poses, plan.period_s)
    for theirs, ours in NAMES[version].items():
        expected = np.nan if truth[theirs] is None else truth[theirs]
        assert getattr(found, ours)[0] == pytest.approx(expected, abs=1e-6, nan_ok=True), theirs
    if truth.get("_raw_progress_m"):
        assert found.progress_m[0] == pytest.approx(truth["_raw_progress_m"]["prediction"], abs=1e-6)
        assert found.reference_progress_m == pytest.approx(truth["_raw_progress_m"]["reference"], abs=1e-6)


@pytest.mark.parametrize("case", CASES, ids=[str(i) for i in range(len(CASES))])
def test_simulated_states_agree_with_the_genuine_simulator(case: dict) -> None:
    plan = plan_of(case["scene"]["trajectory"])
    gap = score(scene_of(case["scene"]), plan.poses, plan.period_s).states[0] - np.array(case["pdms"]["_states"])
    gap[:, 2] = wrap_angle(gap[:, 2])
    assert np.abs(gap).max() < 1e-8


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("case", CASES, ids=[str(i) for i in range(len(CASES))])
def test_the_reference_planner_agrees_with_the_genuine_one(case: dict, version: Version) -> None:
    prepared = prepare(scene_of(case["scene"]), version)
    gap = closed_loop_reference(prepared.scene, prepared.around) - np.array(case[version.value]["_pdm_closed_poses"])
    gap[:, 2] = wrap_angle(gap[:, 2])
    assert np.abs(gap).max() < 1e-8


CLONES = {Version.V1: "NAVSIM_V1_CLONE", Version.V2: "NAVSIM_V2_CLONE"}
SIZES = {"VEHICLE": (4.6, 1.9), "PEDESTRIAN": (0.6, 0.6), "BICYCLE": (1.8, 0.6), "TRAFFIC_CONE": (0.4, 0.4)}


def variation(scene: dict, rng: np.random.Generator) -> dict:
    """The scene with another plan and speed, other lights, and up to eleven more road users."""
    scene = copy.deepcopy(scene)
    poses = np.array(scene["trajectory"]["poses"])
    poses[:, :2] *= rng.uniform(0.3, 1.5)
    poses[:, 1] += np.linspace(0.0, rng.normal(0.0, 1.5), len(poses))
    scene["trajectory"]["poses"] = poses.tolist()
    scene["ego"]["vx"] = max(0.0, scene["ego"]["vx"] * rng.uniform(0.5, 1.5) + rng.normal(0.0, 0.5))
    scene["red_lights"] = {name: (rng.random(11) < 0.5).tolist() for name in scene["red_lights"]}
    scene["agents"] += [passer_by(scene["ego"], f"more {k}", rng) for k in range(rng.integers(2, 12))]
    if rng.random() < 0.5:
        scene.pop("human_trajectory", None)
    return scene


def passer_by(ego: dict, token: str, rng: np.random.Generator) -> dict:
    kind = str(rng.choice(list(SIZES)))
    speed = 0.0 if kind == "TRAFFIC_CONE" else float(rng.choice([0.0, 0.04, 1.0, 4.0, 8.0, 12.0]))
    ahead, left = rng.uniform(-15.0, 50.0), rng.normal(0.0, 4.0)
    yaw = ego["heading"] + rng.choice([0.0, np.pi, np.pi / 2, -np.pi / 2, rng.uniform(-3.0, 3.0)])
    cos, sin = np.cos(ego["heading"]), np.sin(ego["heading"])
    x, y = ego["x"] + cos * ahead - sin * left, ego["y"] + sin * ahead + cos * left
    vx, vy = speed * np.cos(yaw), speed * np.sin(yaw)
    states = [[x + 0.5 * k * vx, y + 0.5 * k * vy, float(wrap_angle(yaw)), vx, vy] for k in range(11)]
    first, last = sorted(rng.choice(12, 2, replace=False)) if rng.random() < 0.4 else (0, 11)
    states = [state if first <= k < last else None for k, state in enumerate(states)]
    return {
        "token": token,
        "type": kind,
        **dict(zip(("length", "width"), SIZES[kind])),
        "height": 1.5,
        "states": states,
    }


@pytest.mark.skipif(not CASES, reason="no known cases at hand to vary")
@pytest.mark.parametrize("version", Version)
def test_variations_of_the_cases_agree_with_the_genuine_code(version: Version) -> None:
    names = (CLONES[version], "NUPLAN_DEVKIT_CLONE")
    if not all(os.environ.get(name) for name in names):
        pytest.skip(f"{' and '.join(names)} are not set")
    rng = np.random.default_rng(11)
    scenes = [variation(case["scene"], rng) for case in CASES for _ in range(2)]
    program = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("genuine_navsim.py"))]
    program += [os.environ[name] for name in names]
    run = subprocess.run(program, input=json.dumps(scenes), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    for scene, truth in zip(scenes, json.loads(run.stdout)):
        plan = plan_of(scene["trajectory"])
        found = score(prepare(scene_of(scene), version), plan.poses, plan.period_s)
        for theirs, expected in truth.items():
            ours = getattr(found, NAMES[version][theirs])[0]
            assert ours == pytest.approx(np.nan if expected is None else expected, abs=1e-6, nan_ok=True), theirs
