from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autovla_core import config
from autovla_core.errors import CheckpointError, ConfigError
from autovla_core.model import checkpoint
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.patches import batch_vision
from autovla_core.model.vla import AutoVLA
from training import loop, saving, sft
from training.augment import AugmentConfig
from training.collate import Collator
from training.datasets.routes import RouteDataset, find_routes
from training.rft_tally import Team
from training.schedule import LoopConfig, Progress, TrainingError, learning_rate
from training.sft_settings import LossConfig, SftConfig
from training.student import build
from training.trainee import Trainee
from training.validation import validate

PLAIN = AugmentConfig(0.0, 0.0, 0, 0.0, 0.0, 0.0)


@pytest.fixture
def recipe(taught: SftConfig) -> SftConfig:
    return taught


def module_of(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "module.safetensors")


def test_a_run_leaves_a_model_that_drives_a_log_and_its_provenance(recipe: SftConfig) -> None:
    progress, scores = sft.train(recipe)
    assert progress.finished and progress.step == 6
    assert {"ade_m", "fde_m", "ade_black_m", "ade_exchanged_m"} <= set(scores)
    planner = AutoVLA.from_pretrained(recipe.out / "model")
    assert planner.record.training["steps"] == 6
    assert config.from_dict(SftConfig, planner.record.training["recipe"]) == recipe
    rows = [json.loads(line) for line in (recipe.out / "log.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["train", "train", "train", "validation"]
    assert all(np.isfinite(row["loss"]) for row in rows[:3])


def test_a_run_that_was_interrupted_ends_bit_for_bit_like_one_that_was_not(recipe: SftConfig, tmp_path: Path) -> None:
    sft.train(recipe)
    other = dataclasses.replace(recipe, out=tmp_path / "interrupted")
    stop = threading.Event()
    original = loop.update

    def interrupt(*args):
        values = original(*args)
        if args[-1].step == 2:
            stop.set()
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "update", interrupt)
        progress, _ = sft.train(other, stop)
    assert progress.step == 3 and not progress.finished
    progress, _ = sft.train(other)
    assert progress.step == 6 and progress.finished
    a, b = module_of(recipe.out), module_of(other.out)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_finished_run_trains_no_further(recipe: SftConfig) -> None:
    sft.train(recipe)
    before = module_of(recipe.out)
    progress, scores = sft.train(recipe)
    assert progress.step == 6 and scores
    assert all(torch.equal(t, before[name]) for name, t in module_of(recipe.out).items())


def test_eight_samples_are_learnt_by_heart(recipe: SftConfig) -> None:
    model, vocabulary, book = build(recipe)
    dataset = RouteDataset(find_routes(recipe.data.routes), recipe.model.cameras, book, recipe.data.cache, 1)
    encoder = Encoder(model, vocabulary, recipe.model.cameras, len(book))
    batch_vision(model)
    trainee = Trainee(model, encoder, book, LossConfig())
    chosen = np.arange(0, len(dataset), len(dataset) // 8)[:8]
    collator = Collator(dataset, encoder, book, np.ones(len(dataset)), PLAIN, 8, 1.0, 0)
    batch = collator.collate(chosen, np.random.default_rng(0))
    trained = list(trainee.parameters())
    optimizer = torch.optim.AdamW(trained, 1e-2)
    progress, losses = Progress(), []
    for _ in range(150):
        losses.append(loop.update(trained, optimizer, trainee, [batch], 1e-2, 1.0, Team(), progress))
    assert losses[-1]["loss"] < 0.15 * losses[0]["loss"]
    assert losses[-1]["accuracy"] > 0.9
    scores = validate(model, encoder, book, dataset, chosen)
    assert scores["ade_m"] < 0.5 < scores["ade_exchanged_m"]


def test_going_on_from_a_model_keeps_its_tokenizer_and_refuses_another_rig(recipe: SftConfig, tmp_path: Path) -> None:
    sft.train(recipe)
    onward = dataclasses.replace(
        recipe, out=tmp_path / "onward", model=dataclasses.replace(recipe.model, init=recipe.out / "model")
    )
    model, _, book = build(onward)
    assert book.hash == checkpoint.read_record(recipe.out / "model").codebook_hash
    stored, _ = checkpoint.load(recipe.out / "model")
    assert torch.equal(model.lm_head.weight, stored.lm_head.weight)
    wide = dataclasses.replace(onward.model, cameras=(CameraView("front", 112, 224),))
    with pytest.raises(CheckpointError, match="sees"):
        build(dataclasses.replace(onward, model=wide))


def test_soft_targets_train_too(recipe: SftConfig, tmp_path: Path) -> None:
    soft = dataclasses.replace(recipe, loss=LossConfig(soft_sigma=0.2), loop=LoopConfig(steps=2))
    assert sft.train(soft)[0].finished


def test_the_learning_rate_warms_up_then_falls_to_its_last_value() -> None:
    settings = LoopConfig(steps=100, lr=1.0, warmup=10, final_lr=0.1)
    rates = [learning_rate(settings, Progress(step=i)) for i in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[100] == pytest.approx(0.1)
    assert learning_rate(LoopConfig(minutes=2.0, lr=1.0, warmup=0), Progress(5, elapsed_s=60.0)) == pytest.approx(
        0.02 + 0.98 / 2
    )


def test_minutes_end_a_run(recipe: SftConfig) -> None:
    ticks = iter(range(0, 10_000, 7))
    module = torch.nn.Linear(1, 1)
    progress = loop.fit(
        module,
        lambda step: [torch.ones(1, 1)],
        lambda data: (module(data).square().mean(), {}),
        LoopConfig(minutes=0.5),
        recipe.out,
        clock=lambda: float(next(ticks)),
    )
    assert progress.finished and progress.step == 5


def test_a_gradient_that_is_not_finite_is_left_out_and_many_end_the_run(recipe: SftConfig) -> None:
    module = torch.nn.Linear(1, 1)
    before = module.weight.clone()
    with pytest.raises(TrainingError, match="in a row"):
        loop.fit(
            module,
            lambda step: [torch.full((1, 1), float("nan"))],
            lambda data: (module(data).mean(), {}),
            LoopConfig(steps=1000),
            recipe.out,
        )
    assert torch.equal(module.weight, before)


def test_a_checkpoint_of_another_model_is_refused(recipe: SftConfig) -> None:
    one, two = torch.nn.Linear(1, 1), torch.nn.Linear(2, 1)
    saving.save(recipe.out, one, torch.optim.AdamW(one.parameters()), Progress(step=3))
    with pytest.raises(TrainingError, match="another model"):
        saving.resume(recipe.out, two, torch.optim.AdamW(two.parameters()))


def test_the_recipe_file_is_valid_and_needs_exactly_one_length() -> None:
    file = Path(sft.__file__).parent / "recipes" / "tiny_sft.yaml"
    assert config.load(SftConfig, file).model.size == "n2"
    with pytest.raises(ConfigError, match="exactly one"):
        LoopConfig()


def test_the_command_line_changes_only_what_it_names(recipe: SftConfig) -> None:
    assert sft.override(recipe, {"out": None, "minutes": None, "config": Path("x.yaml")}) == recipe
    changed = sft.override(recipe, {"minutes": 3.0, "init": Path("m"), "routes": [Path("a"), Path("b")]})
    assert (changed.loop.minutes, changed.loop.steps) == (3.0, None)
    assert changed.model.init == Path("m") and changed.data.routes == (Path("a"), Path("b"))
    assert changed.augment == recipe.augment
