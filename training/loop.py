"""One training loop: batches by number, AdamW, warm-up and decay, checkpoints that resume bit for bit.

It knows nothing of driving: ``batch(step)`` makes the parts of a batch, ``loss(part)`` returns what a part adds to the
loss and what to log, ``validate(progress)`` is called now and then. Under torchrun each rank takes parts of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from training.rft_tally import Team
from training.run_log import RunLog
from training.saving import note, resume, save, whole
from training.schedule import LoopConfig, Progress, TrainingError, learning_rate

logger = logging.getLogger(__name__)
T = TypeVar("T")
Loss = Callable[[T], tuple[torch.Tensor, dict[str, torch.Tensor]]]
PREFETCH = 4
MAX_BAD_STEPS = 50
LATE = 0.97  # share of a run by minutes after which only the end is validated


def fit(
    module: nn.Module,
    batch: Callable[[int], Sequence[T]],
    loss: Loss[T],
    config: LoopConfig,
    folder: Path,
    validate: Callable[[Progress], dict[str, float]] = lambda progress: {},
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    team: Team | None = None,
    tensorboard: bool = False,
) -> Progress:
    """Train ``module`` in place, going on from ``folder/checkpoint`` if there is one.

    Args:
        batch: the parts of a numbered batch that this rank takes; the losses of all ranks' parts add up.
        stop: set it from a signal handler; the run saves and returns after the current step.
        clock: seconds; the time that budgets are counted in, on the rank that leads.

    Raises:
        TrainingError: the loss was not finite in many steps in a row, or a checkpoint cannot be written.
    """
    stop, team = stop or threading.Event(), team or Team()
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)
    progress = resume(folder, module, optimizer)
    if progress.finished:
        return progress
    log = RunLog(folder, config, progress, team.leads, tensorboard)
    started = clock() - progress.elapsed_s
    saved = validated = progress.elapsed_s
    module.train()
    for parts in prefetch(batch, progress.step):
        if progress.share(config) >= 1.0 or team.any(stop.is_set()):
            break
        rate = learning_rate(config, progress)
        values = update(trained, optimizer, loss, parts, rate, config.clip, team, progress)
        progress.step += 1
        progress.elapsed_s = team.first(clock() - started)
        log.step(values, rate)
        if _is_due(config, progress, validated):
            log.validation(validate(progress))
            module.train()
            validated = progress.elapsed_s = team.first(clock() - started)
        if progress.elapsed_s - saved > 60.0 * config.save_minutes:
            save(folder, module, optimizer, progress, team.leads)
            saved = progress.elapsed_s
    save(folder, module, optimizer, progress, team.leads)
    if progress.share(config) >= 1.0:
        log.validation(validate(progress))
        progress.finished = True
        if team.leads:
            note(folder, progress)
    log.close()
    return progress


def _is_due(config: LoopConfig, progress: Progress, validated_s: float) -> bool:
    """Whether to validate in the middle of a run."""
    if config.validate_every is not None:
        return progress.step % config.validate_every == 0 and progress.share(config) < 1.0
    return progress.elapsed_s - validated_s > 60.0 * config.validate_minutes and progress.share(config) < LATE


def update(
    trained: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    loss: Loss[T],
    parts: Sequence[T],
    rate: float,
    clip: float,
    team: Team,
    progress: Progress,
) -> dict[str, float]:
    """One step of the optimizer; a step whose gradient is not finite is left out and counted."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    values = team.sums(_backward(loss, parts))
    team.sum_gradients([p for p in trained if not isinstance(p, DTensor)])  # shards have theirs summed already
    norm = whole(nn.utils.clip_grad_norm_(trained, clip))
    if torch.isfinite(norm):
        optimizer.step()
        progress.bad_steps = 0
    else:
        progress.bad_steps += 1
        logger.warning("step %d: gradient norm %s, left out", progress.step, norm.item())
        if progress.bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(f"{MAX_BAD_STEPS} steps in a row without a finite gradient; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    return {"loss": values.pop("loss"), "grad_norm": norm.item(), **values}


def _backward(loss: Loss[T], parts: Sequence[T]) -> dict[str, float]:
    """Add up the gradients of parts; return the sums of their losses and of what is to be logged."""
    sums: dict[str, torch.Tensor] = {}
    for part in parts:
        value, terms = loss(part)
        value.backward()
        for name, term in {"loss": value.detach(), **terms}.items():
            sums[name] = sums[name] + term if name in sums else term
    return {name: total.item() for name, total in sums.items()}


def prefetch(make: Callable[[int], T], first: int) -> Iterator[T]:
    """``make(first)``, ``make(first + 1)`` ... in order, a few of them ahead of time in one other thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        queue = [pool.submit(make, first + i) for i in range(PREFETCH)]
        number = first + PREFETCH
        try:
            while True:
                queue.append(pool.submit(make, number))
                number += 1
                yield queue.pop(0).result()
        finally:
            for future in queue:
                future.cancel()
