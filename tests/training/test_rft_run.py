"""Whole runs on a random model of 0.1 M parameters and on logs of a straight road, with truth to score plans on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from autovla_core import config
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import Mode
from autovla_core.model import checkpoint
from autovla_core.model.generate import Generated
from autovla_core.model.lora import LoraSpec
from autovla_core.model.vla import AutoVLA
from autovla_core.prompt import reasoning
from tests.training.toys import ADAPTIVE, CAMERAS, lines, weights
from training import rewards, rft, rft_groups
from training.rewards import RewardConfig, Scene, TermSettings
from training.rft_groups import Dealer
from training.rft_policy import Policy
from training.rft_scenes import open_pools
from training.rft_settings import GrpoConfig, MemoryConfig, NoiseConfig, RftConfig, StepsConfig
from training.rft_tally import Tally
from training.sampler import Sampler


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


def test_a_model_that_no_longer_thinks_where_it_must_is_not_the_best(recipe: RftConfig, tmp_path: Path) -> None:
    rft.train(recipe)  # answers fast: its share of slow answers is 0
    held_out = dataclasses.replace(recipe.validation, at_least={"slow_complex": 0.1})
    wary = dataclasses.replace(recipe, out=tmp_path / "wary", validation=held_out)
    _, scores = rft.train(wary)
    assert not scores and not (wary.out / "model").exists()
    assert lines(wary.out, "validation")[0]["reward"] == lines(recipe.out, "validation")[0]["reward"]


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


def test_the_noise_of_a_prompt_is_not_the_chance_that_drew_it(recipe: RftConfig, codebook: Codebook) -> None:
    model, tokenizer = checkpoint.load(recipe.init)
    sampler = Sampler(model.requires_grad_(False), tokenizer, CAMERAS, codebook, parts=False)
    pool, _ = open_pools(recipe.data, CAMERAS, codebook, frozenset(), 1, False)
    noisy = dataclasses.replace(recipe, noise=NoiseConfig(1.0, 1.0))
    added, prompt_of = [], rft_groups.prompt_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rft_groups, "prompt_of", lambda *given: added.append(given[-1]) or prompt_of(*given))
        for place in (0, 1):
            Dealer(pool, sampler, noisy).group(1, place, 5, Tally())
    drawing = np.random.default_rng([recipe.seed, 1]).standard_normal(2)  # what draws the samples of step 1
    assert len({tuple(noise) for noise in (*added, drawing)}) == 3


def test_a_thought_is_read_with_the_header_that_its_opening_holds(recipe: RftConfig) -> None:
    given = dataclasses.replace(ADAPTIVE, parts=True)
    sampler = Policy(dataclasses.replace(recipe, thinking=given), torch.device("cpu")).sampler
    whole = reasoning.write(reasoning.Reasoning("Rain.", "A car ahead.", "Follow it.", "Keep the lane."))
    after = whole.removeprefix(reasoning.HEADERS["scene"] + "\n")
    assert sampler.encoder.decode(sampler.grammar.slow).endswith(whole.removesuffix(after))
    found = Generated(Mode.SLOW, sampler.encoder.ids(after), np.zeros(10, int), np.zeros(10))
    outcome = sampler.outcome(Scene("a", np.zeros((10, 3)), np.ones(10, bool)), [found])
    assert outcome.thoughts == (whole,)
    assert rewards.form(outcome, TermSettings(parts=True)).tolist() == [1.0]
