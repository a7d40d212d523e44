"""What became of the scenarios of a run: built, triggered, ended, by what the launcher saw on the blackboard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autovla_core.errors import RouteError
from autovla_core.evaluation.bench2drive.jobs import read_record
from autovla_core.evaluation.route_file import Route

SPEED_CHECKS = "min_speed_infractions"  # every checkpoint is one, also those passed fast enough
LEFT_OUT = "drove without its scenario"


@dataclass(frozen=True)
class Fate:
    """One route of a run. Ticks count from the agent's first; None: it did not happen."""

    type: str
    town: str
    status: str = "not driven"
    score: float | None = None
    built: bool = False
    triggered: int | None = None
    ended: int | None = None
    game_s: float | None = None
    wall_s: float | None = None
    infractions: Mapping[str, int] = field(default_factory=dict)


def fates(run: Path, routes: Sequence[Route]) -> list[Fate]:
    """The fate of every route in a run's folder, in the order of the route file."""
    return [_fate(run, route) for route in routes]


def read_states(file: Path) -> dict[str, int]:
    """First tick of each state that the launcher wrote.

    Raises:
        RouteError: not a file of the launcher.
    """
    states: dict[str, int] = {}
    for line in file.read_text(encoding="utf-8").split("\n")[:-1]:  # what follows the last newline is torn
        try:
            event = json.loads(line)
            states.setdefault(str(event["state"]), int(event["tick"]))
        except (ValueError, KeyError, TypeError):
            raise RouteError(f"{file} is not written by the launcher: found {line[:60]!r}") from None
    return states


def as_markdown(found: Sequence[Fate]) -> str:
    """A table with a row a route, and the totals below."""
    head = "| type | town | triggered | ended | status | score | infractions | simulated s | wall s |"
    rows = [head, "|---|---|---|---|---|---|---|---|---|", *map(_row, found)]
    counts = {
        "routes": len(found),
        "driven": sum(fate.score is not None for fate in found),
        "built": sum(fate.built for fate in found),
        "triggered": sum(fate.triggered is not None for fate in found),
        "ended": sum(fate.ended is not None for fate in found),
    }
    return "\n".join(rows) + "\n\n" + ", ".join(f"{count} {name}" for name, count in counts.items()) + "\n"


def _fate(run: Path, route: Route) -> Fate:
    states = _states_of_last_attempt(run, route.id)
    plain = Fate(route.scenarios[0].type, route.town, "no result" if states else "not driven")
    try:
        record = read_record(run / "results" / f"route_{route.id}.json", route.id)
    except RouteError:
        return replace(plain, built="built" in states, triggered=states.get("running"), ended=states.get("ended"))
    faults = {k: len(v) for k, v in record["infractions"].items() if v and k != SPEED_CHECKS}
    return Fate(
        plain.type,
        plain.town,
        str(record["status"]),
        float(record["scores"]["score_composed"]),
        "built" in states or "running" in states,
        states.get("running"),
        states.get("ended"),
        float(record["meta"]["duration_game"]),
        float(record["meta"]["duration_system"]),
        faults,
    )


def _states_of_last_attempt(run: Path, id: str) -> dict[str, int]:
    files = sorted((run / "logs").glob(f"route_{id}_attempt*.scenario.jsonl"), key=_attempt)
    return read_states(files[-1]) if files else {}


def _attempt(file: Path) -> int:
    return int(file.name.split("_attempt")[1].split(".")[0])


def _row(fate: Fate) -> str:
    if fate.score is None:
        seen = f"{_tick(fate.triggered)} | {_tick(fate.ended)}" if fate.built else "- | -"
        return f"| {fate.type} | {fate.town} | {seen} | {fate.status} | - | - | - | - |"
    faults = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in fate.infractions.items())
    cells = (
        fate.type,
        fate.town,
        _tick(fate.triggered) if fate.built else LEFT_OUT,
        _tick(fate.ended),
        fate.status.removeprefix("Failed - "),
        f"{fate.score:.0f}",
        faults or "-",
        f"{fate.game_s:.0f}",
        f"{fate.wall_s:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def _tick(tick: int | None) -> str:
    return "no" if tick is None else f"tick {tick}"
