"""When a server-driven car changes to the lane beside it, and the way across. Pure values.

Gaps are bumper to bumper, metres.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from autovla_core.minicarla.world.layout import Lane
from autovla_core.minicarla.world.right_of_way import Car
from autovla_core.minicarla.world.traffic_path import POINTS, Path

HELD_UP_WITHIN_M = 35.0  # of something ahead that is slower than
HELD_UP_BELOW = 0.6  # of the wanted speed
PATIENCE_S = (2.0, 6.0)  # drawn for each driver
STANDING_SPEED, STANDING_PATIENCE_S = 0.5, 1.0  # m/s: behind what stands there must still be room to swing out
STARTING = 0.3  # m/s: who falls back this fast is not held up, the one ahead drives off
CALM_M = 45.0  # before a junction nobody changes any more
LANE_LEFT_M = 25.0  # of the present lane, unless it ends
GAP_M = 4.0
GAP_URGENT_M = 2.0
BEHIND_S = 1.2  # of headway for who comes from behind, at his speed
CLOSING_S = 2.5  # and this long may the difference of speeds last
AHEAD_S = 0.8
GAIN_M = 8.0  # that the other lane must offer more
RETRY_S = 0.5
REST_S = 6.0  # between two changes
ACROSS_M, ACROSS_S = 12.0, 2.2  # length of the way across


@dataclass(frozen=True)
class Change:
    """A change under way."""

    side: str  # left or right
    until: float  # offset along the driver's window


@njit(cache=True)
def is_held_up(gap: float, lead: float, speed: float, wanted: float) -> bool:
    """Whether something ahead, at ``lead`` m/s, keeps a car well below the speed that it wants."""
    return gap < HELD_UP_WITHIN_M and lead < HELD_UP_BELOW * wanted and speed > lead - STARTING


def gap_behind_needed(speed: float, other: float, urgent: bool) -> float:
    """What who comes from behind at ``other`` m/s must be left, m."""
    closing = max(0.0, other - speed)
    return GAP_URGENT_M + closing if urgent else GAP_M + BEHIND_S * other + CLOSING_S * closing


def gap_ahead_needed(speed: float, other: float, urgent: bool) -> float:
    """What must be free ahead in the other lane, m."""
    return GAP_URGENT_M if urgent else GAP_M + AHEAD_S * speed + CLOSING_S * max(0.0, speed - other)


def is_free_behind(
    me: Car, at: float, target: Lane, before: Sequence[Lane], others: Iterable[Car], urgent: bool
) -> bool:
    """Whether a car that comes to ``at`` metres along ``target`` cuts nobody off, beside it included.

    Args:
        before: the lanes that lead into the target
    """
    starts = {target.index: 0.0, **{lane.index: -float(lane.s[-1]) for lane in before}}
    for car in others:
        if car.id == me.id or car.lane not in starts:
            continue
        behind = at - (starts[car.lane] + car.s)  # of its centre, behind mine
        gap = abs(behind) - me.half_length - car.half_length
        needed = gap_behind_needed(me.speed, car.speed, urgent) if behind > 0.0 else GAP_URGENT_M
        if gap < needed:
            return False
    return True


def length_across(speed: float) -> float:
    """Metres along the road that a change takes at a speed, m/s."""
    return ACROSS_M + ACROSS_S * speed


def slanted(path: Path, at: float, offset: float, length: float) -> Path:
    """The path that begins ``offset`` metres right of a window at ``at`` and joins it ``length`` metres on."""
    along = np.gradient(path.xy, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    right = np.stack([-along[:, 1], along[:, 0]], axis=1)  # of CARLA's left-handed plane
    share = np.clip((np.arange(POINTS) - at) / length, 0.0, 1.0)
    left_over = 1.0 - share * share * (3.0 - 2.0 * share)
    return dataclasses.replace(path, xy=path.xy + right * (offset * left_over)[:, None])
