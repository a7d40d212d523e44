"""The client's own Traffic Manager drives vehicles on our server, and survives reloads."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("traffic_manager")  # one drive for all of them

PROGRAM = Path(__file__).with_name("traffic_manager_drive.py")
WATCHDOG_S = 40.0
TRIES = 2  # the wheel's Traffic Manager loses a wake-up now and then; no server can wholly prevent it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def driven(start_minicarla) -> dict:
    """What the program printed; a hang (not an abort) may happen once."""
    for _ in range(TRIES):
        server = start_minicarla()
        command = [sys.executable, str(PROGRAM), str(server.port), str(free_port())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=WATCHDOG_S, check=False)
        except subprocess.TimeoutExpired:
            continue
        finally:
            server.stop()
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
    raise AssertionError(f"the Traffic Manager hung {TRIES} times")


def test_a_vehicle_is_driven_along_its_lane_for_200_ticks(driven: dict) -> None:
    assert driven["before"]["travelled"] > 20.0
    assert driven["before"]["off_lane"] < 2.0


def test_reloads_with_a_living_traffic_manager_do_not_crash_the_client(driven: dict) -> None:
    assert driven["episodes"] == 5
    assert driven["after"]["travelled"] > 20.0
    assert driven["after"]["off_lane"] < 2.0


def test_in_another_town_the_living_traffic_manager_takes_up_that_towns_map(driven: dict) -> None:
    assert driven["elsewhere"]["travelled"] > 20.0
    assert driven["elsewhere"]["off_lane"] < 2.0
