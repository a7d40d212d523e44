"""What only scenarios hold against the driver; ``evaluation/criteria.py`` has the rest.

Source: the constants of scenario_runner's ``atomic_criteria.py`` (facts only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.route_track import RouteTrack
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


class MinimumSpeed:
    """Mean speed of the ego against the mean of the background traffic, at even checkpoints of the route.

    An infraction that costs nothing, at every checkpoint: Bench2Drive reads its efficiency from it.

    Args:
        others: mean speed (m/s) of the background vehicles now; None when there are none.
        checkpoints: 20 in Bench2Drive, 4 in the leaderboard.
    """

    WINDOW = 2

    def __init__(self, track: RouteTrack, others: Callable[[], float | None], checkpoints: int = 20) -> None:
        self._track, self._others = track, others
        self._step_m = track.length / checkpoints
        self._index, self._last_m = 0, 0.0
        self._own: list[float] = []
        self._theirs: list[float] = []
        self.failure = ""
        self.infractions: list[Infraction] = []

    def update(self, moment: Moment) -> None:
        """Look at one tick."""
        self._index = self._track.last_passed(moment.position, self._index, self.WINDOW)
        others = self._others()
        if others is not None:
            self._own.append(moment.speed)
            self._theirs.append(others)
        distance = float(self._track.s[self._index])
        if distance - self._last_m > self._step_m:
            self._checkpoint()
            self._last_m = distance

    def _checkpoint(self) -> None:
        share = speed_share(self._own, self._theirs)
        self._own, self._theirs = [], []
        message = f"Average speed is {share}% of the surrounding traffic's one"
        self.infractions.append(Infraction("min_speed_infractions", message))


def speed_share(own: Sequence[float], others: Sequence[float]) -> float:
    """Percent, two decimals; 100 when there is nothing to compare with."""
    if not own or not others or float(np.mean(others)) <= 0.0:
        return 100.0
    return round(100.0 * float(np.mean(own)) / float(np.mean(others)), 2)
