"""A plan counts only after its latency has passed in simulated time; until then the old one is tracked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autovla_core import config as configs
from autovla_core.contracts import FULL_BRAKE, Command, Observation, Plan
from autovla_core.driving.driver import Driver
from autovla_core.driving.latency import Latency, LatencyConfig, LatencyTable
from autovla_core.errors import ActionDecodeError, ConfigError

TABLE = LatencyTable("a GPU", "made up", ((0.0, 1.0), (100.0, 6.0), (200.0, 9.0)))
SHIPPED = sorted((Path(__file__).resolve().parents[2] / "leaderboard_configs/latency").glob("*.yaml"))


class Planned:
    """Plans straight on and notes when it was asked; ``bad`` calls fail; each call takes ``wall_s`` of its clock."""

    def __init__(self, bad: tuple[int, ...] = (), wall_s: float = 0.0) -> None:
        self.asked: list[float] = []
        self.bad, self.wall_s, self.now = bad, wall_s, 0.0

    def plan(self, seen: Observation) -> Plan:
        self.asked.append(round(seen.time_s, 2))
        self.now += self.wall_s
        if len(self.asked) - 1 in self.bad:
            raise ActionDecodeError("no ten tokens")
        poses = np.stack([2.5 * np.arange(1, 11), np.zeros(10), np.zeros(10)], axis=1)
        return Plan(poses, seen.time_s, seen.time_s, thinking_tokens=len(self.asked))

    def reset(self) -> None:
        """Nothing."""


def drive(planner: Planned, config: LatencyConfig, ticks: int) -> tuple[Driver, list[tuple[float, Plan | None]]]:
    """The driver, and at every tick its time and the plan that counted."""
    driver = Driver(planner, latency=Latency(config), clock=lambda: planner.now)
    seen = []
    for tick in range(1, ticks + 1):
        time_s = 0.05 * tick
        observation = Observation(time_s, {}, 5.0, 0.0, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)))
        control = driver.step(observation, time_s, 5.0, 0.0)
        assert (control == FULL_BRAKE) == (driver.plan is None)
        seen.append((round(time_s, 2), driver.plan))
    return driver, seen


def changes(seen: list[tuple[float, Plan | None]]) -> list[tuple[float, float | None]]:
    """(tick time, when the plan that counts from then on was observed)."""
    out, last = [], ()
    for time_s, plan in seen:
        if plan is not last:
            out.append((time_s, None if plan is None else round(plan.observed_at_s, 2)))
        last = plan
    return out


def test_without_latency_a_plan_counts_in_the_tick_that_asked_for_it():
    driver, seen = drive(Planned(), LatencyConfig(), 21)
    assert changes(seen) == [(0.05, 0.05), (0.55, 0.55), (1.05, 1.05)]
    assert driver.plan.ready_at_s == driver.plan.observed_at_s


def test_a_fixed_latency_delays_every_plan_and_brakes_until_the_first():
    _, seen = drive(Planned(), LatencyConfig(fixed=0.25), 30)
    assert changes(seen) == [(0.05, None), (0.3, 0.05), (0.8, 0.55), (1.3, 1.05)]


def test_half_a_second_of_latency_keeps_two_plans_a_second():
    planner = Planned()
    _, seen = drive(planner, LatencyConfig(fixed=0.5), 32)
    assert planner.asked == [0.05, 0.55, 1.05, 1.55]
    assert changes(seen)[1:] == [(0.55, 0.05), (1.05, 0.55), (1.55, 1.05)]


def test_no_second_plan_is_begun_while_one_is_under_way_and_the_next_follows_at_once():
    planner = Planned()
    driver, seen = drive(planner, LatencyConfig(fixed=0.7), 40)
    assert planner.asked == [0.05, 0.75, 1.45]
    assert changes(seen)[1:] == [(0.75, 0.05), (1.45, 0.75)]
    assert (driver.plan.observed_at_s, driver.plan.ready_at_s) == pytest.approx((0.75, 1.45))


def test_a_failure_is_known_after_the_latency_too_and_the_old_plan_is_tracked_until_then():
    driver, seen = drive(Planned(bad=(1,)), LatencyConfig(fixed=0.25), 30)
    assert changes(seen) == [(0.05, None), (0.3, 0.05), (0.8, None), (1.3, 1.05)]
    assert (driver.plans, driver.failures) == (2, 1)


def test_a_measured_latency_is_the_planners_own_wall_time():
    driver, seen = drive(Planned(wall_s=0.3), LatencyConfig(measured=True), 20)
    assert changes(seen) == [(0.05, None), (0.35, 0.05), (0.85, 0.55)]
    assert driver.summary()["latency_s_mean"] == pytest.approx(0.3)


def test_a_table_gives_another_machines_time_by_the_length_of_the_thought():
    assert [TABLE.seconds(n) for n in (0, 50, 100, 150, 300)] == [1.0, 3.5, 6.0, 7.5, 12.0]
    assert LatencyTable("b", "made up", ((0.0, 2.0),)).seconds(500) == 2.0


def test_a_table_comes_from_a_file_relative_to_the_root(tmp_path):
    (tmp_path / "t.yaml").write_text("machine: a GPU\nsource: made up\nrows: [[0, 0.2], [10, 1.2]]\n")
    latency = Latency(LatencyConfig(table=Path("t.yaml")), tmp_path)
    assert latency.seconds(3.0, wall_s=9.0, thinking_tokens=5) == pytest.approx(0.7)


def test_jitter_is_bounded_and_the_same_for_the_same_seed_and_moment():
    config = LatencyConfig(fixed=0.2, jitter=0.3, seed=4)
    times = [Latency(config).seconds(0.5 * i, 0.0, 0) for i in range(200)]
    assert times == [Latency(config).seconds(0.5 * i, 9.9, 7) for i in range(200)]
    assert 0.2 <= min(times) < 0.22 and 0.48 < max(times) <= 0.5
    other = LatencyConfig(fixed=0.2, jitter=0.3, seed=5)
    assert times != [Latency(other).seconds(0.5 * i, 0.0, 0) for i in range(200)]


def test_jitter_on_one_route_says_nothing_of_another_that_starts_elsewhere():
    config = LatencyConfig(jitter=0.3, seed=4)
    here, there, again = (Latency(config, start=start) for start in ((1.0, 2.0), (1.0, 3.0), (1.0, 2.0)))
    drawn = [[latency.seconds(0.5 * i, 0.0, 0) for i in range(50)] for latency in (here, there, again)]
    assert drawn[0] == drawn[2] and abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.4


def test_a_drive_with_latency_is_tracked_from_where_the_plan_was_observed():
    """Straight on at the planned 5 m/s, plans half a second old ask for no correction."""
    driver, _ = drive(Planned(), LatencyConfig(fixed=0.5), 40)
    observation = Observation(2.05, {}, 5.0, 0.0, np.zeros(3), Command.FOLLOW, np.zeros((0, 2)))
    control = driver.step(observation, 2.05, 5.0, 0.0)
    assert abs(control.steer) < 1e-6 and control.brake == 0.0


def test_the_newest_attempt_is_shown_while_it_is_under_way():
    driver, _ = drive(Planned(), LatencyConfig(fixed=1.0), 3)
    assert driver.attempt.number == 0 and driver.attempt.plan is not None and driver.plan is None
    assert (driver.attempt.asked_at_s, driver.attempt.ready_at_s) == pytest.approx((0.05, 1.05))
    driver.reset()
    assert driver.attempt is None


@pytest.mark.parametrize(
    "values, message",
    [
        ({"fixed": 1.0, "measured": True}, "found fixed and measured"),
        ({"fixed": -0.1}, r"latency.fixed: found -0.1"),
        ({"jitter": float("nan")}, r"latency.jitter: found nan"),
        ({"fixed": 0.0, "measured": True}, "found fixed and measured"),
        ({"seed": -1}, "latency.seed: found -1, expected 0 or more"),
    ],
)
def test_a_latency_that_is_none_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        LatencyConfig(**values)


@pytest.mark.parametrize("rows", [(), ((0.0, 1.0), (0.0, 2.0)), ((0.0, -1.0),)])
def test_a_table_without_ascending_rows_is_refused(rows):
    with pytest.raises(ConfigError, match="expected ascending tokens"):
        LatencyTable("a GPU", "made up", rows)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_tables_can_be_read_and_say_where_they_come_from(file):
    table = configs.load(LatencyTable, file)
    assert table.seconds(0) > 0.0 and len(table.source) > 20
