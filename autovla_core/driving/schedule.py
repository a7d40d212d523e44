"""When to plan anew."""

from __future__ import annotations


class ReplanSchedule:
    """Due at the first tick and then every ``period_s`` of simulated time.

    What was slept through, or could not begin because the last plan was still under way, is due at the next call, once.
    """

    EARLY_S = 1e-3  # simulators report 0.05 s as a float32, so half a second is a little less or more

    def __init__(self, period_s: float = 0.5) -> None:
        self.period_s = period_s
        self.reset()

    def reset(self) -> None:
        """Start anew: the next call is due."""
        self._next_s: float | None = None

    def due(self, time_s: float) -> bool:
        """Whether a plan is due at ``time_s``; asking once uses it up."""
        if self._next_s is None:
            self._next_s = time_s + self.period_s
            return True
        if time_s < self._next_s - self.EARLY_S:
            return False
        while self._next_s <= time_s + self.EARLY_S:
            self._next_s += self.period_s
        return True
