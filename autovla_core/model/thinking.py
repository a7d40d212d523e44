"""How the planner thinks: fast, slow, or as the model chooses; and for how long."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from autovla_core.errors import ConfigError
from autovla_core.model.sampling import Sampling

MODES = ("fast", "slow", "adaptive")


@dataclass(frozen=True)
class ThinkingConfig:
    """Way and length of thinking, and how words and actions are drawn.

    Raises:
        ConfigError: an unknown mode, or a limit that is none.
    """

    mode: str = "fast"  # of ``MODES``; adaptive: the model chooses by its first words
    most_tokens: int = 200  # of a thought; then the answer is forced
    deadline_ms: float | None = None  # after the plan was asked for; then the answer is forced
    parts: bool = False  # write the headers of the four parts of a thought; only for models trained with them
    words: Sampling = field(default_factory=Sampling)
    actions: Sampling = field(default_factory=Sampling)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"thinking mode {self.mode!r}; known: {', '.join(MODES)}")
        if self.most_tokens < 0:
            raise ConfigError(f"most_tokens {self.most_tokens}: expected 0 or more")
        if self.deadline_ms is not None and not (math.isfinite(self.deadline_ms) and self.deadline_ms >= 0.0):
            raise ConfigError(f"deadline_ms {self.deadline_ms}: expected a finite number of milliseconds, or none")


class Deadline:
    """When to stop thinking so that the answer, if it takes as long as the longest so far, is ready in time."""

    def __init__(self, clock: Callable[[], float], deadline_ms: float | None) -> None:
        self._clock, self._deadline_ms = clock, deadline_ms
        self._answer_s = 0.0  # the longest time from the last word to the end of the answer

    def begin(self, started: float) -> None:
        """A plan was asked for at ``started``, by the clock."""
        self._started = self._asked = started

    def late(self) -> bool:
        """Whether to think no further."""
        self._asked = self._clock()
        left = math.inf if self._deadline_ms is None else self._deadline_ms / 1e3 - (self._asked - self._started)
        return left <= self._answer_s

    def end(self) -> None:
        """The answer is there."""
        if self._asked != self._started:
            self._answer_s = max(self._answer_s, self._clock() - self._asked)
