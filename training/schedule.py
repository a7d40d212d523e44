"""How long a run is, where it stands and how fast it learns there: pure values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autovla_core.errors import AutoVLAError, ConfigError


class TrainingError(AutoVLAError):
    """Training cannot go on: the loss is not a number, or a checkpoint does not fit or cannot be written."""


@dataclass(frozen=True)
class LoopConfig:
    """Length of a run and its optimizer: ``steps`` for a run that repeats bit for bit, or ``minutes`` of wall time.

    Raises:
        ConfigError: not exactly one of them, or a number that makes no sense.
    """

    steps: int | None = None
    minutes: float | None = None
    lr: float = 1.5e-3
    final_lr: float = 0.02  # of lr, by a cosine
    decay: float | None = None  # instead of the cosine: lr times this every ``decay_steps`` (the paper: 0.98)
    decay_steps: int = 2000
    warmup: int = 100  # steps
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0  # norm of the gradient
    save_minutes: float = 3.0
    validate_minutes: float = 6.0
    validate_every: int | None = None  # steps, instead of minutes: the best model is the same in every run
    log_every: int = 20

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError(f"loop: found steps {self.steps} and minutes {self.minutes}, expected exactly one")
        if min(self.decay_steps, self.log_every, 1 if self.validate_every is None else self.validate_every) < 1:
            raise ConfigError(
                f"loop: found decay_steps {self.decay_steps}, log_every {self.log_every}, "
                f"validate_every {self.validate_every}; expected 1 or more"
            )


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
    """Linear warm-up by steps, then a cosine over the share of the run down to ``final_lr``, or steps of ``decay``."""
    warm = min(1.0, (progress.step + 1) / max(1, config.warmup))
    if config.decay is not None:
        return config.lr * warm * config.decay ** (progress.step // config.decay_steps)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress.share(config)))
    return config.lr * warm * (config.final_lr + (1.0 - config.final_lr) * cosine)


def seconds_left(config: LoopConfig, begun: Progress, now: Progress) -> float:
    """Until the run is finished; by the pace since ``begun``, infinite where nothing was done since."""
    if config.minutes is not None:
        return max(0.0, 60.0 * config.minutes - now.elapsed_s)
    done = now.step - begun.step
    return (config.steps - now.step) * (now.elapsed_s - begun.elapsed_s) / done if done else math.inf
