"""Lights and stop signs: which lines of the route ask the ego to stop now."""

from __future__ import annotations

import math

from autovla_core.contracts import LightState, Outlook, Scene, StopLine
from autovla_core.expert.speed import SpeedConfig, Stop, needed_deceleration

YELLOW_DECELERATION = 3.5  # m/s2: a harder stop than this is not made for yellow
RED_DECELERATION = 7.0
SIGN_WAIT_S = 0.8
SIGN_RANGE_M = 3.0
STANDING_SPEED = 0.1
_PASSED_M = 0.8  # a bumper this far beyond a line has passed it
_RIGHT_OF_WAY_M = 35.0


class Rules:
    """Remembers what was decided at a line, so that a decision does not flicker."""

    def __init__(self, config: SpeedConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._stops_for: dict[int, bool] = {}  # by light, decided when it stopped being green
        self._waited: dict[int, float] = {}  # s stood at a sign
        self._last_time: float | None = None
        self._green_line_s = -math.inf  # m along the route: the last line met on green

    def stops(self, scene: Scene, front_s: float) -> list[Stop]:
        """The stops that lines ahead ask for; ``front_s`` is the front bumper along the route (m)."""
        dt = 0.0 if self._last_time is None else max(scene.time_s - self._last_time, 0.0)
        self._last_time = scene.time_s
        out = []
        for line in scene.stop_lines:
            if line.route_s < front_s - _PASSED_M:
                continue
            stop = self._light(line, scene, front_s) if line.kind == "light" else self._sign(line, scene, front_s, dt)
            if stop is not None:
                out.append(stop)
        return out

    def outlook(self, scene: Scene, front_s: float, rule: str, lead_m: float) -> Outlook:
        """The nearest lines ahead of the front bumper at ``front_s`` by kind; call after ``stops``."""
        nearest = {"red": math.inf, "green": math.inf, "sign": math.inf}
        for line in scene.stop_lines:
            if line.route_s < front_s - _PASSED_M or line.state is LightState.OFF and line.kind == "light":
                continue
            if line.kind == "light":
                kind = "green" if line.state is LightState.GREEN else "red"
            elif self._waited.get(line.id, 0.0) < SIGN_WAIT_S:
                kind = "sign"
            else:
                continue
            nearest[kind] = min(nearest[kind], line.route_s - front_s)
        return Outlook(rule, nearest["red"], nearest["green"], nearest["sign"], lead_m)

    def green_line(self, s: float) -> float | None:
        """The line (m along the route) of the junction that the ego enters or crosses on green; None elsewhere."""
        return self._green_line_s if s < self._green_line_s + _RIGHT_OF_WAY_M else None

    def _light(self, line: StopLine, scene: Scene, front_s: float) -> Stop | None:
        if line.state in (LightState.GREEN, LightState.OFF):
            self._stops_for.pop(line.id, None)
            if line.state is LightState.GREEN and line.route_s - front_s < 30.0:
                self._green_line_s = line.route_s
            return None
        if line.id not in self._stops_for:
            yellow = line.state is LightState.YELLOW
            limit, gap = (YELLOW_DECELERATION, self.config.line_gap) if yellow else (RED_DECELERATION, 0.0)
            self._stops_for[line.id] = needed_deceleration(scene.speed, line.route_s - gap - front_s) <= limit
        if not self._stops_for[line.id]:
            return None
        self._green_line_s = -math.inf
        return Stop(line.route_s - self.config.line_gap, line.id, "light")

    def _sign(self, line: StopLine, scene: Scene, front_s: float, dt: float) -> Stop | None:
        waited = self._waited.get(line.id, 0.0)
        if scene.speed < STANDING_SPEED and line.route_s - front_s < SIGN_RANGE_M:
            waited += dt
            self._waited[line.id] = waited
        if waited >= SIGN_WAIT_S:
            return None
        self._green_line_s = -math.inf
        return Stop(line.route_s - self.config.line_gap, line.id, "stop_sign")
