"""The baseline agent, which does harm once: its configuration is a JSON file with ``fault``, ``flag`` and ``server``.

The first drive that comes to tick ``TICK`` creates the flag file and does what the fault says; all others drive well.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "agents"))

from autovla_baseline_agent import BaselineAgent  # noqa: E402

from autovla_core.serving.remote import RemotePlanner  # noqa: E402

TICK = 30


def get_entry_point() -> str:
    return "Saboteur"


class Saboteur(BaselineAgent):
    def __init__(self, host: str, port: int, debug: bool = False) -> None:
        super().__init__(host, port, debug)
        self._port, self._ticks = port, 0

    def setup(self, path_to_conf_file: str) -> None:
        super().setup("")
        self._orders = json.loads(Path(path_to_conf_file).read_text())
        if self._orders["server"]:
            self.driver.planner = RemotePlanner(self._orders["server"])

    def run_step(self, input_data: dict, timestamp: float):
        self._ticks += 1
        if self._ticks == TICK and self._orders["fault"] and self._is_first():
            FAULTS[self._orders["fault"]](self)
        return super().run_step(input_data, timestamp)

    def _is_first(self) -> bool:
        if self._orders["fault"] == "machine" and "SPARE_MACHINE" not in os.environ:
            return False
        try:
            os.close(os.open(self._orders["flag"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def simulator(self) -> int:
        """Process id of the server that this drive uses."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"autovla_core.minicarla" in words and str(self._port).encode() in words:
                return int(folder.name)
        raise AssertionError("no simulator")


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


FAULTS = {
    "simulator": lambda agent: kill(agent.simulator()),
    "worker": lambda agent: kill(os.getpid()),
    "parent": lambda agent: kill(os.getppid()),  # the evaluator; over ray the actor
    "machine": lambda agent: kill(parent_of(os.getppid())),  # over ray the node's own process
    "hang": lambda agent: [signal.pause() for _ in range(1000)],
    "planner": lambda agent: kill(json.loads(Path(agent._orders["flag"] + ".pid").read_text())),
}
