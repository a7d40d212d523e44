"""What the programs in ``tools/`` that drive have in common: how they end, and the options of a set of drives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from autovla_core.carla_bridge.wheel import require
from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.server_process import stop_on_terminate
from autovla_core.scoring.closed_loop import RULES

STOPPED = 130  # as a shell says it of Ctrl-C


def run(name: str, work: Callable[[], int | None], stopped: str = "stopped", client: bool = True) -> int:
    """Do a program's work; the exit code: what ``work`` returns (None: 0), 1 after an error, 130 when stopped.

    An error that is ours, or the system's (a full disk), is one sentence, no traceback. SIGTERM stops as Ctrl-C does.

    Args:
        stopped: what is printed when it was.
        client: the work needs the carla client to be installed.
    """
    stop_on_terminate()
    try:
        if client:
            require()
        return work() or 0
    except (AutoVLAError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        return STOPPED


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """Which routes, how often, among how many cars, judged by which rule, and on which simulator."""
    parser.add_argument("--subset", default="", help="route ids, with commas between")
    parser.add_argument("--seeds", default="0", help="with commas between; each drives every route once")
    parser.add_argument("--traffic", type=int, default=20, help="other cars")
    parser.add_argument("--rule", default="product", choices=sorted(RULES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of a running server; 0 starts minicarla")
    parser.add_argument("--traffic-manager-port", type=int, default=0, help="on a server other than minicarla")
