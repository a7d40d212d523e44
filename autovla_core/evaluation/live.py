"""An episode in a window: pictures at the pace of real time, and a person who may take over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from autovla_core.contracts import Control
from autovla_core.evaluation.episode import EpisodeStopped, Start, TickFacts
from autovla_core.evaluation.showing import Showing
from autovla_core.view import hud
from autovla_core.view.hud import View
from autovla_core.view.window import Window

TICK_S = 0.05
POLL_S = 0.02


class Live(Showing):
    """Subscriber and disturbance in one: shows each picture, waits while paused, replaces the control by hand.

    Args:
        window: where to show and whom to ask.
        title: of the picture.
        clock: seconds of the wall; real time is kept when the machine is fast enough.
        sleep: waits so many seconds.
        ticks: stop after so many, 0 for never.
    """

    def __init__(
        self, window: Window, title: str, clock: Callable[[], float], sleep: Callable[[float], None], ticks: int = 0
    ) -> None:
        super().__init__(self._show, title)
        self._window, self._clock, self._sleep, self._ticks = window, clock, sleep, ticks
        self._due_s: float | None = None

    def start(self) -> Start:
        """Where the route starts."""
        return Start()

    def disturb(self, time_s: float, control: Control) -> Control:
        """The person's control after a take-over, else the agent's."""
        return self._window.manual_control(TICK_S) if self._window.keys.manual else control

    def tick(self, facts: TickFacts) -> None:
        """Show, then wait for the person or the clock."""
        super().tick(facts)
        keys = self._window.poll()
        while keys.paused and not keys.step and not keys.quit:
            self._sleep(POLL_S)
            keys = self._window.poll()
        keys.step = False
        if keys.quit or (self._ticks and facts.number + 1 >= self._ticks):
            raise EpisodeStopped
        self._keep_pace()

    def _show(self, view: View) -> None:
        keys = self._window.keys
        notes = [text for on, text in ((keys.paused, "PAUSED"), (keys.manual, "MANUAL")) if on]
        view = dataclasses.replace(view, notes=notes)
        self._window.show(hud.compose(view, self.bird, keys.camera_large))

    def _keep_pace(self) -> None:
        now = self._clock()
        if self._due_s is None or self._due_s < now - 1.0:  # the machine is too slow, or there was a pause
            self._due_s = now
        self._due_s += TICK_S
        if self._due_s > now:
            self._sleep(self._due_s - now)
