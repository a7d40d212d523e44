"""The client's own Traffic Manager drives vehicles on our server, and survives reloads."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("traffic_manager_drive.py")
WATCHDOG_S = 40.0
TRIES = 2  # the wheel's Traffic Manager loses a wake-up now and then; no server can wholly prevent it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(start_minicarla, what: str) -> dict:
    """Run the program against a fresh server; a hang (not an abort) may happen once."""
    for attempt in range(TRIES):
        server = start_minicarla()
        command = [sys.executable, str(PROGRAM), str(server.port), str(free_port()), what]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=WATCHDOG_S, check=False)
        except subprocess.TimeoutExpired:
            assert attempt + 1 < TRIES, "the Traffic Manager hung twice"
            continue
        finally:
            server.stop()
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
    raise AssertionError("unreachable")


@pytest.fixture(scope="module")
def driven(start_minicarla) -> dict:
    return run(start_minicarla, "drive")


def test_a_vehicle_is_driven_along_its_lane(driven: dict) -> None:
    assert driven["travelled"] > 20.0
    assert driven["off_lane"] < 2.0


def test_a_reload_with_a_living_traffic_manager_does_not_crash_the_client(start_minicarla) -> None:
    result = run(start_minicarla, "reload")
    assert result["episodes"] == 5
    assert result["travelled"] > 20.0
