"""What a log saw is given to another planner, plan by plan."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Observation, Plan
from autovla_core.errors import ActionDecodeError, LogError
from autovla_core.evaluation.replanning import moment_of, replan
from autovla_core.logs.plans import LoggedPlan
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.writer import RouteWriter

POSES = np.stack([2.0 * np.arange(1, 11), np.zeros(10), np.zeros(10)], axis=1)
TOKENS = tuple(range(10))


class Planner:
    """Plans 3 m beside the log, fails at its second plan, and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def reset(self) -> None:
        self.seen.clear()

    def plan(self, seen: Observation) -> Plan:
        self.seen.append(seen)
        if len(self.seen) == 2:
            raise ActionDecodeError("nine tokens")
        return Plan(POSES + (0.0, 3.0, 0.0), seen.time_s, seen.time_s, tokens=np.array(TOKENS))


@pytest.fixture
def log(tmp_path) -> RouteLog:
    rig = {"front": {"id": "front", "width": 8, "height": 8}}
    writer = RouteWriter(Path(tmp_path / "log"), RouteMeta("Havenbrook", "7", 3, rig=rig))
    for i in range(60):
        number = writer.tick(Tick(0.05 * i, 0.5 * i, 0.0, 0.0, 0.0, 0.1 * i, 0.0, 0.0))
        if i % 5 == 0:
            writer.image("front", number, np.full((8, 8, 3), i, np.uint8))
    return RouteLog(writer.close({}))


def logged(tick: int, tokens: tuple[int, ...] = TOKENS) -> LoggedPlan:
    return LoggedPlan(
        0.05 * tick, tick, mode="fast", tokens=tokens, poses=tuple(map(tuple, POSES)), speed=7.0, acceleration=0.5
    )


def test_plans_of_then_and_now_are_compared_and_one_that_fails_ends_nothing(log):
    planner = Planner()
    same, failed, other = replan(log, [logged(40), logged(45), logged(50, TOKENS[::-1])], planner, ["front"])
    assert same.same_tokens and same.shift_m == pytest.approx(3.0)
    assert failed.now is None and failed.failure == "ActionDecodeError: nine tokens" and math.isnan(failed.shift_m)
    assert not failed.same_tokens and not other.same_tokens and other.shift_m == pytest.approx(3.0)
    assert [seen.time_s for seen in planner.seen] == pytest.approx([2.0, 2.25, 2.5]) and planner.seen[0].speed == 7.0
    images = planner.seen[0].clips["front"].images
    assert [float(image.mean()) for image in images] == pytest.approx([10, 20, 30, 40], abs=2)


def test_any_tick_can_be_planned_and_one_beyond_the_log_is_refused(log):
    assert moment_of(log, [logged(40)], 40) == logged(40)
    assert moment_of(log, [logged(40)], 30).speed == pytest.approx(3.0)
    with pytest.raises(LogError, match="has no tick 60; it holds 0 to 59"):
        moment_of(log, [], 60)
