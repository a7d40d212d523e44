"""Room for an emergency vehicle that comes from behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autovla_core.expert.detour import BESIDE, OWN, Detour, ramp_for
from autovla_core.expert.obstacles import Extent
from autovla_core.expert.overtaking import EDGE_M, EgoState
from autovla_core.expert.scene import Room

BEHIND_M = 60.0
PAST_M = 6.0  # in front by so much it has passed
FASTER = 1.0  # m/s
SLOW_SHARE = 0.6  # of the cruising speed, while it passes
AHEAD_M = 40.0


@dataclass(frozen=True)
class Yield:
    """Out of the way, slowly."""

    detour: Detour
    cruise: float  # m/s


class Yielding:
    """The side taken for a vehicle, until it has passed."""

    def __init__(self) -> None:
        self._detour: Detour | None = None

    def decide(self, places: Sequence[Extent], emergency: frozenset[int], room: Room, ego: EgoState) -> Yield | None:
        """Make room for the first emergency vehicle that comes from behind on the ego's lane."""
        coming = [p for p in places if p.actor.id in emergency and self._wants_past(p, ego)]
        if not coming:
            if self._detour is not None and ego.s > self._detour.returns:
                self._detour = None
            return None if self._detour is None else Yield(self._detour, ego.cruise)
        if self._detour is None:
            self._detour = aside(room, ego, coming[0].actor.id)
        self._detour = replace(self._detour, end=max(self._detour.begin, ego.s + 5.0))
        return Yield(self._detour, SLOW_SHARE * ego.cruise)

    def _wants_past(self, p: Extent, ego: EgoState) -> bool:
        if p.begin > ego.s + ego.half_length + PAST_M or p.end < ego.s - BEHIND_M or abs(p.turned) > 0.6:
            return False
        return self._detour is not None or p.actor.speed > ego.speed + FASTER


def aside(room: Room, ego: EgoState, actor_id: int) -> Detour:
    """Into the lane to the right, else the left, of the same direction; else to the right edge of the own one."""
    begin, end = ego.s, ego.s + AHEAD_M
    width = room.least("own_left", begin, end) + room.least("own_right", begin, end)
    need = width + ego.half_width + EDGE_M
    if need <= room.least("same_right", begin, end):
        offset, lane = -width, BESIDE
    elif need <= room.least("same_left", begin, end):
        offset, lane = width, BESIDE
    else:
        offset, lane = -max(room.least("own_right", begin, end) - ego.half_width - EDGE_M, 0.05), OWN
    ramp = ramp_for(offset, 0.05)
    return Detour(ego.s + ramp, ego.s + ramp + 5.0, offset, ramp, lane, actor_id)
