"""Reinforcement fine-tuning (GRPO): a model folder and scenes that judge plans in, a better model folder out.

    python -m training.rft --config training/recipes/tiny_rft.yaml [--init runs/x/model] [--out runs/y]
    torchrun --nproc-per-node 2 -m training.rft --config ...          # the same steps, shared by two ranks

Ctrl-C or SIGTERM saves; the same command goes on from there, bit for bit. ``<out>/model`` is the best model so far by
held-out reward, ``<out>/log.jsonl`` has a line a step with every term of the reward. Method and traps: docs/rft.md.
Under torchrun this program reads the variables that torchrun sets (RANK, LOCAL_RANK, ...), and no others.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autovla_core import config
from autovla_core.errors import AutoVLAError, ConfigError
from autovla_core.model import checkpoint
from training import loop, saving
from training.devices import device_of
from training.rft_groups import Dealer, Group
from training.rft_policy import Policy
from training.rft_record import Log, begin, claim, data_hash
from training.rft_scenes import open_pools
from training.rft_settings import RftConfig
from training.rft_tally import Tally, Team
from training.rft_update import Update
from training.rft_validation import validate
from training.schedule import Progress, TrainingError, learning_rate
from training.sft import keep_memory

logger = logging.getLogger(__name__)


class Run:
    """One run: policy, data, optimizer and where it stands.

    Raises:
        TrainingError: ``out`` holds a run of another recipe, or one that began with another model or other data.
        SetupError: a GPU is asked for where there is none.
    """

    def __init__(self, settings: RftConfig, team: Team, i_know: bool = False) -> None:
        self.settings, self.team = settings, team
        claim(settings, team)
        self.policy = Policy(settings, device_of(settings.device))
        self.origin = begin(settings, self.open(i_know), team)
        self.update = Update(self.policy, settings)
        steps = settings.loop
        self.optimizer = torch.optim.AdamW(
            self.policy.trainable.parameters(), steps.lr, betas=steps.betas, weight_decay=steps.weight_decay
        )
        self.progress = saving.resume(settings.out, self.policy.trainable, self.optimizer)
        self.policy.follow()
        self.best = self._best_so_far()

    def open(self, i_know: bool) -> dict[str, str]:
        """Ready what is trained on and what is held out; return hashes of both."""
        settings, team = self.settings, self.team
        if settings.drives is not None:
            raise ConfigError("the recipe has drives: run it with python -m training.rft_closed_loop")
        cameras, threads = self.policy.record.cameras, settings.threads
        if not team.leads:
            team.wait()  # the first rank decodes the pictures, the others find them
        pools = open_pools(settings.data, cameras, self.policy.codebook, settings.reward.needs, threads, i_know)
        if team.leads:
            team.wait()
        self.pool, self.held_out = pools
        self.dealer = Dealer(self.pool, self.policy.sampler, settings)
        return {"data": data_hash(self.pool), "held_out": data_hash(self.held_out)}

    def close(self) -> None:
        """Let go of what ``open`` took."""

    def deal(self, stop: threading.Event, tally: Tally) -> list[Group]:
        """This rank's groups of the step; fewer when it is stopped."""
        groups: list[Group] = []
        for place, index in self._own_places():
            if stop.is_set():
                break
            groups.append(self.dealer.group(self.progress.step, place, index, tally))
        return groups

    def held_out_values(self) -> dict[str, float]:
        """What the model is worth on what is held out."""
        return validate(self.policy.sampler, self.held_out, self.settings, self.team)

    def step(self, stop: threading.Event) -> Tally | None:
        """Draw, reward, learn; None if it was broken off, with nothing changed.

        Raises:
            RewardError: a reward that is no number.
            TrainingError: many steps in a row without a finite gradient.
        """
        tally = Tally()
        groups = self.deal(stop, tally)
        if self.team.any(stop.is_set()):
            return None
        self._learn([group for group in groups if not group.dead], tally)
        return self.team.merge(tally)

    def validate(self) -> dict[str, float]:
        """Held-out values; the best model so far is written.

        Raises:
            TrainingError: the recipe asks for a value that is none of them.
        """
        wanted = self.settings.validation
        scores = self.held_out_values()
        unknown = {wanted.best, *wanted.at_least} - set(scores)
        if unknown:
            raise TrainingError(f"validation asks for {sorted(unknown)}; known here: {', '.join(scores)}")
        if scores["standing"] > scores["reward"]:
            logger.warning("held out: a car that stands would earn %(standing).3f, the model %(reward).3f", scores)
        able = all(scores[name] >= least for name, least in wanted.at_least.items())
        if able and (not self.best or scores[wanted.best] > self.best[wanted.best]):
            self.best = scores
            if self.team.leads:
                self.policy.save(self.settings.out, self._provenance(scores))
        self.team.wait()
        return scores

    def save(self) -> None:
        """Write the checkpoint."""
        if self.team.leads:
            saving.save(self.settings.out, self.policy.trainable, self.optimizer, self.progress)
        self.team.wait()

    def samples(self) -> int:
        """How many different prompts there are to train on."""
        return int((self.pool.frequencies > 0.0).sum())

    def _own_places(self) -> list[tuple[int, int]]:
        indices = self.dealer.indices(self.progress.step)
        return [(place, int(indices[place])) for place in self.team.share(len(indices))]

    def _learn(self, alive: list[Group], tally: Tally) -> None:
        """All updates of a step; none where every group of every rank is dead."""
        if not self.team.any(bool(alive)):
            return
        rate = learning_rate(self.settings.loop.schedule, self.progress)
        tally.add("lr", rate)
        readings = self.update.readings(alive)
        for _ in range(self.settings.grpo.updates):
            readings = self.update.backward(readings, tally)
            tally.add("grad_norm", self._apply(rate))
        self.policy.follow()

    def _apply(self, rate: float) -> float:
        """One step of the optimizer; one whose gradient is not finite is left out and counted. The gradient's norm."""
        parameters = list(self.policy.trainable.parameters())
        self.team.sum_gradients(parameters)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.loop.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.progress.bad_steps = 0
        else:
            self.progress.bad_steps += 1
            logger.warning("step %d: gradient norm %s, left out", self.progress.step, norm.item())
            if self.progress.bad_steps >= loop.MAX_BAD_STEPS:
                raise TrainingError(f"{loop.MAX_BAD_STEPS} updates in a row without a finite gradient; lower the rate")
        self.optimizer.zero_grad(set_to_none=True)
        return norm.item()

    def _best_so_far(self) -> dict[str, float]:
        out = self.settings.out
        if not self.progress.step or not (out / "model").exists():
            return {}
        return dict(checkpoint.read_record(out / "model").training["scores"])

    def _provenance(self, scores: Mapping[str, float]) -> dict[str, object]:
        return {
            "program": "training.rft",
            "recipe": config.to_dict(self.settings),
            "began_with": self.policy.record.training,
            "steps": self.progress.step,
            "minutes": round(self.progress.elapsed_s / 60.0, 1),
            "ranks": self.team.size,
            "samples": self.samples(),
            "data": self.origin["data"],
            "code": self.origin["code"],
            "scores": dict(scores),
        }


def train(
    settings: RftConfig,
    stop: threading.Event | None = None,
    team: Team | None = None,
    minutes: float | None = None,
    i_know: bool = False,
    kind: type[Run] = Run,
) -> tuple[Progress, dict[str, float]]:
    """Run one recipe, or go on with it; return where it stands and the held-out values of the best model.

    Args:
        stop: set it from a signal handler; a step in which nothing was changed yet is broken off.
        minutes: of this call; then it saves and returns as if it were stopped.
    """
    team, stop = team or Team(), stop or threading.Event()
    run = kind(settings, team, i_know)
    try:
        return _go_on(run, stop, minutes)
    finally:
        run.close()


def _go_on(run: Run, stop: threading.Event, minutes: float | None) -> tuple[Progress, dict[str, float]]:
    settings, team = run.settings, run.team
    log = Log(settings, run.progress, team)
    started = time.monotonic() - run.progress.elapsed_s
    until = np.inf if minutes is None else time.monotonic() + 60.0 * minutes
    saved = time.monotonic()
    every, steps = settings.loop.validate_every, settings.loop.steps
    if not run.progress.step:
        log.write("validation", run.validate())
    while run.progress.step < steps and not team.any(stop.is_set() or time.monotonic() > until):
        began = time.monotonic()
        tally = run.step(stop)
        if tally is None:
            break
        run.progress.step += 1
        run.progress.elapsed_s = time.monotonic() - started
        log.write("step", tally.means(6) | {"seconds": round(time.monotonic() - began, 3)})
        if run.progress.step % every == 0 and run.progress.step < steps:
            log.write("validation", run.validate())
        if team.any(time.monotonic() - saved > 60.0 * settings.loop.save_minutes):
            run.save()
            saved = time.monotonic()
    if run.progress.step >= steps and not run.progress.finished:
        log.write("validation", run.validate())
        run.progress.finished = True
    run.save()
    log.close()
    if not run.best:
        logger.warning("no model was kept: none reached %s", settings.validation.at_least)
    return run.progress, dict(run.best)


def override(settings: RftConfig, given: Mapping[str, object]) -> RftConfig:
    """The recipe with what the command line changes; None changes nothing."""
    given = {name: value for name, value in given.items() if value is not None}
    whole = {name: given[name] for name in ("out", "init", "threads", "device") if name in given}
    if "routes" in given:
        whole["data"] = dataclasses.replace(settings.data, routes=tuple(given["routes"]))
    return dataclasses.replace(settings, **whole)


def main(kind: type[Run] = Run, about: str | None = __doc__) -> int:
    """Parse the command line and run the recipe."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="model folder to start from, instead of the recipe's")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--routes", type=Path, nargs="+", help="folders of route logs, instead of the recipe's")
    parser.add_argument("--minutes", type=float, help="of this call; then it saves, and the same command goes on")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--i-know", action="store_true", help="train even on a split that benchmarks are scored on")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        settings = override(config.load(RftConfig, args.config), vars(args))
        device = device_of(settings.device)
        keep_memory()
        torch.set_num_threads(settings.threads)
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        team = Team.join(settings.device)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        progress, scores = train(settings, stop, team, args.minutes, args.i_know, kind)
        team.leave()
    except (AutoVLAError, OSError) as error:  # OSError: a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1
    state = "finished" if progress.finished else "stopped; the same command goes on from here"
    logger.info("%s at step %d: %s, model in %s", state, progress.step, scores, settings.out / "model")
    return 0


if __name__ == "__main__":
    sys.exit(main())
