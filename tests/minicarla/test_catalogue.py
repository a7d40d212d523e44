"""The tables of docs/minicarla.md say what the method table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from autovla_core.minicarla import catalogue
from autovla_core.minicarla.handlers import batch
from autovla_core.minicarla.methods import ABSENT, ABSENT_VOID, METHODS

DOCS = Path(__file__).parents[2] / "docs" / "minicarla.md"


@pytest.mark.parametrize(
    ("entries", "heading"), [(catalogue.calls(), "call"), (catalogue.sensors(), "sensor")], ids=["calls", "sensors"]
)
def test_the_documentation_holds_the_table_as_it_is(entries: dict, heading: str) -> None:
    """If not: python -m autovla_core.minicarla.catalogue prints the tables anew."""
    assert catalogue.table(entries, heading) in DOCS.read_text(encoding="utf-8")


def test_every_call_has_one_state() -> None:
    states = catalogue.calls()
    assert {name for name, (state, _) in states.items() if state == catalogue.REFUSED} == ABSENT | ABSENT_VOID
    assert len(states) == len([n for n in METHODS if not n.startswith(catalogue.PRIVATE)]) + len(ABSENT | ABSENT_VOID)
    assert set(catalogue.MISSING) <= set(METHODS), "a remark about a call that is not served"


def test_every_sensor_that_is_not_refused_has_a_blueprint() -> None:
    wanted = {name for name, (state, _) in catalogue.sensors().items() if state != catalogue.REFUSED}
    assert catalogue.offered_sensors() == wanted


def test_the_commands_that_are_refused_are_those_of_the_remark() -> None:
    assert all(name in catalogue.MISSING["apply_batch"] for name in batch.ABSENT.values())
