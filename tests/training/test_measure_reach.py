"""The effect of the reach mask on plans is measured on route logs, with and without it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from training import measure_reach
from training.measure_reach import Effect, measure, table


def test_drawn_tokens_leave_the_mask_more_often_than_likely_ones(init: Path, route_logs: Path, tmp_path: Path) -> None:
    likely, wild = measure(init, route_logs, 12, tmp_path / "cache", (0.0, 4.0))
    assert (likely.temperature, wild.temperature) == (0.0, 4.0)
    assert 0.0 <= likely.next_excluded <= 1.0
    assert (
        wild.first_excluded > 0.1 and wild.next_excluded > 0.1
    )  # nearly every entry alike: a third to two thirds are out
    assert np.isfinite([likely.ade, likely.ade_masked, wild.ade, wild.ade_masked]).all()
    assert wild.ade_masked < wild.ade  # inside the mask a plan cannot leap


def test_the_table_says_shares_in_percent_and_metres() -> None:
    assert table([Effect(1.0, 0.025, 0.004, 0.5, 0.48)]).splitlines()[-1] == "| 1 | 2.50 % | 0.40 % | 0.500 | 0.480 |"


def test_the_program_names_what_is_missing(tmp_path: Path, init: Path, monkeypatch, capsys) -> None:
    for arguments, complaint in (
        (["--checkpoint", tmp_path / "none", "--logs", tmp_path], "is not a model folder"),
        (["--checkpoint", init, "--logs", tmp_path], "no route logs"),
    ):
        monkeypatch.setattr(sys, "argv", ["measure_reach", *map(str, arguments)])
        assert measure_reach.main() == 1
        assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("moments", [1, 10_000])
def test_as_many_moments_as_there_are_and_at_least_one(moments: int, init: Path, route_logs: Path, tmp_path) -> None:
    (effect,) = measure(init, route_logs, moments, tmp_path / "cache", (0.0,))
    assert np.isfinite(effect.ade)
