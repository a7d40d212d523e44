"""The arithmetic of the benchmark: rates, growth, memory."""

from __future__ import annotations

import os

import pytest

from autovla_core.evaluation import simulator_speed
from autovla_core.evaluation.simulator_speed import growth, rate, resident_mib


def test_growth_that_is_linear_has_one_slope() -> None:
    figures = growth({1: 120.0, 10: 210.0, 50: 610.0, 100: 1110.0})
    assert figures == {
        "us a tick for one more vehicle, 1 to 50": pytest.approx(10.0),
        "us a tick for one more vehicle, 50 to 100": pytest.approx(10.0),
    }


def test_growth_with_the_square_shows_in_the_second_slope() -> None:
    first, second = growth({n: float(n * n) for n in (1, 10, 50, 100)}).values()
    assert (first, second) == (pytest.approx(51.0), pytest.approx(150.0))


def test_a_rate_counts_the_calls_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, now = [], iter((10.0, 14.0))
    monkeypatch.setattr(simulator_speed.time, "perf_counter", lambda: next(now))
    assert rate(lambda: calls.append(1), 20) == 5.0
    assert len(calls) == 22


def test_the_memory_of_this_process_is_told_and_that_of_none_is_not() -> None:
    assert 5.0 < resident_mib(os.getpid()) < 100_000.0
    assert resident_mib(0) != resident_mib(0)
