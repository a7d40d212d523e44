from __future__ import annotations

import numpy as np
import pytest

from autovla_core.contracts import FULL_BRAKE, Command, Control, Observation, Plan
from autovla_core.control.shield import Shield, ShieldConfig
from autovla_core.driving.driver import Driver
from autovla_core.driving.schedule import ReplanSchedule
from autovla_core.errors import ActionDecodeError


def observation(time_s: float) -> Observation:
    return Observation(time_s, {}, 5.0, 0.0, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)))


class Planned:
    """Plans straight on; answers ``bad`` in the given calls."""

    def __init__(self, bad: object = None, calls: tuple[int, ...] = ()) -> None:
        self.bad, self.bad_calls, self.times, self.resets = bad, calls, [], 0

    def plan(self, seen: Observation) -> Plan:
        self.times.append(seen.time_s)
        if len(self.times) - 1 in self.bad_calls:
            if isinstance(self.bad, Exception):
                raise self.bad
            return Plan(self.bad, seen.time_s, seen.time_s)
        poses = np.stack([2.5 * np.arange(1, 11), np.zeros(10), np.zeros(10)], axis=1)
        return Plan(poses, seen.time_s, seen.time_s)

    def reset(self) -> None:
        self.resets += 1


def run(driver: Driver, ticks: int) -> list:
    out, time = [], np.float32(0.0)
    for _ in range(ticks):
        time = np.float32(time + np.float32(0.05))
        out.append(driver.step(lambda t=float(time): observation(t), float(time), 5.0, 0.0))
    return out


def test_plans_are_made_every_half_second_of_simulated_time():
    planner = Planned()
    run(Driver(planner), 100)
    assert np.diff(planner.times) == pytest.approx(0.5, abs=1e-3)
    assert len(planner.times) == 10


def test_a_schedule_skips_what_it_slept_through():
    schedule = ReplanSchedule(0.5)
    assert [schedule.due(t) for t in (0.05, 0.5, 0.55, 3.0, 3.05, 3.5, 3.55)] == [
        True,
        False,
        True,
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "bad",
    [
        ActionDecodeError("answer holds 3 action tokens"),
        RuntimeError("out of memory"),
        np.zeros((9, 3)),
        np.full((10, 3), np.nan),
        np.cumsum(np.full((10, 3), 100.0), axis=0),
    ],
    ids=["decode error", "any error", "wrong shape", "not finite", "impossibly fast"],
)
def test_a_bad_plan_brakes_is_counted_and_logged_and_the_next_one_drives_on(bad, caplog):
    driver = Driver(Planned(bad, calls=(1,)))
    controls = run(driver, 25)
    assert controls[5].brake == 0.0
    assert controls[12] == FULL_BRAKE
    assert controls[22].throttle > 0.0
    assert (driver.plans, driver.failures) == (2, 1)
    assert "no plan at 0.55 s" in caplog.text


def test_an_observation_that_fails_brakes_too():
    def blind() -> Observation:
        raise ActionDecodeError("no image")

    driver = Driver(Planned())
    assert driver.step(blind, 0.05, 5.0, 0.0) == FULL_BRAKE
    assert driver.failures == 1


def test_subscribers_get_observation_plan_and_control_at_every_tick():
    seen = []
    driver = Driver(Planned(), subscribers=[lambda *values: seen.append(values)])
    controls = run(driver, 12)
    assert [control for _, _, control in seen] == controls
    assert seen[0][0].time_s == pytest.approx(0.05) and seen[0][1] is driver.plan or len(seen) == 12
    assert seen[11][0].time_s == pytest.approx(0.55)


def test_reset_starts_an_episode_afresh():
    planner = Planned(RuntimeError("x"), calls=(0,))
    driver = Driver(planner)
    run(driver, 3)
    driver.reset()
    assert (driver.failures, driver.plan, planner.resets) == (0, None, 2)
    assert run(driver, 1)[0].throttle > 0.0


WALL = np.column_stack([np.full(5, 5.0), np.zeros(5), np.linspace(0.4, 1.4, 5), np.zeros(5)])  # 2.5 m before the bumper


def test_the_shield_has_the_last_word_and_its_counts_stand_beside_the_planners():
    seen: list[Control] = []
    shield = Shield(ShieldConfig(enabled=True), 5.0, 2.0)
    driver = Driver(Planned(), shield=shield, subscribers=[lambda o, p, control: seen.append(control)])
    for tick in range(20):
        returns = WALL if tick >= 10 else np.zeros((0, 4))
        driver.step(lambda t=0.05 * tick: observation(t), 0.05 * tick, 5.0, 0.0, returns)
    assert [control.brake for control in seen[9:12]] == [0.0, 1.0, 1.0]
    told = driver.summary()
    assert (told["shield_brakings"], told["shield_ticks_obstacle"], told["shield_plans_checked"]) == (1.0, 10.0, 2.0)
    driver.reset()
    assert driver.summary()["shield_brakings"] == 0.0


def test_a_shield_that_finds_nothing_leaves_the_drive_as_it_is_and_without_one_nobody_speaks_of_it():
    bare, kept = Driver(Planned()), Driver(Planned(), shield=Shield(ShieldConfig(enabled=True), 5.0, 2.0))
    nothing = np.zeros((0, 4))
    for tick in range(30):
        controls = [d.step(lambda t=0.05 * tick: observation(t), 0.05 * tick, 5.0, 0.1, nothing) for d in (bare, kept)]
        assert controls[0] == controls[1]
    assert not [name for name in bare.summary() if name.startswith("shield")]
