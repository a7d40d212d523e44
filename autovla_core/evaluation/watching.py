"""What those who look on at an episode, or disturb it, are given: the contract between an episode and them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autovla_core.carla_bridge.session import Session
from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control
from autovla_core.evaluation.agent_file import LeaderboardAgent
from autovla_core.evaluation.facts import Moment
from autovla_core.evaluation.judge import Judge
from autovla_core.evaluation.results import Record
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.route_track import RouteTrack


@dataclass(frozen=True)
class Start:
    """Where the ego starts, relative to the first point of the route."""

    left_m: float = 0.0
    yaw: float = 0.0  # rad


class Disturbance(Protocol):
    """Spoils the drive on purpose, so that recoveries can be recorded."""

    def start(self) -> Start:
        """Asked once."""
        ...

    def disturb(self, time_s: float, control: Control) -> Control:
        """Return ``control`` or a spoilt one."""
        ...


@dataclass(frozen=True)
class Scenery:
    """What stays the same during an episode."""

    session: Session
    route: Route
    dense: Sequence[tuple[carla.Transform, int]]  # 1 m apart
    track: RouteTrack
    ego: carla.Vehicle
    traffic: Sequence[carla.Vehicle]
    lights: Mapping[int, carla.TrafficLight]  # by id
    agent: LeaderboardAgent
    judge: Judge
    seed: int
    start: Start = Start()
    agent_sensors: tuple[Mapping[str, object], ...] = ()  # what the agent asked for, once it was set up


@dataclass(frozen=True)
class TickFacts:
    """One tick, after the agent has answered and before its control takes effect."""

    number: int  # from 0
    moment: Moment
    control: Control  # as applied
    disturbed: bool
    input_data: Mapping[str, tuple[int, object]]  # of the agent and of the subscribers


class Subscriber(Protocol):
    """Sees an episode without taking part: recorder, video, window, progress bar."""

    def sensors(self) -> list[dict[str, object]]:
        """Further sensors on the ego, with ids of their own."""
        ...

    def begin(self, scenery: Scenery) -> None:
        """Before the first tick."""
        ...

    def tick(self, facts: TickFacts) -> None:
        """After each tick. May raise ``EpisodeStopped``."""
        ...

    def end(self, record: Record | None) -> None:
        """After the last tick; None when the episode broke off."""
        ...


class EpisodeStopped(Exception):
    """A person closed the window; the route counts as driven so far."""


class Watcher:
    """A subscriber that does nothing; inherit to do little."""

    def sensors(self) -> list[dict[str, object]]:
        """None."""
        return []

    def begin(self, scenery: Scenery) -> None:
        """Nothing."""

    def tick(self, facts: TickFacts) -> None:
        """Nothing."""

    def end(self, record: Record | None) -> None:
        """Nothing."""
