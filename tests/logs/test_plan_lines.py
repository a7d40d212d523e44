"""A plan's line holds all of it, and a file that a crash cut off can be read up to there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autovla_core.contracts import Command, Control, Mode, Observation, Plan
from autovla_core.errors import LogError
from autovla_core.logs.plans import LoggedPlan, PlanWriter, logged, logged_failure, read_plans

SEEN = Observation(2.05, {}, 5.25, -0.5, np.array([10.0, -3.0, 0.1]), Command.LEFT, np.zeros((0, 2)), "turn left")
PLAN = Plan(
    np.arange(30).reshape(10, 3) / 7.0,
    2.05,
    2.55,
    tokens=np.arange(10),
    thought='a "red" light — wait',
    mode=Mode.SLOW,
    log_probs=np.array([-0.1] * 9 + [-math.inf]),
    timings_ms={"prepare": 1.0, "vision": 2.0, "model": 4.5},
    thinking_tokens=7,
    forced="limit",
)


@pytest.fixture
def file(tmp_path):
    writer = PlanWriter(tmp_path / "plans.jsonl")
    writer.write(logged(40, SEEN, PLAN, Control(0.25, 0.5, 0.0)))
    writer.write(logged_failure(50, 2.55, 3.05, "ActionDecodeError: nine tokens", None, Control(brake=1.0)))
    writer.close()
    return tmp_path / "plans.jsonl"


def test_a_plan_comes_back_as_it_was_written(file):
    plan, failure = read_plans(file).plans
    assert plan.poses == tuple(tuple(row) for row in PLAN.poses) and plan.tokens == tuple(range(10))
    assert (plan.tick, plan.observed_at_s, plan.ready_at_s) == (40, 2.05, 2.55)
    assert (plan.mode, plan.thought, plan.thinking_tokens, plan.forced) == ("slow", PLAN.thought, 7, "limit")
    assert (plan.speed, plan.acceleration, plan.command, plan.instruction) == (5.25, -0.5, 1, "turn left")
    assert plan.pose == (10.0, -3.0, 0.1)
    assert plan.control == {"steer": 0.25, "throttle": 0.5, "brake": 0.0, "reverse": 0.0}
    assert plan.latency_ms == 7.5 and plan.log_probs[0] == -0.1 and math.isnan(plan.log_probs[9])
    assert (failure.failure, failure.mode, failure.poses) == ("ActionDecodeError: nine tokens", "", ())


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_last_line_that_was_cut_off_is_skipped_and_counted(file, cut):
    file.write_bytes(file.read_bytes()[: -1 - cut])
    found = read_plans(file)
    assert (len(found.plans), found.torn) == (1, 1)


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    writer = PlanWriter(tmp_path / "plans.jsonl")
    writer.write(logged(40, SEEN, PLAN, Control()))
    assert len(read_plans(tmp_path / "plans.jsonl").plans) == 1
    writer.close()


@pytest.mark.parametrize("line", ["{}", "[1]", '{"mode": "fast"}', '{"observed_at_s": "soon", "mode": "fast"}', "x"])
def test_any_other_bad_line_is_an_error_with_its_number(file, line):
    file.write_text(f"{line}\n" + file.read_text())
    with pytest.raises(LogError, match=r"plans.jsonl:1 is not a plan"):
        read_plans(file)


def test_what_a_foreign_writer_leaves_out_has_its_default(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"observed_at_s": 1, "mode": "fast", "theirs": 3, "timings_ms": {"total": 9}}\n')
    (plan,) = read_plans(tmp_path / "p.jsonl").plans
    assert plan == LoggedPlan(
        1.0,
        mode="fast",
        timings_ms={"total": 9.0},
        ready_at_s=plan.ready_at_s,
        speed=plan.speed,
        acceleration=plan.acceleration,
    )
    assert plan.latency_ms == 9.0 and math.isnan(LoggedPlan(1.0).latency_ms)


def test_no_file_is_one_sentence(tmp_path):
    with pytest.raises(LogError, match="cannot read .*none.jsonl"):
        read_plans(tmp_path / "none.jsonl")
