"""A simulator of our own that does not come up at once."""

from __future__ import annotations

import pytest

from autovla_core.errors import SetupError
from autovla_core.evaluation import evaluator


class Server:
    """Comes up at the ``good``-th attempt of all."""

    attempts: list[int] = []
    good = 1

    def __init__(self, port: int = 0, threads: int = 2) -> None:
        self.port = port

    def start(self) -> Server:
        self.attempts.append(self.port)
        if len(self.attempts) < self.good:
            raise SetupError(f"attempt {len(self.attempts)}: the port is taken")
        return self


@pytest.fixture
def servers(monkeypatch):
    monkeypatch.setattr(evaluator, "MinicarlaServer", Server)
    monkeypatch.setattr(Server, "attempts", [])
    return lambda good: monkeypatch.setattr(Server, "good", good)


def test_a_port_that_another_program_takes_first_costs_a_second_start(servers):
    servers(2)
    evaluator._own_server(0, 1)
    assert Server.attempts == [0, 0]


def test_a_second_failure_and_a_port_that_was_asked_for_are_told(servers):
    servers(9)
    with pytest.raises(SetupError, match="attempt 2: the port is taken"):
        evaluator._own_server(0, 1)
    with pytest.raises(SetupError, match="attempt 3: the port is taken"):
        evaluator._own_server(2000, 1)
    assert Server.attempts == [0, 0, 2000]
