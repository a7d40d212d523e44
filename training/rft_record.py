"""What a run of reinforcement fine-tuning leaves beside its model: recipe, a log, names of what it began with."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import numpy as np
import yaml
from tqdm.auto import tqdm

from autovla_core import config
from autovla_core.files import sha256, write_whole
from training import loop
from training.loop import Progress, TrainingError
from training.rft_scenes import Pool
from training.rft_settings import RftConfig
from training.rft_tally import Team

RECIPE_FILE, ORIGIN_FILE, LOG_FILE = "recipe.yaml", "origin.json", "log.jsonl"
FREE = ("out", "threads", "device", "memory")  # of a recipe: may change between two parts of one run


def data_hash(pool: Pool) -> str:
    """Names what was trained on: every state, plan and frequency."""
    digest = hashlib.sha256()
    for column in (pool.columns.speed, pool.columns.acceleration, pool.columns.poses, pool.frequencies):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


class Log:
    """``log.jsonl`` and a progress bar, on the rank that leads."""

    def __init__(self, settings: RftConfig, progress: Progress, team: Team) -> None:
        self._progress, self._leads = progress, team.leads
        self._file = _reopen(settings.out / LOG_FILE, progress.step) if team.leads else None
        self._bar = tqdm(total=settings.loop.steps, initial=progress.step, unit="step", disable=not team.leads)

    def write(self, kind: str, values: Mapping[str, float]) -> None:
        """One line; the bar shows what matters most."""
        if self._file is None:
            return
        where = {"kind": kind, "step": self._progress.step, "minutes": round(self._progress.elapsed_s / 60.0, 3)}
        self._file.write(json.dumps(where | dict(values)) + "\n")
        self._file.flush()
        shown = ("reward", "reward_standing", "standing", "thinking_tokens", "slow", "kl", "ade_m")
        text = ", ".join(f"{name} {values[name]:.3f}" for name in shown if name in values)
        if kind == "step":
            self._bar.update(self._progress.step - self._bar.n)
            self._bar.set_postfix_str(text)
        else:
            self._bar.write(f"held out, step {self._progress.step}: {text}", file=sys.stderr)

    def close(self) -> None:
        """Finish the bar and the file."""
        self._bar.close()
        if self._file is not None:
            self._file.close()


def _reopen(file: Path, step: int) -> TextIO:
    """The log without lines of steps that come again, because they were not saved; a torn line is one of them."""
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except json.JSONDecodeError:
            continue
    write_whole(file, "".join(f"{line}\n" for line in kept))
    return file.open("a", encoding="utf-8")


def claim(settings: RftConfig, team: Team) -> None:
    """Write the recipe into ``out``.

    Raises:
        TrainingError: the folder of another recipe's run.
    """
    file = settings.out / RECIPE_FILE
    own = config.to_dict(settings)
    if file.exists():
        other = yaml.safe_load(file.read_text()) or {}
        changed = [name for name in own if name not in FREE and own[name] != other.get(name)]
        if changed and loop.newest(settings.out):
            raise TrainingError(f"{settings.out} holds a run of another recipe: {changed} differ; give another out")
    if team.leads:
        write_whole(file, yaml.safe_dump(own, sort_keys=False))


def begin(settings: RftConfig, data: Mapping[str, str], team: Team) -> dict[str, object]:
    """Write names of what the run begins with into ``out``: weights of ``init``, and the data; return them.

    Args:
        data: hashes of what is trained on, ``data``, and of what is ``held_out``.

    Raises:
        TrainingError: the run that goes on there began with others.
    """
    file = settings.out / ORIGIN_FILE
    own = {
        "init": {weights.name: sha256(weights) for weights in sorted(settings.init.glob("*.safetensors"))},
        **data,
    }
    if file.exists() and loop.newest(settings.out):
        first = json.loads(file.read_text())
        changed = [name for name in own if own[name] != first[name]]
        if changed:
            raise TrainingError(
                f"{settings.out} holds a run that began with other {changed} than {settings.init} and the data of the "
                "recipe are now; bring them back, or give another out"
            )
    if team.leads:
        write_whole(file, json.dumps(own) + "\n")
    return own
