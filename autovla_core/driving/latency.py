"""How much simulated time a plan takes: none, a fixed time, its own wall time, or that of another machine."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autovla_core import config as configs
from autovla_core.errors import ConfigError

_TICKS_PER_S = 1000  # chance is drawn by the millisecond at which a plan was asked for


@dataclass(frozen=True)
class LatencyConfig:
    """At most one of the first three. None of them: the simulator waits for the planner, as in the papers.

    Raises:
        ConfigError: two of them, or a time that is none.
    """

    fixed: float | None = None  # s
    measured: bool = False  # the plan's own wall time; such a drive cannot be repeated bit for bit
    table: Path | None = None  # YAML of a ``LatencyTable``: another machine's times
    jitter: float = 0.0  # s; up to so much more, evenly drawn for each plan
    seed: int = 0  # of the jitter, 0 or more

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in ("fixed", "measured", "table")}
        chosen = [name for name, value in values.items() if value is not None and value is not False]
        if len(chosen) > 1:
            raise ConfigError(f"latency: found {' and '.join(chosen)}, expected at most one of fixed, measured, table")
        for name in ("fixed", "jitter"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ConfigError(f"latency.{name}: found {value}, expected a finite number of seconds, 0 or more")
        if self.seed < 0:
            raise ConfigError(f"latency.seed: found {self.seed}, expected 0 or more")


@dataclass(frozen=True)
class LatencyTable:
    """Seconds for a plan on some machine, by the tokens of its thought: straight lines between rows and beyond.

    Raises:
        ConfigError: no row, or rows that do not ascend in tokens or hold a time that is none.
    """

    machine: str
    source: str  # where the numbers come from
    rows: tuple[tuple[float, float], ...]  # (thinking tokens, s)

    def __post_init__(self) -> None:
        rows = np.array(self.rows, float).reshape(-1, 2)
        good = len(rows) and np.isfinite(rows).all() and (rows >= 0.0).all() and (np.diff(rows[:, 0]) > 0.0).all()
        if not good:
            raise ConfigError(f"latency table of {self.machine!r}: found rows {self.rows}, expected ascending tokens")

    def seconds(self, thinking_tokens: float) -> float:
        """Time of a plan with so many tokens of thought."""
        tokens, times = np.array(self.rows, float).T
        beyond = float(thinking_tokens) - tokens[-1]
        if beyond > 0.0 and len(tokens) > 1:
            slope = (times[-1] - times[-2]) / (tokens[-1] - tokens[-2])
            return float(times[-1] + slope * beyond)
        return float(np.interp(thinking_tokens, tokens, times))


class Latency:
    """Says how long each plan takes.

    Args:
        config: which of the times counts.
        root: that a relative table file is relative to.
        start: where the route starts, in any coordinates: what is drawn on one route says nothing of another.
    """

    def __init__(
        self, config: LatencyConfig | None = None, root: str | Path = ".", start: Sequence[float] = ()
    ) -> None:
        self.config = config or LatencyConfig()
        self._place = zlib.crc32(" ".join(f"{value:.2f}" for value in start).encode())
        self._table = configs.load(LatencyTable, Path(root) / self.config.table) if self.config.table else None

    def seconds(self, asked_at_s: float, wall_s: float, thinking_tokens: int) -> float:
        """Simulated time between asking for a plan and having it.

        Args:
            asked_at_s: simulation time.
            wall_s: what the plan took here.
            thinking_tokens: of its thought.
        """
        return self._base(wall_s, thinking_tokens) + self._jitter(asked_at_s)

    def _base(self, wall_s: float, thinking_tokens: int) -> float:
        if self.config.fixed is not None:
            return self.config.fixed
        if self._table is not None:
            return self._table.seconds(thinking_tokens)
        return wall_s if self.config.measured else 0.0

    def _jitter(self, asked_at_s: float) -> float:
        if self.config.jitter == 0.0:
            return 0.0
        moment = round(_TICKS_PER_S * asked_at_s) % 2**63
        return float(np.random.default_rng([self.config.seed, self._place, moment]).uniform(0.0, self.config.jitter))
