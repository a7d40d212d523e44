"""How often the planner thought, and how long: counted plan by plan, for every report."""

from __future__ import annotations

from autovla_core.contracts import Mode, Plan


class ThinkingTally:
    """Counts the plans of one episode."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self._fast = self._forced = 0
        self._lengths: list[int] = []  # of slow plans, in tokens

    def add(self, plan: Plan) -> None:
        """Count one plan."""
        if plan.mode is Mode.FAST:
            self._fast += 1
            return
        self._lengths.append(plan.thinking_tokens)
        self._forced += plan.forced != ""

    def summary(self) -> dict[str, float]:
        """Plans of either mode, shares in 0..1, and tokens of a thought; zeros before the first plan."""
        slow = len(self._lengths)
        return {
            "fast_plans": float(self._fast),
            "slow_plans": float(slow),
            "slow_share": slow / max(slow + self._fast, 1),
            "forced_share": self._forced / max(slow, 1),
            "thinking_tokens_mean": sum(self._lengths) / max(slow, 1),
            "thinking_tokens_most": float(max(self._lengths, default=0)),
        }
