"""A drive in a window, through the real client, with a person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pygame
import pytest

from autovla_core.carla_bridge.wheel import carla
from autovla_core.contracts import Control
from autovla_core.evaluation.agent_file import load_agent_class
from autovla_core.evaluation.episode import EpisodeConfig
from autovla_core.evaluation.evaluator import Job, Run, drive, simulator
from autovla_core.evaluation.guidance import GuidedPlanner
from autovla_core.evaluation.live import Live, Pace
from autovla_core.evaluation.route_file import Route
from autovla_core.evaluation.watching import TickFacts
from autovla_core.view import hud
from autovla_core.view.window import Window

ROOT = Path(__file__).resolve().parents[2]
ROUTE = Route("live", "Havenbrook", ((361.75, -296.0, 4.296), (361.75, -336.0, 5.93)))
AGENT = (ROOT / "agents/autovla_agent.py", str(ROOT / "leaderboard_configs/autovla_agent.yaml"))


class Clock:
    """Seconds that pass only while somebody sleeps."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Scripted(Live):
    """A person who presses keys at known ticks, and what the world was like after each tick."""

    def __init__(self, presses: dict[int, list[int]], *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)
        self._presses = presses
        self.seen: dict[int, dict[str, object]] = {}
        self.controls: list[Control] = []

    def tick(self, facts: TickFacts) -> None:
        for key in self._presses.get(facts.number, ()):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=""))
        self.controls.append(facts.control)
        try:
            super().tick(facts)
        finally:
            world, planner = self._scenery.session.world, self._scenery.agent.driver.planner
            self.seen[facts.number] = {
                "cars": len(world.get_actors().filter("vehicle.*")),
                "cloudiness": world.get_weather().cloudiness,
                "fan": len(planner.fan) if isinstance(planner, GuidedPlanner) else None,
                "plan": self._scenery.agent.driver.plan,
                "moved": float(np.hypot(*facts.moment.position[:2] - self._scenery.track.points[0][:2])),
                "gear": self._scenery.ego.get_control().gear,
                "due": self._clock(),
            }


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window(hud.SIZE)
    yield window
    window.close()


def test_a_person_changes_weather_obstacle_thinking_pace_and_route(window: Window, tmp_path: Path) -> None:
    presses = {
        4: [pygame.K_w, pygame.K_w, pygame.K_f],
        8: [pygame.K_o],
        12: [pygame.K_t, pygame.K_t],  # fast, then slow
        24: [pygame.K_t, pygame.K_t, pygame.K_s, pygame.K_p],  # adaptive, then as configured; half the pace
        26: [pygame.K_m, pygame.K_q],
        30: [pygame.K_TAB, pygame.K_r],
    }
    clock, pictures = Clock(), []
    run = Run(*AGENT, EpisodeConfig(traffic=0))
    with simulator(run.host, run.port) as there:
        live = Scripted(presses, window, "test", clock, clock.sleep, 200, pictures=tmp_path, film=pictures.append)
        record = drive(run, load_agent_class(run.agent), there, Job(ROUTE, 0, 1), [live], live)
    assert record.detail == "stopped by the person watching" and live.person.next_route
    seen = live.seen
    assert max(seen) == 30, "the next route comes even while paused"
    assert seen[3]["cars"] == seen[7]["cars"] == 1 and seen[9]["cars"] == 2
    assert live.person.weather == "CloudyNoon", "the second preset"
    assert seen[5]["cloudiness"] == carla.WeatherParameters.CloudyNoon.cloudiness != seen[3]["cloudiness"]
    assert seen[3]["fan"] == 0 and seen[20]["fan"] == 12
    assert seen[7]["plan"].mode.value == "fast" and seen[22]["plan"].mode.value == "slow"
    assert seen[22]["plan"].thinking_tokens > 0 and live.person.wish.mode == ""
    assert seen[23]["due"] - seen[22]["due"] == pytest.approx(0.05)
    assert seen[26]["due"] - seen[25]["due"] == pytest.approx(0.1), "half of real time"
    assert live.controls[29] == Control(reverse=True), "nobody holds an arrow key"
    assert seen[25]["gear"] == 1 and seen[29]["gear"] == -1, "the car is in the gear that was asked for"
    assert live.pace.ticks == 30 and "ticks/s, real time is 20" in live.pace.said()
    assert [file.name for file in tmp_path.iterdir()] == ["live_0001.25.png"]
    assert len(pictures) == pytest.approx(31 / 2, abs=1) and pictures[0].shape == (720, 1280, 3)
    assert np.abs(pictures[-1].astype(int) - pictures[0]).mean() > 1.0


def test_the_achieved_rate_leaves_pauses_out():
    clock = Clock()
    pace = Pace(clock)
    for tick in range(41):  # 10 ticks a second of the wall, with half a minute of pause after the 20th
        pace.update(0.05 * tick)
        if tick == 20:
            clock.sleep(30.0)
            pace.interrupt()
        clock.sleep(0.1)
    pace.waited_s = 1.95
    assert pace.said().startswith("39 ticks in 3.9 s without pauses: 10.0 ticks/s, real time is 20; 50 % of it waited")
    assert pace.share == pytest.approx(0.5)
    assert Pace(clock).said() == "too short to tell how fast it ran"


def test_the_hand_brake_holds_the_car_for_a_person(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full throttle throughout, the hand brake until tick 20."""
    clock, held = Clock(), {"brake": True}
    monkeypatch.setattr(Window, "hand_brake", property(lambda self: self.keys.manual and held["brake"]))
    monkeypatch.setattr(Window, "manual_control", lambda self, dt: Control(throttle=0.6))

    class Releasing(Scripted):
        def tick(self, facts: TickFacts) -> None:
            held["brake"] = facts.number < 20
            super().tick(facts)

    run = Run(*AGENT, EpisodeConfig(traffic=0))
    with simulator(run.host, run.port) as there:
        live = Releasing({0: [pygame.K_m]}, window, "test", clock, clock.sleep, 50)
        drive(run, load_agent_class(run.agent), there, Job(ROUTE, 0, 1), [live], live)
    away = [live.seen[number]["moved"] for number in (3, 20, 49)]
    assert away[1] - away[0] < 0.3 and away[2] - away[1] > 1.0, away
