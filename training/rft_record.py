"""What a run of reinforcement fine-tuning leaves beside its model: recipe, a log, names of what it began with."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tqdm.auto import tqdm

from autovla_core import config
from training import run_record
from training.rft_scenes import Pool
from training.rft_settings import RftConfig
from training.rft_tally import Team
from training.run_log import Lines
from training.run_record import hash_columns, weights_of
from training.schedule import Progress

FREE = ("out", "threads", "device", "memory", "tensorboard")  # of a recipe: may change between two parts of one run
SHOWN = ("reward", "reward_standing", "standing", "thinking_tokens", "slow", "kl", "ade_m")  # beside the bar


def data_hash(pool: Pool) -> str:
    """Names what was trained on: every state, plan and frequency."""
    columns = pool.columns
    return hash_columns((columns.speed, columns.acceleration, columns.poses, pool.frequencies))


class Log:
    """``log.jsonl`` and a progress bar, on the rank that leads."""

    def __init__(self, settings: RftConfig, progress: Progress, team: Team) -> None:
        self._progress = progress
        self._lines = Lines(settings.out, progress, team.leads, settings.tensorboard)
        self._bar = tqdm(total=settings.loop.steps, initial=progress.step, unit="step", disable=not team.leads)

    def write(self, kind: str, values: Mapping[str, float]) -> None:
        """One line; the bar shows what matters most."""
        self._lines.write(kind, values)
        text = ", ".join(f"{name} {values[name]:.3f}" for name in SHOWN if name in values)
        if kind == "step":
            self._bar.update(self._progress.step - self._bar.n)
            self._bar.set_postfix_str(text)
        elif not self._bar.disable:
            self._bar.write(f"held out, step {self._progress.step}: {text}", file=sys.stderr)

    def close(self) -> None:
        """Finish the bar and the files."""
        self._bar.close()
        self._lines.close()


def claim(settings: RftConfig, team: Team) -> None:
    """Write the recipe into ``out``; ``run_record.claim`` says what it refuses."""
    run_record.claim(settings.out, config.to_dict(settings), FREE, team)


def begin(settings: RftConfig, data: Mapping[str, str], team: Team) -> dict[str, object]:
    """Write names of what the run begins with into ``out``: weights of ``init``, and the data; return them.

    Args:
        data: hashes of what is trained on, ``data``, and of what is ``held_out``.

    Raises:
        TrainingError: the run that goes on there began with others.
    """
    own = {"init": weights_of(settings.init), **data}
    return run_record.begin(settings.out, own, team, f"{settings.init} and the data of the recipe")
