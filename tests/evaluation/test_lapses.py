"""The expert's mind wanders: it brakes late by as much as was drawn, and only for what it may be late for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autovla_core.contracts import FULL_BRAKE
from autovla_core.evaluation.lapses import LapseConfig, LapsingPilot, pedals
from autovla_core.evaluation.recording import ExpertPilot
from autovla_core.expert.expert import Reason

ALWAYS = LapseConfig(late_share=1.0, late_braking=(4.0, 4.0), late_speed=(7.0, 7.0), dawdle_every_s=(1e6, 1e6))


def decided(reason: Reason, age_s: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(reason=reason, control=FULL_BRAKE, plan=SimpleNamespace(observed_at_s=10.0 - age_s))


def at(pilot: LapsingPilot, reason: Reason, speed: float, age_s: float = 0.0) -> float | None:
    pilot.scene, pilot.decision = SimpleNamespace(speed=speed), decided(reason, age_s)
    return pilot._late_speed(10.0)


def driven(
    monkeypatch: pytest.MonkeyPatch, config: LapseConfig, reason: Reason, wanted: tuple[float, float], cap: float = 20.0
) -> tuple[float, float]:
    """(throttle, brake) of one whole step at 8 m/s of an expert that wants ``wanted``."""
    command = SimpleNamespace(throttle=wanted[0], brake=wanted[1])
    monkeypatch.setattr(ExpertPilot, "run_step", lambda pilot, data, time_s: command)
    pilot = LapsingPilot(np.random.default_rng(0), config)
    path = SimpleNamespace(cap=np.array([cap]), at=lambda s: (0, 0.0))
    pilot.expert = SimpleNamespace(path=path, progress=SimpleNamespace(s=0.0))
    pilot.scene, pilot.decision = SimpleNamespace(speed=8.0), decided(reason)
    pilot.run_step({}, 10.0)
    return command.throttle, command.brake


def test_it_brakes_for_a_light_only_when_the_drawn_braking_is_needed() -> None:
    pilot = LapsingPilot(np.random.default_rng(0), ALWAYS)
    assert at(pilot, Reason("light", 3, 20.0), 8.0) == 8.0  # 64 / 39 = 1.6 m/s2 would do
    assert at(pilot, Reason("light", 3, 9.0), 8.0) == 8.0  # 64 / 17 = 3.8
    assert at(pilot, Reason("light", 3, 8.0), 8.0) is None  # 64 / 15 = 4.3
    assert at(pilot, Reason("light", 3, 9.0), 4.0) is None  # and from then on it is awake
    assert at(pilot, Reason("lead", 9, 20.0), 4.0) == 7.0  # until the next thing


def test_the_distance_is_that_of_now_not_of_the_newest_plan() -> None:
    pilot = LapsingPilot(np.random.default_rng(0), ALWAYS)
    assert at(pilot, Reason("light", 3, 9.0), 8.0, age_s=0.1) is None  # 64 / (2 (9.0 - 0.8 - 0.5)) = 4.2


DAWDLING = LapseConfig(late_share=0.0, dawdle_every_s=(1.0, 1.0), dawdle_s=(9.0, 9.0), dawdle_share=(0.5, 0.5))


@pytest.mark.parametrize("rule", ["conflict", "light", "lead", "curve"])
def test_who_must_brake_does_not_dawdle(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    assert driven(monkeypatch, DAWDLING, Reason(rule, 3, 6.0), (0.0, 0.9)) == (0.0, 0.9)


def test_dawdling_reaches_the_pedals_and_a_late_driver_keeps_to_what_a_bend_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert driven(monkeypatch, DAWDLING, Reason("cruise"), (0.4, 0.0)) == (0.0, 0.6)  # from 8 to 4 m/s
    assert driven(monkeypatch, ALWAYS, Reason("lead", 3, 60.0), (0.0, 0.2)) == (0.25, 0.0)
    assert driven(monkeypatch, ALWAYS, Reason("lead", 3, 60.0), (0.0, 0.2), cap=5.0) == (0.0, 0.6)


@pytest.mark.parametrize("rule", ["curve", "conflict", "end", "cruise"])
def test_it_is_never_late_for_anything_else(rule: str) -> None:
    assert at(LapsingPilot(np.random.default_rng(0), ALWAYS), Reason(rule, 3, 20.0), 8.0) is None


def test_it_is_late_as_often_as_it_was_told() -> None:
    pilot = LapsingPilot(np.random.default_rng(1), LapseConfig(late_share=0.3))
    late = [at(pilot, Reason("light", number, 60.0), 5.0) is not None for number in range(2000)]
    assert np.mean(late) == pytest.approx(0.3, abs=0.04)


def test_dawdling_begins_and_ends_and_holds_a_share_of_the_speed() -> None:
    config = LapseConfig(dawdle_every_s=(2.0, 2.0), dawdle_s=(1.0, 1.0), dawdle_share=(0.5, 0.5))
    pilot = LapsingPilot(np.random.default_rng(0), config)
    pilot.scene = SimpleNamespace(speed=8.0)
    held = [pilot._dawdling(time_s) for time_s in np.arange(0.0, 8.0, 0.5)]
    assert held == [None] * 4 + [4.0] * 2 + [None] * 4 + [4.0] * 2 + [None] * 4


def test_pedals_work_against_the_error() -> None:
    assert pedals(5.0, 8.0) == (0.75, 0.0)
    assert pedals(5.0, 5.0) == (0.25, 0.0)
    assert pedals(5.0, 1.0) == (0.0, 0.6)
    throttle, brake = pedals(5.0, 4.0)
    assert throttle == 0.0 and 0.1 <= brake < 0.6
