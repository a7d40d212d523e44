"""What the programs in ``tools/`` that drive have in common: how they end, and the options of a set of drives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from autovla_core.carla_bridge.wheel import require
from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.queue import Cluster
from autovla_core.evaluation.sensor_rules import ANY, OWN, TRACKS
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
    parser.add_argument("--subset", default="", help="route ids and ranges of them: 12,40-55,7")
    parser.add_argument("--seeds", default="0", help="with commas between; each drives every route once")
    parser.add_argument("--traffic", type=int, default=20, help="other cars")
    parser.add_argument("--rule", default="product", choices=sorted(RULES))
    parser.add_argument(
        "--track", default=OWN, choices=[OWN, *TRACKS, ANY], help="whose sensors are allowed; own: the agent's word"
    )
    parser.add_argument("--workers", type=int, default=1, help="simulators at the same time")
    add_server_options(parser)


def add_server_options(parser: argparse.ArgumentParser, port: str = "--port") -> None:
    """Which simulator; ``port`` is the name of the option that says where a running one listens."""
    parser.add_argument("--host", default="127.0.0.1", help="of a running server")
    parser.add_argument(port, type=int, default=0, metavar="PORT", help="of a running server; 0 starts minicarla")
    parser.add_argument("--traffic-manager-port", type=int, default=0, help="on a server other than minicarla")


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Drive on a ray cluster in place of this machine."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="drive on a ray cluster; --workers 0 is all that fit",
    )
    parser.add_argument("--ray-cpus", type=float, default=1.0, help="that one worker takes of the cluster")
    parser.add_argument("--ray-gpus", type=float, default=0.0, help="share of a GPU for one worker; 0: it sees none")


def cluster_of(options: argparse.Namespace, simulators: bool = False) -> Cluster | None:
    """As ``add_cluster_options`` gave it; None without --ray. simulators: each worker wants a CARLA that runs there."""
    if options.ray is None:
        return None
    return Cluster(options.ray, options.ray_cpus, options.ray_gpus, int(simulators))
