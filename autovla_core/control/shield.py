"""A last check of the plan against what the agent itself senses: it brakes or slows, it never steers.

Two checks that know nothing of each other:

* radar returns in the way of the ego's box, so near that hard braking is due, unless the plan stops before them or
  they drive away as fast;
* a plan that leaves the route, or asks for more lateral acceleration than the tyres give.

A false alarm counts as worse than a late one: an oncoming car is taken to stand where it is, and what does not stand
upright (the road on a crest, a kerb) is no obstacle.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, fields

import numpy as np

from autovla_core import geometry
from autovla_core.contracts import Control, Plan
from autovla_core.control.plan_limits import leaves_route, tyre_speed
from autovla_core.control.way import AFTER_S, Way
from autovla_core.errors import ConfigError

OBSTACLE, ROUTE, TYRES = "obstacle", "route", "tyres"  # why a control was changed
_NO_AMOUNTS = ("enabled",)
_SLOWING_BRAKE = 0.3
_EARLY_S = 1e-3
_MOVES = 0.5  # m/s away from which something drives, not stands
_STANDS = 0.1  # m/s
_ANEW_S = 1.0  # without braking, after which the next is another one


@dataclass(frozen=True)
class ShieldConfig:
    """When the shield acts; off by default.

    Raises:
        ConfigError: an amount that is not positive and finite.
    """

    enabled: bool = False  # "on" is no word for a key: YAML reads it as true
    brake: float = 7.0  # m/s2 that hard braking gives
    delay_s: float = 0.15  # until it does
    margin: float = 0.5  # m left to the obstacle
    side: float = 0.1  # m beside the box that are in the way too
    trusted: float = 5.0  # m/s2: a plan that must brake harder to stop in time is not relied upon
    window_s: float = 0.2  # returns are kept so long
    returns: int = 3  # as many make an obstacle
    depth: float = 1.0  # m along the way within which they lie
    upright: float = 0.25  # m between the highest and the lowest; nearer than ten times as far, less
    route: float = 4.5  # m from the route at which a plan has left it: a lane and the error of the GNSS
    route_horizon_s: float = 3.0  # of the plan that is compared with the route
    slow: float = 3.0  # m/s while a plan leaves the route
    lateral: float = 7.0  # m/s2 that the tyres give

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name not in _NO_AMOUNTS):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"shield.{name}: found {value}, expected a finite number above 0")

    def stopping_distance(self, speed: float, away: np.ndarray | float = 0.0) -> np.ndarray | float:
        """Metres to what goes away at ``away`` m/s at which hard braking is due."""
        gone = np.maximum(away, 0.0) ** 2
        return self.margin + speed * self.delay_s + np.maximum(speed * speed - gone, 0.0) / (2.0 * self.brake)


def contact_distances(way: Way, points: np.ndarray, length: float, width: float) -> np.ndarray:
    """Metres (N,) that a box may go along the way until it meets each point (N, 2) in the ego frame; inf: never.

    What lies beside or behind its front now is not met.
    """
    if not len(points):
        return np.zeros(0)
    gap = points[None, :, :] - way.poses[:, None, :2]
    cos, sin = np.cos(way.poses[:, 2])[:, None], np.sin(way.poses[:, 2])[:, None]
    along, left = cos * gap[..., 0] + sin * gap[..., 1], -sin * gap[..., 0] + cos * gap[..., 1]
    inside = (np.abs(along) <= length / 2) & (np.abs(left) <= width / 2) & (points[:, 0] > length / 2)
    met = np.where(inside, way.s[:, None] + along - length / 2, np.inf)
    return np.maximum(met.min(axis=0), 0.0)


def plan_yields(way: Way, free: np.ndarray, away: np.ndarray, speed: float, trusted: float) -> np.ndarray:
    """Whether (N,) the plan by itself stays behind what is ``free`` m ahead and goes ``away`` at m/s.

    It must want to, and the car must be able to without braking harder than ``trusted`` m/s2.
    """
    gone = np.maximum(away, 0.0)
    wants = (way.progress[None, :] <= free[:, None] + gone[:, None] * AFTER_S).all(axis=1)
    needed = np.maximum(speed - gone, 0.0) ** 2 / (2.0 * np.maximum(free, 0.1))
    return wants & (needed <= trusted)


def is_obstacle(free: np.ndarray, heights: np.ndarray, config: ShieldConfig) -> bool:
    """Whether enough of the returns, ``free`` m along the way and ``heights`` m high (N,), stand upright together."""
    order = np.argsort(free, kind="stable")
    free, heights = free[order], heights[order]
    for first in range(len(free) - config.returns + 1):
        near = heights[first : int(np.searchsorted(free, free[first] + config.depth, side="right"))]
        tall = min(config.upright, 0.1 * free[first])  # of what is near the beam sees only a part
        if len(near) >= config.returns and near.max() - near.min() >= tall:
            return True
    return False


class Returns:
    """The radar's last moments, kept where they were met while the ego drives on."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._kept: deque[tuple[float, np.ndarray, np.ndarray, np.ndarray]] = deque()

    def add(self, returns: np.ndarray, pose: np.ndarray, time_s: float) -> None:
        """Take the returns (N, 4) of one tick: x, y, z in the ego frame, m/s away; ``pose`` (3,) is the ego's."""
        while self._kept and self._kept[0][0] < time_s - self._window_s + _EARLY_S:
            self._kept.popleft()
        places = geometry.transform_points(pose, returns[:, :2])
        rays = places - pose[:2]
        drift = rays / np.maximum(np.linalg.norm(rays, axis=1), 1e-6)[:, None] * returns[:, 3:]
        self._kept.append((time_s, places, drift, returns[:, 2:]))

    def seen(self, pose: np.ndarray, time_s: float) -> np.ndarray:
        """(N, 4) as they lie in the ego frame now; each has gone on along its ray since."""
        if not self._kept:
            return np.zeros((0, 4))
        places = np.vstack([where + (time_s - then) * drift for then, where, drift, _ in self._kept])
        return np.hstack(
            [geometry.transform_points(geometry.invert(pose), places), np.vstack([k[3] for k in self._kept])]
        )


class Shield:
    """Changes controls where it must, and counts.

    Args:
        length: m, of the ego's box.
        width: m.
    """

    def __init__(self, config: ShieldConfig, length: float, width: float) -> None:
        self.config = config
        self._length, self._width = length, width
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self._returns = Returns(self.config.window_s)
        self._top, self._reason = math.inf, ""  # m/s that the plan may be driven at, and why
        self._braking = False
        self._began_m = 0.0  # the stopping distance at which it began to
        self._braked_s = -math.inf  # when it braked last
        self._counts: Counter[str] = Counter()

    def reach_m(self, speed: float) -> float:
        """How far the way must be known at a speed in m/s."""
        return max(self.config.stopping_distance(max(speed, 0.0)), self._began_m) + self._length

    def judge(self, plan: Plan, route: np.ndarray) -> None:
        """Take a plan that counts from now on, and the route (N, 2) in its frame."""
        self._counts["plans checked"] += 1
        tops = {TYRES: tyre_speed(plan, self.config.lateral)}
        left = leaves_route(plan, route, self.config.route, self.config.route_horizon_s)
        tops[ROUTE] = self.config.slow if left else math.inf
        self._reason = min(tops, key=tops.__getitem__)
        self._top = tops[self._reason]
        self._counts.update({f"plans {why}": 1 for why, top in tops.items() if top < math.inf})

    def step(
        self,
        control: Control,
        way: Way | None,
        returns: np.ndarray | None,
        pose: np.ndarray,
        time_s: float,
        speed: float,
    ) -> Control:
        """The control of this tick, with less throttle and more brake where that is due.

        Args:
            control: of the tracker.
            way: what is left of the plan; None without one, when the tracker brakes anyway.
            returns: (N, 4) of the radar at this tick, as ``Returns.add`` takes them; None: it saw nothing.
            pose: (3,) of the ego, in a frame that does not move.
            time_s: simulation time.
            speed: m/s along the heading, signed.
        """
        self._counts["ticks blind"] += returns is None
        if returns is not None:
            self._returns.add(returns, pose, time_s)
        if way is None:
            self._braking, self._began_m = False, 0.0
            return control
        self._consider(way, pose, time_s, max(speed, 0.0))
        if self._braking:
            self._counts["brakings"] += time_s > self._braked_s + _ANEW_S
            self._braked_s = time_s
            return self._changed(control, Control(control.steer, 0.0, 1.0), OBSTACLE)
        if speed > self._top:
            slower = Control(control.steer, 0.0, max(control.brake, _SLOWING_BRAKE))
            return self._changed(control, slower, self._reason)
        return control

    def summary(self) -> dict[str, float]:
        """Plans checked and ticks at which a control was changed, by reason; ``Driver.summary`` has them."""
        names = ("plans checked", f"plans {ROUTE}", f"plans {TYRES}", "brakings", "ticks blind")
        names += tuple(f"ticks {why}" for why in (OBSTACLE, ROUTE, TYRES))
        return {f"shield_{name.replace(' ', '_')}": float(self._counts[name]) for name in names}

    def _consider(self, way: Way, pose: np.ndarray, time_s: float, speed: float) -> None:
        """Begin to brake, or go on until what is in the way is gone or the ego stands."""
        if speed <= _STANDS:
            self._began_m = 0.0
        self._braking = self._must_brake(way, pose, time_s, speed)
        self._began_m = max(self._began_m, self.config.stopping_distance(speed)) if self._braking else 0.0

    def _must_brake(self, way: Way, pose: np.ndarray, time_s: float, speed: float) -> bool:
        seen = self._returns.seen(pose, time_s)
        longest = max(self.config.stopping_distance(speed), self._began_m)
        seen = seen[np.hypot(seen[:, 0], seen[:, 1]) <= longest + self._length + 1.0]
        if len(seen) < self.config.returns:
            return False
        free = contact_distances(way, seen[:, :2], self._length, self._width + 2.0 * self.config.side)
        near = free <= longest
        free, heights, away = free[near], seen[near, 2], seen[near, 3]
        due = free <= np.maximum(self.config.stopping_distance(speed, away), self._began_m)
        due &= ~((away > _MOVES) & (away >= speed))  # a leader that drives away
        due &= ~plan_yields(way, free, away, speed, self.config.trusted)
        return is_obstacle(free[due], heights[due], self.config)

    def _changed(self, wanted: Control, control: Control, reason: str) -> Control:
        """Count the tick if the control is another."""
        self._counts[f"ticks {reason}"] += control != wanted
        return control
