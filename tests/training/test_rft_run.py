"""Whole runs on a random model of 0.1 M parameters and on logs of a straight road, with truth to score plans on."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autovla_core import config
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Actor, LightState, Outlook
from autovla_core.errors import ConfigError, LogError
from autovla_core.logs import reasons, truth
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.truth import PolygonKind, RouteMap, TrackRecorder
from autovla_core.logs.writer import RouteWriter
from autovla_core.model import checkpoint, tiny
from autovla_core.model.encoding import CameraView
from autovla_core.model.lora import LoraSpec
from autovla_core.model.sampling import Sampling
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.model.vla import AutoVLA
from autovla_core.prompt.reasoning_facts import Facts, SeenLight, to_line
from autovla_core.scoring import pdm_logs
from autovla_core.scoring.pdm_types import PdmScene, ScoringError
from training import rewards, rft
from training.datasets.reasons import read_reasons
from training.loop import TrainingError
from training.rewards import RewardConfig, RewardError, TermSettings
from training.rft_groups import Dealer, Sampler
from training.rft_scenes import open_pools
from training.rft_settings import GrpoConfig, MemoryConfig, RftConfig, StepsConfig, ValidationConfig
from training.rft_tally import Tally
from training.sft import DataConfig

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = (CameraView("front", 56, 84),)
WARM = Sampling(temperature=1.0)
FAST = ThinkingConfig("fast", actions=WARM)
ADAPTIVE = ThinkingConfig("adaptive", most_tokens=8, words=WARM, actions=WARM)
VEHICLE = (1.1, 3.9, 1.0, 2.85)  # half width, rear axle to front and to rear, wheel base


def box(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def road() -> RouteMap:
    """One lane along x, and its surface."""
    x = np.arange(-50.0, 400.0)
    line = np.stack([x, np.zeros_like(x), np.zeros_like(x)], -1)
    return RouteMap(
        np.concatenate([box(-50, 400, -1.75, 1.75), box(-50, 400, -1.75, 1.75)]),
        np.array([0, 4, 8], np.int32),
        np.array([PolygonKind.LANE, PolygonKind.ROAD], np.uint8),
        np.zeros((2, 3), np.int32),
        np.array([True, False]),
        np.full(2, 10.0, np.float32),
        np.full(2, -1, np.int32),
        line.astype(np.float32),
        np.array([0, len(line), len(line)], np.int32),
        line,
    )


def write_route(folder: Path, speed: float, seconds: float = 12.0, shift_m: float = 0.0) -> Path:
    """A drive at constant speed, planned twice a second; the picture's brightness tells the speed."""
    meta = RouteMeta(
        "Nowhere", folder.name, 0, rig={"front": {"id": "front", "width": 84, "height": 56, "fov_deg": 80}}
    )
    plan = np.stack([0.5 * speed * np.arange(1, 11), np.zeros(10), np.zeros(10)], -1)
    recorder = TrackRecorder(VEHICLE)
    with RouteWriter(folder, meta) as writer:
        for number in range(round(20 * seconds)):
            time_s = 0.05 * number
            writer.tick(Tick(time_s, speed * time_s, 0.0, 0.0, 0.0, speed, 0.0, 0.0))
            if number % 5 == 0:
                writer.image("front", number, np.full((56, 84, 3), int(15 * speed), np.uint8))
                writer.plan(number, plan, Outlook("lead" if number % 10 == 0 else "cruise"))
            if number % 2 == 0:
                ego = [speed * time_s + shift_m, 0.0, 0.0, speed, 0.0, 0.0, 0.0, 0.0, 0.0]
                parked = Actor(3, "vehicle", np.array([speed * seconds + 30.0, 0.0, 0.0]), 0.0, 4.6, 1.9)
                recorder.add(time_s, ego, [parked], {7: LightState.GREEN})
    truth.write_map(folder, road())
    truth.write_tracks(folder, recorder.finish())
    return folder


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("roads")
    for number, speed in enumerate((6.0, 8.0, 10.0)):
        write_reasons(write_route(root / f"route_{number}", speed))
    return root


def write_reasons(folder: Path) -> Path:
    """A red light is seen at every second plan, and nothing at the others."""
    light = SeenLight(7, "red", 25.0, 30)
    known = [(int(tick), light if tick % 10 == 0 else None) for tick in RouteLog(folder).plans["tick"]]
    facts = [Facts(t, 8.0, 4, "light" if seen else "cruise", 7 if seen else 0, light=seen) for t, seen in known]
    return reasons.write_lines(folder, [to_line(each) for each in facts])


@pytest.fixture(scope="module")
def init(codebook: Codebook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that ends a thought now and then."""
    tokenizer = tiny.build_tokenizer(len(codebook))
    model = tiny.build_model("n01", tokenizer, codebook, 56, 84)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(4.0)
    return checkpoint.save(
        tmp_path_factory.mktemp("init") / "model", model, tokenizer, codebook, CAMERAS, {"by": "test"}
    )


@pytest.fixture
def recipe(roads: Path, init: Path, tmp_path: Path) -> RftConfig:
    torch.set_num_threads(1)
    return RftConfig(
        out=tmp_path / "run",
        init=init,
        data=DataConfig((roads,), tmp_path / "cache", held_out=0.0),
        loop=StepsConfig(steps=3, lr=1e-3, warmup=1, validate_every=2),
        grpo=GrpoConfig(group=4, prompts=3),
        reward=RewardConfig({"ade": 1.0, "progress": 0.5}),
        thinking=FAST,
        validation=ValidationConfig(samples=6, batch=4),
        threads=1,
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "module.safetensors")


def lines(out: Path, kind: str) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_leaves_a_model_that_plans_its_log_and_its_provenance(recipe: RftConfig) -> None:
    thinking = dataclasses.replace(recipe, thinking=ADAPTIVE, reward=RewardConfig({"ade": 1.0, "thinking": -0.3}))
    progress, scores = rft.train(thinking)
    assert progress.finished and progress.step == 3
    planner = AutoVLA.from_pretrained(recipe.out / "model")
    stored = planner.record.training
    assert config.from_dict(RftConfig, stored["recipe"]) == thinking
    assert stored["scores"] == scores and stored["began_with"] == {"by": "test"} and len(stored["data"]) == 64
    steps, held_out = lines(recipe.out, "step"), lines(recipe.out, "validation")
    assert [row["step"] for row in steps] == [1, 2, 3] and [row["step"] for row in held_out] == [0, 2, 3]
    wanted = {"reward", "reward_spread", "reward_standing", "term_ade", "term_thinking", "thinking_tokens", "slow"}
    assert all(wanted | {"kl", "dead_groups", "grad_norm", "lr", "thought_cut", "seconds"} <= set(row) for row in steps)
    assert {"standing", "half_speed", "expert", "ade_m", "fast_reward", "slow_reward"} <= set(held_out[0])
    worth = [row["slow_reward_complex"] - row["fast_reward_complex"] for row in held_out]
    assert [row["worth_complex"] for row in held_out] == pytest.approx(worth, abs=2e-4)
    assert max(row["reward"] for row in held_out) == scores["reward"]


def test_the_reference_is_where_training_began(recipe: RftConfig) -> None:
    rft.train(recipe)
    kl = [row["kl"] for row in lines(recipe.out, "step")]
    assert kl[0] == pytest.approx(0.0, abs=1e-8) and kl[2] > 1e-6


def test_an_adapter_trains_alone_and_the_saved_model_is_plain(recipe: RftConfig) -> None:
    adapted = dataclasses.replace(
        recipe, lora=LoraSpec(rank=2, dropout=0.0), loop=StepsConfig(steps=2, lr=1e-2, warmup=1)
    )
    rft.train(adapted)
    assert [row["kl"] for row in lines(recipe.out, "step")][0] == pytest.approx(0.0, abs=1e-8)
    assert sum(tensor.numel() for tensor in weights(recipe.out).values()) < 0.75 * 160_000
    planner = AutoVLA.from_pretrained(recipe.out / "model")
    assert type(planner.model.model.language_model.layers[0].self_attn.q_proj) is torch.nn.Linear
    assert (recipe.out / "adapter" / "adapter_model.safetensors").is_file()


def test_the_reward_rises(recipe: RftConfig) -> None:
    toy = dataclasses.replace(
        recipe,
        reward=RewardConfig({"ade": 1.0}),
        grpo=GrpoConfig(group=16, prompts=4),
        loop=StepsConfig(steps=25, lr=1e-2, warmup=1, validate_every=100),
    )
    rft.train(toy)
    earned = [row["reward"] for row in lines(recipe.out, "step")]
    before, after = lines(recipe.out, "validation")
    assert np.mean(earned[-5:]) > np.mean(earned[:5]) + 0.3
    assert after["ade_m"] < 0.8 * before["ade_m"]


def test_a_price_on_thinking_ends_it_and_complex_scenes_can_be_spared(recipe: RftConfig) -> None:
    dear = TermSettings(thinking_tokens=4.0, thinking_slope=1.0, thinking_spares_complex=True)
    toy = dataclasses.replace(
        recipe,
        thinking=ADAPTIVE,
        reward=RewardConfig({"thinking": -1.0}, dear),
        grpo=GrpoConfig(group=12, prompts=4),
        loop=StepsConfig(steps=15, lr=1e-2, warmup=1, validate_every=100),
    )
    rft.train(toy)
    rows = lines(recipe.out, "step")
    slow = [[row["slow_simple"] for row in part if "slow_simple" in row] for part in (rows[:3], rows[-3:])]
    assert np.mean(slow[0]) > 0.2 and np.mean(slow[1]) < 0.05
    # half of the moments are complex; a group of such a one earns the same whatever it does
    assert 0.2 < np.mean([row["dead_groups"] for row in rows[:5]]) < 0.8


@pytest.mark.parametrize("updates", [1, 2])
def test_a_run_that_was_stopped_ends_bit_for_bit_like_one_that_was_not(
    recipe: RftConfig, tmp_path: Path, updates: int
) -> None:
    recipe = dataclasses.replace(recipe, grpo=dataclasses.replace(recipe.grpo, updates=updates))
    rft.train(recipe)
    other = dataclasses.replace(recipe, out=tmp_path / "stopped")
    stop, deal = threading.Event(), Dealer.group

    def interrupt(self: Dealer, step: int, place: int, index: int, tally: Tally):
        if (step, place) == (1, 1):
            stop.set()  # in the middle of the second step, which is broken off
        return deal(self, step, place, index, tally)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dealer, "group", interrupt)
        progress, _ = rft.train(other, stop)
    assert progress.step == 1 and not progress.finished
    progress, scores = rft.train(other)
    assert progress.finished and same(recipe.out, other.out)
    assert scores == rft.train(recipe)[1]  # of the best model, whichever part of the run found it


def test_a_step_that_dies_loses_nothing_but_itself(recipe: RftConfig, tmp_path: Path) -> None:
    rft.train(recipe)
    other = dataclasses.replace(recipe, out=tmp_path / "died", loop=dataclasses.replace(recipe.loop, save_minutes=0.0))
    deal = Dealer.group

    def die(self: Dealer, step: int, place: int, index: int, tally: Tally):
        if (step, place) == (2, 1):
            raise KeyboardInterrupt
        return deal(self, step, place, index, tally)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dealer, "group", die)
        with pytest.raises(KeyboardInterrupt):
            rft.train(other)
    progress, _ = rft.train(other)
    assert progress.finished and same(recipe.out, other.out)


def test_lines_of_steps_that_were_lost_are_taken_back(recipe: RftConfig) -> None:
    rft.train(recipe)
    file = recipe.out / "log.jsonl"
    whole = file.read_text()
    file.write_text(whole + json.dumps({"kind": "step", "step": 4}) + '\n{"kind": "st')
    rft.train(recipe)
    assert file.read_text() == whole


def test_a_model_that_no_longer_thinks_where_it_must_is_not_the_best(recipe: RftConfig, tmp_path: Path) -> None:
    rft.train(recipe)  # answers fast: its share of slow answers is 0
    held_out = dataclasses.replace(recipe.validation, at_least={"slow_complex": 0.1})
    wary = dataclasses.replace(recipe, out=tmp_path / "wary", validation=held_out)
    _, scores = rft.train(wary)
    assert not scores and not (wary.out / "model").exists()
    assert lines(wary.out, "validation")[0]["reward"] == lines(recipe.out, "validation")[0]["reward"]


def test_a_folder_of_another_recipe_is_refused(recipe: RftConfig) -> None:
    rft.train(recipe)
    with pytest.raises(TrainingError, match=r"another recipe: \['grpo'\]"):
        rft.train(dataclasses.replace(recipe, grpo=GrpoConfig(group=4, prompts=2)))


def test_the_options_of_the_objective_train(recipe: RftConfig) -> None:
    dr_grpo = GrpoConfig(group=4, prompts=2, advantage="centred", divisor=20.0, beta=0.0, updates=3, clip=0.1)
    many = dataclasses.replace(recipe, grpo=dr_grpo, thinking=ADAPTIVE, loop=StepsConfig(steps=2, lr=1e-2, warmup=1))
    rft.train(many)
    rows = lines(recipe.out, "step")
    assert all("kl" not in row and np.isfinite(row["grad_norm"]) for row in rows)
    assert max(row["ratio_clipped"] for row in rows) > 0.0  # the second update leaves the answers' own policy


def test_groups_that_earned_the_same_are_counted_and_change_nothing(recipe: RftConfig) -> None:
    equal = dataclasses.replace(
        recipe,
        reward=RewardConfig({"format": 1.0}),  # every fast answer earns 1
        loop=dataclasses.replace(recipe.loop, weight_decay=0.1),
    )
    rft.train(equal)
    rows = lines(recipe.out, "step")
    assert [row["dead_groups"] for row in rows] == [1.0] * 3 and "kl" not in rows[0]
    before = rft.Policy(recipe, torch.device("cpu")).trainable.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in weights(recipe.out).items())


def test_a_reward_that_is_no_number_stops_the_run_and_keeps_what_was_learnt(recipe: RftConfig) -> None:
    calls = []

    def broken(outcome: rewards.Outcome, settings: TermSettings) -> np.ndarray:
        calls.append(len(outcome.plans))
        return np.full(len(outcome.plans), np.nan if calls.count(4) > 3 else 0.0) + np.arange(len(outcome.plans))

    saving = dataclasses.replace(recipe.loop, save_minutes=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rewards.REWARDS, "ade", broken)
        with pytest.raises(RewardError, match=r"route_\d, plan \d+: reward term 'ade' is \[nan"):
            rft.train(dataclasses.replace(recipe, loop=saving))
    assert json.loads((recipe.out / "checkpoint" / "progress.json").read_text())["step"] == 1


def test_how_much_goes_through_the_model_at_once_changes_only_rounding(recipe: RftConfig, tmp_path: Path) -> None:
    thinking = dataclasses.replace(recipe, thinking=ADAPTIVE, loop=dataclasses.replace(recipe.loop, steps=1))
    rft.train(thinking)
    small = dataclasses.replace(thinking, out=tmp_path / "small", memory=MemoryConfig(prompts=1, answers=3))
    rft.train(small)
    a, b = lines(recipe.out, "step")[0], lines(small.out, "step")[0]
    assert a["reward"] == b["reward"] and a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)


def test_what_is_drawn_depends_on_step_place_and_number_alone(recipe: RftConfig, codebook: Codebook) -> None:
    model, tokenizer = checkpoint.load(recipe.init)
    sampler = Sampler(model.requires_grad_(False), tokenizer, CAMERAS, codebook, parts=False)
    pool, _ = open_pools(recipe.data, CAMERAS, codebook, frozenset(), 1, False)
    dealer = Dealer(pool, sampler, recipe)
    groups = {(step, place): dealer.group(step, place, 5, Tally()) for step in (0, 1) for place in (0, 1)}
    again = dealer.group(1, 0, 5, Tally())
    drawn = {key: [tuple(found.tokens) for found in group.answers] for key, group in groups.items()}
    assert [tuple(found.tokens) for found in again.answers] == drawn[1, 0]
    assert len({tokens for group in drawn.values() for tokens in group}) == 16
    wide = dataclasses.replace(recipe, grpo=GrpoConfig(group=6, prompts=3))
    more = Dealer(pool, sampler, wide).group(1, 0, 5, Tally())
    assert [tuple(found.tokens) for found in more.answers][:4] == drawn[1, 0]


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
    data = DataConfig((moved.parent,), tmp_path / "cache", held_out=0.0)
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
    data = DataConfig((folder.parent,), tmp_path / "cache", held_out=0.0)
    with pytest.raises(LogError, match=r"none of 1 routes .*reasons.jsonl.*collect routes with reasons"):
        open_pools(data, CAMERAS, codebook, frozenset({"reasons"}), 1, False)
    write_reasons(folder)
    pool, _ = open_pools(data, CAMERAS, codebook, frozenset({"reasons"}), 1, False)
    scene, true = pool.scene(4), read_reasons(RouteLog(folder))[4]
    assert scene.complex and true.thought and not pool.scene(5).complex
    plans = np.stack([scene.expert, scene.expert])
    right, wrong = scene.faithful((true.thought, true.thought.replace("red", "green")), plans)
    assert right == pytest.approx(1.0) and wrong < right


def test_two_ranks_do_what_one_does(recipe: RftConfig, tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipe, loop=dataclasses.replace(recipe.loop, steps=2))
    rft.train(recipe)
    file, out = tmp_path / "recipe.yaml", tmp_path / "ranks"
    file.write_text((recipe.out / "recipe.yaml").read_text())  # what a run leaves is a recipe
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert config.load(RftConfig, file) == recipe
    run = subprocess.run(
        [*command, "-m", "training.rft", "--config", str(file), "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    for a, b in zip(lines(recipe.out, "step"), lines(out, "step")):
        for name in set(a) - {"kind", "minutes", "seconds"}:
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-7), name
    begun = rft.Policy(recipe, torch.device("cpu")).trainable.state_dict()
    one, two = (
        torch.cat([(found[n] - begun[n]).flatten() for n in begun]) for found in map(weights, (recipe.out, out))
    )
    assert float((one - two).norm() / one.norm()) < 1e-4  # of what was learnt; single values round Adam's way


def test_answers_that_cannot_differ_or_cannot_be_drawn_twice_are_refused(recipe: RftConfig) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        dataclasses.replace(recipe, thinking=ThinkingConfig("fast"))
    with pytest.raises(ConfigError, match="clock"):
        dataclasses.replace(recipe, thinking=dataclasses.replace(ADAPTIVE, deadline_ms=50.0))
    with pytest.raises(ConfigError, match="nothing to be compared with"):
        GrpoConfig(group=1)
    with pytest.raises(ConfigError, match="known: normalised"):
        GrpoConfig(advantage="std")


def test_a_name_of_the_best_that_is_no_value_lists_them(recipe: RftConfig) -> None:
    wrong = dataclasses.replace(recipe, validation=ValidationConfig(samples=2, best="pdm"))
    with pytest.raises(TrainingError, match="known here: ade_m, .*reward"):
        rft.train(wrong)


RECIPES = sorted(file.name for file in (ROOT / "training" / "recipes").glob("*rft*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_on_a_tiny_model(recipe: RftConfig, name: str) -> None:
    given = config.load(RftConfig, ROOT / "training" / "recipes" / name)
    small = dataclasses.replace(
        given,
        out=recipe.out,
        init=recipe.init,
        data=recipe.data,
        device="cpu",
        threads=1,
        loop=dataclasses.replace(given.loop, steps=2),
        grpo=dataclasses.replace(given.grpo, group=3, prompts=2),
        thinking=dataclasses.replace(given.thinking, most_tokens=8),
        validation=dataclasses.replace(given.validation, samples=4),
    )
    progress, scores = rft.train(small)
    assert progress.finished and small.validation.best in scores
    assert {f"term_{name}" for name in given.reward.weights} <= set(lines(recipe.out, "step")[0])


def test_the_recipe_of_the_big_model_has_the_papers_numbers() -> None:
    given = config.load(RftConfig, ROOT / "training" / "recipes" / "rft_3b_lora.yaml")
    assert (given.lora.rank, given.lora.alpha, given.loop.lr, given.loop.steps) == (8, 8.0, 3e-5, 6000)
    assert (given.grpo.beta, given.grpo.updates, given.grpo.advantage) == (0.04, 1, "normalised")
    assert given.thinking.words == given.thinking.actions == WARM
    assert given.reward.weights["pdm"] == 1.0 and given.reward.weights["thinking"] == -0.3
    assert (given.reward.terms.thinking_tokens, given.reward.terms.thinking_slope) == (400.0, 0.002)
