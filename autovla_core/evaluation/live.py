"""An episode in a window: pictures at the pace of real time, and a person who may step in."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autovla_core.contracts import Control
from autovla_core.evaluation.guidance import GuidedPlanner
from autovla_core.evaluation.insight import driver_of
from autovla_core.evaluation.showing import Showing
from autovla_core.evaluation.stepping_in import NEAREST_M, REACTION_S, Person, put_obstacle
from autovla_core.evaluation.watching import EpisodeStopped, Scenery, Start, TickFacts
from autovla_core.view import hud
from autovla_core.view.hud import View
from autovla_core.view.window import HELP, Window

logger = logging.getLogger(__name__)

TICK_S = 0.05
POLL_S = 0.05
WORDS_S = 0.1  # at least so long between two pictures of a thought that is being written
FAN = 12  # plans


class Live(Showing):
    """Subscriber and disturbance in one: shows each picture, waits while paused, does what the keys ask.

    Args:
        window: where to show and whom to ask.
        title: of the picture.
        clock: seconds of the wall; real time is kept when the machine is fast enough.
        sleep: waits so many seconds.
        ticks: stop after so many, 0 for never.
        person: what was chosen in an earlier episode.
        pictures: folder of the pictures that are saved.
        film: is given every picture of a tick.
    """

    def __init__(
        self,
        window: Window,
        title: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        ticks: int = 0,
        person: Person | None = None,
        pictures: Path = Path("."),
        film: Callable[[np.ndarray], None] = lambda picture: None,
    ) -> None:
        super().__init__(self._keep, title, sides=True)
        self._window, self._clock, self._sleep, self._ticks = window, clock, sleep, ticks
        self.person = person or Person()
        self._pictures, self._film = pictures, film
        self._due_s: float | None = None
        self._pace = Pace(clock)
        self._shown: View | None = None
        self._worded_s = -1.0

    def begin(self, scenery: Scenery) -> None:
        """Put the person between driver and planner."""
        super().begin(scenery)
        driver = driver_of(scenery.agent)
        if driver is not None:
            driver.planner = GuidedPlanner(driver.planner, self.person.wish, self._heard)
        self.person.next_route = False
        self.person.make_weather(scenery)

    def start(self) -> Start:
        """Where the route starts."""
        return Start()

    def disturb(self, time_s: float, control: Control) -> Control:
        """The person's control after a take-over, else the agent's."""
        return self._window.manual_control(TICK_S) if self._window.keys.manual else control

    def tick(self, facts: TickFacts) -> None:
        """Show, then wait for the person or the clock."""
        super().tick(facts)
        self._pace.update(facts.moment.time_s)
        self._listen(facts)
        while self._window.keys.paused and not (self._leaving or self._window.keys.take("step")):
            self._sleep(POLL_S)
            self._listen(facts)
            self._show(self._shown)
        if self._leaving or (self._ticks and facts.number + 1 >= self._ticks):
            raise EpisodeStopped
        self._keep_pace()

    @property
    def _leaving(self) -> bool:
        return self._window.keys.quit or self.person.next_route

    def _keep(self, view: View) -> None:
        self._shown = view
        self._film(self._show(view))

    def _show(self, view: View | None) -> np.ndarray | None:
        if view is None:
            return None
        keys = self._window.keys
        states = [text for on, text in ((keys.paused, "PAUSED"), (keys.manual, "MANUAL")) if on]
        view = dataclasses.replace(
            view,
            notes=[*states, *self.person.notes()],
            pace=self._pace.share,
            typing=keys.typing,
            help=HELP if keys.help else (),
        )
        picture = hud.compose(view, self.bird, keys.camera_large)
        self._window.show(picture)
        return picture

    def _heard(self, thought: str) -> None:
        """Show a thought as it is written."""
        if self._shown is not None and self._clock() - self._worded_s >= WORDS_S:
            self._show(dataclasses.replace(self._shown, thought=f"{thought} ..."))
            self._worded_s = self._clock()

    def _listen(self, facts: TickFacts) -> None:
        keys, person, scenery = self._window.poll(), self.person, self._scenery
        person.wish.instruction, person.wish.fan = keys.instruction, FAN if keys.fan else 0
        while keys.take("pace"):
            person.next_pace()
        while keys.take("mode"):
            person.next_mode(scenery)
        while keys.take("weather"):
            person.next_weather(scenery)
        if keys.take("obstacle"):
            ahead = max(NEAREST_M, REACTION_S * facts.moment.speed)
            put_obstacle(scenery, self._plan.pose_at(self._progress.s + ahead))
        if keys.take("picture"):
            file = self._pictures / f"{scenery.route.id}_{facts.moment.time_s:07.2f}.png"
            self._window.save(file)
            logger.warning("saved %s", file)
        person.next_route = keys.take("route") or person.next_route

    def _keep_pace(self) -> None:
        now = self._clock()
        if self._due_s is None or self._due_s < now - 1.0:  # the machine is too slow, or there was a pause
            self._due_s = now
        self._due_s += TICK_S / self.person.pace
        if self._due_s > now:
            self._sleep(self._due_s - now)


class Pace:
    """Seconds of simulation a second of the wall, measured anew every second."""

    PERIOD_S = 1.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: tuple[float, float] | None = None  # wall, simulation
        self.share = 0.0  # 0: not measured yet

    def update(self, time_s: float) -> None:
        """Take the simulation's time of this tick."""
        now = self._clock()
        if self._since is None:
            self._since = (now, time_s)
        elif now - self._since[0] >= self.PERIOD_S:
            self.share = (time_s - self._since[1]) / (now - self._since[0])
            self._since = (now, time_s)
