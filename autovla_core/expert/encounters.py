"""Those who come into the ego's way from the side: walkers and cyclists who cross, cars that cut in."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autovla_core.expert.hazards import Nearby
from autovla_core.expert.speed import Leader, Stop

WALKING = 0.25  # m/s
KEEP_M = 2.5  # before a walker's way
SIDE_M = 0.8  # beside the corridor: still too near
HORIZON_S = 5.0
LATER_S = 1.0  # a walker who comes so much later than the ego is gone is no reason to stop
CUT_IN_S, CUT_IN_SPEED = 2.5, 0.3  # s until it is in the corridor; m/s towards it
ALIGNED_RAD = 0.9


def crossers(near: Sequence[Nearby], s: float, speed: float, half_length: float, half_corridor: float) -> list[Stop]:
    """Stops before walkers and cyclists who are about to cross, or who are crossing."""
    return [
        Stop(max(n.s - KEEP_M, s + half_length), n.actor.id, "walker")
        for n in near
        if n.s > s and _crosses(n) and _meets(n, s, speed, half_length, half_corridor)
    ]


def _crosses(n: Nearby) -> bool:
    if n.actor.kind == "bicycle" and not 0.6 < abs(n.turned) < math.pi - 0.6:
        return False
    return n.actor.kind in ("walker", "bicycle") and abs(n.actor.speed) > WALKING and abs(n.beyond) < 1.0


def _meets(n: Nearby, s: float, speed: float, half_length: float, half_corridor: float) -> bool:
    sideways = n.actor.speed * math.sin(n.turned)
    edge = half_corridor + 0.5 * max(n.actor.width, 0.4)
    if abs(sideways) < 0.1:
        return abs(n.offset) < edge
    towards = -math.copysign(1.0, n.offset) * sideways > 0.0
    if not towards:
        return abs(n.offset) < edge + 0.2
    comes_s = max(abs(n.offset) - edge - SIDE_M, 0.0) / abs(sideways)
    gone_s = (n.s + half_length + 1.0 - s) / max(speed, 1.0)
    return comes_s < min(HORIZON_S, gone_s + LATER_S)


def cut_ins(
    near: Sequence[Nearby], staged: frozenset[int], s: float, half_length: float, half_corridor: float
) -> list[Leader]:
    """Cars beside the corridor that are on their way into it, as leaders already."""
    found = []
    for n in near:
        if n.actor.id not in staged or n.rear_s is not None or abs(n.turned) > ALIGNED_RAD or abs(n.beyond) > 1.5:
            continue
        rear = n.s - 0.5 * n.actor.length
        sideways = -math.copysign(1.0, n.offset) * n.actor.speed * math.sin(n.turned)
        way = abs(n.offset) - 0.5 * n.actor.width - half_corridor
        if rear > s and sideways > CUT_IN_SPEED and way / sideways < CUT_IN_S:
            found.append(Leader(max(rear, s + half_length), n.actor.speed * math.cos(n.turned), n.actor.id, "cut_in"))
    return found


def pushed_speed(near: Sequence[Nearby], staged: frozenset[int], s: float, cruise: float, limit: float) -> float:
    """The wanted speed (m/s): as fast as a staged car close behind that would not brake, within the limit."""
    behind = [
        n.actor.speed
        for n in near
        if n.actor.id in staged and -25.0 < n.s - s < 0.0 and abs(n.offset) < 1.8 and abs(n.turned) < 0.6
    ]
    return max(cruise, min(max(behind) + 0.5, limit)) if behind else cruise
