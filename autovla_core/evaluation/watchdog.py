"""An agent that never answers ends its route, not the run."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator


class AgentSilent(BaseException):
    """No answer in time. No ``Exception``, so that an agent's own last resort does not take it for a failed plan."""


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise ``AgentSilent`` in the block after so many seconds of the wall clock; 0 is no limit.

    A call that hangs outside Python is interrupted when it returns, as by the leaderboard's watchdog. In another
    thread than the main one there is no limit.
    """
    if seconds <= 0.0 or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise AgentSilent(f"no answer within {seconds:g} s")

    began, handler = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    theirs, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # somebody else's alarm, such as a test's own limit
    try:
        yield
    finally:
        left = max(theirs - (time.monotonic() - began), 1e-3) if theirs else 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)
