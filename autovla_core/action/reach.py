"""Which action tokens a car can follow up with: no jump of speed or curvature that tyres and steering do not allow.

A motion of 0.5 s gives its mean speed and mean curvature. Two motions in a row are half a second apart in the middle,
so their mean speeds differ by acceleration times 0.5 s; the first motion's middle is 0.25 s after the speed was read.
Tokens are rounded motions: what rounding can do is added to every bound. The mask is an option of decoding; a plan
that is rounded from a real drive must stay inside it (measured in docs/codebook.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autovla_core.action import kinematics
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import STEP_S
from autovla_core.errors import ActionDecodeError, ObservationError

CRAWL = 1.0  # m/s: only from below this may the next half second be driven the other way


@dataclass(frozen=True)
class ReachLimits:
    """Bounds on the change from one motion to the next."""

    acceleration: float = 6.0  # m/s2
    braking: float = 10.0  # m/s2
    curvature_jump: float = 0.15  # 1/m in half a second
    rounding_m: float = 0.08  # by which a motion of the codebook may be longer or shorter than the one it stands for
    rounding_yaw: float = 0.03  # rad, likewise


def reachable(
    codebook: Codebook,
    speed: float | None,
    previous_token: int | None = None,
    limits: ReachLimits | None = None,
) -> np.ndarray:
    """Whether each token (K,) bool can come next; never none at all: then the one nearest in speed.

    Args:
        codebook: the tokens.
        speed: m/s where the motion starts, signed; None if only the token before is known (later steps of a plan).
        previous_token: the motion that ended there; None at the first step of a plan without history.
        limits: of the car.

    Raises:
        ObservationError: a speed that is not finite.
        ActionDecodeError: a token outside the codebook.
    """
    limits = limits or ReachLimits()
    mask = np.ones(len(codebook), bool)
    if speed is not None:
        mask &= first_masks(codebook, np.array([speed], float), limits)[0]
    if previous_token is not None:
        if not 0 <= previous_token < len(codebook):
            raise ActionDecodeError(f"token {previous_token}, the codebook holds 0 to {len(codebook) - 1}")
        mask &= _after(codebook, np.array([previous_token]), limits)[0]
    found = (
        speed if speed is not None or previous_token is None else kinematics.speeds(codebook.motions[previous_token])
    )
    return _never_empty(mask[None], kinematics.speeds(codebook.motions), np.array([found or 0.0], float))[0]


def first_masks(codebook: Codebook, speeds: np.ndarray, limits: ReachLimits | None = None) -> np.ndarray:
    """Masks (N, K) bool of the first token at signed ``speeds`` (N,) m/s."""
    limits, speeds = limits or ReachLimits(), np.asarray(speeds, float)
    if not np.isfinite(speeds).all():
        raise ObservationError(f"speed is {speeds[~np.isfinite(speeds)][0]}, expected a finite number of m/s")
    means = kinematics.speeds(codebook.motions)
    return _never_empty(_speed_fits(speeds, means, 0.5 * STEP_S, limits.rounding_m, limits), means, speeds)


def next_masks(codebook: Codebook, limits: ReachLimits | None = None) -> np.ndarray:
    """Masks (K, K) bool: row p tells which tokens may follow token p. 4 MB for 2048 entries; keep it."""
    means = kinematics.speeds(codebook.motions)
    return _never_empty(_after(codebook, np.arange(len(codebook)), limits or ReachLimits()), means, means)


def _after(codebook: Codebook, previous: np.ndarray, limits: ReachLimits) -> np.ndarray:
    """Masks (N, K) after tokens (N,): speed and curvature."""
    motions = codebook.motions
    arcs, means, yaw = kinematics.arc_lengths(motions), kinematics.speeds(motions), motions[:, 2]
    speed_fits = _speed_fits(means[previous], means, STEP_S, 2.0 * limits.rounding_m, limits)
    was = np.maximum(np.abs(arcs[previous]), 1e-6)  # a motion near standstill tells nothing about curvature
    curvature = np.where(arcs[previous] < 0.0, -1.0, 1.0) * yaw[previous] / was
    allowed = (limits.curvature_jump + limits.rounding_yaw / was)[:, None] * np.abs(arcs) + limits.rounding_yaw
    return speed_fits & (np.abs(yaw - curvature[:, None] * arcs) <= allowed)


def _speed_fits(
    before: np.ndarray, after: np.ndarray, time_s: float, rounding_m: float, limits: ReachLimits
) -> np.ndarray:
    """Whether mean speeds ``after`` (K,) can follow speeds ``before`` (N,) within ``time_s``: (N, K) bool."""
    rounding = rounding_m / STEP_S
    forward = np.where(before < 0.0, -1.0, 1.0)[:, None]  # look at a reversing car as if it drove forwards
    before, after = np.abs(before)[:, None], after * forward
    slowest = before - limits.braking * time_s
    slowest = np.where(before < CRAWL, -limits.acceleration * time_s, np.maximum(slowest, 0.0))
    return (after >= slowest - rounding) & (after <= before + limits.acceleration * time_s + rounding)


def _never_empty(masks: np.ndarray, means: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """In rows (N, K) without any token, allow the one whose speed is nearest to ``wanted`` (N,)."""
    for row in np.flatnonzero(~masks.any(axis=1)):
        masks[row, np.abs(means - wanted[row]).argmin()] = True
    return masks
