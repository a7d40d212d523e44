"""How fast: the acceleration that every constraint allows, the smallest wins."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SpeedConfig:
    """Comfort and distances of the expert."""

    limit_share: float = 0.72
    lateral_acceleration: float = 2.0  # m/s2
    acceleration: float = 2.0  # m/s2
    braking: float = 2.5  # m/s2, comfortable
    hardest_braking: float = 8.0  # m/s2
    response_s: float = 0.6  # to close a speed error
    lead_gap: float = 3.0  # m, bumper to bumper when stopped
    lead_time: float = 1.0  # s
    line_gap: float = 0.8  # m from the front bumper to a stop line


@dataclass(frozen=True)
class Leader:
    """Something on the path that moves along it."""

    rear_s: float  # m along the path, its nearest end
    speed: float  # m/s along the path
    actor_id: int
    rule: str = "lead"


@dataclass(frozen=True)
class Stop:
    """A place where the front bumper must stand still."""

    front_s: float  # m along the path
    actor_id: int
    rule: str  # light, stop_sign, conflict


Constraint = Leader | Stop


def free_acceleration(config: SpeedConfig, speed: float, wanted: float) -> float:
    """Towards a wanted speed (m/s)."""
    return min(max((wanted - speed) / config.response_s, -config.braking), config.acceleration)


def leader_acceleration(config: SpeedConfig, speed: float, gap: float, lead_speed: float) -> float:
    """Behind a leader ``gap`` metres ahead of the front bumper: the intelligent driver model, stopping crisply."""
    if gap <= 0.1:
        return -config.hardest_braking
    lead_speed = max(lead_speed, 0.0)
    if lead_speed < 0.3:
        return stop_acceleration(config, speed, gap - config.lead_gap)
    closing = speed * (speed - lead_speed) / (2.0 * math.sqrt(config.acceleration * config.braking))
    desired = config.lead_gap + max(0.0, speed * config.lead_time + closing)
    return max(config.acceleration * (1.0 - (desired / gap) ** 2), -config.hardest_braking)


def stop_acceleration(config: SpeedConfig, speed: float, distance: float) -> float:
    """To stand still after ``distance`` metres: nothing until comfortable braking is due, then just enough."""
    if distance <= 0.05:
        return -config.hardest_braking if speed > 1.0 else -config.braking
    needed = speed * speed / (2.0 * distance)
    if needed > config.braking:
        return -min(needed, config.hardest_braking)
    # Approach along the braking parabola, a little ahead of it, so that the brake comes on smoothly.
    cap = math.sqrt(2.0 * 0.9 * config.braking * distance)
    return min((cap - speed) / 0.25, config.acceleration) if cap < speed + 1.0 else config.acceleration


def needed_deceleration(speed: float, distance: float) -> float:
    """m/s2 to stop after ``distance`` metres; infinite when it lies behind."""
    return speed * speed / (2.0 * distance) if distance > 0.01 else (0.0 if speed < 0.05 else math.inf)
