"""One evaluator process with its simulator: started, looked at, and ended with everything that it started.

Whatever a process starts inherits its environment, also when it leaves its group or its parent dies. Each attempt
carries a mark there; by the mark, and by nothing else, processes are found and ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autovla_core.errors import RouteError
from autovla_core.evaluation.bench2drive.jobs import Job, read_record
from autovla_core.evaluation.bench2drive.watch import LogSigns, Signs, progressed, read_on

MARK = "AUTOVLA_BENCH2DRIVE"
SERVER_FLAG = b"-carla-rpc-port="
PIECE = 1 << 20
PROBE_EVERY_S = 1.0  # processes and the result file; the log is read at every look
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Order:
    """What to start."""

    job: Job
    command: Sequence[str]
    environment: Mapping[str, str]  # without the mark
    mark: str
    log: Path
    result: Path  # where the evaluator writes
    metrics: Path  # where the launcher appends one line a tick


class Attempt:
    """A running order."""

    def __init__(self, order: Order, now_s: float) -> None:
        self.order = order
        self.signs = Signs(now_s, now_s)
        self.log = LogSigns()
        self._offset, self._probed_s = 0, now_s
        for file in (order.log, order.result, order.metrics):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
        with open(order.log, "wb") as stream:
            self._process = subprocess.Popen(
                list(order.command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**order.environment, MARK: order.mark},
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
                preexec_fn=_die_with_parent,
            )

    def look(self, now_s: float) -> Signs:
        """The signs of life at ``now_s``."""
        code = self._process.poll()
        self.log = read_on(self.log, self._read_log())
        self.signs = replace(progressed(self.signs, now_s, self.log), exit_code=code)
        if code is not None or now_s - self._probed_s >= PROBE_EVERY_S:
            self._probed_s = now_s
            self.signs = self._probe(now_s)
        return self.signs

    def end(self) -> None:
        """End the evaluator, its simulator, and all else that carries the mark."""
        end_marked(self.order.mark)
        self._process.wait()

    def _probe(self, now_s: float) -> Signs:
        signs = self.signs
        servers = [pid for pid in marked(self.order.mark) if SERVER_FLAG in _read(pid, "cmdline")]
        gone = signs.server_gone_s if signs.server_gone_s is not None else now_s
        complete = signs.result_complete_s if signs.result_complete_s is not None else now_s
        return replace(
            signs,
            server_seen=signs.server_seen or bool(servers),
            server_gone_s=gone if signs.server_seen and not servers else None,
            result_complete_s=complete if self._is_complete() else None,
        )

    def _is_complete(self) -> bool:
        try:
            read_record(self.order.result, self.order.job.route)
        except RouteError:
            return False
        return True

    def _read_log(self) -> bytes:
        with open(self.order.log, "rb") as stream:
            stream.seek(self._offset)
            piece = stream.read(PIECE)
        self._offset += len(piece)
        return piece


def marked(mark: str) -> list[int]:
    """Living processes whose environment carries a mark that begins with ``mark``."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            values = _read(int(name), "environ").split(b"\0")
            if any(value.startswith(needle) for value in values):
                found.append(int(name))
    return found


def end_marked(mark: str) -> int:
    """Kill every process of a mark, again while new ones appear; return how many there were."""
    killed: set[int] = set()
    for _ in range(20):
        living = marked(mark)
        if not living:
            break
        for pid in living:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return len(killed)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it ended, or belongs to somebody else
        return b""


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
