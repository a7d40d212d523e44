"""SFT that goes on in a folder: only as the run that it was, from a whole checkpoint, with a log that says what was."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml

from autovla_core import config
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.model import checkpoint
from tests.training.toys import CAMERAS, ROOT, lines, weights
from training import loop, run_record, saving, sft
from training.schedule import LoopConfig, Progress, TrainingError
from training.sft_settings import ModelConfig, SftConfig


def stop_after(recipe: SftConfig, step: int) -> Progress:
    """Run until ``step`` steps are done."""
    stop, update = threading.Event(), loop.update

    def interrupt(*args):
        if args[-1].step == step - 1:
            stop.set()
        return update(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "update", interrupt)
        return sft.train(recipe, stop)[0]


def test_only_the_run_that_it_was_goes_on(taught: SftConfig, init: Path, codebook: Codebook, tmp_path: Path) -> None:
    routes, start, book = tmp_path / "routes", tmp_path / "init", tmp_path / "codebook.npz"
    shutil.copytree(taught.data.routes[0], routes)
    shutil.copytree(init, start)
    own = dataclasses.replace(
        taught,
        data=dataclasses.replace(taught.data, routes=(routes,)),
        model=ModelConfig("n01", init=start, cameras=CAMERAS),
        loop=LoopConfig(steps=2, warmup=1),
    )
    assert stop_after(own, 1).step == 1
    origin = json.loads((own.out / "origin.json").read_text())
    assert origin["codebook"] == codebook.hash and len(origin["data"]) == len(origin["held_out"]) == 64
    assert config.load(SftConfig, own.out / "recipe.yaml") == own  # what a run leaves is a recipe
    with pytest.raises(TrainingError, match=r"another recipe: \['seed', 'loss'\]|another recipe: \['loss', 'seed'\]"):
        sft.train(dataclasses.replace(own, seed=1, loss=dataclasses.replace(own.loss, action=2.0)))
    file = start / "model.safetensors"
    first = file.read_bytes()
    checkpoint.save(start, *_halved(start), Codebook.load(SHIPPED), CAMERAS, {})
    with pytest.raises(TrainingError, match=r"began with other \['init'\] than"):
        sft.train(own)
    file.write_bytes(first)
    scratch = dataclasses.replace(own, out=tmp_path / "scratch", model=ModelConfig("n01", None, book, CAMERAS))
    Codebook.load(SHIPPED).save(book)
    assert stop_after(scratch, 1).step == 1
    motions = codebook.motions.copy()
    motions[1:] = motions[:0:-1]  # the same motions by other numbers
    dataclasses.replace(codebook, motions=motions).save(book)
    with pytest.raises(TrainingError, match=r"began with other \['codebook'.*\] than"):
        sft.train(scratch)
    shutil.rmtree(routes / "route_002")
    with pytest.raises(TrainingError, match=r"began with other \['data'"):
        sft.train(own)
    (own.out / "recipe.yaml").unlink()
    with pytest.raises(TrainingError, match="checkpoint without recipe.yaml"):
        sft.train(own)


def _halved(folder: Path) -> tuple[torch.nn.Module, object]:
    model, tokenizer = checkpoint.load(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    return model, tokenizer


def test_a_run_that_dies_takes_back_the_lines_of_lost_steps_and_finds_the_same_best(
    taught: SftConfig, tmp_path: Path
) -> None:
    own = dataclasses.replace(taught, loop=LoopConfig(steps=5, warmup=1, log_every=1, validate_every=2))
    _, scores = sft.train(own)
    other = dataclasses.replace(own, out=tmp_path / "died", threads=1, loop=own.loop)
    assert stop_after(other, 2).step == 2
    update = loop.update

    def die(*args):
        if args[-1].step == 3:
            raise KeyboardInterrupt
        return update(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "update", die)
        with pytest.raises(KeyboardInterrupt):
            sft.train(other)
    assert [row["step"] for row in lines(other.out, "train")] == [1, 2, 3]
    with (other.out / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "ki')
    assert sft.train(other)[1] == scores
    for kind in ("train", "validation"):
        a, b = lines(own.out, kind), lines(other.out, kind)
        for row in (*a, *b):
            del row["minutes"], row[next((name for name in ("steps_per_s",) if name in row), "kind")]
        assert a == b
    assert [row["step"] for row in lines(own.out, "validation")] == [2, 4, 5]
    assert all(torch.equal(value, weights(other.out)[name]) for name, value in weights(own.out).items())


def test_a_distance_that_is_no_number_is_never_the_best() -> None:
    nan = float("nan")
    assert not sft.is_better({"ade_m": nan}, {}) and not sft.is_better({"ade_m": nan}, {"ade_m": 2.0})
    assert sft.is_better({"ade_m": 2.0}, {}) and sft.is_better({"ade_m": 1.9}, {"ade_m": 2.0})
    assert not sft.is_better({"ade_m": 2.1}, {"ade_m": 2.0})


def limited(command: list[str], size: int) -> subprocess.CompletedProcess[str]:
    """A child process that can write no file longer than ``size`` bytes: what a full disk looks like to it."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=800,
    )


@pytest.mark.timeout(1800)
def test_a_full_disk_is_named_and_the_older_checkpoint_stays(taught: SftConfig, tmp_path: Path) -> None:
    assert stop_after(taught, 1).step == 1
    before = {file.name: file.read_bytes() for file in (taught.out / "checkpoint").iterdir()}
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(config.to_dict(taught)))
    done = limited([sys.executable, "-m", "training.sft", "--config", str(file)], 100_000)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the checkpoint of step 6 cannot be written" in done.stderr and "make room" in done.stderr
    assert {file.name: file.read_bytes() for file in (taught.out / "checkpoint").iterdir()} == before
    assert not (taught.out / ".checkpoint.partial").exists()
    progress, _ = sft.train(taught)
    assert progress.finished
    program = (
        "import sys\nfrom autovla_core.model import checkpoint\nfrom autovla_core.errors import CheckpointError\n"
        "from autovla_core.action.codebook import Codebook\nfolder = sys.argv[1]\n"
        "record = checkpoint.read_record(folder)\nbook = checkpoint.read_codebook(folder, record)\n"
        "try:\n    checkpoint.save(folder, *checkpoint.load(folder), book, record.cameras, {})\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    model = taught.out / "model"
    stored = (model / "model.safetensors").read_bytes()
    done = limited([sys.executable, "-c", program, str(model)], 100_000)
    assert "cannot be written" in done.stdout and "is as it was" in done.stdout, done.stderr[-2000:]
    assert (model / "model.safetensors").read_bytes() == stored and checkpoint.load(model)
    assert not (taught.out / ".model.partial").exists()


def test_a_checkpoint_that_is_damaged_is_named(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    saving.save(tmp_path, module, torch.optim.AdamW(module.parameters()), Progress(step=3))
    (tmp_path / "checkpoint" / "module.safetensors").write_bytes(b"\x10")
    with pytest.raises(TrainingError, match="cannot be read"):
        saving.resume(tmp_path, module, torch.optim.AdamW(module.parameters()))


def test_a_kill_between_two_names_leaves_the_older_checkpoint_to_the_next_save(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(module.parameters())
    saving.save(tmp_path, module, optimizer, Progress(step=3))
    (tmp_path / "checkpoint").rename(tmp_path / ".checkpoint.old")
    assert saving.resume(tmp_path, module, optimizer).step == 3
    remove = saving.shutil.rmtree

    def watched(path: Path, ignore_errors: bool = False) -> None:
        if Path(path).name == ".checkpoint.old" and Path(path).exists():
            assert (tmp_path / "checkpoint").exists(), "the only whole one is removed before there is another"
        remove(path, ignore_errors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving.shutil, "rmtree", watched)
        saving.save(tmp_path, module, optimizer, Progress(step=4))
    assert not (tmp_path / ".checkpoint.old").exists()
    assert saving.resume(tmp_path, module, optimizer).step == 4


def test_the_code_is_named_by_commit_or_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "a.py").write_text("x = 1\n")
    alone = run_record.source(tmp_path)
    assert set(alone) == {"sources"}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    clean = run_record.source(tmp_path)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "training" / "a.py").write_text("x = 2\n")
    dirty = run_record.source(tmp_path)
    assert dirty["commit"] == clean["commit"] and dirty["dirty"] is True and dirty["sources"] != alone["sources"]
