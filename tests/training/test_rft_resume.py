"""Runs that were stopped, that died, or that go on in a folder of something else."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.training.toys import same
from training import rewards, rft
from training.rewards import RewardError, TermSettings
from training.rft_groups import Dealer
from training.rft_settings import GrpoConfig, RftConfig
from training.rft_tally import Tally
from training.schedule import TrainingError


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


def test_a_folder_of_another_recipe_is_refused(recipe: RftConfig) -> None:
    rft.train(recipe)
    with pytest.raises(TrainingError, match=r"another recipe: \['grpo'\]"):
        rft.train(dataclasses.replace(recipe, grpo=GrpoConfig(group=4, prompts=2)))


def test_a_reward_that_is_no_number_stops_the_run_and_keeps_what_was_learnt(recipe: RftConfig) -> None:
    calls = []

    def broken(outcome: rewards.Outcome, settings: TermSettings) -> np.ndarray:
        calls.append(len(outcome.plans))
        return np.full(len(outcome.plans), np.nan if calls.count(5) > 3 else 0.0) + np.arange(len(outcome.plans))

    saving = dataclasses.replace(recipe.loop, save_minutes=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rewards.REWARDS, "ade", broken)
        with pytest.raises(RewardError, match=r"route_\d, plan \d+: reward term 'ade' is \[nan"):
            rft.train(dataclasses.replace(recipe, loop=saving))
    assert json.loads((recipe.out / "checkpoint" / "progress.json").read_text())["step"] == 1


def test_a_run_goes_on_only_with_the_model_and_the_data_that_it_began_with(recipe: RftConfig, tmp_path: Path) -> None:
    roads, init = tmp_path / "roads", tmp_path / "init"
    shutil.copytree(recipe.data.routes[0], roads)
    shutil.copytree(recipe.init, init)
    own = dataclasses.replace(recipe, init=init, data=dataclasses.replace(recipe.data, routes=(roads,)))
    stop = threading.Event()
    stop.set()  # after the first validation
    rft.train(own, stop)
    file = init / "model.safetensors"
    first = file.read_bytes()
    save_file({name: 0.5 * value for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    with pytest.raises(TrainingError, match=r"began with other \['init'\]"):
        rft.train(own, stop)
    file.write_bytes(first)
    rft.train(own, stop)
    shutil.rmtree(roads / "route_2")
    with pytest.raises(TrainingError, match=r"began with other \['data'\]"):
        rft.train(own, stop)
