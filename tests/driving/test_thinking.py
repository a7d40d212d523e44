from __future__ import annotations

import numpy as np

from autovla_core.contracts import Command, Mode, Observation, Plan
from autovla_core.driving.driver import Driver
from autovla_core.driving.thinking import ThinkingTally


def plan(mode: Mode, thinking_tokens: int = 0, forced: str = "") -> Plan:
    return Plan(np.zeros((10, 3)), 0.0, 0.0, mode=mode, thinking_tokens=thinking_tokens, forced=forced)


def test_the_tally_by_hand() -> None:
    tally = ThinkingTally()
    assert set(tally.summary().values()) == {0.0}
    for each in (
        plan(Mode.FAST),
        plan(Mode.SLOW, thinking_tokens=10),
        plan(Mode.SLOW, thinking_tokens=30, forced="limit"),
        plan(Mode.FAST),
        plan(Mode.FAST),
    ):
        tally.add(each)
    assert tally.summary() == {
        "fast_plans": 3.0,
        "slow_plans": 2.0,
        "slow_share": 0.4,
        "forced_share": 0.5,
        "thinking_tokens_mean": 20.0,
        "thinking_tokens_most": 30.0,
    }


class AlwaysSlow:
    def plan(self, observation: Observation) -> Plan:
        return plan(Mode.SLOW, thinking_tokens=7)

    def reset(self) -> None:
        pass


def test_the_driver_counts_the_plans_of_an_episode_and_forgets_them_at_the_next() -> None:
    driver = Driver(AlwaysSlow())
    seen = Observation(0.0, {}, 0.0, 0.0, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)))
    for tick in range(21):
        driver.step(seen, 0.05 * tick, 0.0, 0.0)
    assert driver.thinking.summary()["slow_plans"] == driver.plans == 3
    driver.reset()
    assert driver.thinking.summary()["slow_plans"] == 0.0
