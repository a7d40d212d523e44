"""Start a minicarla of our own, wait until it answers, and leave no process behind."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import TracebackType

from autovla_core.errors import SetupError

logger = logging.getLogger(__name__)

PORTS = 2  # calls, then streams
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def free_port(count: int = PORTS, host: str = "127.0.0.1") -> int:
    """The first of ``count`` neighbouring ports that are all free now.

    Raises:
        SetupError: after a hundred tries.
    """
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        if port + count < 65536 and all(is_free(port + i, host) for i in range(count)):
            return port
    raise SetupError(f"found no {count} neighbouring free ports on {host}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def stop_on_terminate() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that what it started is stopped in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


class MinicarlaServer:
    """A running ``python -m autovla_core.minicarla``; use it as a context manager.

    The process also ends when the thread that started it dies, however it dies.

    Raises:
        SetupError: on entering, when a port is taken, or when the server ends or stays silent.
    """

    def __init__(
        self, town: str = "Havenbrook", port: int = 0, seed: int = 0, threads: int = 2, startup_s: float = 90.0
    ) -> None:
        self.host, self.port = "127.0.0.1", port
        self._town, self._seed, self._threads, self._startup_s = town, seed, threads, startup_s
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the object

    def __enter__(self) -> MinicarlaServer:
        return self.start()

    def start(self) -> MinicarlaServer:
        """Start the process and wait until it answers.

        Raises:
            SetupError: a port is taken, or the server ends or stays silent.
        """
        if self.port == 0:
            self.port = free_port()
        for port in range(self.port, self.port + PORTS):
            if not is_free(port):
                raise SetupError(f"port {port} is taken by another program; choose another with --port, or 0 for any")
        try:
            self._start()
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id, 0 when not running."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    def death(self) -> str:
        """Why the server is gone, in one sentence; "" while it runs."""
        code = self._process.poll() if self._process else None
        if code is None:
            return ""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"the simulator on port {self.port} ended by itself ({how}): {self._last_line()}"

    def stop(self) -> None:
        """End the process, politely first; safe to call twice."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        command = [sys.executable, "-m", "autovla_core.minicarla", "--port", str(self.port), "--town", self._town]
        command += ["--seed", str(self._seed), "--threads", str(self._threads), "--quiet"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C reaches us alone, and we stop it in order
            preexec_fn=die_with_parent,
        )

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._startup_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SetupError(self.death())
            if b" listening on " in self._read_output() and not is_free(self.port):
                logger.info("minicarla %s listens on port %d (pid %d)", self._town, self.port, self._process.pid)
                return
            time.sleep(0.05)
        raise SetupError(f"the simulator did not answer within {self._startup_s:.0f} s: {self._last_line()}")

    def _read_output(self) -> bytes:
        self._output.seek(0)
        return self._output.read()

    def _last_line(self) -> str:
        lines = [line for line in self._read_output().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"


def die_with_parent(by: int = signal.SIGTERM) -> None:
    """Called in a new process before its program: a signal when the thread that started it dies, however it dies."""
    if _LIBC is not None:
        with contextlib.suppress(OSError):
            _LIBC.prctl(_PR_SET_PDEATHSIG, by)
