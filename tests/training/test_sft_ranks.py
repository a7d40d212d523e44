"""One batch, cut into parts, shared by ranks or spread in shards, teaches the same; so do adapters and fewer digits."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from autovla_core import config
from autovla_core.errors import CheckpointError, ConfigError
from autovla_core.model import checkpoint, lora
from autovla_core.model.encoding import Encoder
from autovla_core.model.patches import batch_vision, pixel_patches
from autovla_core.model.vla import AutoVLA
from tests.training.toys import CAMERAS, ROOT, lines, weights
from training import sft
from training.collate import Collator
from training.datasets.reasons import ThinkingRoutes
from training.datasets.routes import find_routes
from training.rft_tally import Team, buckets
from training.schedule import LoopConfig
from training.sft_data import thought_ids
from training.sft_settings import DataConfig, LossConfig, ModelConfig, SftConfig
from training.student import Student, build
from training.trainee import Trainee


@pytest.fixture
def short(roads: Path, tmp_path: Path) -> SftConfig:
    """Three steps on logs with thoughts; every term of the loss counts."""
    torch.set_num_threads(1)
    return SftConfig(
        DataConfig((roads,), tmp_path / "cache", held_out=0.0, held_out_samples=4, thoughts=True),
        tmp_path / "run",
        LoopConfig(steps=3, warmup=1, log_every=1),
        ModelConfig("n01", cameras=CAMERAS),
        LossConfig(evidence=0.5, reasoning=5.0),
        batch_size=4,
        threads=1,
    )


def learnt(out: Path, recipe: SftConfig) -> torch.Tensor:
    """What three steps changed, as one vector."""
    begun = dict(Student(recipe, Team(), torch.device("cpu")).trainee().named_parameters())
    found = weights(out)
    torch.manual_seed(recipe.seed)
    return torch.cat([(found[name] - begun[name].detach()).flatten() for name in sorted(found) if "vlm" in name])


def agree(one: Path, two: Path, recipe: SftConfig) -> None:
    """Losses to five digits; what was learnt as a whole to three: single values round Adam's way."""
    a, b = lines(one, "train"), lines(two, "train")
    assert [row["step"] for row in a] == [row["step"] for row in b] == [1, 2, 3]
    for first, second in zip(a, b):
        for name in ("loss", "cross_entropy", "waypoints", "outlook", "evidence", "accuracy", "grad_norm"):
            assert first[name] == pytest.approx(second[name], rel=1e-4, abs=2e-4), name
    first, second = learnt(one, recipe), learnt(two, recipe)
    assert float(first.norm()) > 0.1
    assert float((first - second).norm() / first.norm()) < 1e-3


def test_one_by_four_is_two_by_two_is_four_by_one(short: SftConfig, tmp_path: Path) -> None:
    sft.train(short)
    for parts in (2, 4):
        out = tmp_path / f"parts_{parts}"
        sft.train(dataclasses.replace(short, out=out, accumulate=parts))
        agree(short.out, out, short)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("shard", [False, True])
def test_two_ranks_by_two_do_what_one_does_in_shards_or_not(short: SftConfig, tmp_path: Path, shard: bool) -> None:
    sft.train(short)
    out, file = tmp_path / "ranks", tmp_path / "recipe.yaml"
    parts = 4 if shard else 2
    given = dataclasses.replace(short, out=out, shard=shard, recompute=shard, accumulate=parts)
    file.write_text(yaml.safe_dump(config.to_dict(given)))
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + ["-m", "training.sft", "--config", str(file)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    agree(short.out, out, short)
    record = AutoVLA.from_pretrained(out / "model").record.training
    alone = checkpoint.read_record(short.out / "model").training
    assert record["ranks"] == 2 and record["scores"].keys() == alone["scores"].keys()
    assert record["scores"]["ade_m"] == pytest.approx(alone["scores"]["ade_m"], abs=0.05)
    progress, scores = sft.train(
        dataclasses.replace(given, shard=False, accumulate=1)
    )  # one process reads what two wrote
    assert progress.step == 3 and progress.finished and scores == record["scores"]


def test_the_losses_of_uneven_parts_add_up_to_that_of_the_batch(short: SftConfig) -> None:
    model, vocabulary, book = build(short)
    batch_vision(model)
    encoder = Encoder(model, vocabulary, CAMERAS, len(book))
    dataset = ThinkingRoutes(find_routes(short.data.routes), CAMERAS, book, short.data.cache, 1)
    dataset.samples.mask[::2, 6:] = False  # half of the samples know six poses
    dataset.samples.rule[::3] = 0
    openings = thought_ids(dataset, encoder)
    trainee = Trainee(model, encoder, book, short.loss)
    collator = Collator(dataset, encoder, book, np.ones(len(dataset)), short.augment, 7, 1.0, 3, openings, 5.0, 0.2)
    whole, parts = collator.batch(5), collator.parts(5, 3, range(3))
    assert [len(part.ids) for part in parts] == [3, 2, 2]
    assert sum(part.shares for part in parts).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert not whole.known.all() and bool((whole.rule == 0).any())
    with torch.no_grad():
        value, terms = trainee(whole)
        found = [trainee(part) for part in parts]
    assert float(sum(each for each, _ in found)) == pytest.approx(float(value), rel=1e-5)
    for name, term in terms.items():
        assert float(sum(each[name] for _, each in found)) == pytest.approx(float(term), rel=1e-5, abs=1e-6), name
    assert collator.parts(5, 3, [1])[0].ids.equal(parts[1].ids)  # a rank needs none of the others' pictures


def test_gradients_travel_in_buckets_that_hold_every_parameter_once() -> None:
    assert buckets([3, 3, 3, 9, 1], most=6) == [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    assert buckets([]) == [] and buckets([5, 5], most=10) == [range(0, 2)]


def test_bfloat16_computes_with_fewer_digits_and_keeps_whole_masters(short: SftConfig, tmp_path: Path) -> None:
    few = dataclasses.replace(
        short, out=tmp_path / "few", dtype="bfloat16", loop=dataclasses.replace(short.loop, steps=2)
    )
    sft.train(dataclasses.replace(few, out=short.out, dtype="float32"))
    sft.train(few)
    a, b = lines(short.out, "train"), lines(few.out, "train")
    assert a[0]["loss"] != b[0]["loss"]
    assert a[0]["loss"] == pytest.approx(b[0]["loss"], rel=0.01)
    assert {value.dtype for value in weights(few.out).values()} == {torch.float32}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_alone_is_learnt_and_saved_beside_the_merged_model(
    short: SftConfig, thinker: Path, tmp_path: Path, dtype: str
) -> None:
    spec = lora.LoraSpec(rank=2, alpha=4.0)
    model = dataclasses.replace(short.model, init=thinker)
    recipe = dataclasses.replace(
        short, model=model, lora=spec, dtype=dtype, loop=dataclasses.replace(short.loop, lr=0.02)
    )
    sft.train(recipe)
    names = set(weights(recipe.out))
    assert names and all("lora_" in n or "trainable_tokens" in n or "vlm" not in n for n in names)
    base, _ = checkpoint.load(thinker)
    record = checkpoint.read_record(recipe.out / "model")
    merged, _ = checkpoint.load(recipe.out / "model")
    adapted = lora.load_adapter(base, recipe.out / "adapter", record)
    plain = dict(lora.merge(adapted).named_parameters())
    first, _ = checkpoint.load(thinker)
    begun = dict(first.named_parameters())
    changed = {name for name, value in merged.named_parameters() if not torch.equal(value, begun[name])}
    assert changed and all("language_model" in name for name in changed)
    for name in changed:
        assert float((plain[name] - dict(merged.named_parameters())[name]).detach().abs().max()) < 0.01, name


def test_a_run_with_dropout_that_was_stopped_ends_like_one_that_was_not(
    short: SftConfig, thinker: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(
        short,
        model=dataclasses.replace(short.model, init=thinker),
        lora=lora.LoraSpec(rank=2, dropout=0.5),
        accumulate=2,
    )
    sft.train(recipe)
    other = dataclasses.replace(recipe, out=tmp_path / "stopped")
    stop, update = sft.threading.Event(), sft.loop.update

    def interrupt(*args):
        if args[-1].step == 1:
            stop.set()
        return update(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft.loop, "update", interrupt)
        assert sft.train(other, stop)[0].step == 2
    sft.train(other)
    a, b = weights(recipe.out), weights(other.out)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert lines(recipe.out, "train") != [] and [r["loss"] for r in lines(recipe.out, "train")] == [
        r["loss"] for r in lines(other.out, "train")
    ]


def test_what_does_not_go_together_is_refused(short: SftConfig, init: Path) -> None:
    with pytest.raises(ConfigError, match="accumulate 5: expected 1 to 4"):
        dataclasses.replace(short, accumulate=5)
    with pytest.raises(ConfigError, match="dtype 'float16'; known: float32, bfloat16"):
        dataclasses.replace(short, dtype="float16")
    with pytest.raises(ConfigError, match="name it in model.init"):
        dataclasses.replace(short, lora=lora.LoraSpec())
    adapted = dataclasses.replace(short, lora=lora.LoraSpec(), model=dataclasses.replace(short.model, init=init))
    with pytest.raises(ConfigError, match="take shard out"):
        dataclasses.replace(adapted, shard=True)
    with pytest.raises(CheckpointError, match="does not know the words of thoughts"):
        build(adapted)
    assert dataclasses.replace(short, accumulate=3).parts(2) == 4
    with pytest.raises(ConfigError, match="no 5 parts for 5 ranks"):
        short.parts(5)


def test_pictures_become_patches_where_they_lie() -> None:
    clips = torch.zeros(2, 4, 56, 84, 3, dtype=torch.uint8, device="meta")
    light = torch.ones(2, device="meta"), torch.zeros(2, device="meta")
    assert pixel_patches(clips, light).device.type == "meta"
