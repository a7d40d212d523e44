"""Loading a large town may take minutes; every other call may not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autovla_core.carla_bridge.session import CALL_TIMEOUT_S, LOAD_TIMEOUT_S, Session
from autovla_core.errors import SimulatorError


class Client:
    """Writes down what is called under which time-out."""

    def __init__(self, alive: bool = True) -> None:
        self.timeout_s, self.alive = CALL_TIMEOUT_S, alive
        self.calls: list[tuple[str, float]] = []

    def set_timeout(self, seconds: float) -> None:
        self.timeout_s = seconds

    def get_server_version(self) -> str:
        self.calls.append(("version", self.timeout_s))
        if not self.alive:
            raise RuntimeError("time-out of 20000ms while waiting for the simulator")
        return "0.9.15"

    def get_world(self) -> SimpleNamespace:
        return SimpleNamespace(
            get_map=lambda: SimpleNamespace(name="Carla/Maps/Town10HD"),
            get_settings=SimpleNamespace,
            apply_settings=lambda settings: self.calls.append(("settings", self.timeout_s)),
        )

    def load_world(self, town: str, reset: bool) -> SimpleNamespace:
        self.calls.append((f"load {town}", self.timeout_s))
        return self.get_world()

    def reload_world(self, reset: bool) -> SimpleNamespace:
        self.calls.append(("reload", self.timeout_s))
        return self.get_world()


def test_a_town_may_take_minutes_and_the_calls_after_it_may_not():
    client = Client()
    Session(client).restart("Town12")
    long = [name for name, timeout_s in client.calls if timeout_s == LOAD_TIMEOUT_S]
    assert long == ["load Town12", "settings", "reload", "settings"] and LOAD_TIMEOUT_S >= 300.0
    assert client.timeout_s == CALL_TIMEOUT_S


def test_a_server_that_is_gone_is_not_waited_for_so_long():
    client = Client(alive=False)
    with pytest.raises(SimulatorError, match="cannot load the town 'Town12': time-out of 20000ms"):
        Session(client, timeout_s=7.0).load("Town12")
    assert client.calls == [("version", CALL_TIMEOUT_S)]
    assert client.timeout_s == 7.0
