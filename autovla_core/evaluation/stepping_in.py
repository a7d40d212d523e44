"""What a person who watches a drive may do to it: another weather, a car that stands in the way."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from autovla_core.carla_bridge.session import EGO_TYPE
from autovla_core.carla_bridge.wheel import carla
from autovla_core.errors import SimulatorError
from autovla_core.evaluation.guidance import GuidedPlanner, Wish
from autovla_core.evaluation.insight import driver_of
from autovla_core.evaluation.watching import Scenery
from autovla_core.evaluation.weathers import PRESETS

logger = logging.getLogger(__name__)

PACES = (1.0, 0.5, 0.25)  # of real time
NEAREST_M, REACTION_S = 14.0, 2.5  # an obstacle lies so far ahead that a driver who looks can stop
RAISED_M = 0.3


@dataclass
class Person:
    """What the person chose; it lasts over several routes.

    Attributes:
        next_route: the episode is to end for the next one.
    """

    wish: Wish = field(default_factory=Wish)
    pace: float = 1.0  # of ``PACES``
    weather: str = ""  # of ``PRESETS``; "": the route's own
    next_route: bool = False

    def notes(self) -> list[str]:
        """What differs from an ordinary drive, to show."""
        wish = self.wish
        found = (
            (self.pace != 1.0, f"1/{round(1 / self.pace)} OF REAL TIME"),
            (bool(self.weather), self.weather),
            (bool(wish.mode), f"{wish.mode} thinking"),
            (bool(wish.instruction), f'"{wish.instruction}"'),
        )
        return [text for holds, text in found if holds]

    def next_pace(self) -> None:
        """Real time, half of it, a quarter of it, and again."""
        self.pace = PACES[(PACES.index(self.pace) + 1) % len(PACES)]

    def next_weather(self, scenery: Scenery) -> None:
        """The preset after the present one."""
        self.weather = PRESETS[(PRESETS.index(self.weather) + 1 if self.weather else 0) % len(PRESETS)]
        self.make_weather(scenery)

    def make_weather(self, scenery: Scenery) -> None:
        """The chosen weather, if there is one."""
        if self.weather:
            scenery.session.world.set_weather(getattr(carla.WeatherParameters, self.weather))

    def next_mode(self, scenery: Scenery) -> None:
        """The next way of thinking that the planner knows; the last one is the agent's own again."""
        driver = driver_of(scenery.agent)
        planner = None if driver is None else driver.planner
        modes = planner.modes if isinstance(planner, GuidedPlanner) else ("",)
        if len(modes) == 1:
            logger.warning("this agent's way of thinking cannot be chosen from here")
        self.wish.mode = modes[(modes.index(self.wish.mode) + 1) % len(modes)] if self.wish.mode in modes else ""


def put_obstacle(scenery: Scenery, ahead: np.ndarray) -> bool:
    """Put a car that stands, near ``ahead`` (3,), a pose in our world frame; whether there was room for it.

    It goes away with the episode.
    """
    point = carla.Location(float(ahead[0]), -float(ahead[1]), float(scenery.ego.get_location().z))
    pose = scenery.session.map.get_waypoint(point).transform
    pose.location.z += RAISED_M
    try:
        scenery.session.spawn(EGO_TYPE, pose)
    except SimulatorError as error:
        logger.warning("no obstacle: %s", error)
        return False
    return True
