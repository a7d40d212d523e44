"""How often the planner thought, and how long: counted plan by plan, for every report."""

from __future__ import annotations

from autovla_core.contracts import Mode, Plan


class ThinkingTally:
    """Counts the plans of one episode.

    A plan says in ``timings_ms`` how many ``thinking_tokens`` it took and whether the answer was ``forced`` (1) by
    the limit or the deadline; a plan that says nothing took none.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self._fast = self._forced = 0
        self._lengths: list[float] = []  # of slow plans, in tokens

    def add(self, plan: Plan) -> None:
        """Count one plan."""
        if plan.mode is Mode.FAST:
            self._fast += 1
            return
        self._lengths.append(float(plan.timings_ms.get("thinking_tokens", 0.0)))
        self._forced += plan.timings_ms.get("forced", 0.0) > 0.0

    def summary(self) -> dict[str, float]:
        """Plans of either mode, shares in 0..1, and tokens of a thought; zeros before the first plan."""
        slow = len(self._lengths)
        return {
            "fast_plans": float(self._fast),
            "slow_plans": float(slow),
            "slow_share": slow / max(slow + self._fast, 1),
            "forced_share": self._forced / max(slow, 1),
            "thinking_tokens_mean": sum(self._lengths) / max(slow, 1),
            "thinking_tokens_most": max(self._lengths, default=0.0),
        }
