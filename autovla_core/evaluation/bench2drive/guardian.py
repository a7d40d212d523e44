"""Ends what a supervisor left when it was killed: started beside it, waits for the end of a pipe, needs nothing else.

A process that is killed with -9 closes its pipes. The guardian holds the run's lock meanwhile, so that a new call
begins only when the old one's simulators are gone.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from autovla_core.evaluation.bench2drive.attempt import end_marked


def start(mark: str, lock: int) -> subprocess.Popen[bytes]:
    """Start a guardian that also holds the file descriptor ``lock``; it ends when its stdin is closed."""
    command = [sys.executable, "-m", "autovla_core.evaluation.bench2drive.guardian", mark]
    return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(lock,), start_new_session=True)


def main() -> None:
    """Wait for the supervisor's end, however it comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_marked(sys.argv[1])


if __name__ == "__main__":
    main()
