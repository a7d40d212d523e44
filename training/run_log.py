"""What a run says while it goes on: ``log.jsonl``, a progress bar with the time left, curves for TensorBoard."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tqdm.auto import tqdm

from autovla_core.errors import SetupError
from autovla_core.files import write_whole
from training.schedule import LoopConfig, Progress, seconds_left

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_FILE, CURVES_FOLDER = "log.jsonl", "tensorboard"
BAR = "{percentage:3.0f}%|{bar:20}| {elapsed} {postfix}"


def reopen(file: Path, step: int) -> TextIO:
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


def open_curves(folder: Path, step: int) -> SummaryWriter:
    """TensorBoard's files in ``folder/tensorboard``; what they hold of steps after ``step`` is not shown any more.

    Raises:
        SetupError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import
    except ImportError as error:
        raise SetupError(
            f"the recipe says tensorboard: true, but {error}; pip install tensorboard (it is in the extra train), "
            "or take the line out: log.jsonl holds the same values"
        ) from None
    return SummaryWriter(str(folder / CURVES_FOLDER), purge_step=step + 1)


class Lines:
    """``log.jsonl`` and, if wanted, the same numbers as curves; on the rank that leads, nothing on the others."""

    def __init__(self, folder: Path, progress: Progress, leads: bool = True, tensorboard: bool = False) -> None:
        self._progress = progress
        self._curves = open_curves(folder, progress.step) if leads and tensorboard else None
        folder.mkdir(parents=True, exist_ok=True)
        self._file = reopen(folder / LOG_FILE, progress.step) if leads else None

    def write(self, kind: str, values: Mapping[str, float]) -> None:
        """One line of values as of this step."""
        if self._file is None:
            return
        where = {"step": self._progress.step, "minutes": round(self._progress.elapsed_s / 60.0, 3), "kind": kind}
        self._file.write(json.dumps(where | dict(values)) + "\n")
        self._file.flush()
        if self._curves is not None:
            for name, value in values.items():
                self._curves.add_scalar(f"{kind}/{name}", value, self._progress.step)
            self._curves.flush()

    def close(self) -> None:
        """Finish the files."""
        if self._file is not None:
            self._file.close()
        if self._curves is not None:
            self._curves.close()


class RunLog:
    """The log of a run of ``loop.fit``: means over ``log_every`` steps, and held-out scores."""

    def __init__(
        self, folder: Path, config: LoopConfig, progress: Progress, leads: bool = True, tensorboard: bool = False
    ) -> None:
        self._lines = Lines(folder, progress, leads, tensorboard)
        self._config, self._progress, self._begun = config, progress, dataclasses.replace(progress)
        self._sums: dict[str, float] = {}
        self._count, self._note = 0, ""
        self._bar = tqdm(total=1000, unit="per mille", bar_format=BAR, disable=not leads)
        self._since = progress.elapsed_s

    def step(self, values: Mapping[str, float], rate: float) -> None:
        """Add one step; at every ``log_every``-th the means are written."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if self._progress.step % self._config.log_every:
            return
        means = {name: round(total / self._count, 4) for name, total in self._sums.items()}
        pace = self._count / max(1e-9, self._progress.elapsed_s - self._since)
        self._lines.write("train", {**means, "lr": rate, "steps_per_s": round(pace, 3)})
        self._show(means["loss"], pace)
        self._sums, self._count, self._since = {}, 0, self._progress.elapsed_s

    def _show(self, loss: float, pace: float) -> None:
        left = in_words(seconds_left(self._config, self._begun, self._progress))
        self._bar.n = int(1000 * self._progress.share(self._config))
        self._bar.set_postfix_str(
            f"step {self._progress.step}, {left} left, loss {loss:.3f}, {pace:.2f} steps/s{self._note}"
        )

    def validation(self, values: Mapping[str, float]) -> None:
        """Write held-out scores; the bar shows the distance error from now on."""
        if not values:
            return
        self._lines.write("validation", values)
        self._bar.write(f"step {self._progress.step}: " + ", ".join(f"{k} {v}" for k, v in values.items()))
        self._note = f", held-out ADE {values['ade_m']:.2f} m" if "ade_m" in values else ""
        self._since = self._progress.elapsed_s

    def close(self) -> None:
        """Finish the bar and the files."""
        self._bar.close()
        self._lines.close()


def in_words(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 05 min."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60.0:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60.0), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
