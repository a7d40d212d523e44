"""A block that takes too long is interrupted, and nobody else's alarm is lost over it."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from autovla_core.evaluation.watchdog import AgentSilent, limit


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def stubborn() -> str:
    """Swallows every failure, as a driver does that must keep a car safe."""
    try:
        spin(20.0)
    except Exception:
        return "swallowed"
    return "done"


def test_a_block_that_never_ends_is_interrupted_even_if_it_swallows_every_exception():
    began = time.monotonic()
    with pytest.raises(AgentSilent, match="no answer within 0.2 s"), limit(0.2):
        stubborn()
    assert time.monotonic() - began < 10.0


def test_a_block_that_ends_in_time_is_left_alone_and_so_is_what_follows():
    with limit(0.3):
        spin(0.01)
    spin(0.5)


def test_no_limit_is_none():
    with limit(0.0):
        spin(0.05)


def test_an_alarm_that_was_set_before_rings_after():
    rung: list[int] = []
    handler, theirs = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    try:
        signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with limit(5.0):
            spin(0.05)
        assert rung == []
        spin(0.6)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, theirs)


def test_another_thread_has_no_limit():
    seen: list[str] = []

    def work() -> None:
        with limit(0.05):
            spin(0.2)
        seen.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["done"]
