"""Which drives had the shield: a run with it is named so, and knows which agent is the same without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from autovla_core.errors import RouteError
from autovla_core.files import sha256

SHIELD = "shield"
COUNT = "shield_"  # begins the names of its counts in ``Driver.summary``
TWINS = "same_without_shield"  # of a results file: sha256 of agent YAMLs


def shield_facts(agent_config: Path) -> dict[str, object]:
    """For the stamp of a results file; empty for an agent without a shield, so that such files stay as they are."""
    values = _values(agent_config)
    if not _is_on(values):
        return {}
    bare = {key: value for key, value in values.items() if key != SHIELD}
    beside = sorted({*agent_config.parent.glob("*.yaml"), *agent_config.parent.glob("*.yml")})
    twins = [sha256(file) for file in beside if _without(_values(file)) == bare]
    return {SHIELD: values[SHIELD], TWINS: twins}


def counts_of(planner: Mapping[str, float]) -> dict[str, float]:
    """The shield's counts of one drive by their short names; empty without it."""
    return {name.removeprefix(COUNT): value for name, value in planner.items() if name.startswith(COUNT)}


def expect_unmixed(records: Sequence[Mapping]) -> None:
    """Drives with and without the shield make no mean together.

    Args:
        records: of results files; those that say nothing of a planner may be of either.

    Raises:
        RouteError: some had the shield and some had not.
    """
    told = [bool(counts_of(record["planner"])) for record in records if record.get("planner")]
    if any(told) and not all(told):
        raise RouteError(f"found {sum(told)} drives with the shield among {len(told)}, expected all or none")


def said(counts: Mapping[str, float], drives: int) -> str:
    """In words, summed over drives."""
    count = {name: f"{round(value)}" for name, value in counts.items()}
    return (
        f"braked {count['brakings']} times in {drives} drives ({count['ticks_obstacle']} ticks), slowed "
        f"{count['ticks_route']} ticks for the route and {count['ticks_tyres']} for the tyres; of "
        f"{count['plans_checked']} plans checked {count['plans_route']} left the route and {count['plans_tyres']} "
        "asked too much of the tyres"
    )


def _values(file: Path) -> dict[str, object]:
    """Of a YAML file; nothing for what an agent may be given besides, or what is no YAML: the agent's own business."""
    if file.suffix not in (".yaml", ".yml") or not file.is_file():
        return {}
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return values if isinstance(values, dict) else {}


def _is_on(values: Mapping[str, object]) -> bool:
    shield = values.get(SHIELD)
    return isinstance(shield, dict) and shield.get("enabled") is True


def _without(values: Mapping[str, object]) -> dict[str, object] | None:
    """The values of an agent whose shield is off, without the key; None for one whose shield is on."""
    return None if _is_on(values) else {key: value for key, value in values.items() if key != SHIELD}
