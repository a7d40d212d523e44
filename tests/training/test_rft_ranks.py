"""Several ranks, and devices that are not there."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import yaml
from torch import distributed

from autovla_core import config
from tests.training.toys import ROOT, lines, weights
from training import rft
from training.rft_settings import RftConfig
from training.rft_tally import Team


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


def test_ranks_wait_as_long_as_the_first_one_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = {}
    monkeypatch.setattr(distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, **more: begun.update(more, backend=backend))
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    assert Team.join("cuda") == Team(1, 2)
    assert begun["backend"] == "nccl" and begun["timeout"] >= timedelta(hours=6)


def test_a_gpu_that_is_not_there_is_named(
    recipe: RftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(config.to_dict(recipe)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["rft", "--config", str(file), "--device", "cuda"])
    assert rft.main() == 1
    assert "device 'cuda': this torch sees no GPU" in capsys.readouterr().err
