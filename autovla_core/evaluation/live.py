"""An episode in a window: pictures at the pace of real time, and a person who may step in."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autovla_core.carla_bridge.actuate import vehicle_control
from autovla_core.contracts import Control
from autovla_core.evaluation.guidance import GuidedPlanner
from autovla_core.evaluation.insight import driver_of
from autovla_core.evaluation.showing import Showing
from autovla_core.evaluation.stepping_in import NEAREST_M, REACTION_S, Person, put_obstacle
from autovla_core.evaluation.watching import EpisodeStopped, Scenery, Start, TickFacts
from autovla_core.view import hud
from autovla_core.view.hud import View
from autovla_core.view.window import HELP, STEP, Window

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
        self.pace = Pace(clock)
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
        if self._window.hand_brake:
            self._pull_hand_brake(facts.control)
        self.pace.update(facts.moment.time_s)
        self._listen(facts)
        while self._window.keys.paused and not (self._leaving or self._window.keys.take(STEP)):
            self._sleep(POLL_S)
            self._listen(facts)
            self._show(self._shown)
            self.pace.interrupt()
        if self._leaving or (self._ticks and facts.number + 1 >= self._ticks):
            raise EpisodeStopped
        self._keep_pace()

    @property
    def _leaving(self) -> bool:
        return self._window.keys.quit or self.person.next_route

    def _pull_hand_brake(self, control: Control) -> None:
        """Over the control of this tick, which our contract has without it."""
        pulled = vehicle_control(control)
        pulled.hand_brake = True
        self._scenery.ego.apply_control(pulled)

    def _keep(self, view: View) -> None:
        self._shown = view
        self._film(self._show(view))

    def _show(self, view: View | None) -> np.ndarray | None:
        if view is None:
            return None
        keys = self._window.keys
        manual = "MANUAL, REVERSE" if keys.reverse else "MANUAL"
        states = [text for on, text in ((keys.paused, "PAUSED"), (keys.manual, manual)) if on]
        view = dataclasses.replace(
            view,
            notes=[*states, *self.person.notes()],
            pace=self.pace.share,
            ticks_per_s=self.pace.share / TICK_S,
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
            self.pace.waited_s += self._due_s - now


class Pace:
    """Seconds of simulation a second of the wall, measured anew every second, and of the whole drive without pauses."""

    PERIOD_S = 1.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: tuple[float, float] | None = None  # wall, simulation
        self._last_s: float | None = None  # wall, of the tick before; None after a pause
        self.share = 0.0  # 0: not measured yet
        self.ticks, self.wall_s, self.waited_s = 0, 0.0, 0.0  # from one tick to the next; waited: for real time

    def update(self, time_s: float) -> None:
        """Take the simulation's time of this tick."""
        now = self._clock()
        if self._last_s is not None:
            self.ticks, self.wall_s = self.ticks + 1, self.wall_s + now - self._last_s
        self._last_s = now
        if self._since is None:
            self._since = (now, time_s)
        elif now - self._since[0] >= self.PERIOD_S:
            self.share = (time_s - self._since[1]) / (now - self._since[0])
            self._since = (now, time_s)

    def interrupt(self) -> None:
        """A pause is no slowness."""
        self._since = self._last_s = None

    def said(self) -> str:
        """One sentence on the whole drive."""
        if not self.wall_s:
            return "too short to tell how fast it ran"
        rate, idle = self.ticks / self.wall_s, 100.0 * self.waited_s / self.wall_s
        return (
            f"{self.ticks} ticks in {self.wall_s:.1f} s without pauses: {rate:.1f} ticks/s, real time is "
            f"{1.0 / TICK_S:.0f}; {idle:.0f} % of it waited for real time"
        )
