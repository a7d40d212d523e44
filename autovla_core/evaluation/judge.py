"""All criteria of one route together, and the record that they make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autovla_core.evaluation.criteria import (
    ActorBlocked,
    Collision,
    CriteriaConfig,
    Criterion,
    InRoute,
    Lanes,
    LightFact,
    Moment,
    OutsideRouteLanes,
    RouteCompletion,
    RouteTimeout,
    RunningRedLight,
    RunningStop,
    SignFact,
    TickLimit,
)
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
        self._criteria: tuple[Criterion, ...] = (
            self.completion,
            OutsideRouteLanes(track, lanes),
            Collision(),
            self._red_lights,
            RunningStop(signs, lanes),
            InRoute(track, config),
            ActorBlocked(config),
            RouteTimeout(track),
            TickLimit(config),
        )

    def lights_near(self, position: np.ndarray) -> list[int]:
        """Ids of the lights whose colour matters at ``position`` (3,)."""
        return self._red_lights.near(position)

    def update(self, moment: Moment) -> None:
        """Show one tick to every criterion."""
        for criterion in self._criteria:
            criterion.update(moment)

    @property
    def over(self) -> bool:
        """Whether the route is done or lost."""
        return self.completion.done or any(c.failure for c in self._criteria)

    @property
    def infractions(self) -> list[Infraction]:
        """Everything held against the driver so far."""
        return [infraction for criterion in self._criteria for infraction in criterion.infractions]

    @property
    def status(self) -> str:
        """The leaderboard's word for how the route stands; a completed route is no failure."""
        if self.completion.done:
            return "Completed" if self.infractions else "Perfect"
        return next((c.failure for c in self._criteria if c.failure), "Started")
