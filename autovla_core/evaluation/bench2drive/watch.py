"""Tells from a few signs of life whether an evaluator still works, has ended, or has to be ended.

Everything here is a function of values: time and signs come in from outside, nothing is probed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

TICK_MARK = b"=== [Agent]"  # the evaluator's base class prints one such line a tick


@dataclass(frozen=True)
class Limits:
    """Seconds of the wall clock after which patience ends."""

    first_tick_s: float = 900.0  # server start, large map, model: minutes on a cold machine
    silence_s: float = 300.0  # between two ticks; the evaluator's own watchdog needs 600
    route_s: float = 7200.0  # one attempt in all
    ending_s: float = 90.0  # from the complete result to the end of the process
    server_gone_s: float = 10.0  # from the server's disappearance to our verdict: it may be just the end


@dataclass(frozen=True)
class Signs:
    """What is seen of one attempt at one moment; times are of one clock."""

    now_s: float
    started_s: float
    exit_code: int | None = None  # of the evaluator; None while it runs
    ticks: int = 0
    last_tick_s: float | None = None
    result_complete_s: float | None = None  # since when the result file holds a finished route
    server_seen: bool = False  # a server process of this attempt has existed
    server_gone_s: float | None = None  # since when there is none any more
    complaint: str = ""  # of ``COMPLAINTS``, if its text stands in the log


@dataclass(frozen=True)
class Verdict:
    """``working``, ``finished``, or the name of a fault in ``FAULTS``, and why."""

    state: str
    reason: str = ""

    @property
    def is_fault(self) -> bool:
        return self.state in FAULTS


FAULTS: Mapping[str, str] = {
    "server died": "the simulator's process vanished while the evaluator ran",
    "evaluator died": "the evaluator ended without a complete result",
    "traffic manager dead": "the Traffic Manager could not be made, or was lost",
    "no start": "no tick within the time for the start",
    "hang": "ticks stopped",
    "too long": "the attempt took longer than allowed",
    "bad result": "the evaluator ended, but its result cannot be counted",
}
COMPLAINTS: Mapping[str, re.Pattern[bytes]] = {
    "traffic manager dead": re.compile(
        rb"traffic_manager init fail, try_time=[3-9]"
        rb"|rpc server for traffic manager.{0,80}bind error"
        rb"|unable to connect to traffic manager"
        rb"|UnboundLocalError.{0,80}traffic_manager",
        re.I | re.S,
    ),
    "server died": re.compile(
        rb"Signal 11 caught|Segmentation fault.{0,40}CarlaUE4|load_world failed , attempts=[3-9]"
    ),
}
REMARKS: Mapping[str, re.Pattern[bytes]] = {
    "drove without its scenario": re.compile(rb"Skipping scenario '|Ignoring scenario '"),
}


def judge(signs: Signs, limits: Limits) -> Verdict:
    """Whether to wait, to take the result, or to end the attempt; the first rule that applies decides."""
    since_start = signs.now_s - signs.started_s
    if signs.result_complete_s is not None:
        waited = signs.now_s - signs.result_complete_s
        if signs.exit_code is not None or waited > limits.ending_s:
            return Verdict("finished", "" if signs.exit_code is not None else f"it did not end within {waited:.0f} s")
        return Verdict("working")
    if signs.exit_code is not None:
        return Verdict(signs.complaint or "evaluator died", f"{_how(signs.exit_code)} after {signs.ticks} ticks")
    if signs.complaint:
        return Verdict(signs.complaint, "its log says so")
    if signs.server_gone_s is not None and signs.now_s - signs.server_gone_s > limits.server_gone_s:
        return Verdict("server died", f"after {signs.ticks} ticks")
    if since_start > limits.route_s:
        return Verdict("too long", f"{since_start:.0f} s, {signs.ticks} ticks; allowed are {limits.route_s:.0f} s")
    if signs.last_tick_s is None:
        late = since_start > limits.first_tick_s
        return Verdict("no start", f"no tick within {since_start:.0f} s") if late else Verdict("working")
    silence = signs.now_s - signs.last_tick_s
    if silence > limits.silence_s:
        return Verdict("hang", f"no tick for {silence:.0f} s after {signs.ticks} ticks")
    return Verdict("working")


@dataclass(frozen=True)
class LogSigns:
    """What a growing log has shown so far."""

    ticks: int = 0
    complaint: str = ""
    remarks: frozenset[str] = frozenset()
    tail: bytes = b""  # the end of what was read: a text may be cut by the next piece


TAIL_BYTES = 4096


def read_on(signs: LogSigns, piece: bytes) -> LogSigns:
    """Take the next piece of a log into account, wherever it was cut."""
    if not piece:
        return signs
    text = signs.tail + piece
    fresh = text.count(TICK_MARK) - signs.tail.count(TICK_MARK)
    complaint = signs.complaint or next((name for name, pattern in COMPLAINTS.items() if pattern.search(text)), "")
    remarks = signs.remarks | {name for name, pattern in REMARKS.items() if pattern.search(text)}
    return LogSigns(signs.ticks + fresh, complaint, remarks, text[-TAIL_BYTES:])


def progressed(signs: Signs, now_s: float, log: LogSigns) -> Signs:
    """Signs after a look at the log."""
    last = now_s if log.ticks > signs.ticks else signs.last_tick_s
    return replace(signs, now_s=now_s, ticks=log.ticks, last_tick_s=last, complaint=log.complaint)


def _how(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
