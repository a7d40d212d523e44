"""From signs and a clock to a verdict; nothing here starts a process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autovla_core.evaluation.bench2drive.watch import (
    FAULTS,
    TICK_MARK,
    Limits,
    LogSigns,
    Signs,
    judge,
    progressed,
    read_on,
)

LIMITS = Limits(first_tick_s=100.0, silence_s=30.0, route_s=1000.0, ending_s=20.0, server_gone_s=5.0)
DRIVING = Signs(now_s=150.0, started_s=100.0, ticks=7, last_tick_s=149.0, server_seen=True)


def state(**changes: object) -> str:
    return judge(replace(DRIVING, **changes), LIMITS).state


def test_a_driving_evaluator_is_left_alone():
    assert state() == "working"


def test_patience_ends_just_after_each_limit_and_not_before():
    assert state(last_tick_s=120.0) == "working"
    assert state(last_tick_s=119.9) == "hang"
    assert state(now_s=200.0, ticks=0, last_tick_s=None) == "working"
    assert state(now_s=200.1, ticks=0, last_tick_s=None) == "no start"
    assert state(now_s=1100.0, last_tick_s=1099.0) == "working"
    assert state(now_s=1100.1, last_tick_s=1099.0) == "too long"
    assert state(server_gone_s=145.0) == "working"
    assert state(server_gone_s=144.9) == "server died"


def test_an_end_without_a_result_is_a_fault_and_with_one_is_none():
    assert judge(replace(DRIVING, exit_code=-9), LIMITS).reason == "signal 9 after 7 ticks"
    assert state(exit_code=0) == "evaluator died"
    assert state(exit_code=255, result_complete_s=150.0) == "finished"


def test_a_complete_result_outweighs_a_dead_server_a_complaint_and_silence():
    over = {"result_complete_s": 149.0, "server_gone_s": 100.0, "last_tick_s": 101.0, "complaint": "server died"}
    assert state(**over) == "working"  # the evaluator may still end by itself
    assert state(**over, exit_code=0) == "finished"
    assert state(**{**over, "result_complete_s": 129.9}) == "finished"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"traffic_manager init fail, try_time=3\n", "traffic manager dead"),
        (b"trying to create rpc server for traffic manager; but the system failed: bind error", "traffic manager dead"),
        (b"UnboundLocalError: cannot access local variable 'traffic_manager'", "traffic manager dead"),
        (b"Signal 11 caught.\nMalloc Size=65538", "server died"),
        (b"load_world failed , attempts=3", "server died"),
        (b"traffic_manager init fail, try_time=0\ntraffic_manager init success", ""),
        (b"load_world failed , attempts=0", ""),
    ],
)
def test_what_a_log_complains_of(text: bytes, fault: str):
    assert read_on(LogSigns(), text).complaint == fault
    assert fault == "" or fault in FAULTS


@pytest.mark.parametrize("size", [1, 3, 17, 5000])
def test_ticks_are_counted_once_wherever_the_log_is_cut(size: int):
    line = TICK_MARK + b" -- Wallclock = 2026-01-01 -- Ratio = 2.000x\n"
    log = b"start\n" + line * 300 + b"WARNING: Ignoring scenario 'x' as it is too far from the route\n"
    signs = LogSigns()
    for i in range(0, len(log), size):
        signs = read_on(signs, log[i : i + size])
    assert signs.ticks == 300
    assert signs.remarks == {"drove without its scenario"}


def test_only_new_ticks_are_a_sign_of_life():
    once = progressed(Signs(0.0, 0.0), 5.0, LogSigns(ticks=3))
    assert (once.ticks, once.last_tick_s) == (3, 5.0)
    again = progressed(once, 9.0, LogSigns(ticks=3))
    assert (again.now_s, again.last_tick_s) == (9.0, 5.0)
