"""Checkpoints of a run, whole at every moment; what several ranks hold in shards is stored put together."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from autovla_core.files import sync_tree, take_place, write_whole
from training.schedule import Progress, TrainingError

logger = logging.getLogger(__name__)
MODULE_FILE, OPTIMIZER_FILE, PROGRESS_FILE = "module.safetensors", "optimizer.safetensors", "progress.json"
UNREADABLE = (OSError, ValueError, TypeError, SafetensorError)


def save(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, leads: bool = True
) -> None:
    """Write ``folder/checkpoint``; at every moment either the old one or the new one is complete.

    Every rank must call it when the parameters are in shards; the one that leads writes.

    Raises:
        TrainingError: no room, or another reason why it cannot be written; the older one is as it was.
    """
    weights = {name: whole(value, leads) for name, value in _trained(module).items()}
    moments = {
        f"{i}.{name}": whole(value, leads)
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    if not leads:
        return
    try:
        _write(folder, weights, moments, progress)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder / ".checkpoint.partial", ignore_errors=True)
        raise TrainingError(
            f"{folder}: the checkpoint of step {progress.step} cannot be written: {error}; make room and give the "
            "command again: it goes on from the checkpoint before"
        ) from None


def _write(folder: Path, weights: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], at: Progress) -> None:
    partial, final, old = folder / ".checkpoint.partial", folder / "checkpoint", folder / ".checkpoint.old"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(weights, partial / MODULE_FILE)
    save_file({name: value.contiguous() for name, value in moments.items()}, partial / OPTIMIZER_FILE)
    (partial / PROGRESS_FILE).write_text(json.dumps(asdict(at)) + "\n")
    sync_tree(partial)  # before the old one goes
    if final.exists():  # else ``old`` is the only whole one
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    take_place(partial, final)
    shutil.rmtree(old, ignore_errors=True)


def note(folder: Path, progress: Progress) -> None:
    """Correct the newest checkpoint's progress; its weights stay.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        write_whole(folder / "checkpoint" / PROGRESS_FILE, json.dumps(asdict(progress)) + "\n")
    except OSError as error:
        raise TrainingError(f"{folder}: {error}; make room and give the command again") from None


def newest(folder: Path) -> Path | None:
    """The checkpoint that a run in ``folder`` goes on from; None: it begins."""
    return next((place for place in (folder / "checkpoint", folder / ".checkpoint.old") if place.exists()), None)


def resume(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Load the newest checkpoint into ``module`` and ``optimizer``; a fresh ``Progress`` when there is none.

    Raises:
        TrainingError: the checkpoint is of another model, or damaged.
    """
    place = newest(folder)
    if place is None:
        return Progress()
    try:
        stored, moments = load_file(place / MODULE_FILE), load_file(place / OPTIMIZER_FILE)
        progress = Progress(**json.loads((place / PROGRESS_FILE).read_text()))
    except UNREADABLE as error:
        raise TrainingError(f"{place} cannot be read: {error}; remove it to begin again") from None
    own = _trained(module)
    if {n: t.shape for n, t in stored.items()} != {n: t.shape for n, t in own.items()}:
        raise TrainingError(f"{place} is of another model; give another out folder or remove it")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(_like(tensor, stored[name]))
    _load_moments(optimizer, moments)
    logger.info("resumed at step %d, %.1f min", progress.step, progress.elapsed_s / 60.0)
    return progress


def _load_moments(optimizer: torch.optim.Optimizer, moments: dict[str, torch.Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in moments.items():
        number, name = key.split(".", 1)
        owner = parameters[int(number)]
        state.setdefault(int(number), {})[name] = _like(owner, value) if value.shape == owner.shape else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def whole(tensor: torch.Tensor, keep: bool = True) -> torch.Tensor:
    """A tensor put together from its shards, on the CPU; every rank must ask. One that is not kept is not moved."""
    found = tensor.detach()
    if isinstance(found, DTensor):
        found = found.full_tensor()
    return found.cpu() if keep else found


def _like(tensor: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    """``stored`` cut into the shards of ``tensor``; every rank has read it whole."""
    if not isinstance(tensor, DTensor):
        return stored
    moved = stored.to(tensor.device)
    return distribute_tensor(moved, tensor.device_mesh, tensor.placements, src_data_rank=None)


def _trained(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter that is trained, once: tied weights appear under their first name."""
    return {name: p.data for name, p in module.named_parameters() if p.requires_grad}
