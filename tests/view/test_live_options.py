"""Which other cars the live window asks for, where nobody says how many."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "drive_live.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("drive_live", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "cars"),
    [
        ("", 10),
        ("--server 2000", 0),
        ("--server 2000 --traffic-manager-port 8000", 10),
        ("--server 2000 --traffic 7", 7),
        ("--host 10.0.0.5 --server 2000 --traffic-manager-port 8000 --traffic 3", 3),
    ],
)
def test_a_server_that_drives_no_cars_gets_none_unless_they_are_asked_for(tool, monkeypatch, capsys, line, cars):
    monkeypatch.setattr(sys, "argv", ["drive_live.py", *line.split()])
    assert tool._traffic(tool._options()) == cars
    assert ("no other cars" in capsys.readouterr().out) == (cars == 0)
