"""Past an obstruction: which side, whether the way is clear, and staying with the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autovla_core.expert.detour import BESIDE, ONCOMING, OWN, Detour, ramp_for
from autovla_core.expert.obstacles import Extent, Obstruction
from autovla_core.expert.scene import Room
from autovla_core.expert.speed import Stop

EDGE_M = 0.1  # kept to the edge of the road
CLEAR_M = 1.5  # along the route, before and behind an obstruction
CURVATURE = {OWN: 0.05, BESIDE: 0.05, ONCOMING: 0.10}  # 1/m, of the ramps
WHOLE_M = 1.0  # a shift of more than this goes over into the lane beside, all the way
DECIDE_M = {OWN: 45.0, BESIDE: 45.0, ONCOMING: 12.0}  # before the ramp
TIME_GAP_S = 1.0  # an oncoming car arrives so much later than the ego has left its lane
STRAY_S = 0.3  # with less a decision is taken back, as long as the ego has not left its lane
SLOWEST_OTHER = 4.0  # m/s: an oncoming car may start to move
BEHIND_GAP_M, BEHIND_S = 5.0, 2.5  # to a car that comes from behind on the lane beside
ACCELERATION = 2.5  # m/s2, that the ego is trusted with
_WAITS_FOR = {BESIDE: "beside", ONCOMING: "oncoming", OWN: "obstacle"}


@dataclass(frozen=True)
class EgoState:
    """What the rules need of the ego."""

    s: float
    speed: float
    cruise: float  # m/s
    half_length: float
    half_width: float


@dataclass(frozen=True)
class Choice:
    """What to do about obstructions now."""

    detour: Detour | None = None  # being driven
    stop: Stop | None = None  # wait here
    rule: str = ""  # obstacle, oncoming, beside, overtake


def plan_detour(thing: Obstruction, room: Room, ego: EgoState) -> Detour | None:
    """The least detour past an obstruction that stays on the road and out of junctions; None when there is none."""
    left, right = _left(thing, room, ego), _right(thing, room, ego)
    rank = {OWN: 0, BESIDE: 1, ONCOMING: 2}
    found = [d for d in (left, right) if d is not None]
    return min(found, key=lambda d: (rank[d.lane], abs(d.offset)), default=None)


def _carried_on(thing: Obstruction, room: Room, ego: EgoState) -> Detour | None:
    """The detour past a thing; past one that moves, it must fit where that will be by then."""
    first = plan_detour(thing, room, ego)
    if first is None or thing.speed <= 0.0:
        return first
    moved = thing.speed * seconds_beside(first, thing.speed, ego)
    return plan_detour(replace(thing, end=thing.end + moved), room, ego)


def _left(thing: Obstruction, room: Room, ego: EgoState) -> Detour | None:
    begin, end = thing.begin - 15.0, thing.end + 15.0
    edge = thing.past_left + ego.half_width + EDGE_M
    if edge <= room.least("own_left", begin, end):
        return _fitted(thing, thing.past_left, OWN, room, ego)
    if edge <= room.least("same_left", begin, end):
        beside = room.least("own_left", begin, end) + room.least("own_right", begin, end)
        offset = max(thing.past_left, beside) if thing.past_left > WHOLE_M else thing.past_left
        return _fitted(thing, offset, BESIDE, room, ego)
    if edge <= room.least("all_left", begin, end):
        return _fitted(thing, thing.past_left, ONCOMING, room, ego)
    return None


def _right(thing: Obstruction, room: Room, ego: EgoState) -> Detour | None:
    begin, end = thing.begin - 15.0, thing.end + 15.0
    edge = -thing.past_right + ego.half_width + EDGE_M
    if edge <= room.least("own_right", begin, end):
        return _fitted(thing, thing.past_right, OWN, room, ego)
    if edge <= room.least("same_right", begin, end):
        beside = room.least("own_left", begin, end) + room.least("own_right", begin, end)
        offset = min(thing.past_right, -beside) if -thing.past_right > WHOLE_M else thing.past_right
        return _fitted(thing, offset, BESIDE, room, ego)
    return None


def _fitted(thing: Obstruction, offset: float, lane: str, room: Room, ego: EgoState) -> Detour | None:
    """Ramps as long as comfort asks, shorter where a junction is near; None when even that does not fit."""
    begin, end = thing.begin - CLEAR_M - ego.half_length, thing.end + CLEAR_M + ego.half_length
    shortest = ramp_for(offset, 0.14)
    ramp = ramp_for(offset, CURVATURE[lane])
    while ramp >= shortest:
        if not room.has_junction(begin - ramp, end + 0.7 * ramp):
            return Detour(begin, end, offset, ramp, lane, thing.actor_id)
        ramp -= 1.0
    return None


def seconds_to_cover(distance: float, speed: float, acceleration: float, top: float) -> float:
    """Time to drive ``distance`` (m) from ``speed``, speeding up to ``top`` (m/s)."""
    if distance <= 0.0:
        return 0.0
    top = max(top, speed, 0.5)
    rise_s = (top - speed) / acceleration
    rise_m = 0.5 * (speed + top) * rise_s
    if rise_m >= distance:
        return (math.sqrt(speed * speed + 2.0 * acceleration * distance) - speed) / acceleration
    return rise_s + (distance - rise_m) / top


def seconds_beside(detour: Detour, thing_speed: float, ego: EgoState) -> float:
    """Time until the ego is back in its lane; ``detour`` lies around where the thing is now, and it moves on."""
    distance = detour.end + 0.6 * detour.ramp_m + ego.half_length - ego.s
    top = max(ego.cruise - thing_speed, 1.0)
    return seconds_to_cover(distance, max(ego.speed - thing_speed, 0.0), ACCELERATION, top)


def in_the_way(
    detour: Detour, places: Sequence[Extent], beside_s: float, ego: EgoState, gap_s: float = TIME_GAP_S
) -> Extent | None:
    """The vehicle that forbids the detour now, or None."""
    if detour.lane == OWN:
        return None
    rule = _is_oncoming_danger if detour.lane == ONCOMING else _is_beside_danger
    return next((p for p in places if rule(p, detour, beside_s, ego, gap_s)), None)


def _is_oncoming_danger(p: Extent, detour: Detour, beside_s: float, ego: EgoState, gap_s: float) -> bool:
    if abs(p.turned) < 2.2 or p.end < ego.s - ego.half_length:
        return False
    if p.right > detour.offset + ego.half_width + 0.8 or p.left < -ego.half_width:
        return False  # passes on a lane further out, or has left the road
    if abs(p.actor.speed) < 0.1 and p.begin > detour.returns:
        return False
    way = p.begin - (detour.end + 0.6 * detour.ramp_m + ego.half_length)
    return way < 0.0 or way / max(p.actor.speed, SLOWEST_OTHER) < beside_s + gap_s


def _is_beside_danger(p: Extent, detour: Detour, beside_s: float, ego: EgoState, gap_s: float) -> bool:
    reach = ego.half_width + 0.3
    if p.left < detour.offset - reach or p.right > detour.offset + reach:
        return False
    rear, front = ego.s - ego.half_length, ego.s + ego.half_length
    if p.begin > front:
        return p.begin - front < 3.0 and p.actor.speed < ego.speed  # it will be the leader after the change
    closing = max(p.actor.speed - max(ego.speed, 3.0), 0.0)
    return p.end > rear - BEHIND_GAP_M - BEHIND_S * closing


def _extended(known: Detour, fresh: Detour) -> Detour:
    """The detour carried on past what another one leads around, if that takes the same lane on the same side."""
    if fresh.lane != known.lane or fresh.offset * known.offset <= 0.0:
        return known
    return replace(known, end=max(known.end, fresh.end), offset=max(known.offset, fresh.offset, key=abs))


class Overtaking:
    """The detour under way; decisions last until the obstruction lies behind."""

    def __init__(self) -> None:
        self.detour: Detour | None = None

    def decide(self, things: Sequence[Obstruction], others: Sequence[Extent], room: Room, ego: EgoState) -> Choice:
        """Decide for now.

        Args:
            things: obstructions ahead, nearest first.
            others: everybody else with wheels, on the route's own path, far ones as well.
        """
        if self.detour is not None and ego.s > self.detour.returns:
            self.detour = None
        thing = things[0] if things else None
        fresh = _carried_on(thing, room, ego) if thing else None
        if self.detour is not None:
            return self._go_on(fresh, thing, others, ego)
        if thing is None:
            return Choice()
        if fresh is None:
            return Choice()  # nothing to be done but to wait behind it, as behind any leader
        other = in_the_way(fresh, others, seconds_beside(fresh, 0.0, ego), ego)
        if other is None and fresh.leaves - ego.s < DECIDE_M[fresh.lane]:
            self.detour = self._from_here(fresh, ego)
            return Choice(self.detour, None, "overtake")
        return self._wait(fresh, thing, other, ego)

    def _go_on(
        self, fresh: Detour | None, thing: Obstruction | None, others: Sequence[Extent], ego: EgoState
    ) -> Choice:
        known = self.detour
        if ego.s < known.leaves and thing is not None:
            other = in_the_way(known, others, seconds_beside(known, 0.0, ego), ego, STRAY_S)
            if other is not None:
                self.detour = None
                return self._wait(known, thing, other, ego)
        if fresh is not None and fresh.begin < known.returns + 10.0:  # it has moved on, or there is more of it
            longer = _extended(known, fresh)
            # On a lane of its own direction those who come from behind have to follow by now.
            if longer.lane != ONCOMING or in_the_way(longer, others, seconds_beside(longer, 0.0, ego), ego) is None:
                self.detour = longer
        return Choice(self.detour, None, "overtake")

    @staticmethod
    def _from_here(detour: Detour, ego: EgoState) -> Detour:
        """A ramp that cannot begin behind the ego begins at it."""
        late = max(ego.s - detour.leaves, 0.0)
        ramp = max(detour.ramp_m - late, ramp_for(detour.offset, 0.18))
        return replace(detour, begin=max(detour.begin, ego.s + ramp), ramp_m=ramp) if late > 0.0 else detour

    @staticmethod
    def _wait(detour: Detour, thing: Obstruction, other: Extent | None, ego: EgoState) -> Choice:
        """Stand before the ramp; behind what moves, just drive on."""
        rule, who = (_WAITS_FOR[detour.lane], other.actor.id) if other else ("obstacle", thing.actor_id)
        if thing.speed > 0.0:
            return Choice(None, None, rule)
        return Choice(None, Stop(max(detour.leaves, ego.s) + ego.half_length, who, rule), rule)
