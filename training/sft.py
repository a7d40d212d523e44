"""Supervised fine-tuning: route logs or other data sets in, a model folder out.

    python -m training.sft --config training/recipes/tiny_sft.yaml [--minutes 60] [--out runs/tiny_sft]
    torchrun --nproc-per-node 8 -m training.sft --config training/recipes/sft_3b_full.yaml      # the same steps, shared

Trains from scratch, or from ``model.init``. ``data.sources`` of a recipe names other data sets (docs/datasets.md); a
split that benchmarks are scored on is refused unless ``--i-know`` is given. Ctrl-C or SIGTERM saves; the same command
goes on from there. ``<out>/model`` always holds the best model so far, ready to drive. docs/training.md says more.
Under torchrun this program reads the variables that torchrun sets (RANK, LOCAL_RANK, ...), and no others.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autovla_core import config
from autovla_core.action.codebook import Codebook
from autovla_core.errors import AutoVLAError
from autovla_core.model import checkpoint
from training import loop
from training.collate import Batch, Collator
from training.devices import device_of
from training.rft_tally import Team
from training.run_record import begin, claim, weights_of
from training.saving import newest
from training.schedule import Progress
from training.sft_data import Data, load_data, thought_ids, validation_samples
from training.sft_settings import SftConfig
from training.student import Student
from training.trainee import Trainee
from training.validation import validate

logger = logging.getLogger(__name__)

STOPPED = 130  # as a shell says it of Ctrl-C
# of a recipe: may change between two parts of one run
FREE = ("out", "threads", "device", "accumulate", "recompute", "shard", "compile", "tensorboard")


def train(
    settings: SftConfig, stop: threading.Event | None = None, i_know: bool = False, team: Team | None = None
) -> tuple[Progress, dict[str, float]]:
    """Run one recipe, or go on with it; return where it ended and the scores of the best model (``out/model``).

    Args:
        stop: set it from a signal handler; the run saves and returns after the current step.
        i_know: train even on a split that benchmarks are scored on.
        team: the ranks that train together; the scores are on the one that leads.

    Raises:
        TrainingError: ``out`` holds a run of another recipe, or one that began with another model or other data.
    """
    team, device = team or Team(), device_of(settings.device)
    count = settings.parts(team.size)
    claim(settings.out, config.to_dict(settings), FREE, team)
    torch.manual_seed(settings.seed)
    student = Student(settings, team, device)
    data = _load_in_turn(settings, student.codebook, i_know, team)
    origin = begin(settings.out, _names(settings, student, data), team, "model.init, the codebook and the data")
    trainee = student.trainee()
    collator = _collator(settings, student, data)
    judge = Judge(settings, student, data, origin, team)
    module = compiled(trainee) if settings.compile else trainee

    def loss(part: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if settings.lora is not None and settings.lora.dropout > 0.0:
            torch.manual_seed(part.seed)  # so that a run that goes on drops what one that was not stopped drops
        return module(part.to(device))

    progress = loop.fit(
        trainee,
        lambda step: collator.parts(step, count, team.share(count)),
        loss,
        settings.loop,
        settings.out,
        judge.check,
        stop,
        team=team,
        tensorboard=settings.tensorboard,
    )
    return progress, dict(judge.best)


class Judge:
    """Scores the student on held-out samples now and then; the best so far is ``out/model``."""

    def __init__(
        self, settings: SftConfig, student: Student, data: Data, origin: Mapping[str, object], team: Team
    ) -> None:
        self._settings, self._student, self._data, self._origin, self._team = settings, student, data, origin, team
        self._chosen = validation_samples(data, settings)
        self.best = _best_so_far(settings.out)

    def check(self, progress: Progress) -> dict[str, float]:
        """Held-out scores, on the rank that leads; every rank must call it."""
        student, scores = self._student, {}
        student.follow()
        if self._team.leads:
            sampler = student.sampler()
            plain, book = student.plain, student.codebook
            scores = validate(plain, student.encoder, book, self._data.held_out, self._chosen, sampler)
            if is_better(scores, self.best):
                self.best = scores
                student.save(self._provenance(progress))
        self._team.wait()
        return scores

    def _provenance(self, progress: Progress) -> dict[str, object]:
        return {
            "program": "training.sft",
            "recipe": config.to_dict(self._settings),
            "steps": progress.step,
            "minutes": round(progress.elapsed_s / 60.0, 1),
            "ranks": self._team.size,
            "samples": len(self._data.training),
            "routes": self._data.scenes,
            "data": self._origin["data"],
            "code": self._origin["code"],
            "scores": self.best,
        }


def is_better(scores: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether a model is to be kept: as near to the expert or nearer; one whose distance is no number never is."""
    return scores["ade_m"] <= best.get("ade_m", np.inf)


def _load_in_turn(settings: SftConfig, codebook: Codebook, i_know: bool, team: Team) -> Data:
    """The data; the first rank decodes the pictures, the others find them."""
    if not team.leads:
        team.wait()
    data = load_data(settings, codebook, i_know)
    if team.leads:
        team.wait()
    return data


def _names(settings: SftConfig, student: Student, data: Data) -> dict[str, object]:
    """What may not change under a run that goes on."""
    init = settings.model.init
    return {"init": weights_of(init) if init else {}, "codebook": student.codebook.hash, **data.hashes()}


def _collator(settings: SftConfig, student: Student, data: Data) -> Collator:
    return Collator(
        data.training,
        student.encoder,
        student.codebook,
        data.frequencies,
        settings.augment,
        settings.batch_size,
        settings.loss.action,
        settings.seed,
        thought_ids(data.training, student.encoder),
        settings.loss.reasoning,
        settings.loss.mode,
    )


def compiled(trainee: Trainee) -> nn.Module:
    """The same loss through torch.compile; as it is where there is no C++ compiler."""
    if next(trainee.parameters()).device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        logger.warning("compile: true needs a C++ compiler (c++, g++ or clang++), none found; going on without")
        return trainee
    return torch.compile(trainee)


def _best_so_far(out: Path) -> dict[str, float]:
    """Scores of ``out/model`` when a run goes on; empty for a new run."""
    if not newest(out) or not (out / "model").exists():
        return {}
    return dict(checkpoint.read_record(out / "model").training["scores"])


def override(settings: SftConfig, given: Mapping[str, object]) -> SftConfig:
    """The recipe with what the command line changes; None changes nothing."""
    given = {name: value for name, value in given.items() if value is not None}
    whole = {name: given[name] for name in ("out", "threads", "device", "accumulate") if name in given}
    if "minutes" in given:
        whole["loop"] = dataclasses.replace(settings.loop, minutes=given["minutes"], steps=None)
    if "routes" in given:
        whole["data"] = dataclasses.replace(settings.data, routes=tuple(given["routes"]))
    if "init" in given:
        whole["model"] = dataclasses.replace(settings.model, init=given["init"])
    return dataclasses.replace(settings, **whole)


def keep_memory() -> None:
    """Tell glibc to keep freed blocks: giving 40 MB tensors back to the system each step costs a fifth of the time."""
    trim_threshold, mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 2**30)
    libc.mallopt(trim_threshold, 2**31 - 1)


def _join(device: str) -> Team:
    """The ranks of torchrun, each on a GPU of its own; alone without it."""
    if device_of(device).type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    team = Team.join(device)
    if not team.leads:
        logging.getLogger().setLevel(logging.WARNING)
    return team


def main() -> int:
    """Parse the command line and run the recipe; return 0 when it is finished, 1 after an error, 130 when stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--routes", type=Path, nargs="+", help="folders of route logs, instead of the recipe's")
    parser.add_argument("--init", type=Path, help="model folder to go on from, instead of from scratch")
    parser.add_argument("--minutes", type=float, help="instead of the recipe's length")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--accumulate", type=int, help="parts that a batch is cut into, instead of the recipe's")
    parser.add_argument("--i-know", action="store_true", help="train even on a split that benchmarks are scored on")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = override(config.load(SftConfig, args.config), vars(args))
        keep_memory()
        torch.set_num_threads(settings.threads)
        team = _join(settings.device)
        progress, scores = train(settings, stop, args.i_know, team)
        team.leave()
    except (AutoVLAError, OSError) as error:  # OSError: a full disk
        print(f"training.sft: {error}", file=sys.stderr)
        return 1
    state = "finished" if progress.finished else "stopped; the same command goes on from here"
    logger.info("%s at step %d: %s, model in %s", state, progress.step, scores, settings.out / "model")
    return 0 if progress.finished else STOPPED


if __name__ == "__main__":
    sys.exit(main())
