"""Whether the ego keeps up with the traffic: what Bench2Drive reads its driving efficiency from.

Source: ``MinimumSpeedRouteTest`` of scenario_runner as Bench2Drive has it (facts only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.route_track import RouteTrack
from autovla_core.scoring.closed_loop import Infraction

KIND = "min_speed_infractions"
MESSAGE = "Average speed is"  # how each begins


class MinimumSpeed:
    """Mean speed of the ego against the mean of the background traffic, at even checkpoints of the route.

    An infraction that costs nothing, at every checkpoint, however fast the ego was.

    Args:
        others: mean speed (m/s) of the background vehicles now; None when there are none.
        checkpoints: 20 in Bench2Drive, 4 in the leaderboard.
    """

    WINDOW = 2
    NEARLY_DONE = 0.95  # share of the route from which on its end is a checkpoint too

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

    def finish(self) -> None:
        """The drive is over. The last checkpoint counts twice, as it does officially, where the tree ends twice."""
        if self._track.s[self._index] > self.NEARLY_DONE * self._track.length:
            self._checkpoint()
            self.infractions.append(self.infractions[-1])

    def _checkpoint(self) -> None:
        share = speed_share(self._own, self._theirs)
        self._own, self._theirs = [], []
        self.infractions.append(Infraction(KIND, f"{MESSAGE} {share}% of the surrounding traffic's one"))


def speed_share(own: Sequence[float], others: Sequence[float]) -> float:
    """Percent, two decimals; 100 when there is nothing to compare with."""
    if not own or not others or float(np.mean(others)) <= 0.0:
        return 100.0
    return round(100.0 * float(np.mean(own)) / float(np.mean(others)), 2)
