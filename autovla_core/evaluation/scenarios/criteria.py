"""What only scenarios hold against the driver; ``evaluation/criteria.py`` has the rest.

Source: the constants of scenario_runner's ``atomic_criteria.py`` (facts only).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autovla_core.evaluation.facts import Moment
from autovla_core.scoring.closed_loop import Infraction

TIMEOUT_S = 240.0


@dataclass
class Verdict:
    """What a script has seen of the ego so far."""

    yielded: bool = True  # the emergency vehicle is in front of the ego
    running: bool = False  # between trigger and end


@dataclass
class ScenarioCriterion:
    """One scenario's own charges: an emergency vehicle that was kept behind, and a scenario that never ended."""

    verdict: Verdict
    timeout_s: float = TIMEOUT_S
    failure: str = ""
    _since_s: float | None = field(default=None, repr=False)
    _timed_out: bool = field(default=False, repr=False)

    def update(self, moment: Moment) -> None:
        """Look at one tick."""
        if not self.verdict.running:
            self._since_s = None
            return
        self._since_s = moment.time_s if self._since_s is None else self._since_s
        self._timed_out |= moment.time_s - self._since_s > self.timeout_s

    @property
    def timed_out(self) -> bool:
        """Whether the scenario has run for too long."""
        return self._timed_out

    @property
    def infractions(self) -> list[Infraction]:
        """As things stand; the last state of an emergency vehicle decides."""
        found = []
        if not self.verdict.yielded:
            message = "Agent failed to yield to an emergency vehicle"
            found.append(Infraction("yield_emergency_vehicle_infractions", message))
        if self._timed_out:
            found.append(Infraction("scenario_timeouts", "Agent timed out a scenario"))
        return found
