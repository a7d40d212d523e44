"""What a plan and a thought are judged on: the truth and the reasons of the logs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from autovla_core.action.codebook import Codebook
from autovla_core.errors import LogError
from autovla_core.logs import truth
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.truth import RouteMap
from autovla_core.scoring import pdm_logs
from autovla_core.scoring.pdm_types import PdmScene, ScoringError
from tests.training.toys import ADAPTIVE, CAMERAS, lines, write_reasons, write_route
from training import rewards, rft, rft_scenes
from training.datasets.mixture import MixtureConfig
from training.datasets.reasons import read_reasons
from training.datasets.sample import DatasetError
from training.rewards import RewardConfig, Scene, TermSettings
from training.rft_scenes import RouteScenes, open_pools
from training.rft_settings import GrpoConfig, RftConfig
from training.schedule import TrainingError


def test_plans_on_logs_are_scored_on_what_was_there(recipe: RftConfig, codebook: Codebook) -> None:
    pool, _ = open_pools(recipe.data, CAMERAS, codebook, frozenset({"truth"}), 1, False)
    # plans at 0, 0.25 ... 6.9 s of 12: every second one lies on a frame and has 5 s ahead
    assert int((pool.frequencies > 0).sum()) == 3 * 14
    index = int(np.flatnonzero(pool.frequencies)[3])
    scene = pool.scene(index)
    assert scene.complex and scene.id == "route_0, plan 6"  # 1.5 s, before a red light
    standing, half, expert = rewards.REWARDS["pdm"](rewards.standards(scene), TermSettings())
    assert expert == pytest.approx(1.0, abs=0.02) and standing < half < expert
    assert 7 / 12 < standing < 0.75  # from 6 m/s it brakes over some metres of the 24
    assert rewards.REWARDS["pdm_progress"](rewards.standards(scene), TermSettings())[0] == 0.0


def test_the_pdm_reward_trains(recipe: RftConfig) -> None:
    judged = dataclasses.replace(recipe, reward=RewardConfig({"pdm_progress": 1.0, "pdm": 0.0}))
    _, scores = rft.train(judged)
    assert scores["expert"] > 0.95 and scores["standing"] == pytest.approx(0.0)
    assert 0.0 <= scores["scored_drivable_area_compliance"] <= 1.0


def test_scenes_that_cannot_be_scored_are_left_out_and_counted(recipe: RftConfig, tmp_path: Path) -> None:
    judged = dataclasses.replace(recipe, reward=RewardConfig({"pdm": 1.0}), grpo=GrpoConfig(group=3, prompts=6))
    scene_at = pdm_logs.scene_at

    def early(route_map: RouteMap, tracks: truth.RouteTracks, frame: int) -> PdmScene:
        if frame < limit:
            raise ScoringError("no lane of the route")
        return scene_at(route_map, tracks, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdm_logs, "scene_at", early)
        limit = 30
        assert rft.train(judged)[0].finished
        rows = lines(recipe.out, "step") + lines(recipe.out, "validation")
        assert 0.0 < np.mean([row["unscored"] for row in rows]) < 1.0
        assert all(np.isfinite(row["reward"]) for row in rows)
        limit = 1000
        with pytest.raises(TrainingError, match=r"asks for \['reward'\]; known here: unscored"):
            rft.train(dataclasses.replace(judged, out=tmp_path / "nothing"))


def test_routes_without_truth_and_tracks_of_another_drive_are_named(
    recipe: RftConfig, codebook: Codebook, tmp_path: Path
) -> None:
    moved = write_route(tmp_path / "routes" / "route_9", 8.0, shift_m=5.0)
    data = MixtureConfig((moved.parent,), tmp_path / "cache", held_out=0.0)
    with pytest.raises(LogError, match="place the ego up to 5.0 m apart"):
        open_pools(data, CAMERAS, codebook, frozenset({"truth"}), 1, False)
    (moved / truth.MAP_FILE).unlink()
    with pytest.raises(LogError, match="none of 1 routes .*reward ade or progress"):
        open_pools(data, CAMERAS, codebook, frozenset({"truth"}), 1, False)
    pool, _ = open_pools(data, CAMERAS, codebook, frozenset(), 1, False)
    assert pool.scene(0).complex and not pool.scene(1).complex  # without reasons: behind a lead, and not


def test_thoughts_are_held_against_the_reasons_of_the_log(
    recipe: RftConfig, codebook: Codebook, tmp_path: Path
) -> None:
    folder = write_route(tmp_path / "routes" / "route_9", 8.0)
    data = MixtureConfig((folder.parent,), tmp_path / "cache", held_out=0.0)
    with pytest.raises(LogError, match=r"none of 1 routes .*reasons.jsonl.*collect routes with reasons"):
        open_pools(data, CAMERAS, codebook, frozenset({"reasons"}), 1, False)
    write_reasons(folder)
    pool, _ = open_pools(data, CAMERAS, codebook, frozenset({"reasons"}), 1, False)
    scene, true = pool.scene(4), read_reasons(RouteLog(folder))[4]
    assert scene.complex and true.thought and not pool.scene(5).complex
    plans = np.stack([scene.expert, scene.expert])
    right, wrong = scene.faithful((true.thought, true.thought.replace("red", "green")), plans)
    assert right == pytest.approx(1.0) and wrong < right


def test_all_answers_to_a_prompt_are_scored_at_once(recipe: RftConfig) -> None:
    loop = dataclasses.replace(recipe.loop, steps=1)
    judged = dataclasses.replace(recipe, thinking=ADAPTIVE, reward=RewardConfig({"pdm": 1.0}), loop=loop)
    counts, score = [], rft_scenes.pdm.score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rft_scenes.pdm, "score", lambda scene, plans: counts.append(len(plans)) or score(scene, plans))
        rft.train(judged)
    # six held-out samples answered in three ways beside three standards, before and after; three groups of four
    # answers beside a car that stands
    assert counts == [6] * 6 + [5] * 3 + [6] * 6


def test_a_reward_that_needs_no_truth_does_not_ask_for_it(recipe: RftConfig) -> None:
    scene = RouteScenes.scene

    def without_map(self: RouteScenes, index: int) -> Scene:
        def judge(plans: np.ndarray) -> dict[str, np.ndarray]:
            raise DatasetError("no map here")

        return dataclasses.replace(scene(self, index), judge=judge)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RouteScenes, "scene", without_map)
        rft.train(dataclasses.replace(recipe, loop=dataclasses.replace(recipe.loop, steps=1)))
    rows = lines(recipe.out, "validation")
    assert [row["unscored"] for row in rows] == [0.0, 0.0] and "ade_m" in rows[0]
