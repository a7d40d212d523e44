"""All criteria of one route together, and the record that they make."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from autovla_core.evaluation.criteria import (
    ActorBlocked,
    Collision,
    CriteriaConfig,
    Criterion,
    InRoute,
    OutsideRouteLanes,
    RouteCompletion,
    RouteTimeout,
    RunningRedLight,
    RunningStop,
    TickLimit,
)
from autovla_core.evaluation.facts import Lanes, LightFact, Moment, SignFact
from autovla_core.evaluation.route_track import RouteTrack
from autovla_core.scoring.closed_loop import Infraction


class Judge:
    """Sees every tick of an episode; says when it is over and why."""

    def __init__(
        self,
        track: RouteTrack,
        lanes: Lanes,
        lights: Sequence[LightFact] = (),
        signs: Sequence[SignFact] = (),
        half_length: float = 2.45,
        config: CriteriaConfig | None = None,
    ) -> None:
        config = config or CriteriaConfig()
        self.track = track
        self.completion = RouteCompletion(track)
        self._red_lights = RunningRedLight(lights, lanes, half_length)
        self._lanes, self._blocked = OutsideRouteLanes(track, lanes), ActorBlocked(config)
        self._criteria: tuple[Criterion, ...] = (
            self.completion,
            self._lanes,
            Collision(),
            self._red_lights,
            RunningStop(signs, lanes),
            InRoute(track, config),
            self._blocked,
            RouteTimeout(track),
            TickLimit(config),
        )
        self.time_s = 0.0  # of the newest tick
        self._at_end: list[Callable[[], None]] = []
        self._times: dict[tuple[int, str], list[float]] = {}  # by criterion and kind, in order of appearance

    def add(self, criterion: Criterion, at_end: Callable[[], None] | None = None) -> None:
        """Judge by one more, as a scenario or the traffic asks for; ``at_end`` is called when the drive is over."""
        self._criteria = (*self._criteria, criterion)
        self._at_end += [at_end] if at_end else []

    def excuse(self, oncoming: bool, standing: bool) -> None:
        """Whether the ego may use the oncoming lane, or stand for long, from now on: a scenario may need it."""
        self._lanes.oncoming_allowed, self._blocked.paused = oncoming, standing

    def lights_near(self, position: np.ndarray) -> list[int]:
        """Ids of the lights whose colour matters at ``position`` (3,)."""
        return self._red_lights.near(position)

    def update(self, moment: Moment) -> None:
        """Show one tick to every criterion."""
        self.time_s = moment.time_s
        for number, criterion in enumerate(self._criteria):
            criterion.update(moment)
            self._note_times(number, criterion)

    def finish(self) -> None:
        """The drive is over, however it ended; a second call changes nothing."""
        while self._at_end:
            self._at_end.pop()()
        for number, criterion in enumerate(self._criteria):
            self._note_times(number, criterion)

    def _note_times(self, number: int, criterion: Criterion) -> None:
        for kind, count in Counter(i.kind for i in criterion.infractions).items():
            times = self._times.setdefault((number, kind), [])
            times += [self.time_s] * (count - len(times))

    @property
    def over(self) -> bool:
        """Whether the route is done or lost."""
        return self.completion.done or any(c.failure for c in self._criteria)

    @property
    def infractions(self) -> list[Infraction]:
        """Everything held against the driver so far, with the time of the tick at which it appeared."""
        found = []
        for number, criterion in enumerate(self._criteria):
            times = {
                kind: iter(self._times.get((number, kind), ())) for kind in {i.kind for i in criterion.infractions}
            }
            found += [dataclasses.replace(i, time_s=next(times[i.kind], None)) for i in criterion.infractions]
        return found

    @property
    def status(self) -> str:
        """The leaderboard's word for how the route stands; a completed route is no failure."""
        if self.completion.done:
            return "Completed" if self.infractions else "Perfect"
        return next((c.failure for c in self._criteria if c.failure), "Started")
