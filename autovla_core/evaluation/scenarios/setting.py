"""What a scenario's script sees, and the waiting that all scripts do.

A script is a generator: it puts its actors up, and each ``yield`` lets one tick pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from autovla_core.errors import RouteError
from autovla_core.evaluation.scenarios.criteria import Verdict
from autovla_core.evaluation.scenarios.movers import TICK_S
from autovla_core.evaluation.scenarios.road import RouteRoad
from autovla_core.evaluation.scenarios.stage import Stage

Script = Iterator[None]
MOST = 1000.0  # of a number in a route file: m, m/s or degrees


class NoPlace(RouteError):
    """The road does not offer what a scenario needs, or somebody stands where its actors should; it is skipped."""


@dataclass
class EgoWatch:
    """The ego, renewed at every tick before the scripts run."""

    pose: np.ndarray = field(default_factory=lambda: np.zeros(3))  # world, box centre
    s: float = 0.0  # m along the route
    speed: float = 0.0  # m/s
    speed_limit: float = 13.9  # m/s
    length: float = 4.9
    width: float = 1.84
    noise: tuple[float, float] = (0.0, 0.0)  # added to steer (left positive) and throttle at this tick


@dataclass(frozen=True)
class Setting:
    """One scenario on one route. Speeds m/s, places m along the route."""

    name: str
    stage: Stage
    road: RouteRoad
    trigger_s: float
    ego: EgoWatch
    rng: np.random.Generator
    parameters: Mapping[str, Mapping[str, str]]
    verdict: Verdict = field(default_factory=Verdict)

    def number(self, tag: str, low: float, high: float) -> float:
        """``<tag value="..."/>`` of the route file, or a draw between the bounds.

        Raises:
            RouteError: the file holds something else than a number from 0 to ``MOST``.
        """
        drawn = float(self.rng.uniform(low, high))
        given = self.parameters.get(tag, {}).get("value")
        return drawn if given is None else _number(self, tag, given)

    def interval(self, tag: str, low: float, high: float) -> tuple[float, float]:
        """``<tag from="..." to="..."/>`` of the route file, or the bounds given here.

        Raises:
            RouteError: as ``number``.
        """
        given = self.parameters.get(tag, {})
        if "from" not in given or "to" not in given:
            return low, high
        return _number(self, tag, given["from"]), _number(self, tag, given["to"])

    def word(self, tag: str, default: str) -> str:
        """``<tag value="..."/>`` of the route file, or the default."""
        return self.parameters.get(tag, {}).get("value", default)

    def require(self, something: object | None, what: str) -> None:
        """Raise ``NoPlace`` when a spawn gave nothing."""
        if something is None:
            raise NoPlace(f"{self.name}: no room for {what}")

    def until_triggered(self) -> Script:
        """Wait until the ego's centre reaches the trigger."""
        while self.ego.s < self.trigger_s - 1.0:
            yield

    def until_near(self, s: float, seconds: float, distance_m: float) -> Script:
        """Wait until the ego would be at ``s`` within ``seconds``, or is within ``distance_m`` of it."""
        while (left := s - self.ego.s) > distance_m and left > seconds * max(self.ego.speed, 0.01):
            yield

    def until_passed(self, s: float, most_s: float = 300.0) -> Script:
        """Wait until the ego is beyond ``s``, but no longer than ``most_s``."""
        for _ in range(int(most_s / TICK_S)):
            if self.ego.s > s:
                return
            yield

    def wait(self, seconds: float) -> Script:
        """Let seconds pass."""
        for _ in range(round(seconds / TICK_S)):
            yield


def _number(setting: Setting, tag: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number <= MOST:  # "nan" is none of these either
        raise RouteError(f"scenario {setting.name}: <{tag}> holds {text!r}, expected a number from 0 to {MOST:g}")
    return number
