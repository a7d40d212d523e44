"""Every plan of a drive as a line of JSON, readable up to the last whole line after a crash.

    <route>/plans.jsonl   one line a plan: what it was made from, what it says, how long it took, what was done then

Positions and units as in ``schema.py``; a plan that failed has ``failure`` in place of poses.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from autovla_core.contracts import Command, Control, Observation, Plan
from autovla_core.errors import LogError

PLAN_LINES = "plans.jsonl"


@dataclass(frozen=True)
class LoggedPlan:
    """One line; a field that a foreign writer left out has its default."""

    observed_at_s: float
    tick: int = -1  # of the log, at which it was asked for
    ready_at_s: float = math.nan  # from then on it counts
    mode: str = ""  # fast or slow; "" for a failure
    failure: str = ""
    thought: str = ""
    thinking_tokens: int = 0
    forced: str = ""
    tokens: tuple[int, ...] = ()  # (10,)
    log_probs: tuple[float, ...] = ()  # (10,)
    poses: tuple[tuple[float, ...], ...] = ()  # (10, 3) ego frame at observed_at_s
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    speed: float = math.nan  # m/s, as observed
    acceleration: float = math.nan  # m/s2, as observed
    command: int = int(Command.VOID)
    pose: tuple[float, ...] = ()  # (3,) the agent's own estimate
    instruction: str | None = None
    control: Mapping[str, float] = field(default_factory=dict)  # applied at that tick

    @property
    def latency_ms(self) -> float:
        """Wall time of the plan; NaN when no timing says it. ``total`` or the server's, else the sum of the parts."""
        times = self.timings_ms
        whole = [times[name] for name in ("total", "server") if name in times]
        return whole[0] if whole else sum(times.values()) if times else math.nan


@dataclass(frozen=True)
class PlanFile:
    """The plans of one drive."""

    plans: tuple[LoggedPlan, ...]
    torn: int = 0  # last lines that a crash cut off: 0 or 1


def logged(tick: int, observation: Observation | None, plan: Plan, control: Control) -> LoggedPlan:
    """The line of a plan."""
    return LoggedPlan(
        observed_at_s=float(plan.observed_at_s),
        tick=tick,
        ready_at_s=float(plan.ready_at_s),
        mode=plan.mode.value,
        thought=plan.thought,
        thinking_tokens=int(plan.thinking_tokens),
        forced=plan.forced,
        tokens=() if plan.tokens is None else tuple(int(t) for t in plan.tokens),
        log_probs=() if plan.log_probs is None else tuple(float(p) for p in plan.log_probs),
        poses=tuple(tuple(float(v) for v in row) for row in plan.poses),
        timings_ms={name: round(float(value), 3) for name, value in plan.timings_ms.items()},
        **_seen(observation),
        control=_control(control),
    )


def logged_failure(
    tick: int, asked_at_s: float, ready_at_s: float, failure: str, observation: Observation | None, control: Control
) -> LoggedPlan:
    """The line of a plan that failed."""
    return LoggedPlan(asked_at_s, tick, ready_at_s, failure=failure, **_seen(observation), control=_control(control))


class PlanWriter:
    """Appends lines; each is with the operating system before the call returns."""

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self._out: TextIO = self.file.open("a", encoding="utf-8")

    def write(self, plan: LoggedPlan) -> None:
        """Append one line; defaults are left out."""
        row = {
            f.name: _finite(getattr(plan, f.name))
            for f in dataclasses.fields(plan)
            if f.default is dataclasses.MISSING or getattr(plan, f.name) != f.default
        }
        self._out.write(json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
        self._out.flush()

    def close(self) -> None:
        """No more lines."""
        self._out.close()


def read_plans(file: str | Path) -> PlanFile:
    """Every plan of a file.

    Raises:
        LogError: no such file, or a line that is no plan; a last line cut off by a crash is counted instead.
    """
    try:
        lines = Path(file).read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise LogError(f"cannot read {file}: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_plan(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines) and not line.endswith(b"\n"):
                return PlanFile(tuple(found), 1)
            raise LogError(f"{file}:{number} is not a plan: {type(error).__name__} {error}") from None
    return PlanFile(tuple(found))


def _plan(row: Mapping[str, object]) -> LoggedPlan:
    if "mode" not in row and not row.get("failure"):
        raise KeyError("neither 'mode' nor 'failure'")
    known = {f.name for f in dataclasses.fields(LoggedPlan)}
    values = {name: value for name, value in row.items() if name in known and value is not None}
    for name in ("tokens", "log_probs", "pose"):
        values[name] = tuple(math.nan if v is None else v for v in values.get(name, ()))
    values["poses"] = tuple(tuple(float(v) for v in pose) for pose in values.get("poses", ()))
    values["timings_ms"] = {str(k): float(v) for k, v in values.get("timings_ms", {}).items()}
    values["observed_at_s"] = float(row["observed_at_s"])
    return LoggedPlan(**values)


def _seen(observation: Observation | None) -> dict[str, object]:
    if observation is None:
        return {}
    return {
        "speed": float(observation.speed),
        "acceleration": float(observation.acceleration),
        "command": int(observation.command),
        "pose": tuple(float(v) for v in np.asarray(observation.pose)),
        "instruction": observation.instruction,
    }


def _control(control: Control) -> dict[str, float]:
    floats = {name: float(getattr(control, name)) for name in ("steer", "throttle", "brake")}
    return {**floats, "reverse": float(control.reverse)}


def _finite(value: object) -> object:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_finite(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return value
