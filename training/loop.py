"""One training loop: batches by number, AdamW, warm-up and cosine, checkpoints that resume bit for bit.

It knows nothing of driving: ``batch(step)`` makes the batch, ``loss(batch)`` returns the loss and
what to log, ``validate(step)`` is called now and then.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

from autovla_core.errors import AutoVLAError, ConfigError

logger = logging.getLogger(__name__)
T = TypeVar("T")
PREFETCH = 4
MAX_BAD_STEPS = 50


class TrainingError(AutoVLAError):
    """Training cannot go on: the loss is not a number, or a checkpoint does not fit."""


@dataclass(frozen=True)
class LoopConfig:
    """Length of a run and its optimizer: ``steps`` for a run that repeats bit for bit, or ``minutes`` of wall time."""

    steps: int | None = None
    minutes: float | None = None
    lr: float = 1.5e-3
    final_lr: float = 0.02  # of lr
    warmup: int = 100  # steps
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0  # norm of the gradient
    save_minutes: float = 3.0
    validate_minutes: float = 6.0
    log_every: int = 20

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError(f"loop: found steps {self.steps} and minutes {self.minutes}, expected exactly one")


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    step: int = 0
    elapsed_s: float = 0.0
    bad_steps: int = 0
    finished: bool = False

    def share(self, config: LoopConfig) -> float:
        """Done so far, 0 to 1."""
        done = self.step / config.steps if config.steps else self.elapsed_s / (60.0 * config.minutes)
        return min(1.0, done)


def learning_rate(config: LoopConfig, progress: Progress) -> float:
    """Linear warm-up by steps, then a cosine over the share of the run down to ``final_lr``."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress.share(config)))
    warm = min(1.0, (progress.step + 1) / max(1, config.warmup))
    return config.lr * warm * (config.final_lr + (1.0 - config.final_lr) * cosine)


def fit(
    module: nn.Module,
    batch: Callable[[int], T],
    loss: Callable[[T], tuple[torch.Tensor, dict[str, torch.Tensor]]],
    config: LoopConfig,
    folder: Path,
    validate: Callable[[Progress], dict[str, float]] = lambda progress: {},
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Train ``module`` in place, going on from ``folder/checkpoint`` if there is one.

    Args:
        stop: set it from a signal handler; the run saves and returns after the current step.
        clock: seconds; the time that budgets are counted in.

    Raises:
        TrainingError: the loss was not finite in many steps in a row.
    """
    stop = stop or threading.Event()
    optimizer = torch.optim.AdamW(
        module.parameters(), config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    progress = resume(folder, module, optimizer)
    log = RunLog(folder, config, progress)
    started = clock() - progress.elapsed_s
    saved = validated = progress.elapsed_s
    module.train()
    for data in prefetch(batch, progress.step, stop):
        if progress.share(config) >= 1.0 or stop.is_set():
            break
        rate = learning_rate(config, progress)
        values = update(module, optimizer, loss, data, rate, config.clip, progress)
        progress.step += 1
        progress.elapsed_s = clock() - started
        log.step(values, rate)
        if progress.elapsed_s - validated > 60.0 * config.validate_minutes and progress.share(config) < 0.97:
            log.validation(validate(progress))
            module.train()
            validated = progress.elapsed_s = clock() - started
        if progress.elapsed_s - saved > 60.0 * config.save_minutes:
            save(folder, module, optimizer, progress)
            saved = progress.elapsed_s
    progress.finished = progress.share(config) >= 1.0
    save(folder, module, optimizer, progress)
    if progress.finished:
        log.validation(validate(progress))
    log.close()
    return progress


def update(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[T], tuple[torch.Tensor, dict[str, torch.Tensor]]],
    data: T,
    rate: float,
    clip: float,
    progress: Progress,
) -> dict[str, float]:
    """One step of the optimizer; a step whose gradient is not finite is left out and counted."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    value, terms = loss(data)
    value.backward()
    norm = nn.utils.clip_grad_norm_(module.parameters(), clip)
    if torch.isfinite(norm):
        optimizer.step()
        progress.bad_steps = 0
    else:
        progress.bad_steps += 1
        logger.warning("step %d: gradient norm %s, left out", progress.step, norm.item())
        if progress.bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(f"{MAX_BAD_STEPS} steps in a row without a finite gradient; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    return {"loss": value.item(), "grad_norm": norm.item(), **{name: t.item() for name, t in terms.items()}}


def prefetch(make: Callable[[int], T], first: int, stop: threading.Event) -> Iterator[T]:
    """``make(first)``, ``make(first + 1)`` ... in order, a few of them ahead of time in one other thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        queue = [pool.submit(make, first + i) for i in range(PREFETCH)]
        number = first + PREFETCH
        try:
            while not stop.is_set():
                queue.append(pool.submit(make, number))
                number += 1
                yield queue.pop(0).result()
        finally:
            for future in queue:
                future.cancel()


class RunLog:
    """``log.jsonl`` and a progress bar."""

    def __init__(self, folder: Path, config: LoopConfig, progress: Progress) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._config, self._progress = config, progress
        self._sums: dict[str, float] = {}
        self._count = 0
        self._note = ""
        self._bar = tqdm(total=1000, unit="per mille", bar_format="{percentage:3.0f}%|{bar:20}| {elapsed} {postfix}")
        self._since = progress.elapsed_s

    def step(self, values: dict[str, float], rate: float) -> None:
        """Add one step; every ``log_every`` of them the means are written."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if self._count < self._config.log_every:
            return
        means = {name: round(total / self._count, 4) for name, total in self._sums.items()}
        pace = self._count / max(1e-9, self._progress.elapsed_s - self._since)
        self._write({"kind": "train", **means, "lr": rate, "steps_per_s": round(pace, 3)})
        self._bar.n = int(1000 * self._progress.share(self._config))
        self._bar.set_postfix_str(
            f"step {self._progress.step}, loss {means['loss']:.3f}, {pace:.2f} steps/s{self._note}"
        )
        self._sums, self._count, self._since = {}, 0, self._progress.elapsed_s

    def validation(self, values: dict[str, float]) -> None:
        """Write held-out scores; the bar shows the distance error from now on."""
        if not values:
            return
        self._write({"kind": "validation", **values})
        self._bar.write(f"step {self._progress.step}: " + ", ".join(f"{k} {v}" for k, v in values.items()))
        self._note = f", held-out ADE {values['ade_m']:.2f} m" if "ade_m" in values else ""
        self._since = self._progress.elapsed_s

    def close(self) -> None:
        """Finish the bar and the file."""
        self._bar.close()
        self._file.close()

    def _write(self, values: dict[str, object]) -> None:
        where = {"step": self._progress.step, "minutes": round(self._progress.elapsed_s / 60.0, 3)}
        self._file.write(json.dumps({**where, **values}) + "\n")
        self._file.flush()


def save(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write ``folder/checkpoint``; at every moment either the old one or the new one is complete."""
    partial, final, old = folder / ".checkpoint.partial", folder / "checkpoint", folder / ".checkpoint.old"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_parameters(module), partial / "module.safetensors")
    moments = {
        f"{i}.{name}": value.contiguous()
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    save_file(moments, partial / "optimizer.safetensors")
    (partial / "progress.json").write_text(json.dumps(asdict(progress)) + "\n")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The checkpoint that a run in ``folder`` goes on from; None: it begins."""
    return next((place for place in (folder / "checkpoint", folder / ".checkpoint.old") if place.exists()), None)


def resume(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Load the newest checkpoint into ``module`` and ``optimizer``; a fresh ``Progress`` when there is none.

    Raises:
        TrainingError: the checkpoint is of another model.
    """
    place = newest(folder)
    if place is None:
        return Progress()
    stored, own = load_file(place / "module.safetensors"), _parameters(module)
    if {n: t.shape for n, t in stored.items()} != {n: t.shape for n, t in own.items()}:
        raise TrainingError(f"{place} is of another model; give another out folder or remove it")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(place / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    progress = Progress(**json.loads((place / "progress.json").read_text()))
    logger.info("resumed at step %d, %.1f min", progress.step, progress.elapsed_s / 60.0)
    return progress


def _parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter once: tied weights appear under their first name."""
    return {name: parameter.data for name, parameter in module.named_parameters()}
